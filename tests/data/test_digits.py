"""The digits: counts, pixels and splits as they always are."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from sklearn import datasets

from tf_tokenlearner.data import tfds_source


@pytest.fixture(scope='module', name='digits')
def fixture_digits(tmp_path_factory):
  """{split: (uint8 [N, 8, 8, 1], int [N])}."""
  source = tfds_source.open_image_source(
      'digits', str(tmp_path_factory.mktemp('data')), announce=lambda _: None)
  assert source.is_encoded
  arrays = {}
  for split in source.builder.info.splits:
    examples = list(source.as_dataset(
        split, read_config=tfds.ReadConfig(), shuffle_files=False))
    arrays[split] = (
        np.stack([tf.io.decode_png(x['image']).numpy() for x in examples]),
        np.array([x['label'].numpy() for x in examples]))
  return arrays


def test_splits_are_stratified(digits):
  train, test = digits['train'][1], digits['test'][1]
  assert (len(train), len(test)) == (1437, 360)
  whole = np.bincount(datasets.load_digits().target)
  assert np.array_equal(np.bincount(train) + np.bincount(test), whole)
  assert np.abs(np.bincount(test) - whole * 360 / 1797).max() < 1


def test_images_are_those_of_scikit_learn(digits):
  images = np.concatenate([digits['train'][0], digits['test'][0]])
  labels = np.concatenate([digits['train'][1], digits['test'][1]])
  assert images.shape == (1797, 8, 8, 1) and images.max() == 255
  expected = datasets.load_digits()
  ours = sorted(
      (label, *np.rint(image.ravel() / 255 * 16).astype(int))
      for label, image in zip(labels, images))
  theirs = sorted(
      (label, *image.ravel().astype(int))
      for label, image in zip(expected.target, expected.images))
  assert ours == theirs


def test_split_is_the_same_everywhere(digits):
  """Which digits are held out does not change with versions of libraries."""
  images, labels = digits['test']
  assert np.bincount(labels).tolist() == [
      36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
  assert images.sum(dtype=np.int64) == 1784785
  assert labels[:10].tolist() == [8, 4, 7, 4, 4, 4, 0, 3, 6, 6]
