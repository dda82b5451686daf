"""The data sets of few-shot evaluation, and features of their images."""

import dataclasses
from typing import Callable, NamedTuple, Tuple

import numpy as np
import tensorflow as tf

from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.configs import image_classification as config
from tf_tokenlearner.data import batching
from tf_tokenlearner.data import image_pipeline
from tf_tokenlearner.data import tfds_source


class DataSet(NamedTuple):
  """A data set of labelled images in two parts.

  Attributes:
    name: as it was asked for.
    source: is read.
    train: how the images are read that are learned from.
    test: how those are read that are classified.
  """
  name: str
  source: tfds_source.ImageSource
  train: config.DataConfig
  test: config.DataConfig


def open_data_set(text: str, params: config.DataConfig) -> DataSet:
  """Opens a TFDS data set, which is prepared first if need be.

  Args:
    text: 'name', or 'name@train split@test split'. Without splits they are
      'train', and 'test' or else 'validation'.
    params: how to read images but for their source; of an evaluation.

  Raises:
    UserError: not to be found, no such split, or several labels an image.
  """
  name, *splits = text.split('@')
  if not name or len(splits) not in (0, 2) or not all(splits):
    raise errors.UserError(
        f'{text!r} is not a data set of few-shot evaluation: write the name of '
        'a TFDS data set, or name@train@test with its two splits.')
  params = params.replace(
      tfds_name=name, input_path='', image_field_key='', label_field_key='',
      cache=False)
  source = image_pipeline.open_source(params)
  if source.multi_label:
    raise errors.UserError(
        f'{name} has several labels an image; few-shot evaluation wants one.')
  if not splits:
    has_test = 'test' in source.builder.info.splits
    splits = ['train', 'test' if has_test else 'validation']
  for split in splits:
    source.num_examples(split)  # Refuses unknown splits.
  train, test = (params.replace(tfds_split=split) for split in splits)
  return DataSet(name, source, train, test)


def read_labels(data: DataSet) -> np.ndarray:
  """Labels of all training images in the order of reading, int64 [n]."""
  labels = batching.read_source(data.train, data.source, None).map(
      lambda example: example['label']).batch(1024)
  labels = np.concatenate(list(labels.as_numpy_iterator()))
  if labels.min() < 0:
    raise _unlabelled(data, data.train)
  return labels


class Extractor:
  """Gives the features of images, pre_logits, and their labels.

  Args:
    model: whose they are.
    report: takes the number of images done, now and then.
  """

  def __init__(self, model: backbones.Classifier,
               report: Callable[[int], None] = lambda count: None):
    self._input_size = model.backbone.input_size
    self._report = report
    self._features = tf.function(
        lambda images: model.backbone(images, training=False)['pre_logits'],
        input_signature=[tf.TensorSpec([None, *self._input_size])])

  def test(self, data: DataSet) -> Tuple[np.ndarray, np.ndarray]:
    """Of all test images: float32 [m, C] and int32 [m]."""
    return self._extract(data, data.test, data.source)

  def train(self, data: DataSet,
            indices: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Of some training images: float32 [n, C] and int32 [n].

    Args:
      data: the data set.
      indices: int [n], where they are in what read_labels gives, ascending.
    """
    is_drawn = np.zeros(data.source.num_examples(data.train.tfds_split), bool)
    is_drawn[indices] = True
    def only_drawn(dataset):
      numbered = dataset.enumerate()
      numbered = numbered.filter(lambda i, _: tf.constant(is_drawn)[i])
      return numbered.map(lambda _, example: example)

    return self._extract(
        data, data.train, dataclasses.replace(data.source, select=only_drawn))

  def _extract(self, data: DataSet, params: config.DataConfig,
               source: tfds_source.ImageSource
               ) -> Tuple[np.ndarray, np.ndarray]:
    features, labels, count = [], [], 0
    try:
      for images, its_labels in image_pipeline.build_dataset(
          params, source, self._input_size, source.num_classes,
          multi_label=False):
        features.append(self._features(images).numpy())
        labels.append(its_labels.numpy())
        count += len(its_labels)
        self._report(count)
    except tf.errors.InvalidArgumentError as error:
      if 'A label is not in' not in str(error):
        raise
      raise _unlabelled(data, params) from error
    return np.concatenate(features), np.concatenate(labels)


def _unlabelled(data: DataSet, params: config.DataConfig) -> errors.UserError:
  return errors.UserError(
      f'Split {params.tfds_split!r} of {data.name} has images without a label. '
      f'Its splits are: {", ".join(data.source.builder.info.splits)}; choose '
      f'with {data.name}@train@test.')
