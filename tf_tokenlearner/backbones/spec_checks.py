"""What the specs have in common: copies, lists and sizes that must be right."""

import copy
import dataclasses
from typing import Any, Sequence, Tuple

from tf_tokenlearner import errors


def plain_copy(kind: type, other: Any) -> Any:
  """A spec with the fields of another, which may be a Garden config."""
  return kind(**{
      field.name: copy.deepcopy(getattr(other, field.name))
      for field in dataclasses.fields(kind)})


def as_list(value: Any) -> list:
  """A list as it is, anything else as the one thing in a list."""
  return list(value) if isinstance(value, (list, tuple)) else [value]


def require_positive(name: str, value: Any) -> None:
  """Raises UserError unless value is a whole number of at least 1."""
  if isinstance(value, bool) or not isinstance(value, int) or value < 1:
    raise errors.UserError(
        f'{name} must be a whole number of at least 1, received {value!r}.')


def require_sizes(name: str, values: Any, axes: Tuple[str, ...]) -> None:
  """Raises UserError unless values holds one such number for each axis."""
  if not isinstance(values, (list, tuple)) or len(values) != len(axes):
    raise errors.UserError(
        f'{name} must be [{", ".join(axes)}], received {values!r}.')
  for axis, value in zip(axes, values):
    require_positive(f'{name} {axis}', value)


def require_known(name: str, value: Any, known: Sequence[str]) -> None:
  """Raises UserError unless value is one of the known names."""
  if value not in known:
    raise errors.unknown_name(name, value, known)


def require_multiple(whole: str, size: int, part: str, step: int) -> None:
  """Raises UserError if parts of size step do not fill the whole."""
  if size % step:
    below = max(size // step, 1) * step
    raise errors.UserError(
        f'{whole} {size} is no multiple of {part} {step}. Nearest that fit: '
        f'{below} and {below + step}.')
