"""What happens to the pixels of images and of clips alike."""

from typing import Callable, Sequence, Tuple

import tensorflow as tf

from tf_tokenlearner import errors

# (top, left, height, width) in pixels, of a shape (H, W, channels).
BoxFn = Callable[[tf.Tensor], Tuple[tf.Tensor, ...]]

_JPEG_BLOCK = 16  # The largest that common files are made of, in pixels.


def convert_channels(images: tf.Tensor, channels: int) -> tf.Tensor:
  """Grey to colour or back, if need be."""
  if images.shape[-1] == channels:
    return images
  if (images.shape[-1], channels) == (1, 3):
    return tf.image.grayscale_to_rgb(images)
  if (images.shape[-1], channels) == (3, 1):
    return tf.image.rgb_to_grayscale(images)
  raise errors.UserError(
      f'Images of {images.shape[-1]} channels cannot be brought to the '
      f'{channels} of input_size; 1 and 3 can be converted.')


def scale(pixels: tf.Tensor) -> tf.Tensor:
  """[0, 255] -> [-1, 1], as in the official code."""
  return pixels / 127.5 - 1.


def unscale(pixels: tf.Tensor) -> tf.Tensor:
  """[-1, 1] -> [0, 255]."""
  return (pixels + 1.) * 127.5


def resize_bytes(pixels: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
  """As scale(tf.image.resize(pixels, size)), faster.

  Scaling first takes nothing from the result. It passes over memory once, not
  three times, and TensorFlow resizes floats several at once.

  Args:
    pixels: uint8 [H, W, C] or [F, H, W, C].
    size: (height, width).

  Returns:
    float32 of the same rank, in [-1, 1].
  """
  return tf.image.resize(tf.quantization.dequantize(
      tf.bitcast(pixels, tf.quint8), -1., 1.), size)


def to_bytes(pixels: tf.Tensor) -> tf.Tensor:
  """[-1, 1] -> uint8."""
  return tf.saturate_cast(tf.round(unscale(pixels)), tf.uint8)


def jpeg_columns(
    left: tf.Tensor, width: tf.Tensor, full_width: tf.Tensor
) -> Tuple[tf.Tensor, tf.Tensor]:
  """Which columns of a JPEG to decode so that some of them come out right.

  Colours are stored at half the size, so pixels need their neighbours: without
  them they differ from those of the whole image. Columns that begin within a
  block are decoded slower than whole blocks.

  Args:
    left: int32 [], first column that is needed.
    width: int32 [], columns that are needed.
    full_width: int32 [], columns that there are.

  Returns:
    int32 [] each: first column and number of columns.
  """
  first = tf.maximum((left - 1) // _JPEG_BLOCK * _JPEG_BLOCK, 0)
  return first, tf.minimum(left + width + 2, full_width) - first


def decode_box(image: tf.Tensor, box: BoxFn, channels: int) -> tf.Tensor:
  """Cuts a box out of an image, uint8 [H, W, channels].

  Of a JPEG only the box is decoded, which halves the cost of random crops.
  """
  def cut(pixels):
    top, left, height, width = box(tf.shape(pixels))
    return pixels[top:top + height, left:left + width]

  def from_jpeg():
    shape = tf.image.extract_jpeg_shape(image)
    top, left, height, width = box(shape)
    first, columns = jpeg_columns(left, width, shape[1])
    around = tf.image.decode_and_crop_jpeg(
        image, tf.stack([top, first, height, columns]), channels=3)
    return around[:, left - first:left - first + width]

  def from_other():
    return cut(tf.io.decode_image(image, channels=3, expand_animations=False))

  if image.dtype != tf.string:
    return convert_channels(cut(image), channels)
  # To colour first: not every format is decoded to grey, and what is served
  # has come as colour too. For grey pictures the way there and back is exact.
  pixels = tf.cond(tf.io.is_jpeg(image), from_jpeg, from_other)
  return convert_channels(
      tf.ensure_shape(pixels, [None, None, 3]), channels)
