"""Labels: conversion, range checks and spans."""

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner.data import batching


def test_one_label_and_many():
  assert batching.for_network(tf.constant(2, tf.int64), 3, False).numpy() == 2
  np.testing.assert_array_equal(
      batching.for_network(tf.constant([0, 2, 2]), 4, True), [1, 0, 1, 0])
  np.testing.assert_array_equal(
      batching.for_network(tf.zeros([0], tf.int64), 2, True), [0, 0])


@pytest.mark.parametrize('label', [[3], [0, -1]])
def test_labels_out_of_range(label):
  with pytest.raises(tf.errors.InvalidArgumentError,
                     match='A label is not in 0..2; -1 marks'):
    batching.for_network(tf.constant(label), 3, True)


@pytest.mark.parametrize('first, last, expected', [
    (0, 9, [7]), (0, 10, [7, 8]), (10, 20, [7, 8]), (21, 29, [8]),
    (31, 39, []), (40, 90, [9])])
def test_labels_within_a_clip(first, last, expected):
  """At 10 frames a second, of labels at 0-2 s, 1-3 s and 4-5 s."""
  found = batching.within(
      tf.constant([7, 8, 9]), tf.constant([0., 1., 4.]),
      tf.constant([2., 3., 5.]), tf.constant(first), tf.constant(last),
      tf.constant(10.))
  np.testing.assert_array_equal(found, expected)
