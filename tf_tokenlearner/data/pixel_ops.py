"""What happens to the pixels of images and of clips alike."""

from typing import Optional

import tensorflow as tf
from official.vision.configs import common
from official.vision.ops import augment

from tf_tokenlearner import errors


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


def make_augmenter(
    aug_type: Optional[common.Augmentation], channels: int,
    option: str = 'aug_type') -> Optional[augment.ImageAugment]:
  """The Garden's RandAugment or AutoAugment, or None.

  Args:
    aug_type: what the config says.
    channels: of the images.
    option: how messages call aug_type.

  Raises:
    UserError: another augmentation, or images that are not of three channels.
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
  return makers[aug_type.type](**aug_type.get().as_dict())
