"""A small prepared set with the features of TFDS's imagenet2012_real."""

import io

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

NUM_IMAGES = 23


def labels_of(i):
  """Returns 0 to 3 of ten labels."""
  return np.random.default_rng(i).permutation(10)[:i % 4]


class RealLabels(tfds.core.GeneratorBasedBuilder):
  """Noise with the classes of digits; every fourth image has no label."""

  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    label = lambda: tfds.features.ClassLabel(names=list('0123456789'))
    return tfds.core.DatasetInfo(
        builder=self,
        features=tfds.features.FeaturesDict({
            'image': tfds.features.Image(encoding_format='jpeg'),
            'original_label': label(),
            'real_label': tfds.features.Sequence(label()),
            'file_name': tfds.features.Text(),
        }),
        supervised_keys=('image', 'real_label'))

  def _split_generators(self, dl_manager):
    return {'validation': self._generate_examples()}

  def _generate_examples(self):
    generator = np.random.default_rng(0)
    for i in range(NUM_IMAGES):
      pixels = generator.integers(0, 256, [9, 9, 3], dtype=np.uint8)
      yield i, {
          'image': io.BytesIO(tf.io.encode_jpeg(pixels).numpy()),
          'original_label': i % 10, 'real_label': labels_of(i),
          'file_name': f'ILSVRC2012_val_{i + 1:08}.JPEG'}
