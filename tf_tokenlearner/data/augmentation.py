"""Colour augmentation of clips, and the Garden's augmentation policies."""

from typing import Optional

from official.vision.configs import common
from official.vision.ops import augment
import tensorflow as tf

from tf_tokenlearner import errors


# The defaults of DMVR, as in the recipe of ViViT (Arnab et al. 2021, arXiv
# 2103.15691).
_BRIGHTNESS = 32 / 255
_CONTRAST = _SATURATION = 0.4
_HUE = 0.2


def maybe_jitter(clip: tf.Tensor, probability: float) -> tf.Tensor:
  """Random brightness, contrast, saturation and hue.

  Args:
    clip: float [T, H, W, 3] in [-1, 1].
    probability: of doing it at all.

  Returns:
    The like, in [-1, 1].
  """
  def jitter():
    x = (clip + 1.) / 2.
    x = tf.image.random_brightness(x, _BRIGHTNESS)
    x = tf.image.random_contrast(x, 1 - _CONTRAST, 1 + _CONTRAST)
    x = tf.clip_by_value(x, 0., 1.)  # What has no saturation or hue.
    x = tf.image.random_saturation(x, 1 - _SATURATION, 1 + _SATURATION)
    x = tf.image.random_hue(x, _HUE)
    return tf.clip_by_value(x, 0., 1.) * 2. - 1.

  return _maybe(jitter, clip, probability)


def maybe_drop(clip: tf.Tensor, probability: float) -> tf.Tensor:
  """Grey instead of colours.

  Args:
    clip: float [T, H, W, 3] in [-1, 1].
    probability: of doing it at all.

  Returns:
    The like, in [-1, 1].
  """
  grey = lambda: tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(clip))
  return _maybe(grey, clip, probability)


def _maybe(change, clip: tf.Tensor, probability: float) -> tf.Tensor:
  if not probability:
    return clip
  return tf.cond(tf.random.uniform([]) < probability, change, lambda: clip)


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
