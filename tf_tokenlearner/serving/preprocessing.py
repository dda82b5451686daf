"""What evaluation makes of images and clips, as facts that an export keeps.

Whoever asks a model that takes pixels of its own size needs them: they lie in
the export's origin.json, so that nobody has to guess.
"""

import dataclasses
from typing import Any, Dict, Mapping, Optional, Tuple, Union

import numpy as np
import tensorflow as tf

from tf_tokenlearner.data import clip_frames

# pylint: disable=g-import-not-at-top
# The pipelines bring the Model Garden, which takes seconds; facts do without.


@dataclasses.dataclass(frozen=True)
class Images:
  """Of single images.

  Attributes:
    input_size: (height, width, channels) of what the network sees.
    center_crop_fraction: as in the config.
  """
  input_size: Tuple[int, ...]
  center_crop_fraction: float

  def to_pixels(self, images: tf.Tensor) -> tf.Tensor:
    """uint8 [B, H, W, 3] of any size -> float32 [B, *input_size]."""
    from tf_tokenlearner.data import image_pipeline
    return image_pipeline.evaluation_pixels(
        images, self.input_size, self.center_crop_fraction)


@dataclasses.dataclass(frozen=True)
class Clips:
  """Of videos. One view: the middle clip, its centre.

  Attributes:
    input_size: (frames, height, width, channels) of what the network sees.
    fps: frames a second of whole videos; None if the data do not say.
    temporal_stride: as in the config, like all that follow.
    short_videos: what comes after the end.
    min_image_size: of the shorter side, scaled.
    stored_short_side: larger frames are first reduced to it.
  """
  input_size: Tuple[int, ...]
  fps: Optional[float]
  temporal_stride: int
  short_videos: str
  min_image_size: int
  stored_short_side: int

  def to_pixels(self, clips: tf.Tensor) -> tf.Tensor:
    """uint8 [B, T, H, W, 3] of any size -> float32 [B, *input_size]."""
    return self.to_view(self.middle(clips))

  def middle(self, clips: tf.Tensor) -> tf.Tensor:
    """The frames of clips [B, T, ...] that are looked at."""
    from tf_tokenlearner.data import video_pipeline
    return video_pipeline.middle_frames(
        clips, self.input_size[0], self.temporal_stride, self.short_videos)

  def to_view(self, frames: tf.Tensor) -> tf.Tensor:
    """uint8 [B, T, H, W, 3] -> float32 [B, T, height, width, channels]."""
    from tf_tokenlearner.data import video_pipeline
    return video_pipeline.serving_view(
        frames, self.input_size, self.min_image_size, self.stored_short_side)

  def window(self, length: int) -> np.ndarray:
    """The stretch of a video that is enough: `middle` of it is the same.

    Args:
      length: frames of the video.

    Returns:
      Numbers of frames, as many for every video.
    """
    num_frames, stride = self.input_size[0], self.temporal_stride
    start = clip_frames.even_starts(length, 1, num_frames, stride)[0]
    return clip_frames.frame_indices(
        start, length, (num_frames - 1) * stride + 1, 1, self.short_videos
    ).numpy()


Preprocessing = Union[Images, Clips]
_KINDS = {'images': Images, 'clips': Clips}


def to_json(preprocessing: Preprocessing) -> Dict[str, Any]:
  """What from_json reads."""
  name, = (name for name, kind in _KINDS.items()
           if isinstance(preprocessing, kind))
  return {'inputs': name, **dataclasses.asdict(preprocessing)}


def from_json(facts: Mapping[str, Any]) -> Preprocessing:
  """What to_json wrote."""
  options = dict(facts)
  kind = _KINDS[options.pop('inputs')]
  return kind(**{**options, 'input_size': tuple(options['input_size'])})
