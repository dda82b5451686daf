"""Checks of fields, rules and sizes, each with its message."""

import dataclasses
from typing import List, Optional

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
def test_to_list(value, expected):
  assert spec_checks.to_list(value) == expected


@pytest.mark.parametrize('value', [0, -1, True, 1.0, '1', None])
def test_require_positive(value):
  with pytest.raises(errors.UserError) as caught:
    spec_checks.require_positive('width', value)
  assert str(caught.value) == (
      f'width must be a whole number of at least 1, got {value!r}.')
  spec_checks.require_positive('width', 1)


@pytest.mark.parametrize('values, message', [
    (4, r'size must be \[height, width\], got 4.'),
    ([4], r'size must be \[height, width\], got \[4\].'),
    ([4, 0], 'size width must be a whole number of at least 1, got 0.'),
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
def test_require_tiled(size, nearest):
  tile = lambda size: spec_checks.require_tiled(
      'image', (8, size, 3), 'patch', (4, 16), ('height', 'width', 'channels'))
  with pytest.raises(errors.UserError) as caught:
    tile(size)
  assert str(caught.value) == (
      f'The image width {size} is no multiple of the patch width 16. Nearest '
      f'that fit: {nearest}.')
  tile(32)


@dataclasses.dataclass
class Checked:
  width: int = spec_checks.size(8)
  depth: Optional[int] = spec_checks.size(None)
  top: Optional[int] = spec_checks.size(2, optional=True)
  rate: float = spec_checks.rate(.5)
  scale: float = spec_checks.number(1)
  colour: str = spec_checks.choice('red', ('red', 'green'))
  window: List[int] = spec_checks.sizes([1, 2], 'height', 'width')


@pytest.mark.parametrize('kwargs, message', [
    (dict(width=0), 'its.width must be .* got 0.'),
    (dict(width=None), 'its.width must be .* got None.'),
    (dict(depth='1'), "its.depth must be .* got '1'."),
    (dict(top=0), 'its.top must be .* got 0.'),
    (dict(rate=1), r'its.rate must lie in \[0, 1\), got 1.'),
    (dict(rate='1'), r"its.rate must lie in \[0, 1\), got '1'."),
    (dict(scale=None), 'its.scale must be a number, got None.'),
    (dict(scale=True), 'its.scale must be a number, got True.'),
    (dict(colour='rad'), "Unknown its.colour 'rad'. Known: red, green."),
    (dict(window=[1]), r'its.window must be \[height, width\]'),
])
def test_check_fields(kwargs, message):
  spec_checks.check_fields(Checked())
  spec_checks.check_fields(Checked(top=None))
  with pytest.raises(errors.UserError, match=f'^{message}'):
    spec_checks.check_fields(Checked(**kwargs), 'its.')


def test_check_rules():
  rules = ((lambda s: s.width > 9, 'width={s.width} is above 9.'),
           (lambda s: s.width > 8, 'width={s.width} is above 8.'))
  spec_checks.check_rules(Checked(), rules)
  with pytest.raises(errors.UserError, match='^width=10 is above 9.$'):
    spec_checks.check_rules(Checked(width=10), rules)
