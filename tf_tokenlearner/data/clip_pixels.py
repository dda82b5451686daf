"""From stored frames to the pixels of clips."""

from typing import Callable, List

import tensorflow as tf

from tf_tokenlearner.data import clip_boxes
from tf_tokenlearner.data import pixel_ops


def cut(frames: tf.Tensor, boxes_of: Callable[[tf.Tensor], tf.Tensor],
        channels: int) -> List[tf.Tensor]:
  """Boxes out of frames, of which hardly more than they show is decoded.

  Args:
    frames: string [F], encoded images of one size, or uint8 [F, H, W, c]; F is
      at least 1.
    boxes_of: called once with the size of the frames, int32 [2] or more; gives
      boxes [K, 4] of one size: top, left, height, width.
    channels: C, that the boxes should have.

  Returns:
    K tensors, uint8 [F, box height, box width, C].
  """
  if frames.dtype != tf.string:
    boxes = boxes_of(tf.shape(frames)[1:3])
    around = tf.constant([0, 0])
  else:
    frames, boxes, around = tf.cond(
        tf.io.is_jpeg(frames[0]), lambda: _decode_jpegs(frames, boxes_of),
        lambda: _decode_others(frames, boxes_of))
    # To colour first: not every format is decoded to grey, and what is served
    # has come as colour too. For grey pictures the way there and back is exact.
    frames = tf.ensure_shape(frames, [None, None, None, 3])
  boxes -= tf.pad(around, [[0, 2]])
  return [pixel_ops.convert_channels(
      frames[:, top:top + height, left:left + width], channels)
          for top, left, height, width in map(tf.unstack, tf.unstack(boxes))]


def _decode_jpegs(frames, boxes_of):
  """(what lies around the boxes, the boxes, where it begins in the frame)."""
  shape = tf.image.extract_jpeg_shape(frames[0])
  boxes = boxes_of(shape)
  top, left, height, width = tf.unstack(clip_boxes.hull(boxes))
  first, columns = pixel_ops.jpeg_columns(left, width, shape[1])
  window = tf.stack([top, first, height, columns])
  decoded = tf.map_fn(
      lambda frame: tf.image.decode_and_crop_jpeg(frame, window, channels=3),
      frames, fn_output_signature=tf.uint8)
  return decoded, boxes, window[:2]


def _decode_others(frames, boxes_of):
  """As _decode_jpegs; of other formats every frame is decoded whole."""
  decoded = tf.map_fn(
      lambda frame: tf.ensure_shape(tf.io.decode_image(
          frame, channels=3, expand_animations=False), [None, None, 3]),
      frames, fn_output_signature=tf.uint8)
  return decoded, boxes_of(tf.shape(decoded)[1:3]), tf.constant([0, 0])


def flip(frames: tf.Tensor) -> tf.Tensor:
  """Mirror images of frames [F, H, W, C], left to right.

  Rows of pixels are what TensorFlow mirrors fast; frames take it longer than
  decoding them.
  """
  shape = tf.shape(frames)
  rows = tf.reshape(frames, [-1, shape[2], frames.shape[3]])
  return tf.reshape(tf.reverse(rows, [1]), shape)


def reduce_larger(frames: tf.Tensor, short_side: int) -> tf.Tensor:
  """Frames as the decoder of video files would have stored them.

  Args:
    frames: uint8 [F, H, W, C], of any size.
    short_side: larger frames are reduced to it, the ratio kept.

  Returns:
    uint8 of the same rank; the same frames where they are not larger.
  """
  shape = tf.shape(frames)[1:3]
  shorter = tf.reduce_min(shape)
  # Halves are exact in 64 bits, and go to the even number as in Python.
  size = tf.cast(tf.round(
      tf.cast(shape * short_side, tf.float64) / tf.cast(shorter, tf.float64)
  ), tf.int32)
  return tf.cond(
      shorter > short_side,
      lambda: tf.saturate_cast(tf.round(tf.image.resize(
          frames, size, tf.image.ResizeMethod.AREA)), tf.uint8),
      lambda: frames)
