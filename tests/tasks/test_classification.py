"""Loss and metrics against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner.tasks import metrics as metrics_lib

LOGITS = np.array([[2., -1., .5], [0., 3., 1.]], np.float32)
LABELS = np.array([2, 1])
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]


def loss(labels, name, smoothing=0.):
  return metrics_lib.example_losses(
      tf.constant(labels), tf.constant(LOGITS), name, smoothing).numpy()


@pytest.mark.parametrize('labels', [LABELS, ONE_HOT])
@pytest.mark.parametrize('smoothing', [0., .3])
def test_softmax(labels, smoothing):
  log_p = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
  targets = ONE_HOT * (1 - smoothing) + smoothing / 3
  np.testing.assert_allclose(
      loss(labels, 'softmax', smoothing), -(targets * log_p).sum(-1), rtol=1e-5)


@pytest.mark.parametrize('labels', [LABELS, ONE_HOT])
@pytest.mark.parametrize('smoothing', [0., .2])
def test_sigmoid_sums_over_classes(labels, smoothing):
  p = 1 / (1 + np.exp(-LOGITS))
  targets = ONE_HOT * (1 - smoothing) + smoothing / 2
  expected = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).sum(-1)
  np.testing.assert_allclose(
      loss(labels, 'sigmoid', smoothing), expected, rtol=1e-5)


def test_several_labels_share_the_answer():
  several = np.array([[1., 0., 1.], [0., 1., 0.]], np.float32)
  log_p = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
  np.testing.assert_allclose(
      loss(several, 'softmax'), [-log_p[0, [0, 2]].mean(), -log_p[1, 1]],
      rtol=1e-5)


def test_mean_of_nothing_is_zero():
  assert metrics_lib.mean_loss(tf.zeros([0])).numpy() == 0
  assert metrics_lib.mean_loss(tf.constant([1., 3.])).numpy() == 2


def test_hits_of_one_label():
  for k, expected in [(1, [0, 1]), (2, [1, 1])]:
    np.testing.assert_array_equal(metrics_lib.hits(
        tf.constant(LABELS), tf.constant(LOGITS), k), expected)
    np.testing.assert_array_equal(metrics_lib.hits(
        tf.constant(ONE_HOT), tf.constant(LOGITS), k), expected)


def test_equal_logits_are_no_hit_for_all():
  labels = tf.range(10)
  assert sum(metrics_lib.hits(labels, tf.zeros([10, 10]), 1).numpy()) == 1
  assert sum(metrics_lib.hits(labels, tf.zeros([10, 10]), 5).numpy()) == 5


def test_hits_of_many_labels_is_precision_at_one():
  labels = tf.constant([[1., 0., 1.], [1., 0., 0.], [0., 0., 0.]])
  logits = tf.constant([[.1, .2, .9], [.1, .9, .2], [.9, .1, .1]])
  np.testing.assert_array_equal(
      metrics_lib.hits(labels, logits, 1), [1, 0, 0])


def test_mixed_label_counts_as_its_larger_share():
  labels = tf.constant([[.7, .3, 0.]])
  assert metrics_lib.hits(labels, tf.constant([[1., 0., 0.]]), 1) == [1]
  assert metrics_lib.hits(labels, tf.constant([[0., 1., 0.]]), 1) == [0]


def test_metrics_run_over_batches():
  metrics = metrics_lib.build_metrics(num_classes=3)
  assert [m.name for m in metrics] == ['accuracy']
  assert [m.name for m in metrics_lib.build_metrics(6)] == [
      'accuracy', 'top_5_accuracy']
  accuracy, = metrics
  accuracy.update_state(tf.constant(LABELS), tf.constant(LOGITS))
  accuracy.update_state(tf.constant([1]), tf.constant(LOGITS[1:]))
  np.testing.assert_allclose(accuracy.result(), 2 / 3)
