"""Views: what evaluation does to pixels, as data that JSON can hold.

Evaluation, every export and predict share one view object, so that a model
gives the same scores everywhere. Exports keep it in their manifest as JSON.
"""

import dataclasses
from typing import (
    Any, Callable, Dict, Mapping, Optional, Sequence, Tuple, Union)

import numpy as np
import tensorflow as tf

from tf_tokenlearner.data import clip_sampling
from tf_tokenlearner.data import pixel_ops
from tf_tokenlearner.data import resizing as resizing_lib


@dataclasses.dataclass(frozen=True)
class ImageView:
  """View of an image: its largest centred box or all of it, in [-1, 1].

  Attributes:
    input_size: (height, width, channels) of the network's input.
    center_crop_fraction: share of the box's sides that is kept, in (0, 1]; 1
      unless the image is cropped.
    resizing: how the box or the whole image gets the input's size.
  """
  input_size: Tuple[int, ...]
  center_crop_fraction: float
  resizing: resizing_lib.Resizing = resizing_lib.Resizing()

  def box(self, shape: tf.Tensor) -> Tuple[tf.Tensor, ...]:
    """Returns the box to resize, as (top, left, height, width) in pixels.

    Args:
      shape: int32 tensor, (H, W, ...) of the image.
    """
    if not self.resizing.is_crop:
      return resizing_lib.whole(shape)
    return central_box(shape, self.input_size[0] / self.input_size[1],
                       self.center_crop_fraction)

  def to_pixels(self, images: tf.Tensor) -> tf.Tensor:
    """Converts uint8 [..., H, W, C] of any size to float32 [..., *input_size].

    Raises:
      UserError: C cannot be converted to the channels of input_size.
    """
    x = pixel_ops.convert_channels(images, self.input_size[-1])
    top, left, height, width = self.box(tf.shape(x)[-3:])
    return self._resize(x[..., top:top + height, left:left + width, :])

  def read(self, image: tf.Tensor) -> tf.Tensor:
    """Converts one image, encoded or uint8 [H, W, C], to pixels.

    Args:
      image: string [], the content of an image file, or decoded pixels.

    Returns:
      float32 [*input_size] in [-1, 1].
    """
    if image.dtype != tf.string:
      return self.to_pixels(image)
    return self._resize(
        pixel_ops.decode_box(image, self.box, self.input_size[-1]))

  def placement(self, shape: Sequence[int]) -> resizing_lib.Placement:
    """Returns where the input shows an image (H, W, ...); see Resizing."""
    return self.resizing.placement(shape, self.input_size[:2])

  def _resize(self, boxes: tf.Tensor) -> tf.Tensor:
    return self.resizing.fit(boxes, self.input_size[:2])


