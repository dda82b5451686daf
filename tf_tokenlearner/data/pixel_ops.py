"""What happens to the pixels of images and of clips alike."""

from typing import Optional, Sequence, Tuple

import tensorflow as tf
from official.vision.configs import common
from official.vision.ops import augment

from tf_tokenlearner import errors

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


def make_augmenter(
    aug_type: Optional[common.Augmentation], channels: int,
    option: str = 'aug_type',
    of_clips: bool = False) -> Optional[augment.ImageAugment]:
  """The Garden's RandAugment or AutoAugment, or None.

  Args:
    aug_type: what the config says.
    channels: of the images.
    option: how messages call aug_type.
    of_clips: draw once for all frames of a clip: RandAugment goes without its
      Cutout, which the Garden cuts out of some of the frames.

  Raises:
    UserError: another augmentation, one without operations, or images that are
      not of three channels.
  """
  if aug_type is None or aug_type.type is None:
    return None
  makers = {'randaug': augment.RandAugment, 'autoaug': augment.AutoAugment}
  if aug_type.type not in makers:
    raise errors.unknown_name(f'{option}.type', aug_type.type, makers)
  if channels != 3:
    raise errors.UserError(
        f'{option}={aug_type.type} needs 3 channels, input_size has '
        f'{channels}.')
  arguments = aug_type.get().as_dict()
  if of_clips and aug_type.type == 'randaug':
    arguments['exclude_ops'] = [*(arguments['exclude_ops'] or ()), 'Cutout']
  augmenter = makers[aug_type.type](**arguments)
  if not getattr(augmenter, 'available_ops', True):
    raise errors.UserError(
        f'{option}.randaug.exclude_ops must leave an operation'
        f'{", other than Cutout, for clips" if of_clips else ""}; received '
        f'{", ".join(aug_type.get().exclude_ops)}.')
  return augmenter
