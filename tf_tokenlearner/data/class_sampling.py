"""Counts classes, and samples them equally often in training."""

from typing import Tuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_tokenlearner.data import labelled_source

NAMES = ('natural', 'balanced')
_COUNTED_AT_ONCE = 1024  # Examples.


def count_labels(source: labelled_source.LabelledSource,
                 split: str) -> Tuple[np.ndarray, int]:
  """Counts the examples of each class; reads no pixels.

  Args:
    source: of the examples.
    split: as in source.num_examples.

  Returns:
    int64 [num_classes] and the number of examples, with or without labels.
  """
  labels = source.as_files(split, tfds.ReadConfig()).map(
      lambda example: tf.unique(tf.reshape(
          tf.cast(example['label'], tf.int64), [-1])).y)
  counts, num_examples = np.zeros(source.num_classes, np.int64), 0
  for batch in labels.padded_batch(
      _COUNTED_AT_ONCE, padding_values=np.int64(-1)).as_numpy_iterator():
    counts += np.bincount(batch[batch >= 0], minlength=source.num_classes)
    num_examples += len(batch)
  return counts, num_examples


def balance(dataset: tf.data.Dataset, counts: np.ndarray) -> tf.data.Dataset:
  """Repeats examples of rare classes, leaves out some of frequent ones.

  An example of class k comes n / (K * counts[k]) times on average, rounded at
  random: repeat factor sampling (Gupta et al. 2019, arXiv 1908.03195) with the
  exact factors of equal frequency. A pass reads the data once, whatever the
  number of classes, and has as many examples as they have.

  Args:
    dataset: examples {'label': int [], ...}, not decoded yet.
    counts: int [K], number of examples of each class.
  """
  is_known = counts > 0
  factors = tf.constant(np.divide(
      counts.sum() / max(1, is_known.sum()), counts,
      out=np.ones(len(counts)), where=is_known), tf.float32)

  def repeated(example):
    # Labels out of range are refused later, by name.
    label = tf.clip_by_value(
        tf.cast(example['label'], tf.int64), 0, len(counts) - 1)
    number = tf.floor(factors[label] + tf.random.uniform([]))
    return tf.data.Dataset.from_tensors(example).repeat(
        tf.cast(number, tf.int64))

  return dataset.flat_map(repeated)
