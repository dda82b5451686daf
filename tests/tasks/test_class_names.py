"""Classes of data are those of the model, or are mapped on purpose."""

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner.tasks import class_names


def source(names):
  return labelled_source.LabelledSource(
      None, 'label', len(names), tuple(names), False)


def test_same_classes_pass():
  class_names.require_same(('a', 'b'), ['a', 'b'], 'data', 'label_map')


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
    class_names.require_same(names, ('cat', 'dog'), 'data', 'label_map')
  assert '\n' not in str(caught.value)


def test_labels_are_mapped():
  """dog, zebra -> positions in cat, dog; an example without label stays so."""
  mapped = class_names.mapped(
      source(['dog', 'zebra']), {'zebra': 'cat'}, ['cat', 'dog'], 'label_map')
  examples = tf.data.Dataset.from_tensor_slices(
      {'label': np.array([0, 1, -1], np.int64)})
  labels = [int(example['label']) for example in mapped.select(examples)]
  assert labels == [1, 0, -1]
  assert mapped.label_names == ('cat', 'dog') and mapped.num_classes == 2


@pytest.mark.parametrize('label_map, message', [
    ({'zebar': 'cat'}, "class in label_map 'zebar'"),
    ({'zebra': 'cow'}, "'cow'")])
def test_maps_that_do_not_fit(label_map, message):
  with pytest.raises(errors.UserError, match=message):
    class_names.mapped(
        source(['dog', 'zebra']), label_map, ['cat', 'dog'], 'label_map')


def test_description():
  names = [str(number) for number in range(12)]
  assert class_names.describe(names) == (
      '12 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more')
