"""Frames of clips against counting by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner.data import clip_sampling

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
