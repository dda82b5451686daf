"""Raw inputs of exported models: pixels, files and tf.Examples."""

import abc
from typing import Optional, Tuple

import numpy as np
import tensorflow as tf

from tf_tokenlearner.configs import classification as config
from tf_tokenlearner.configs import video_classification as video_config
from tf_tokenlearner.data import image_pipeline
from tf_tokenlearner.data import resizing
from tf_tokenlearner.data import video_pipeline
from tf_tokenlearner.data import views
from tf_tokenlearner.serving import image_bytes


def require_spec(inputs: tf.Tensor, spec: tf.TensorSpec) -> tf.Tensor:
  """Returns inputs, or fails at run time if their shape is not that of a spec.

  A loaded signature accepts any shape and fails in some later operation. The
  error names the input, from which EnsureShape takes the name it reports.
  """
  axes = '_'.join('any' if size is None else str(size) for size in spec.shape)
  free = tf.raw_ops.PlaceholderWithDefault(
      input=inputs, shape=None, name=f'{spec.name}_{axes}')
  return tf.ensure_shape(free, spec.shape)


_ENCODED_KEY = 'image/encoded'  # Key of the Model Garden's tf.Examples.


class ModelInputs(abc.ABC):
  """Base class of the inputs of exports and of their preprocessing.

  Attributes:
    name: name of the pixels, 'images' or 'clips'.
    shape: of one example of any size, (H, W, 3) or (T, H, W, 3).
    bytes_shape: of one example as image files.
    sample_shape: of a small example, of another size than the network's.
    description: of the pixels, in words.
    preparation: describes in words what the view does.
    view: what evaluation does to pixels.
  """
  name: str
  shape: Tuple[Optional[int], ...]
  bytes_shape: Tuple[Optional[int], ...]
  sample_shape: Tuple[int, ...]
  description: str
  preparation: str
  view: views.View

  def __init__(self, task: config.ClassificationTask):
    self._data = task.validation_data
    self._input_size = tuple(task.model.input_size)
    self._resizing = resizing.of_task(task)

  def to_pixels(self, examples: tf.Tensor) -> tf.Tensor:
    """Converts uint8 [B, *shape] to float32 [B, *input_size]."""
    return self.view.to_pixels(examples)

  @abc.abstractmethod
  def read_files(self, files: tf.Tensor) -> Tuple[tf.Tensor, tf.Tensor]:
    """Decodes one example, string bytes_shape.

    Returns:
      Pixels and reason; see image_bytes.read.
    """

  @abc.abstractmethod
  def parse(self, serialized: tf.Tensor) -> tf.Tensor:
    """Parses a serialized tf.Example or SequenceExample to string bytes_shape.
    """

  @abc.abstractmethod
  def serialize(self, example: np.ndarray) -> bytes:
    """Serializes an example, files as bytes or pixels, for `parse`."""

  def read_example(self, serialized: tf.Tensor) -> Tuple[tf.Tensor, tf.Tensor]:
    """Decodes one serialized example, string [].

    Returns:
      Pixels and reason; see image_bytes.read.
    """
    nothing = tf.zeros([size or 0 for size in self.bytes_shape], tf.string)
    files, is_parsed = image_bytes.attempt(
        lambda: (self.parse(serialized), True), (nothing, False))
    return tf.cond(
        is_parsed, lambda: self.read_files(files),
        lambda: (tf.zeros(self._input_size), f'is no {self.message_type} with '
                 f'{_ENCODED_KEY}'))

  @property
  def message_type(self) -> str:
    """Name of the message that `parse` takes."""
    return 'tf.train.Example'

  def sample(self, count: int) -> np.ndarray:
    """Returns noise, uint8 [count, *sample_shape], always the same."""
    return np.random.default_rng(0).integers(
        0, 256, [count, *self.sample_shape], dtype=np.uint8)


def of_task(task: config.ClassificationTask) -> ModelInputs:
  """Returns the inputs of exports of a run, given its task config."""
  if isinstance(task, video_config.VideoClassificationTask):
    return _Clips(task)
  return _Images(task)


