"""Shape checks and folds that the layers share."""

import math
from typing import Any, Tuple

import tensorflow as tf


def require_positive(layer: str, **values: int) -> None:
  """Raises ValueError if a size is not a whole number above zero."""
  for name, value in values.items():
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
      raise ValueError(
          f'{layer}: {name} must be a whole number of at least 1, '
          f'received {value!r}.')


def require_pair(layer: str, name: str, value: Any) -> Tuple[int, int]:
  """(height, width) as a tuple; ValueError unless both are sizes."""
  if not isinstance(value, (list, tuple)) or len(value) != 2:
    raise ValueError(
        f'{layer}: {name} must be (height, width), received {value!r}.')
  require_positive(layer, **{f'{name} height': value[0],
                             f'{name} width': value[1]})
  return tuple(value)


def require_rate(layer: str, **values: float) -> None:
  """Raises ValueError if a rate is not in [0, 1)."""
  for name, value in values.items():
    if not 0 <= value < 1:
      raise ValueError(f'{layer}: {name} must lie in [0, 1), received {value}.')


def require_tokens_or_map(layer: str, name: str, shape: tf.TensorShape) -> None:
  """Raises ValueError unless shape is [B, N, C] or [B, H, W, C], B free."""
  shape = tf.TensorShape(shape)
  if shape.rank not in (3, 4):
    raise ValueError(
        f'{layer}: {name} must be of rank 3, [B, N, C], or rank 4, '
        f'[B, H, W, C], received shape {shape}.')
  require_known(layer, name, shape)


def require_known(layer: str, name: str, shape: tf.TensorShape) -> None:
  """Raises ValueError if an axis other than the first is unknown."""
  if None in shape.as_list()[1:]:
    raise ValueError(
        f'{layer}: every axis of {name} but the batch must be known, received '
        f'shape {shape}. Fix the image size, for instance with '
        'tf.ensure_shape.')


def num_positions(shape: tf.TensorShape) -> int:
  """N of [B, N, C] or H * W of [B, H, W, C]."""
  return math.prod(shape[1:-1])


def to_tokens(x: tf.Tensor) -> tf.Tensor:
  """[B, H, W, C] or [B, N, C] -> [B, N, C]."""
  if x.shape.rank == 3:
    return x
  return tf.reshape(x, [-1, num_positions(x.shape), x.shape[-1]])
