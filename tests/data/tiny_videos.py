"""Small data sets of videos in the format of our own builders."""

import io

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

F = tfds.features
ONE_LABEL = {'label': F.ClassLabel(names=['ant', 'bee', 'cow'])}
MANY_LABELS = {'label': F.Sequence(F.ClassLabel(names=['ant', 'bee', 'cow']))}
SPANS = {'fps': np.float32, 'label_start': F.Sequence(np.float32),
         'label_end': F.Sequence(np.float32)}
NAME = {'name': F.Text()}


def video_feature(encoding_format='jpeg'):
  return F.Video(shape=(None, None, None, 3), encoding_format=encoding_format)


def numbered_frames(length, height=6, width=8):
  """Returns uint8 [F, H, W, 3]; frame i has the grey value 5 i."""
  shape = [length, height, width, 3]
  return np.broadcast_to(
      5 * np.arange(length, dtype=np.uint8)[:, None, None, None], shape)


def noise(length, height=24, width=40, seed=0):
  """Returns uint8 [F, H, W, 3], smooth so that JPEG changes little."""
  small = np.random.default_rng(seed).integers(
      0, 256, [length, height // 4, width // 4, 3])
  return tf.cast(tf.image.resize(small, [height, width]), tf.uint8).numpy()


def encode(frames, encode_frame=tf.io.encode_jpeg):
  """Returns the frames as image files."""
  return [encode_frame(frame).numpy() for frame in frames]


class TinyVideos(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Builder of given examples."""

  VERSION = tfds.core.Version('1.0.0')

  def __init__(self, *, features, examples, **kwargs):
    self._features, self._examples = features, examples
    super().__init__(**kwargs)

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self, features=F.FeaturesDict(self._features))

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples()}

  def _generate_examples(self):
    for i, example in enumerate(self._examples):
      if 'video' in example and isinstance(example['video'], list):
        example = {**example, 'video': list(map(io.BytesIO, example['video']))}
      yield i, example


def store(folder, examples, features=None, num_files=1):
  """Prepares a data set of these examples, split 'train'; returns its folder.

  Args:
    folder: of the data sets.
    examples: dicts; 'video' is a list of encoded frames, or pixels.
    features: of TFDS. Default: JPEG frames, one label and a name.
    num_files: number of files.
  """
  builder = TinyVideos(
      features=features or {'video': video_feature(), **ONE_LABEL, **NAME},
      examples=examples, data_dir=str(folder))
  builder.download_and_prepare(
      download_config=tfds.download.DownloadConfig(num_shards=num_files))
  return str(builder.data_dir)