class _Images(ModelInputs):
  """Images [H, W, 3] of any size."""
  name = 'images'
  shape = (None, None, 3)
  bytes_shape = ()
  description = 'RGB images of any size, 0 to 255'

  def __init__(self, task: config.ClassificationTask):
    super().__init__(task)
    height, width, _ = self._input_size
    self.sample_shape = (height + 5, width * 2 + 3, 3)
    self.view = image_pipeline.evaluation_view(
        self._data, self._input_size, self._resizing)
    fraction = self.view.center_crop_fraction
    margin = '' if fraction == 1 else f', {fraction:g} of its sides,'
    seen = (f'the largest box of the shape {height} x {width} in the middle of '
            f'an image{margin}' if self._resizing.is_crop else 'a whole image')
    self.preparation = f'{seen} is {self._resizing.describe((height, width))}'

  def read_files(self, files):
    return image_bytes.read(files, self.to_pixels, self._input_size)

  def parse(self, serialized):
    return tf.io.parse_single_example(
        serialized,
        {_ENCODED_KEY: tf.io.FixedLenFeature([], tf.string)})[_ENCODED_KEY]

  def serialize(self, example):
    feature = _bytes_feature(_to_file(example))
    return tf.train.Example(features=tf.train.Features(
        feature={_ENCODED_KEY: feature})).SerializeToString()


class _Clips(ModelInputs):
  """Videos [T, H, W, 3] of any length and size; the view is the middle clip.

  Attributes:
    rate: frame rate, in words.
  """
  name = 'clips'
  shape = (None, None, None, 3)
  bytes_shape = (None,)

  def __init__(self, task: video_config.VideoClassificationTask):
    super().__init__(task)
    frames, height, width, _ = self._input_size
    stride, side = self._data.temporal_stride, self._data.min_image_size
    self.sample_shape = (
        frames * self._data.temporal_stride + 3, height + 5, width * 2 + 3, 3)
    self.view = video_pipeline.evaluation_view(
        self._data, self._input_size, self._resizing)
    fps = self.view.fps
    self.rate = (f'{fps:g} frames a second' if fps else
                 'the frame rate at which the training data are stored')
    self.description = (
        f'RGB frames of whole videos of any length and size, at {self.rate}, '
        f'0 to 255; the network looks at {frames} of them in the middle, '
        f'{self._data.temporal_stride} apart')
    resized = (
        f'resized ({self._resizing.method}) to a shorter side of {side} pixels;'
        f' the {height} x {width} in the middle is cut out'
        if self._resizing.is_crop
        else self._resizing.describe((height, width)))
    self.preparation = (
        f'{frames} frames in the middle of a video at {self.rate}, each '
        f'{stride} after the one before, are {resized}')

  @property
  def message_type(self):
    return 'tf.train.SequenceExample'

  def read_files(self, files):
    return tf.cond(
        tf.size(files) > 0,
        lambda: image_bytes.read_frames(
            self.view.middle(files[tf.newaxis])[0],
            lambda frames: self.view.to_view(frames[tf.newaxis])[0],
            self._input_size),
        lambda: (tf.zeros(self._input_size), 'has no frames'))

  def parse(self, serialized):
    _, lists = tf.io.parse_single_sequence_example(
        serialized, sequence_features={
            _ENCODED_KEY: tf.io.FixedLenSequenceFeature([], tf.string)})
    return lists[_ENCODED_KEY]

  def serialize(self, example):
    frames = [_bytes_feature(_to_file(frame)) for frame in example]
    return tf.train.SequenceExample(feature_lists=tf.train.FeatureLists(
        feature_list={_ENCODED_KEY: tf.train.FeatureList(
            feature=frames)})).SerializeToString()


def _to_file(image) -> bytes:
  """Encodes pixels as PNG, which is lossless; files stay as they are."""
  return image if isinstance(image, bytes) else tf.io.encode_png(image).numpy()


def _bytes_feature(value: bytes) -> tf.train.Feature:
  return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
