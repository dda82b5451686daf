"""What every data set of videos holds of a video."""

import io
from typing import Any, Dict, Sequence

import tensorflow as tf
import tensorflow_datasets as tfds


def features() -> Dict[str, Any]:
  """Of TFDS: the frames, how many a second, and a name for messages."""
  return {
      'video': tfds.features.Video(
          shape=(None, None, None, 3), encoding_format='jpeg'),
      'fps': tf.float32,
      'name': tfds.features.Text(),
  }


def make(frames: Sequence[bytes], fps: float, name: str) -> Dict[str, Any]:
  """What features announces.

  Args:
    frames: JPEG files.
    fps: frames a second.
    name: of the video.
  """
  return {'video': list(map(io.BytesIO, frames)), 'fps': fps, 'name': name}
