"""Lists of class names are compared; differences are listed."""

import pytest

from tf_tokenlearner.data import class_lists
from tf_tokenlearner import errors


def test_same_classes_pass():
  class_lists.require_same(('a', 'b'), ['a', 'b'], 'data', 'label_map')


@pytest.mark.parametrize('names, message', [
    (('dog', 'zebra'), 'missing cat; new zebra.*label_map, such as '
                       '{zebra: cat}'),
    (('cat', 'dog', 'emu'), 'expected the 2 classes of the model, got 3 '
                            r'\(new emu\)'),
    (('cat',), r'got 1 \(missing dog\).*such as {cat: cat}'),
    (('dog', 'cat'), "label 0 is 'dog' in the data and 'cat' in the model.*"
                     'such as {dog: dog}')])
def test_other_classes_are_listed(names, message):
  with pytest.raises(errors.UserError, match=message) as caught:
    class_lists.require_same(names, ('cat', 'dog'), 'data', 'label_map')
  assert '\n' not in str(caught.value)


def test_description():
  names = [str(number) for number in range(12)]
  assert class_lists.describe(names) == (
      '12 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more')


def test_some_of_the_classes_in_any_order():
  assert class_lists.require_known(
      ['dog', 'cat'], ('cat', 'dog', 'emu'), 'data', 'label_map') == ('emu',)
  with pytest.raises(errors.UserError, match=(
      r'^data: expected some of the 2 classes of the model, got 2 '
      r'\(missing cat; new zebra\)\..*label_map, such as {zebra: cat}')):
    class_lists.require_known(
        ['dog', 'zebra'], ('cat', 'dog'), 'data', 'label_map')
