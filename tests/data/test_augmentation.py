"""Augmentation: seeds, geometry, colours of images and clips."""

from official.vision.configs import common
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.data import tiny_videos
from tf_tokenlearner.data import augmentation


def clip(seed=0):
  """Returns a clip of equal frames, in [-1, 1]."""
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


def test_grey_clips_stay_grey():
  tf.random.set_seed(0)
  grey = tf.image.rgb_to_grayscale(tf.cast(clip(), tf.float32))
  y = augmentation.maybe_jitter(grey, 1.).numpy()
  assert y.shape == grey.shape and np.abs(y - grey).max() > .05


def drawn(seed):
  """Returns random boxes that tf.data draws after seeding."""
  tf_keras.utils.set_random_seed(seed)
  box = augmentation.random_box([.08, 1.])
  return [tuple(place) for place in tf.data.Dataset.range(5).map(
      lambda _: tf.stack(box(tf.constant([100, 80, 3])))
      ).as_numpy_iterator()]


def test_random_boxes_obey_the_seed():
  first = drawn(0)
  assert first == drawn(0) and first != drawn(1) and len(set(first)) == 5
  for top, left, height, width in first:
    assert 0 <= top <= top + height <= 100 and 0 <= left <= left + width <= 80
    assert .07 < height * width / 8000 <= 1 and .7 < width / height < 1.4


def test_random_boxes_relative_to_the_picture():
  """A strip of 1:20 gives strips; so the network sees them as in evaluation."""
  tf.random.set_seed(0)
  box = augmentation.random_box([.25, 1.], of_picture=True)
  for shape in ([100, 2000, 3], [1, 300, 3]):
    rows, columns = shape[:2]
    for _ in range(20):
      top, left, height, width = map(int, box(tf.constant(shape)))
      assert 0 <= top < top + height <= rows
      assert 0 <= left < left + width <= columns
      if rows > 1:
        assert .24 < height * width / (rows * columns) <= 1
        assert .7 < (height / rows) / (width / columns) < 1.4


def test_rotation():
  """A right angle is exact; the centre stays; angles keep to the bound."""
  image = tf.random.stateless_uniform([9, 9, 3], [0, 0], -1, 1)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(tf.random, 'uniform', lambda shape, low, high: high)
    turned = augmentation.rotate(image, 90.)
    np.testing.assert_allclose(turned, tf.image.rot90(image), atol=1e-4)
    np.testing.assert_allclose(
        augmentation.rotate(image, 0.), image, atol=1e-6)
  smooth = tf.tile(tf.linspace(-1., 1., 33)[None, :, None], [33, 1, 1])
  columns = [augmentation.rotate(smooth, 20.)[16 + 8, 16, 0]
             for _ in range(50)]
  # Eight pixels from the centre, the sine of the angle shows.
  assert .1 < np.abs(columns).max() <= 8 / 16 * np.sin(np.pi / 9) + 1e-3
  assert min(columns) < 0 < max(columns)


@pytest.mark.parametrize('name', ['randaug', 'autoaug'])
def test_policies_on_grey_images(name):
  tf.random.set_seed(1)
  policy = augmentation.make_augmenter(common.Augmentation(type=name), 1)
  image = tf.cast(tiny_videos.noise(1, seed=0)[0, ..., :1], tf.uint8)
  results = [policy.distort(image).numpy() for _ in range(6)]
  assert all(result.shape == image.shape for result in results)
  assert any(np.abs(result.astype(int) - image).max() > 3
             for result in results)


def test_jitter_of_grey_and_colour():
  tf.random.set_seed(0)
  image = tf.cast(tiny_videos.noise(1, seed=0)[0], tf.uint8)
  for channels in (1, 3):
    changed = augmentation.jitter(image[..., :channels], .5)
    assert changed.shape == image[..., :channels].shape
    assert np.abs(tf.cast(changed - image[..., :channels], tf.int32)).max() > 3
