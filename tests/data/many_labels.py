"""A small prepared set of videos with several labels each."""

import io

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds


class ManyLabels(tfds.core.GeneratorBasedBuilder):
  """Random clips with any number of five labels; the last one is unused."""

  VERSION = tfds.core.Version('1.0.0')
  NEEDS_NO_DOWNLOAD = True

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self,
        features=tfds.features.FeaturesDict({
            'video': tfds.features.Video(
                shape=(None, None, None, 3), encoding_format='jpeg'),
            'label': tfds.features.Sequence(
                tfds.features.ClassLabel(num_classes=5)),
            'fps': tf.float32,
        }))

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples(0, 12),
            'test': self._generate_examples(1, 7)}

  def _generate_examples(self, seed, count):
    generator = np.random.default_rng(seed)
    for i in range(count):
      frames = generator.integers(
          0, 256, [int(generator.integers(3, 9)), 20, 24, 3], dtype=np.uint8)
      yield i, {
          'video': [io.BytesIO(tf.io.encode_jpeg(frame).numpy())
                    for frame in frames],
          'label': np.flatnonzero(generator.random(4) < .4),
          'fps': 5.}
