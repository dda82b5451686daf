"""Cutting out of encoded frames equals cutting out of decoded ones."""

import numpy as np
import pytest
import tensorflow as tf

from tests.data import tiny_videos
from tf_tokenlearner.data import clip_sampling
from tf_tokenlearner import errors


def cut(frames, boxes, channels=3):
  return clip_sampling.cut(
      tf.constant(frames), lambda shape: tf.constant(boxes), channels)


@pytest.mark.parametrize('encode', [
    tf.io.encode_jpeg, tf.io.encode_png,
    lambda x: tf.io.encode_jpeg(x, progressive=True),
    lambda x: tf.io.encode_jpeg(x, chroma_downsampling=False)])
def test_boxes_are_to_the_pixel(encode):
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
