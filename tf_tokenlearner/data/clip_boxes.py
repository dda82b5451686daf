"""Which part of its frames a clip shows.

Frames are not scaled and then cropped: the crop is found in pixels of the
stored frame, so that only what is shown gets decoded and resized. The two
differ by less than a stored pixel.
"""

from typing import Sequence

import tensorflow as tf


def random_box(shape: tf.Tensor, input_size: Sequence[int],
               min_image_size: int, scale_jitter: Sequence[float]) -> tf.Tensor:
  """A crop at a random place of frames of a random size.

  Args:
    shape: int32 [2 or more], height and width of the stored frames.
    input_size: (height, width) of the crop.
    min_image_size: of the frames' shorter side, scaled.
    scale_jitter: () or (low, high), a random number between which
      min_image_size is multiplied by.

  Returns:
    int32 [1, 4]: top, left, height, width in pixels of the stored frame.
  """
  short_side = tf.cast(min_image_size, tf.float32)
  if scale_jitter:
    short_side *= tf.random.uniform([], *scale_jitter)
  extent = _crop_extent(shape, input_size, short_side)
  room = tf.cast(shape[:2] - extent + 1, tf.float32)
  corner = tf.cast(tf.random.uniform([2]) * room, tf.int32)
  # The product may round up to the room itself.
  corner = tf.minimum(corner, shape[:2] - extent)
  return tf.concat([corner, extent], 0)[None]


def even_boxes(shape: tf.Tensor, input_size: Sequence[int],
               min_image_size: int, num_crops: int) -> tf.Tensor:
  """Crops spread evenly where there is most room; a single one is central.

  Args:
    shape: int32 [2 or more], height and width of the stored frames.
    input_size: (height, width) of a crop.
    min_image_size: of the frames' shorter side, scaled.
    num_crops: how many; the first and the last one touch the borders.

  Returns:
    int32 [num_crops, 4]: top, left, height, width in pixels of the stored
    frame.
  """
  short_side = tf.cast(min_image_size, tf.float32)
  extent = _crop_extent(shape, input_size, short_side)
  room = shape[:2] - extent
  corners = tf.tile((room // 2)[None], [num_crops, 1])
  if num_crops > 1:
    spread = tf.range(num_crops)[:, None] * room // (num_crops - 1)
    is_down = room[0] > room[1]  # Of a square frame, along the width.
    corners = tf.where(tf.stack([is_down, ~is_down]), spread, corners)
  return tf.concat([corners, tf.tile(extent[None], [num_crops, 1])], 1)


def hull(boxes: tf.Tensor) -> tf.Tensor:
  """The smallest box around all of [K, 4]; int32 [4]."""
  corner = tf.reduce_min(boxes[:, :2], axis=0)
  end = tf.reduce_max(boxes[:, :2] + boxes[:, 2:], axis=0)
  return tf.concat([corner, end - corner], 0)


def _crop_extent(shape: tf.Tensor, input_size: Sequence[int],
                 short_side: tf.Tensor) -> tf.Tensor:
  """Height and width of a crop before scaling; int32 [2].

  Frames that would become smaller than the crop are scaled up until it fits.
  """
  available = tf.cast(shape[:2], tf.float32)
  wanted = tf.cast(input_size[:2], tf.float32)
  pixels = tf.minimum(tf.reduce_min(available) / short_side,
                      tf.reduce_min(available / wanted))
  extent = tf.cast(tf.round(wanted * pixels), tf.int32)
  return tf.clip_by_value(extent, 1, shape[:2])
