"""Mean average precision against its definition and scikit-learn."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics

from tf_tokenlearner.tasks import metrics as metrics_lib


def by_definition(labels, scores):
  """Sum over thresholds of precision times the recall gained, ties together."""
  total = 0.
  for threshold in np.unique(scores)[::-1]:
    chosen = scores >= threshold
    gained = labels[scores == threshold].sum() / labels.sum()
    total += labels[chosen].mean() * gained
  return total


@pytest.fixture(name='examples')
def fixture_examples():
  generator = np.random.default_rng(0)
  labels = generator.random([40, 6]) < .3
  labels[:, 4] = False
  scores = generator.normal(size=[40, 6]).round(1)  # With ties.
  return labels, scores


def test_equals_definition_and_scikit_learn(examples):
  labels, scores = examples
  mean, left_out = metrics_lib.mean_average_precision(labels, scores)
  known = [0, 1, 2, 3, 5]
  assert left_out == 1
  assert mean == pytest.approx(np.mean(
      [by_definition(labels[:, i], scores[:, i]) for i in known]))
  assert mean == pytest.approx(np.mean(
      [metrics.average_precision_score(labels[:, i], scores[:, i])
       for i in known]))


def test_no_class_left():
  mean, left_out = metrics_lib.mean_average_precision(
      np.zeros([3, 2], bool), np.zeros([3, 2]))
  assert np.isnan(mean) and left_out == 2


def test_batches_are_collected(examples):
  labels, scores = (array.astype(np.float32) for array in examples)
  collector = metrics_lib.Collector()
  for part in (slice(0, 16), slice(16, 16), slice(16, 40)):
    collector.add(tf.constant(labels[part]), tf.constant(scores[part]))
  expected = metrics_lib.mean_average_precision(labels > 0, scores)
  assert collector.scores() == {
      'mean_average_precision': expected[0], 'classes_without_positive': 1}
