"""Colour augmentation, one draw for all frames of a clip."""

import tensorflow as tf

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
