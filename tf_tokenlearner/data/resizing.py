"""Brings pictures to the size of the network's input: crop, letterbox, stretch.

Training, evaluation, exports and predict share these functions.
"""

import dataclasses
from typing import Any, NamedTuple, Sequence, Tuple

import tensorflow as tf

from tf_tokenlearner.data import pixel_ops
from tf_tokenlearner import errors

MODES = ('crop', 'letterbox', 'stretch')
INTERPOLATIONS = ('bilinear', 'bicubic', 'lanczos3', 'nearest')


class Placement(NamedTuple):
  """Place of a picture in the network's input.

  Attributes:
    box: (top, left, height, width) in pixels, without the bars of a letterbox.
    size: (height, width) to which the box must be scaled so that it has the
      picture's aspect ratio.
  """
  box: Tuple[int, int, int, int]
  size: Tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Resizing:
  """Options of resizing.

  Attributes:
    resize: 'crop' cuts out a box of the network's aspect ratio; 'letterbox'
      fits the whole picture into the input and adds bars of mid grey, 0 in
      [-1, 1], of equal width on both sides; 'stretch' scales each side of the
      whole picture to that of the input.
    interpolation: one of INTERPOLATIONS, as tf.image.resize defines them.
    antialias: averages over all pixels that become one, as Pillow does.
  """
  resize: str = 'crop'
  interpolation: str = 'bilinear'
  antialias: bool = False

  @property
  def is_crop(self) -> bool:
    """Whether a part of the picture is left out."""
    return self.resize == 'crop'

  @property
  def method(self) -> str:
    """The interpolation in words."""
    return self.interpolation + ', antialiased' * self.antialias

  def check(self) -> None:
    """Raises UserError if an option of a task is unknown or has no effect."""
    for key, known in (('resize', MODES), ('interpolation', INTERPOLATIONS)):
      if getattr(self, key) not in known:
        raise errors.unknown_name(f'task.{key}', getattr(self, key), known)
    if self.antialias and self.interpolation == 'nearest':
      raise errors.UserError(
          'task.antialias: expected false with interpolation=nearest, which '
          'averages nothing, got true. Leave it out.')

  def fit(self, pixels: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
    """Resizes pictures, or the boxes that 'crop' cut out.

    Args:
      pixels: uint8 [..., h, w, C].
      size: (H, W) of the network's input.

    Returns:
      float32 [..., H, W, C] in [-1, 1].
    """
    if self.resize != 'letterbox':
      return self._resized(pixels, size)
    fitted = fitted_size(tf.shape(pixels)[-3:-1], size)
    before = (size - fitted) // 2
    margins = tf.stack([before, size - fitted - before], axis=1)
    outer = len(pixels.shape) - 3
    # Zeros are mid grey.
    padded = tf.pad(self._resized(pixels, fitted), tf.pad(
        margins, [[outer, 1], [0, 0]]))
    return tf.ensure_shape(
        padded, [*pixels.shape[:-3], *size, pixels.shape[-1]])

  def fit_in_training(
      self, pixels: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
    """Returns fit(pixels, size), by default faster and equal within 1e-6."""
    if self == Resizing():
      return pixel_ops.resize_bytes(pixels, size)
    return self.fit(pixels, size)

  def placement(
      self, shape: Sequence[int], size: Sequence[int]) -> Placement:
    """Returns where the input shows a picture, or the box cut out of it.

    Args:
      shape: (h, w, ...) of the picture.
      size: (H, W) of the network's input.
    """
    height, width = size
    if self.is_crop:
      return Placement((0, 0, height, width), (height, width))
    fitted = tuple(fitted_size(tf.constant(shape[:2]), size).numpy().tolist())
    if self.resize == 'stretch':
      return Placement((0, 0, height, width), fitted)
    return Placement(((height - fitted[0]) // 2, (width - fitted[1]) // 2,
                      *fitted), fitted)

  def describe(self, size: Sequence[int]) -> str:
    """Returns what happens to whole pictures, in words: 'resized ...'."""
    text = {
        'crop': 'resized ({}) to {} x {}',
        'letterbox': 'resized ({}) to fit into {} x {} with the same aspect '
                     'ratio and padded on both sides with grey, 127.5',
        'stretch': 'resized ({}), each side by its own factor, to {} x {}'}
    return text[self.resize].format(self.method, *size)

  def _resized(self, pixels, size):
    x = tf.image.resize(pixels, size, self.interpolation,
                        antialias=self.antialias)
    if self.interpolation in ('bicubic', 'lanczos3'):  # These overshoot.
      x = tf.clip_by_value(x, 0., 255.)
    return pixel_ops.scale(tf.cast(x, tf.float32))


def of_task(task: Any) -> Resizing:
  """Returns the options of the config of a task."""
  return Resizing(task.resize, task.interpolation, task.antialias)


def whole(shape: tf.Tensor) -> Tuple[tf.Tensor, ...]:
  """Returns (top, left, height, width) of a whole picture (H, W, ...)."""
  return tf.constant(0), tf.constant(0), shape[0], shape[1]


def fitted_size(shape: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
  """Returns the largest size of a picture's aspect ratio within another size.

  Args:
    shape: int32 [2 or more], (h, w, ...) of the picture.
    size: (H, W).

  Returns:
    int32 [2], the height and width, at least 1; halves are rounded up.
  """
  # 64 bits, as a thin picture may have millions of rows.
  h, w = tf.unstack(tf.cast(shape[:2], tf.int64))
  height, width = size
  sides = tf.stack([(2 * h * width + w) // (2 * w),
                    (2 * w * height + h) // (2 * h)])
  return tf.cast(tf.clip_by_value(sides, 1, [height, width]), tf.int32)
