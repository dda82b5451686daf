"""Which frames of a video make a clip."""

import tensorflow as tf

MAX_FPS = 240

SHORT_VIDEOS = ('loop', 'pad')


def random_start(
    length: tf.Tensor, num_frames: int, stride: int) -> tf.Tensor:
  """First frame of a clip, each that leaves room for it as likely; int32 [].

  A video that is shorter than the clip starts with its first frame.

  Args:
    length: int32 [], frames of the video.
    num_frames: T, frames of the clip.
    stride: frames of the video from one frame of the clip to the next.
  """
  return tf.random.uniform(
      [], 0, _last_start(length, num_frames, stride) + 1, tf.int32)


def even_starts(length: tf.Tensor, num_clips: int, num_frames: int,
                stride: int) -> tf.Tensor:
  """First frames of clips spread evenly, from the first to the last possible.

  A single clip lies in the middle. The Garden's sampler counts the stride after
  the last frame as well, so its clips lie a little early and never reach the
  end.

  Args:
    length: int32 [], frames of the video.
    num_clips: how many.
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
  """The frames of clips.

  Args:
    starts: int32 [...], first frames.
    length: int32 [], frames of the video; at least 1.
    num_frames: T, frames of a clip.
    stride: frames of the video from one frame of a clip to the next.
    short_videos: what follows the last frame: 'loop', the first; 'pad', the
      last again and again.

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
