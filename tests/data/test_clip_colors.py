"""One draw of colours for all frames of a clip."""

import numpy as np
import tensorflow as tf

from tests.data import tiny_videos
from tf_tokenlearner.data import augmentation


def clip(seed=0):
  """A still one: every frame is the same."""
  return tf.repeat(tiny_videos.noise(1, seed=seed) / 127.5 - 1., 3, axis=0)


def test_all_frames_change_alike():
  tf.random.set_seed(0)
  x = tf.cast(clip(), tf.float32)
  changed = []
  for change in (augmentation.maybe_jitter, augmentation.maybe_drop):
    y = change(x, 1.).numpy()
    assert np.abs(y).max() <= 1 and np.abs(y - x).max() > .05
    np.testing.assert_allclose(y[1:], y[:-1], atol=1e-5)
    changed.append(y)
  np.testing.assert_allclose(changed[1][..., 0], changed[1][..., 2])
  again = augmentation.maybe_jitter(x, 1.)
  assert np.abs(changed[0] - again).max() > .01


def test_grey_stays_grey_under_jitter():
  grey = tf.image.rgb_to_grayscale(tf.cast(clip(), tf.float32))
  y = augmentation.maybe_jitter(tf.image.grayscale_to_rgb(grey), 1.).numpy()
  np.testing.assert_allclose(y[..., 0], y[..., 2], atol=1e-5)


def test_probability():
  tf.random.set_seed(0)
  x = tf.cast(clip(), tf.float32)
  is_same = lambda y: np.array_equal(x, y)
  for change in (augmentation.maybe_jitter, augmentation.maybe_drop):
    assert change(x, 0.) is x
    share = np.mean([is_same(change(x, .3)) for _ in range(150)])
    assert .55 < share < .85
