"""Scores by class against scikit-learn and the definitions."""

import numpy as np
import pytest
from sklearn import metrics
import tensorflow as tf

from tf_tokenlearner.evaluation import class_scores
from tf_tokenlearner.tasks import metrics as metrics_lib


def by_definition(labels, scores):
  """Sum over thresholds of precision times the recall gained, ties together."""
  total = 0.
  for threshold in np.unique(scores)[::-1]:
    chosen = scores >= threshold
    gained = labels[scores == threshold].sum() / labels.sum()
    total += labels[chosen].mean() * gained
  return total


def one_label(num_classes, seed=0):
  """Returns labels [80] of all classes and probabilities with ties."""
  generator = np.random.default_rng(seed)
  labels = generator.permutation(np.arange(80) % num_classes)
  logits = generator.normal(size=[80, num_classes]).round(1)
  logits[np.arange(80), labels] += 1
  return labels, class_scores.probabilities_of(logits, 'softmax')


def many_labels():
  """Returns rows [40, 6] without class 4, and probabilities with ties."""
  generator = np.random.default_rng(0)
  labels = (generator.random([40, 6]) < .3).astype(np.float32)
  labels[:, 4] = 0
  logits = generator.normal(size=[40, 6]).round(1).astype(np.float32)
  return labels, logits


@pytest.mark.parametrize('num_classes', [2, 5])
def test_equals_scikit_learn(num_classes):
  labels, probabilities = one_label(num_classes)
  scores = class_scores.compute(labels, probabilities)
  best = probabilities.argmax(-1)
  expected = metrics.precision_recall_fscore_support(labels, best)
  for ours, theirs in zip(
      (scores.precision, scores.recall, scores.f1, scores.support), expected):
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
  np.testing.assert_array_equal(
      scores.confusion, metrics.confusion_matrix(labels, best))
  assert scores.accuracy == metrics.accuracy_score(labels, best)
  assert scores.balanced_accuracy == pytest.approx(
      metrics.balanced_accuracy_score(labels, best))
  assert scores.macro_f1 == pytest.approx(
      metrics.f1_score(labels, best, average='macro'))
  assert scores.auc == pytest.approx(
      metrics.roc_auc_score(labels, probabilities[:, 1]) if num_classes == 2
      else metrics.roc_auc_score(labels, probabilities, multi_class='ovr'))
  assert .5 < scores.auc < 1 and np.isnan(scores.mean_average_precision)


def test_classes_without_examples_are_left_out():
  """Of 3 classes, 1 has no examples and is predicted, 2 is never predicted."""
  labels = np.array([0, 0, 2])
  probabilities = np.array([[.8, .1, .1], [.2, .7, .1], [.5, .1, .4]])
  values = class_scores.compute(labels, probabilities).as_dict(['a', 'b', 'c'])
  assert values == {
      'examples': 3, 'accuracy': pytest.approx(1 / 3),
      'balanced_accuracy': .25, 'macro_f1': .25, 'auc': .75,
      'classes': [
          {'name': 'a', 'precision': .5, 'recall': .5, 'f1': .5, 'auc': .5,
           'examples': 2},
          {'name': 'b', 'precision': 0., 'recall': None, 'f1': 0.,
           'auc': None, 'examples': 0},
          {'name': 'c', 'precision': None, 'recall': 0., 'f1': 0., 'auc': 1.,
           'examples': 1}],
      'confusion': [[1, 1, 0], [0, 0, 0], [1, 0, 0]]}
  assert class_scores.confusions(values, 5) == [
      (1, 2, 'a', 'b'), (1, 1, 'c', 'a')]
  alone = class_scores.compute(labels[:2], probabilities[:2])
  assert np.isnan(alone.auc)  # There is nothing to tell apart.


def test_any_number_of_labels():
  """The examples come in batches, one of which is empty."""
  labels, logits = many_labels()
  predictions = metrics_lib.Predictions('sigmoid', any_number=True)
  for part in (slice(0, 16), slice(16, 16), slice(16, 40)):
    predictions.add(tf.constant(labels[part]), tf.constant(logits[part]))
  scores, known = predictions.by_class, [0, 1, 2, 3, 5]
  assert scores.classes_without_positive == 1 and scores.num_examples == 40
  np.testing.assert_allclose(scores.average_precision[known], [
      by_definition(labels[:, i], logits[:, i]) for i in known])
  assert scores.mean_average_precision == pytest.approx(
      metrics.average_precision_score(labels[:, known], logits[:, known]))
  assert scores.auc == pytest.approx(
      metrics.roc_auc_score(labels[:, known], logits[:, known]))
  expected = metrics.precision_recall_fscore_support(
      labels[:, known], logits[:, known] >= 0)
  for ours, theirs in zip((scores.precision, scores.recall, scores.f1),
                          expected):
    np.testing.assert_allclose(ours[known], theirs)
  assert scores.confusion is None and np.isnan(scores.balanced_accuracy)
  assert scores.accuracy == labels[np.arange(40), logits.argmax(-1)].mean()


def test_any_of_several_labels_is_right_for_a_model_of_one():
  """As ImageNet's ReaL labels: each label counts for its class."""
  labels = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
  probabilities = np.array([[.1, .8, .1], [.7, .2, .1], [.1, .1, .8]])
  scores = class_scores.compute(labels, probabilities)
  assert scores.accuracy == pytest.approx(2 / 3)
  np.testing.assert_allclose(scores.precision, [0, 1, 1])
  np.testing.assert_allclose(scores.recall, [0, .5, 1])
  assert scores.confusion is None


def test_no_class_has_examples():
  scores = class_scores.compute(np.zeros([3, 2]), np.full([3, 2], .5), True)
  assert np.isnan(scores.mean_average_precision)
  assert scores.classes_without_positive == 2
