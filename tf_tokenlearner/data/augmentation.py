"""Random changes of images and clips in training.

Every random number comes from TensorFlow's global seed, so `seed` in a config
reaches all of them. Ops that take a seed of their own get it from `draw_seed`.
"""

import math
from typing import Callable, Optional, Sequence

from official.vision.configs import common
from official.vision.ops import augment
from official.vision.ops import preprocess_ops
import tensorflow as tf

from tf_tokenlearner.data import pixel_ops
from tf_tokenlearner import errors


# The defaults of DMVR, as in the recipe of ViViT (Arnab et al. 2021, arXiv
# 2103.15691).
_BRIGHTNESS = 32 / 255
_CONTRAST = _SATURATION = 0.4
_HUE = 0.2


def draw_seed() -> tf.Tensor:
  """Draws the seed of a stateless op from the global seed, int32 [2].

  Some of TensorFlow's random ops ignore the global seed; their stateless
  versions with this seed obey it.
  """
  return tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)


def random_box(area_range: Sequence[float],
               of_picture: bool = False) -> pixel_ops.BoxFn:
  """Returns a function that draws a box with sides from 3:4 to 4:3.

  Source: Szegedy et al. 2015 (arXiv 1409.4842), section 6.

  Args:
    area_range: smallest and largest share of the image's area.
    of_picture: whether the sides are relative to those of the image, so that
      the box can have the aspect ratio of the image.
  """
  def draw(shape):
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape, tf.zeros([0, 0, 4]), draw_seed(), area_range=area_range,
        aspect_ratio_range=(3 / 4, 4 / 3), max_attempts=10,
        use_image_if_no_bounding_boxes=True)
    return begin[:2], size[:2]

  def box(shape):
    if of_picture:  # Of a square, which is then squeezed to the image.
      side = tf.reduce_max(shape[:2])
      begin, size = draw(tf.stack([side, side, 1]))
      begin, size = (tf.cast(
          tf.cast(values, tf.int64) * tf.cast(shape[:2], tf.int64)
          // tf.cast(side, tf.int64), tf.int32) for values in (begin, size))
      size = tf.maximum(size, 1)
    else:
      begin, size = draw(shape)
    return begin[0], begin[1], size[0], size[1]
  return box


def rotate(image: tf.Tensor, max_degrees: float) -> tf.Tensor:
  """Rotates an image by a random angle; the outside is its reflection.

  Args:
    image: float32 [H, W, C].
    max_degrees: bound of the angle in both directions.

  Returns:
    float32 [H, W, C].
  """
  angle = tf.random.uniform([], -max_degrees, max_degrees) * (math.pi / 180)
  cos, sin = tf.cos(angle), tf.sin(angle)
  size = tf.shape(image)[:2]
  bottom, right = tf.unstack(tf.cast(size - 1, tf.float32))
  # Maps pixels of the result to those of the image, about the centre.
  transform = tf.stack([
      cos, -sin, (right - cos * right + sin * bottom) / 2,
      sin, cos, (bottom - sin * right - cos * bottom) / 2, 0., 0.])
  return tf.ensure_shape(tf.raw_ops.ImageProjectiveTransformV3(
      images=image[None], transforms=transform[None], output_shape=size,
      fill_value=0., interpolation='BILINEAR', fill_mode='REFLECT')[0],
                         image.shape)


def jitter(image: tf.Tensor, strength: float) -> tf.Tensor:
  """Changes brightness, contrast and saturation at random.

  Args:
    image: uint8 [H, W, 1 or 3]; grey has no saturation.
    strength: largest change of each, as a share.

  Returns:
    uint8 of the same shape.
  """
  return _in_color(image, lambda x: preprocess_ops.color_jitter(
      x, strength, strength, strength))


def maybe_jitter(clip: tf.Tensor, probability: float) -> tf.Tensor:
  """Changes brightness, contrast, saturation and hue of a clip at random.

  Args:
    clip: float [T, H, W, 1 or 3] in [-1, 1]; grey has no saturation and hue.
    probability: that anything is changed.

  Returns:
    float of the same shape, in [-1, 1].
  """
  def change():
    x = (clip + 1.) / 2.
    x = tf.image.random_brightness(x, _BRIGHTNESS)
    x = tf.image.random_contrast(x, 1 - _CONTRAST, 1 + _CONTRAST)
    x = tf.clip_by_value(x, 0., 1.)  # Beyond there is no saturation or hue.
    if clip.shape[-1] == 3:
      x = tf.image.random_saturation(x, 1 - _SATURATION, 1 + _SATURATION)
      x = tf.image.random_hue(x, _HUE)
    return tf.clip_by_value(x, 0., 1.) * 2. - 1.

  return _maybe(change, clip, probability)


def maybe_drop(clip: tf.Tensor, probability: float) -> tf.Tensor:
  """Replaces the colours of a clip by grey at random.

  Args:
    clip: float [T, H, W, 3] in [-1, 1].
    probability: that the colours are replaced.

  Returns:
    float of the same shape, in [-1, 1].
  """
  grey = lambda: tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(clip))
  return _maybe(grey, clip, probability)


def _maybe(change: Callable[[], tf.Tensor], clip: tf.Tensor,
           probability: float) -> tf.Tensor:
  if not probability:
    return clip
  return tf.cond(tf.random.uniform([]) < probability, change, lambda: clip)


def _in_color(image: tf.Tensor,
              change: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
  """Applies a function of three channels to an image of three or one."""
  if image.shape[-1] == 3:
    return change(image)
  return change(tf.image.grayscale_to_rgb(image))[..., :1]


class _Policy:
  """One of the Garden's augmentation policies, for images in colour or grey."""

  def __init__(self, augmenter: augment.ImageAugment):
    self._augmenter = augmenter

  def distort(self, images: tf.Tensor) -> tf.Tensor:
    """Returns changed images, uint8 [..., H, W, C] as given."""
    return _in_color(images, self._augmenter.distort)


def make_augmenter(
    aug_type: Optional[common.Augmentation], channels: int,
    option: str = 'aug_type', of_clips: bool = False) -> Optional[_Policy]:
  """Returns the Garden's RandAugment or AutoAugment, or None.

  Grey images go through the operations in colour and come back grey; those that
  change saturation have no effect on them.

  Args:
    aug_type: the augmentation that the config names.
    channels: of the images.
    option: name of aug_type in messages.
    of_clips: draws once for all frames of a clip: RandAugment goes without its
      Cutout, which the Garden cuts out of some of the frames.

  Raises:
    UserError: another augmentation, one without operations, or images that have
      neither one nor three channels.
  """
  if aug_type is None or aug_type.type is None:
    return None
  makers = {'randaug': augment.RandAugment, 'autoaug': augment.AutoAugment}
  if aug_type.type not in makers:
    raise errors.unknown_name(f'{option}.type', aug_type.type, makers)
  if channels not in (1, 3):
    raise errors.UserError(
        f'{option}={aug_type.type} needs 1 or 3 channels, input_size has '
        f'{channels}.')
  arguments = aug_type.get().as_dict()
  if of_clips and aug_type.type == 'randaug':
    arguments['exclude_ops'] = [*(arguments['exclude_ops'] or ()), 'Cutout']
  augmenter = makers[aug_type.type](**arguments)
  if not getattr(augmenter, 'available_ops', True):
    raise errors.UserError(
        f'{option}.randaug.exclude_ops must leave an operation'
        f'{", other than Cutout, for clips" if of_clips else ""}; got '
        f'{", ".join(aug_type.get().exclude_ops)}.')
  return _Policy(augmenter)
