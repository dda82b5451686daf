"""scikit-learn's handwritten digits as a TFDS data set; nothing to download."""

from typing import List, Tuple

import numpy as np
import tensorflow_datasets as tfds

from tf_tokenlearner.data import stratified_split

_TEST_EXAMPLES = 360
_DARKEST = 16


class Digits(tfds.core.GeneratorBasedBuilder):
  """1,797 real digits of 43 writers, 8 x 8 pixels, for demos and tests.

  The test part of the UCI set 'Optical Recognition of Handwritten Digits' as
  scikit-learn ships it: E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning
  Repository, https://doi.org/10.24432/C50P49. Grey values 0..16 become 0..255.
  Splits: train 1,437 and test 360, stratified, always the same.

  Example:
    >>> tfds.builder('digits').info.features['label'].num_classes
    10
  """

  VERSION = tfds.core.Version('1.0.0')
  NEEDS_NO_DOWNLOAD = True

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
        builder=self,
        description='Handwritten digits of 8 x 8 pixels.',
        features=tfds.features.FeaturesDict({
            'image': tfds.features.Image(
                shape=(8, 8, 1), encoding_format='png'),
            'label': tfds.features.ClassLabel(num_classes=10),
        }),
        supervised_keys=('image', 'label'),
        homepage='https://doi.org/10.24432/C50P49',
        citation="""@misc{alpaydin1998optical,
          author = {Alpaydin, E. and Kaynak, C.},
          title = {Optical Recognition of Handwritten Digits},
          year = {1998},
          publisher = {UCI Machine Learning Repository},
          doi = {10.24432/C50P49}}""")

  def _split_generators(self, dl_manager):
    del dl_manager
    return {split: self._generate_examples(*load(split))
            for split in ('train', 'test')}

  def _generate_examples(self, images, labels, indices):
    for image, label, i in zip(images, labels, indices):
      yield i, {'image': image[..., np.newaxis], 'label': label}


def load(split: str) -> Tuple[np.ndarray, List[int], List[int]]:
  """Digits of 'train' or 'test': uint8 [N, 8, 8], labels, sklearn's index."""
  from sklearn import datasets  # pylint: disable=g-import-not-at-top, slow
  digits = datasets.load_digits()
  images = np.rint(digits.images * (255 / _DARKEST)).astype(np.uint8)
  labels = digits.target.tolist()
  keys_by_class = {str(label): [] for label in range(10)}
  for i, label in enumerate(labels):
    keys_by_class[str(label)].append(str(i))
  test = stratified_split.held_out(keys_by_class, _TEST_EXAMPLES)
  chosen = [i for i in range(len(labels))
            if (str(i) in test) == (split == 'test')]
  return images[chosen], [labels[i] for i in chosen], chosen
