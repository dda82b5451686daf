"""Tests of clip sampling: frames and crops by hand, cuts against whole frames.
"""

import numpy as np
import pytest
import tensorflow as tf

from tests.data import tiny_videos
from tf_tokenlearner.data import clip_sampling
from tf_tokenlearner import errors

SIZES = [(1, 1), (1, 3), (3, 1), (4, 2), (5, 3), (8, 1)]


def count(start, length, num_frames, stride, short_videos):
  """Steps through a video frame by frame."""
  frames, at = [], start
  for _ in range(num_frames):
    frames.append(at)
    for _ in range(stride):
      at += 1
      if at == length:
        at = 0 if short_videos == 'loop' else length - 1
  return frames


@pytest.mark.parametrize('short_videos', clip_sampling.SHORT_VIDEOS)
@pytest.mark.parametrize('num_frames, stride', SIZES)
def test_frames_of_clips(num_frames, stride, short_videos):
  for length in range(1, 2 * num_frames * stride + 3):
    starts = clip_sampling.even_starts(
        tf.constant(length), 3, num_frames, stride)
    indices = clip_sampling.frame_indices(
        starts, tf.constant(length), num_frames, stride, short_videos)
    np.testing.assert_array_equal(indices, [
        count(start, length, num_frames, stride, short_videos)
        for start in starts.numpy()])
    if length > (num_frames - 1) * stride:  # The rule is not called for.
      np.testing.assert_array_equal(
          np.diff(indices), np.full([3, num_frames - 1], stride))


@pytest.mark.parametrize('num_frames, stride', SIZES)
def test_clips_reach_from_end_to_end(num_frames, stride):
  span = (num_frames - 1) * stride + 1
  for length in range(1, 2 * span + 5):
    last = max(length - span, 0)
    for num_clips in (2, 3, 4):
      starts = clip_sampling.even_starts(
          tf.constant(length), num_clips, num_frames, stride).numpy()
      expected = [k * last // (num_clips - 1) for k in range(num_clips)]
      np.testing.assert_array_equal(starts, expected)
      assert starts[0] == 0 and starts[-1] == last
    middle, = clip_sampling.even_starts(
        tf.constant(length), 1, num_frames, stride).numpy()
    after = last - middle
    assert after - middle in (0, 1)


def test_random_starts_are_all_that_fit():
  tf.random.set_seed(0)
  draw = lambda length: {
      int(clip_sampling.random_start(tf.constant(length), 3, 2))
      for _ in range(80)}
  assert draw(9) == {0, 1, 2, 3, 4}
  assert draw(5) == draw(4) == draw(1) == {0}


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


def cut(frames, boxes, channels=3):
  return clip_sampling.cut(
      tf.constant(frames), lambda shape: tf.constant(boxes), channels)


@pytest.mark.parametrize('encode', [
    tf.io.encode_jpeg, tf.io.encode_png,
    lambda x: tf.io.encode_jpeg(x, progressive=True),
    lambda x: tf.io.encode_jpeg(x, chroma_downsampling=False)])
def test_cut_is_exact_to_the_pixel(encode):
  random = np.random.default_rng(0)
  frames = random.integers(0, 256, [2, 51, 70, 3], dtype=np.uint8)
  encoded = tiny_videos.encode(frames, encode)
  decoded = np.stack([
      tf.io.decode_image(frame, channels=3) for frame in encoded])
  for _ in range(12):
    size = random.integers(1, [40, 60])
    corners = random.integers(0, [51, 70] - size + 1, [3, 2])
    boxes = np.array([[*corner, *size] for corner in corners], np.int32)
    for frames in (encoded, decoded):
      results = cut(frames, boxes)
      assert len(results) == 3
      for (top, left, height, width), result in zip(boxes, results):
        np.testing.assert_array_equal(
            result, decoded[:, top:top + height, left:left + width])


def test_boxes_are_drawn_once_for_the_true_size():
  sizes = []
  for encode in (tf.io.encode_jpeg, tf.io.encode_png):
    clip_sampling.cut(
        tf.constant(tiny_videos.encode(tiny_videos.noise(3), encode)),
        lambda shape: (sizes.append(shape[:2].numpy().tolist())
                       or tf.constant([[0, 0, 1, 1]])), 3)
  assert sizes == [[24, 40]] * 2


def test_channels_are_converted():
  grey = np.arange(0, 250, 10, dtype=np.uint8).reshape([1, 5, 5, 1])
  whole = [[0, 0, 5, 5]]
  encoded = tiny_videos.encode(grey, tf.io.encode_png)
  for frames in (grey, encoded):
    np.testing.assert_array_equal(cut(frames, whole, 1)[0], grey)
    np.testing.assert_array_equal(
        cut(frames, whole, 3)[0], np.repeat(grey, 3, -1))
  with pytest.raises(errors.UserError, match='only 1 and 3 can be converted'):
    cut(np.repeat(grey, 2, -1), whole)


def test_flip():
  frames = tiny_videos.noise(3)
  np.testing.assert_array_equal(
      clip_sampling.flip_left_right(tf.constant(frames)), frames[:, :, ::-1])
  np.testing.assert_array_equal(
      clip_sampling.flip_up_down(tf.constant(frames)), frames[:, ::-1])
