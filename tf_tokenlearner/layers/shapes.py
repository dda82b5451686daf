"""Shape checks, reshapes and the base class that the layers share."""

import math
from typing import Any, Optional, Sequence, Tuple

import tensorflow as tf
import tf_keras


class Layer(tf_keras.layers.Layer):
  """Base class of the layers. It refuses tensors of Keras 3."""

  def __call__(self, *args, **kwargs):
    for tensor in tf.nest.flatten(args):
      if type(tensor).__module__.split('.')[0] == 'keras':
        raise TypeError(
            f'{type(self).__name__}: expected a tensor of TensorFlow or '
            f'tf_keras, got a {type(tensor).__name__} of Keras 3. Build '
            'the model with `import tf_keras`, not `import keras`.')
    return super().__call__(*args, **kwargs)


def build(layer: tf_keras.layers.Layer, input_shape: Any) -> None:
  """Builds a layer within its name scope.

  tf_keras opens the scope only when a layer is called. Without it all kernels
  of a block share one name: HDF5 files refuse that, and optimizers that leave
  out variables by name cannot tell them apart.
  """
  with tf.name_scope(layer.name):
    layer.build(input_shape)


def require_positive(layer: str, **values: int) -> None:
  """Raises ValueError if a size is not a whole number above zero."""
  for name, value in values.items():
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
      raise ValueError(
          f'{layer}: {name} must be a whole number of at least 1, '
          f'got {value!r}.')


def require_sizes(
    layer: str, name: str, value: Any, axes: Sequence[str]) -> Tuple[int, ...]:
  """Returns the value as a tuple; ValueError unless it has a size per axis."""
  if not isinstance(value, (list, tuple)) or len(value) != len(axes):
    raise ValueError(
        f'{layer}: {name} must be ({", ".join(axes)}), got {value!r}.')
  require_positive(layer, **{
      f'{name} {axis}': size for axis, size in zip(axes, value)})
  return tuple(value)


def require_pair(layer: str, name: str, value: Any) -> Tuple[int, int]:
  """Returns (height, width) as a tuple; ValueError unless both are sizes."""
  return require_sizes(layer, name, value, ('height', 'width'))


def require_tiled(
    layer: str, whole: str, size: Sequence[int], part: str,
    steps: Sequence[int], axes: Sequence[str]) -> None:
  """Raises ValueError if parts of these steps do not fill the whole."""
  for axis, pixels, step in zip(axes, size, steps):
    if pixels % step:
      below = max(pixels // step, 1) * step
      raise ValueError(
          f'{layer}: the {whole} {axis} {pixels} is no multiple of the {part} '
          f'{axis} {step}. Nearest that fit: {below} and {below + step}.')


def require_rate(layer: str, **values: float) -> None:
  """Raises ValueError if a rate is not in [0, 1)."""
  for name, value in values.items():
    if not 0 <= value < 1:
      raise ValueError(f'{layer}: {name} must lie in [0, 1), got {value}.')


def require_tokens_or_map(layer: str, name: str, shape: tf.TensorShape) -> None:
  """Raises ValueError unless shape is [B, N, C] or [B, H, W, C], B free."""
  shape = tf.TensorShape(shape)
  if shape.rank not in (3, 4):
    raise ValueError(
        f'{layer}: {name} must be of rank 3, [B, N, C], or rank 4, '
        f'[B, H, W, C], got shape {shape}.')
  require_known(layer, name, shape)


def require_known(layer: str, name: str, shape: tf.TensorShape) -> None:
  """Raises ValueError if an axis other than the first is unknown."""
  if None in shape.as_list()[1:]:
    raise ValueError(
        f'{layer}: every axis of {name} but the batch must be known, got '
        f'shape {shape}. Fix the image size, for instance with '
        'tf.ensure_shape.')


def num_positions(shape: tf.TensorShape) -> int:
  """Returns N of [B, N, C] or H * W of [B, H, W, C]."""
  return math.prod(shape[1:-1])


def map_size(layer: str, shape: tf.TensorShape,
             grid_size: Optional[Tuple[int, int]]) -> Tuple[int, int]:
  """Returns (H, W) of [B, H, W, C], or of [B, N, C] by grid_size or a square.

  Raises:
    ValueError: N does not fit grid_size or is no square, or grid_size
      contradicts the map.
  """
  n = num_positions(shape)
  size = tuple(shape[1:3]) if len(shape) == 4 else None
  if size and grid_size and size != grid_size:
    raise ValueError(
        f'{layer}: grid_size={grid_size} was given, but the input is a map of '
        f'{size[0]} x {size[1]}. Leave grid_size out for maps.')
  size = size or grid_size or (math.isqrt(n), math.isqrt(n))
  if math.prod(size) != n:
    raise ValueError(
        f'{layer}: {n} positions do not form a map of {size[0]} x {size[1]}. '
        f'Give grid_size=(height, width) with height * width == {n}, or pass a '
        'map [B, H, W, C].')
  return size


def to_tokens(x: tf.Tensor) -> tf.Tensor:
  """[B, H, W, C] or [B, N, C] -> [B, N, C]."""
  if x.shape.rank == 3:
    return x
  return tf.reshape(x, [-1, num_positions(x.shape), x.shape[-1]])
