"""Chooses frames of videos and crops of frames."""

from typing import Callable, List, Optional, Sequence

import tensorflow as tf

from tf_tokenlearner.data import pixel_ops


MAX_FPS = 240  # Highest rate at which videos are decoded.

SHORT_VIDEOS = ('loop', 'pad')


def random_start(
    length: tf.Tensor, num_frames: int, stride: int) -> tf.Tensor:
  """Draws the first frame of a clip, uniformly among those with enough room.

  A clip of a video that is too short starts with its first frame.

  Args:
    length: int32 [], frames of the video.
    num_frames: T, frames of the clip.
    stride: frames of the video from one frame of the clip to the next.

  Returns:
    int32 [].
  """
  return tf.random.uniform(
      [], 0, _last_start(length, num_frames, stride) + 1, tf.int32)


def even_starts(length: tf.Tensor, num_clips: int, num_frames: int,
                stride: int) -> tf.Tensor:
  """Returns the first frames of clips spread evenly from start to end.

  A single clip lies in the middle. The Garden's sampler counts the stride after
  the last frame as well, so its clips lie earlier and never reach the end.

  Args:
    length: int32 [], frames of the video.
    num_clips: number of clips.
    num_frames: T, frames of a clip.
    stride: frames of the video from one frame of a clip to the next.

  Returns:
    int32 [num_clips].
  """
  last = _last_start(length, num_frames, stride)
  if num_clips == 1:
    return (last // 2)[None]
  return tf.range(num_clips) * last // (num_clips - 1)


def frame_indices(starts: tf.Tensor, length: tf.Tensor, num_frames: int,
                  stride: int, short_videos: str) -> tf.Tensor:
  """Returns the indices of the frames of clips.

  Args:
    starts: int32 [...], first frames.
    length: int32 [], frames of the video; at least 1.
    num_frames: T, frames of a clip.
    stride: frames of the video from one frame of a clip to the next.
    short_videos: continuation after the last frame: 'loop' starts again, 'pad'
      repeats the last frame.

  Returns:
    int32 [..., T], below length.
  """
  indices = starts[..., None] + tf.range(num_frames) * stride
  if short_videos == 'loop':
    return indices % length
  return tf.minimum(indices, length - 1)


def _last_start(length: tf.Tensor, num_frames: int, stride: int) -> tf.Tensor:
  span = (num_frames - 1) * stride + 1
  return tf.maximum(length - span, 0)


def random_box(shape: tf.Tensor, input_size: Sequence[int],
               min_image_size: int, scale_jitter: Sequence[float]) -> tf.Tensor:
  """Draws a crop of frames that are scaled by a random factor.

  Args:
    shape: int32 [2 or more], (H, W, ...) of the stored frames.
    input_size: (height, width) of the crop after scaling.
    min_image_size: shorter side of the scaled frames, in pixels.
    scale_jitter: () or (low, high): range of a random factor of min_image_size.

  Returns:
    int32 [1, 4]: top, left, height, width in pixels of the stored frame.
  """
  short_side = tf.cast(min_image_size, tf.float32)
  if scale_jitter:
    short_side *= tf.random.uniform([], *scale_jitter)
  extent = _crop_extent(shape, input_size, short_side)
  room = tf.cast(shape[:2] - extent + 1, tf.float32)
  corner = tf.cast(tf.random.uniform([2]) * room, tf.int32)
  # Rounding may yield the room itself.
  corner = tf.minimum(corner, shape[:2] - extent)
  return tf.concat([corner, extent], 0)[None]


def even_boxes(shape: tf.Tensor, input_size: Sequence[int],
               min_image_size: int, num_crops: int) -> tf.Tensor:
  """Returns crops spread along the axis with most room; one crop is central.

  Args:
    shape: int32 [2 or more], (H, W, ...) of the stored frames.
    input_size: (height, width) of a crop after scaling.
    min_image_size: shorter side of the scaled frames, in pixels.
    num_crops: number of crops; the first and the last one touch the borders.

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
    is_down = room[0] > room[1]  # With equal room, along the width.
    corners = tf.where(tf.stack([is_down, ~is_down]), spread, corners)
  return tf.concat([corners, tf.tile(extent[None], [num_crops, 1])], 1)


def hull(boxes: tf.Tensor) -> tf.Tensor:
  """Returns the smallest box int32 [4] around boxes [K, 4]."""
  corner = tf.reduce_min(boxes[:, :2], axis=0)
  end = tf.reduce_max(boxes[:, :2] + boxes[:, 2:], axis=0)
  return tf.concat([corner, end - corner], 0)


def _crop_extent(shape: tf.Tensor, input_size: Sequence[int],
                 short_side: tf.Tensor) -> tf.Tensor:
  """Returns height and width of a crop before scaling, int32 [2].

  Frames that would become smaller than the crop are enlarged to fit it.
  """
  available = tf.cast(shape[:2], tf.float32)
  wanted = tf.cast(input_size[:2], tf.float32)
  pixels = tf.minimum(tf.reduce_min(available) / short_side,
                      tf.reduce_min(available / wanted))
  extent = tf.cast(tf.round(wanted * pixels), tf.int32)
  return tf.clip_by_value(extent, 1, shape[:2])


def cut(frames: tf.Tensor,
        boxes_of: Optional[Callable[[tf.Tensor], tf.Tensor]],
        channels: int) -> List[tf.Tensor]:
  """Cuts boxes out of frames; decodes little more than the boxes.

  Args:
    frames: string [F], encoded images of one size, or uint8 [F, H, W, c]; F is
      at least 1.
    boxes_of: called once with the shape of the frames, int32 [2] or more;
      returns boxes [K, 4] of one size: top, left, height, width. None for the
      whole frames.
    channels: C of the result.

  Returns:
    K tensors, uint8 [F, box height, box width, C].
  """
  if boxes_of is None:
    boxes_of = lambda shape: tf.concat([[0, 0], shape[:2]], 0)[None]
  if frames.dtype != tf.string:
    boxes = boxes_of(tf.shape(frames)[1:3])
    around = tf.constant([0, 0])
  else:
    frames, boxes, around = tf.cond(
        tf.io.is_jpeg(frames[0]), lambda: _decode_jpegs(frames, boxes_of),
        lambda: _decode_others(frames, boxes_of))
    # Through colour: not every format can be decoded to grey, and served clips
    # are in colour. Grey frames come back exactly.
    frames = tf.ensure_shape(frames, [None, None, None, 3])
  boxes -= tf.pad(around, [[0, 2]])
  return [pixel_ops.convert_channels(
      frames[:, top:top + height, left:left + width], channels)
          for top, left, height, width in map(tf.unstack, tf.unstack(boxes))]


def _decode_jpegs(frames, boxes_of):
  """Returns the pixels around the boxes, the boxes, and the pixels' origin."""
  shape = tf.image.extract_jpeg_shape(frames[0])
  boxes = boxes_of(shape)
  top, left, height, width = tf.unstack(hull(boxes))
  first, columns = pixel_ops.jpeg_columns(left, width, shape[1])
  window = tf.stack([top, first, height, columns])
  decoded = tf.map_fn(
      lambda frame: tf.image.decode_and_crop_jpeg(frame, window, channels=3),
      frames, fn_output_signature=tf.uint8)
  return decoded, boxes, window[:2]


def _decode_others(frames, boxes_of):
  """Returns the same as _decode_jpegs; decodes whole frames."""
  decoded = tf.map_fn(
      lambda frame: tf.ensure_shape(tf.io.decode_image(
          frame, channels=3, expand_animations=False), [None, None, 3]),
      frames, fn_output_signature=tf.uint8)
  return decoded, boxes_of(tf.shape(decoded)[1:3]), tf.constant([0, 0])


def flip_left_right(frames: tf.Tensor) -> tf.Tensor:
  """Mirrors frames [F, H, W, C] horizontally.

  TensorFlow mirrors a batch of rows fast, but frames slower than it decodes
  them.
  """
  shape = tf.shape(frames)
  rows = tf.reshape(frames, [-1, shape[2], frames.shape[3]])
  return tf.reshape(tf.reverse(rows, [1]), shape)


def flip_up_down(frames: tf.Tensor) -> tf.Tensor:
  """Mirrors frames [F, H, W, C] vertically."""
  return tf.reverse(frames, [1])


def reduce_larger(frames: tf.Tensor, short_side: int) -> tf.Tensor:
  """Reduces frames as video_files.decode does before it stores them.

  Args:
    frames: uint8 [F, H, W, C], of any size.
    short_side: shorter side of the result, in pixels; smaller frames stay as
      they are.

  Returns:
    uint8 [F, H', W', C], with the same aspect ratio.
  """
  shape = tf.shape(frames)[1:3]
  shorter = tf.reduce_min(shape)
  # 64 bits represent halves exactly; they round to even, as in Python.
  size = tf.cast(tf.round(
      tf.cast(shape * short_side, tf.float64) / tf.cast(shorter, tf.float64)
  ), tf.int32)
  return tf.cond(
      shorter > short_side,
      lambda: tf.saturate_cast(tf.round(tf.image.resize(
          frames, size, tf.image.ResizeMethod.AREA)), tf.uint8),
      lambda: frames)
