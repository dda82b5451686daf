"""Data and pipelines that benchmarks/input_pipeline.py times."""

import io
from typing import Any, Dict, Iterator, List, NamedTuple

from absl import flags
from sklearn import datasets as sample_data
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_tokenlearner.configs import image_classification
from tf_tokenlearner.configs import video_classification
from tf_tokenlearner.data import image_pipeline
from tf_tokenlearner.data import prepare_dataset
from tf_tokenlearner.data import video_pipeline

DECODER = 'decoder alone'
_NUM_CLASSES = 10


class Contenders(NamedTuple):
  """Endless data sets of batches.

  Attributes:
    datasets: data sets by name.
    batch_size: examples per element of a data set.
    bytes: mean size of a stored image or frame.
  """
  datasets: Dict[str, tf.data.Dataset]
  batch_size: int
  bytes: int


def images(values: flags.FlagValues, folder: str) -> Contenders:
  """Returns the image pipeline, with random crops and mirroring."""
  width = values.image_width
  files = [_encode(photo, values.quality) for photo in _pan(
      values.num_images, width, width * 3 // 4, step=7)]
  builder = Photographs(
      features={'image': tfds.features.Image()},
      examples=[{'image': io.BytesIO(file)} for file in files],
      data_dir=folder)
  params = image_classification.DataConfig(
      tfds_name=_prepared(builder), tfds_split='train', is_training=True,
      global_batch_size=values.image_batch_size,
      shuffle_buffer_size=values.num_images)
  training = image_pipeline.build_dataset(
      params, image_pipeline.open_source(params),
      (values.image_size, values.image_size, 3), _NUM_CLASSES, False)
  return Contenders(
      {DECODER: _decoder_alone(files, values.image_batch_size),
       'training': training},
      values.image_batch_size, _mean_size(files))


def clips(values: flags.FlagValues, folder: str) -> Contenders:
  """Returns the video pipeline, with scale jitter and mirroring."""
  width, length = values.frame_width, values.stored_frames
  frames = [_encode(photo, values.quality) for photo in _pan(
      values.num_videos * length, width, width * 3 // 4, step=1)]
  builder = Photographs(
      features={'video': tfds.features.Video(
          shape=(None, None, None, 3), encoding_format='jpeg')},
      examples=[{'video': list(map(io.BytesIO, frames[start:start + length]))}
                for start in range(0, len(frames), length)],
      data_dir=folder)
  params = video_classification.DataConfig(
      tfds_name=_prepared(builder), tfds_split='train', is_training=True,
      global_batch_size=values.clip_batch_size,
      min_image_size=values.image_size * 8 // 7,
      shuffle_buffer_size=values.num_videos)
  training = video_pipeline.build_dataset(
      params, video_pipeline.open_source(params),
      (values.num_frames, values.image_size, values.image_size, 3),
      _NUM_CLASSES, False)
  return Contenders(
      {DECODER: _decoder_alone(
          frames, values.num_frames * values.clip_batch_size),
       'training': training},
      values.clip_batch_size, _mean_size(frames))


class Photographs(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """TFDS builder of the given examples, which adds labels."""

  VERSION = tfds.core.Version('1.0.0')
  NEEDS_NO_DOWNLOAD = True

  def __init__(self, *, features: Dict[str, Any], examples: List[dict],
               data_dir: str):
    self._features, self._examples = features, examples
    super().__init__(data_dir=data_dir)

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self, features=tfds.features.FeaturesDict({
            **self._features,
            'label': tfds.features.ClassLabel(num_classes=_NUM_CLASSES)}))

  def _split_generators(self, dl_manager):
    del dl_manager
    return {'train': self._generate_examples()}

  def _generate_examples(self):
    for i, example in enumerate(self._examples):
      yield i, {**example, 'label': i % _NUM_CLASSES}


def _prepared(builder: tfds.core.DatasetBuilder) -> str:
  """Prepares a data set and returns its folder."""
  prepare_dataset.ensure_prepared(builder, announce=lambda line: None)
  return str(builder.data_dir)


def _decoder_alone(files: List[bytes], batch_size: int) -> tf.data.Dataset:
  """Returns a data set that decodes whole files and keeps one value of each."""
  dataset = tf.data.Dataset.from_tensor_slices(files).repeat()
  dataset = dataset.map(
      lambda file: tf.io.decode_jpeg(file, channels=3)[0, 0, 0],
      num_parallel_calls=tf.data.AUTOTUNE)
  return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _pan(count: int, width: int, height: int, step: int) -> Iterator[tf.Tensor]:
  """Yields crops that pan over photographs of a town and a flower."""
  photos = [
      tf.cast(tf.image.resize(photo, [height * 5 // 4, width * 5 // 4]),
              tf.uint8)
      for photo in sample_data.load_sample_images().images]
  for i in range(count):
    top, left = i * step % (height // 4), i * step * 2 % (width // 4)
    photo = photos[i * len(photos) // count]
    yield photo[top:top + height, left:left + width]


def _encode(photo: tf.Tensor, quality: int) -> bytes:
  return tf.io.encode_jpeg(photo, quality=quality).numpy()


def _mean_size(files: List[bytes]) -> int:
  return sum(map(len, files)) // len(files)
