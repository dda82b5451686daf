"""What the specs refuse, each in words of its own."""

import dataclasses

import pytest

from tf_tokenlearner import errors
from tf_tokenlearner.backbones import spec_checks


@dataclasses.dataclass
class Plain:
  sizes: list


@dataclasses.dataclass
class Richer(Plain):
  more: int = 1


def test_plain_copy_shares_nothing():
  richer = Richer([1, [2]])
  plain = spec_checks.plain_copy(Plain, richer)
  assert plain == Plain([1, [2]]) and type(plain) is Plain
  plain.sizes[1].append(3)
  assert richer.sizes == [1, [2]]


@pytest.mark.parametrize('value, expected', [
    (3, [3]), ([3, 4], [3, 4]), ((3,), [3]), (None, [None]), ('ab', ['ab'])])
def test_as_list(value, expected):
  assert spec_checks.as_list(value) == expected


@pytest.mark.parametrize('value', [0, -1, True, 1.0, '1', None])
def test_require_positive(value):
  with pytest.raises(errors.UserError) as caught:
    spec_checks.require_positive('width', value)
  assert str(caught.value) == (
      f'width must be a whole number of at least 1, received {value!r}.')
  spec_checks.require_positive('width', 1)


@pytest.mark.parametrize('values, message', [
    (4, r'size must be \[height, width\], received 4.'),
    ([4], r'size must be \[height, width\], received \[4\].'),
    ([4, 0], 'size width must be a whole number of at least 1, received 0.'),
])
def test_require_sizes(values, message):
  with pytest.raises(errors.UserError, match=f'^{message}'):
    spec_checks.require_sizes('size', values, ('height', 'width'))
  spec_checks.require_sizes('size', (1, 2), ('height', 'width'))


def test_require_known():
  with pytest.raises(
      errors.UserError, match="^Unknown colour 'gren'. Known: green, red."):
    spec_checks.require_known('colour', 'gren', ('red', 'green'))
  spec_checks.require_known('colour', 'red', ('red', 'green'))


@pytest.mark.parametrize('size, nearest', [
    (33, '32 and 48'), (47, '32 and 48'), (3, '16 and 32')])
def test_require_multiple(size, nearest):
  with pytest.raises(errors.UserError) as caught:
    spec_checks.require_multiple('The width', size, 'the patch', 16)
  assert str(caught.value) == (
      f'The width {size} is no multiple of the patch 16. Nearest that fit: '
      f'{nearest}.')
  spec_checks.require_multiple('The width', 32, 'the patch', 16)
