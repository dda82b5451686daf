"""What an exported model is given, and how that becomes what the network sees."""

from typing import Callable, NamedTuple, Tuple

import numpy as np
import tensorflow as tf

from tf_tokenlearner.configs import classification as config
from tf_tokenlearner.configs import video_classification as video_config
from tf_tokenlearner.data import image_pipeline
from tf_tokenlearner.data import video_pipeline


class RawInputs(NamedTuple):
  """The raw input of a signature.

  Attributes:
    spec: its name, shape and type.
    to_pixels: raw input -> what the network sees, as in evaluation.
    sample_shape: of a small raw input, of another size than the network's.
  """
  spec: tf.TensorSpec
  to_pixels: Callable[[tf.Tensor], tf.Tensor]
  sample_shape: Tuple[int, ...]

  def sample(self) -> np.ndarray:
    """uint8 [3, ...], the same every time."""
    return np.random.default_rng(0).integers(
        0, 256, [3, *self.sample_shape], dtype=np.uint8)


def of_task(task: config.ClassificationTask) -> RawInputs:
  """Images [B, H, W, 3], or the frames of videos [B, T, H, W, 3], of any size.

  Args:
    task: config of the run.
  """
  if isinstance(task, video_config.VideoClassificationTask):
    return _of_videos(task)
  input_size = tuple(task.model.input_size)
  crop = task.validation_data.center_crop_fraction
  return RawInputs(
      tf.TensorSpec([None, None, None, 3], tf.uint8, 'images'),
      lambda images: image_pipeline.evaluation_pixels(images, input_size, crop),
      (input_size[0] + 5, input_size[1] * 2 + 3, 3))


def _of_videos(task: video_config.VideoClassificationTask) -> RawInputs:
  """One view: the middle clip, its central crop."""
  frames, height, width, _ = input_size = tuple(task.model.input_size)
  data = task.validation_data
  return RawInputs(
      tf.TensorSpec([None, None, None, None, 3], tf.uint8, 'clips'),
      lambda clips: video_pipeline.serving_clip(
          clips, input_size, data.temporal_stride, data.short_videos,
          data.min_image_size, data.stored_short_side),
      (frames * data.temporal_stride + 3, height + 5, width * 2 + 3, 3))
