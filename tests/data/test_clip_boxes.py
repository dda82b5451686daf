"""Crops by hand, in pixels of the stored frame."""

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner.data import clip_sampling


@pytest.mark.parametrize('shape, size, short_side, expected', [
    # As large as it is shown.
    ((256, 340), (224, 224), 256, [16, 58, 224, 224]),
    ((340, 256, 3), (224, 224), 256, [58, 16, 224, 224]),
    # Twice and half as large.
    ((512, 680), (224, 224), 256, [32, 116, 448, 448]),
    ((128, 170), (224, 224), 256, [8, 29, 112, 112]),
    # Wide clips.
    ((256, 340), (112, 224), 256, [72, 58, 112, 224]),
    # Too narrow for the crop: as much of it as there is.
    ((100, 80), (224, 448), 256, [30, 0, 40, 80]),
    ((1, 1), (4, 4), 4, [0, 0, 1, 1]),
])
def test_central_box(shape, size, short_side, expected):
  boxes = clip_sampling.even_boxes(tf.constant(shape), size, short_side, 1)
  np.testing.assert_array_equal(boxes, [expected])


@pytest.mark.parametrize('shape, corners', [
    ((256, 340), [[16, 0], [16, 58], [16, 116]]),
    ((340, 256), [[0, 16], [58, 16], [116, 16]]),
    ((256, 256), [[16, 0], [16, 16], [16, 32]]),
])
def test_three_boxes_lie_along_the_longer_side(shape, corners):
  boxes = clip_sampling.even_boxes(tf.constant(shape), (224, 224), 256, 3)
  np.testing.assert_array_equal(boxes[:, :2], corners)
  np.testing.assert_array_equal(boxes[:, 2:], [[224, 224]] * 3)


@pytest.mark.parametrize('shape, size, expected', [
    # As wide as the frame: its width leaves no room, its height does.
    ((256, 340), (224, 398), [[0, 0], [32, 0], [65, 0]]),
    ((340, 256), (398, 224), [[0, 0], [0, 32], [0, 65]]),
    ((256, 256), (224, 112), [[16, 0], [16, 72], [16, 144]]),
    ((256, 256), (112, 224), [[0, 16], [72, 16], [144, 16]])])
def test_three_boxes_lie_where_there_is_room(shape, size, expected):
  boxes = clip_sampling.even_boxes(tf.constant(shape), size, 256, 3)
  np.testing.assert_array_equal(boxes[:, :2], expected)


def test_hull():
  boxes = tf.constant([[3, 5, 10, 20], [3, 9, 10, 20], [1, 7, 10, 20]])
  np.testing.assert_array_equal(clip_sampling.hull(boxes), [1, 5, 12, 24])


def test_random_boxes_go_everywhere():
  tf.random.set_seed(0)
  boxes = np.concatenate([
      clip_sampling.random_box(tf.constant([10, 12]), (8, 8), 10, [])
      for _ in range(200)])
  np.testing.assert_array_equal(boxes[:, 2:], [[8, 8]] * 200)
  assert set(boxes[:, 0]) == {0, 1, 2} and set(boxes[:, 1]) == {0, 1, 2, 3, 4}


def test_scale_jitter():
  """Sides of 80 / number; what would be smaller than the crop is as large."""
  tf.random.set_seed(0)
  boxes = np.concatenate([
      clip_sampling.random_box(
          tf.constant([100, 150]), (80, 80), 100, [0.7, 2.])
      for _ in range(300)])
  assert (boxes[:, 2] == boxes[:, 3]).all()
  assert boxes[:, 2].max() == 100 and 40 <= boxes[:, 2].min() < 45
  assert .02 < np.mean(boxes[:, 2] == 100) < .2  # 0.1 of 1.3 is expected.
  assert (boxes[:, :2] >= 0).all()
  assert (boxes[:, :2] + boxes[:, 2:] <= [100, 150]).all()