@dataclasses.dataclass(frozen=True)
class ClipView:
  """View of a video: the middle clip, its centre or all of it, in [-1, 1].

  Attributes:
    input_size: (frames, height, width, channels) of the network's input.
    fps: frames per second of whole videos; None if the data do not say.
    temporal_stride: distance of a clip's frames in the video; 0 repeats one.
    short_videos: what follows the last frame: 'loop' or 'pad'.
    min_image_size: length of the shorter side after resizing, in pixels, where
      frames are cropped.
    stored_short_side: larger frames are first reduced to this shorter side.
    resizing: how the centre or whole frames get the input's size.
  """
  input_size: Tuple[int, ...]
  fps: Optional[float]
  temporal_stride: int
  short_videos: str
  min_image_size: int
  stored_short_side: Optional[int]
  resizing: resizing_lib.Resizing = resizing_lib.Resizing()

  def to_pixels(self, clips: tf.Tensor) -> tf.Tensor:
    """Converts uint8 [B, T, H, W, C] of any size to float32 [B, *input_size].
    """
    return self.to_view(self.middle(clips))

  def middle(self, clips: tf.Tensor) -> tf.Tensor:
    """Returns the frames [B, frames, ...] that the clip takes from [B, T, ...].

    Args:
      clips: videos of any length, as pixels or as encoded frames [B, T].
    """
    length, num_frames = tf.shape(clips)[1], self.input_size[0]
    starts = clip_sampling.even_starts(
        length, 1, num_frames, self.temporal_stride)
    return tf.gather(clips, clip_sampling.frame_indices(
        starts[0], length, num_frames, self.temporal_stride,
        self.short_videos), axis=1)

  def to_view(self, frames: tf.Tensor) -> tf.Tensor:
    """Reduces frames as storing does, and resizes their centre or all of them.

    Args:
      frames: uint8 [B, T, H, W, C]; an unknown T means that of input_size.

    Returns:
      float32 [B, T, height, width, channels] in [-1, 1].
    """
    num_frames, height, width, channels = self.input_size
    count, colors = frames.shape[1] or num_frames, frames.shape[-1]
    frames = tf.reshape(  # [B*T, H, W, C]
        frames, tf.concat([[-1], tf.shape(frames)[2:]], 0))
    frames = tf.ensure_shape(frames, [None, None, None, colors])
    if self.stored_short_side:
      frames = clip_sampling.reduce_larger(frames, self.stored_short_side)
    x, = clip_sampling.cut(
        frames, (lambda shape: clip_sampling.even_boxes(
            shape, (height, width), self.min_image_size, 1)
                ) if self.resizing.is_crop else None, channels)
    x = self.resizing.fit(x, (height, width))
    return tf.reshape(x, [-1, count, height, width, channels])

  def placement(self, shape: Sequence[int]) -> resizing_lib.Placement:
    """Returns where the input shows a frame (H, W, ...); see Resizing."""
    return self.resizing.placement(shape, self.input_size[1:3])

  def window(self, length: int) -> np.ndarray:
    """Returns the frame numbers that suffice: `middle` of them is the same.

    Args:
      length: number of frames of the video.

    Returns:
      int32 array; its size is the same for every video.
    """
    num_frames, stride = self.input_size[0], self.temporal_stride
    start = clip_sampling.even_starts(length, 1, num_frames, stride)[0]
    return clip_sampling.frame_indices(
        start, length, (num_frames - 1) * stride + 1, 1, self.short_videos
    ).numpy()


View = Union[ImageView, ClipView]
_NAMES: Mapping[str, Callable[..., View]] = {
    'images': ImageView, 'clips': ClipView}


def to_json(view: View) -> Dict[str, Any]:
  """Returns a dict of JSON types from which `from_json` rebuilds the view."""
  name, = (name for name, view_class in _NAMES.items()
           if isinstance(view, view_class))
  values = dataclasses.asdict(view)
  resizing = values.pop('resizing')
  return {'inputs': name, **values, **resizing}


def from_json(values: Mapping[str, Any]) -> View:
  """Rebuilds a view from the result of `to_json`.

  Views of older versions have no options of resizing, which means its defaults.

  Raises:
    KeyError, TypeError: values are not those of a view.
  """
  options = dict(values)
  view_class = _NAMES[options.pop('inputs')]
  resizing = resizing_lib.Resizing(**{
      field.name: options.pop(field.name)
      for field in dataclasses.fields(resizing_lib.Resizing)
      if field.name in options})
  return view_class(**{
      **options, 'input_size': tuple(options['input_size']),
      'resizing': resizing})


def central_box(shape: tf.Tensor, aspect_ratio: float,
                fraction: float) -> Tuple[tf.Tensor, ...]:
  """Returns the largest centred box of an aspect ratio, shrunk by a fraction.

  Args:
    shape: int32 tensor, (H, W, ...) of the image.
    aspect_ratio: height / width of the box.
    fraction: share of its sides that is kept.

  Returns:
    (top, left, height, width) in pixels, int32 [] each.
  """
  size = tf.cast(shape[:2], tf.float32)
  height = tf.minimum(size[0], size[1] * aspect_ratio) * fraction
  width = height / aspect_ratio
  extent = tf.maximum(tf.cast(tf.round([height, width]), tf.int32), 1)
  top, left = tf.unstack((shape[:2] - extent) // 2)
  return top, left, extent[0], extent[1]
