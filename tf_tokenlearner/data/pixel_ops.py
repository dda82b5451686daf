"""Pixel operations that images and clips share."""

from typing import Callable, Sequence, Tuple

import tensorflow as tf

from tf_tokenlearner.data import image_decoding
from tf_tokenlearner.data import orientation
from tf_tokenlearner import errors

# (top, left, height, width) in pixels, of a shape (H, W, channels).
BoxFn = Callable[[tf.Tensor], Tuple[tf.Tensor, ...]]

_JPEG_BLOCK = 16  # Pixels; the largest block of common files.


def convert_channels(images: tf.Tensor, channels: int) -> tf.Tensor:
  """Converts grey to colour or back.

  Args:
    images: [..., C].
    channels: of the result.

  Raises:
    UserError: neither equal nor 1 and 3.
  """
  if images.shape[-1] == channels:
    return images
  if (images.shape[-1], channels) == (1, 3):
    return tf.image.grayscale_to_rgb(images)
  if (images.shape[-1], channels) == (3, 1):
    return tf.image.rgb_to_grayscale(images)
  raise errors.UserError(
      f'Expected images of 1 or 3 channels for an input_size with {channels}, '
      f'got {images.shape[-1]}; only 1 and 3 can be converted.')


def scale(pixels: tf.Tensor) -> tf.Tensor:
  """Maps [0, 255] to [-1, 1], as the official code does."""
  return pixels / 127.5 - 1.


def unscale(pixels: tf.Tensor) -> tf.Tensor:
  """Maps [-1, 1] to [0, 255]."""
  return (pixels + 1.) * 127.5


def resize_bytes(pixels: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
  """Returns scale(tf.image.resize(pixels, size)), faster.

  Scaling first does not change the result. It passes over memory once instead
  of three times, and TensorFlow vectorizes resizing of floats.

  Args:
    pixels: uint8 [H, W, C] or [F, H, W, C].
    size: (height, width).

  Returns:
    float32 of the same rank, in [-1, 1].
  """
  return tf.image.resize(tf.quantization.dequantize(
      tf.bitcast(pixels, tf.quint8), -1., 1.), size)


def to_bytes(pixels: tf.Tensor) -> tf.Tensor:
  """Maps [-1, 1] to uint8."""
  return tf.saturate_cast(tf.round(unscale(pixels)), tf.uint8)


def jpeg_columns(
    left: tf.Tensor, width: tf.Tensor, full_width: tf.Tensor
) -> Tuple[tf.Tensor, tf.Tensor]:
  """Returns the columns of a JPEG to decode so that some come out exact.

  Colours are stored at half the size, so decoding interpolates: pixels at the
  border of a crop differ from those of the whole image. Decoding is slower for
  columns that begin within a block.

  Args:
    left: int32 [], first column that is needed.
    width: int32 [], number of columns that are needed.
    full_width: int32 [], width of the image.

  Returns:
    int32 [] each: first column and number of columns.
  """
  first = tf.maximum((left - 1) // _JPEG_BLOCK * _JPEG_BLOCK, 0)
  return first, tf.minimum(left + width + 2, full_width) - first


def decode_box(image: tf.Tensor, box: BoxFn, channels: int) -> tf.Tensor:
  """Cuts a box out of an upright image.

  Decodes only the box of a JPEG, which halves the cost of random crops.

  Args:
    image: string [], the content of an image file, or uint8 [H, W, C].
    box: returns the box for the shape of the upright image.
    channels: 1 or 3.

  Returns:
    uint8 [height of the box, width of the box, channels].

  Raises:
    UserError: the channels of decoded pixels cannot be converted.
  """
  def cut(pixels):
    top, left, height, width = box(tf.shape(pixels))
    return pixels[top:top + height, left:left + width]

  def from_jpeg():
    shape, tag = tf.image.extract_jpeg_shape(image), orientation.read(image)
    top, left, height, width = orientation.stored_box(
        box(orientation.upright_shape(shape, tag)), shape, tag)
    first, columns = jpeg_columns(left, width, shape[1])
    around = tf.image.decode_and_crop_jpeg(
        image, tf.stack([top, first, height, columns]), channels=3)
    return orientation.upright(
        around[:, left - first:left - first + width], tag)

  if image.dtype != tf.string:
    return convert_channels(cut(image), channels)
  # To colour first: not every format can be decoded to grey, and exports
  # receive colour as well. For grey images the conversion is exact both ways.
  pixels = tf.cond(tf.io.is_jpeg(image), from_jpeg,
                   lambda: cut(image_decoding.decode(image)))
  return convert_channels(
      tf.ensure_shape(pixels, [None, None, 3]), channels)
