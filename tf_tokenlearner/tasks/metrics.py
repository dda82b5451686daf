"""Loss and metrics of classification, of images or clips.

Labels are class numbers [B], or one row of zeros and ones (or, after mixup, of
shares) per example, [B, num_classes]. Every function takes both.
With several labels an example, accuracy is multi-label precision at 1.
"""

import functools
from typing import List, Optional

import numpy as np
import tensorflow as tf
import tf_keras

from tf_tokenlearner.evaluation import class_scores
from tf_tokenlearner.tasks import class_weights


class Predictions:
  """Labels and logits of the examples of an evaluation, batch by batch.

  Args:
    loss: that the model was trained with, 'softmax' or 'sigmoid'.
    any_number: whether the model predicts any number of classes.

  Attributes:
    any_number: as the argument.
  """

  def __init__(self, loss: str, any_number: bool):
    self._loss, self.any_number = loss, any_number
    self._labels: List[np.ndarray] = []
    self._logits: List[np.ndarray] = []

  def add(self, labels: tf.Tensor, logits: tf.Tensor) -> None:
    """Takes a batch: labels [B] or [B, num_classes]; B may be 0."""
    self._labels.append(labels.numpy())
    self._logits.append(logits.numpy())

  @property
  def labels(self) -> np.ndarray:
    """All labels, [N] or [N, num_classes]."""
    return np.concatenate(self._labels)

  @functools.cached_property
  def probabilities(self) -> np.ndarray:
    """All probabilities, float64 [N, num_classes]."""
    return class_scores.probabilities_of(
        np.concatenate(self._logits), self._loss)

  @functools.cached_property
  def by_class(self) -> class_scores.ClassScores:
    """Scores of all examples; call after the last `add`."""
    return class_scores.compute(
        self.labels, self.probabilities, self.any_number)


LOSSES = ('softmax', 'sigmoid')


def example_losses(
    labels: tf.Tensor, logits: tf.Tensor, loss: str,
    label_smoothing: float = 0.,
    weights: Optional[class_weights.ClassWeights] = None) -> tf.Tensor:
  """The loss of each example.

  Args:
    labels: [B] or [B, num_classes].
    logits: float32 [B, num_classes].
    loss: 'softmax', of several labels each an equal share; or 'sigmoid': the
      sum over classes, as in the official ImageNet recipe.
    label_smoothing: share of the label spread over all classes.
    weights: of the classes; None weighs all the same.

  Returns:
    float32 [B].
  """
  targets = _as_rows(labels, logits.shape[-1])
  # Smoothing changes the targets, not the weights.
  factors = weights.of(targets) if weights else 1.  # [B, num_classes]
  if loss == 'sigmoid':
    targets = targets * (1. - label_smoothing) + 0.5 * label_smoothing
    losses = tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
    return tf.reduce_sum(losses * factors, axis=-1)
  num_labels = tf.reduce_sum(targets, axis=-1, keepdims=True)
  targets /= tf.maximum(num_labels, 1.)
  spread = label_smoothing / logits.shape[-1]
  targets = targets * (1. - label_smoothing) + spread
  losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
  return losses * tf.reduce_sum(factors, axis=-1) if weights else losses


def mean_loss(losses: tf.Tensor) -> tf.Tensor:
  """The mean, 0 for the empty batch that a replica may get at the end."""
  return tf.math.divide_no_nan(
      tf.reduce_sum(losses), tf.cast(tf.size(losses), losses.dtype))


def hits(labels: tf.Tensor, logits: tf.Tensor, k: int) -> tf.Tensor:
  """1 where one of the k best classes is right, else 0; float32 [B].

  Equal logits rank by class number: a network that says the same of all classes
  is right by chance only. With several labels an example any of them is right,
  and k = 1 gives its precision at 1 (0 for one that has no label); of shares,
  as mixup gives them, the largest is the label.
  """
  targets = _as_rows(labels, logits.shape[-1])
  largest = tf.reduce_max(targets, axis=-1, keepdims=True)
  is_label = tf.logical_and(targets >= largest, targets > 0)
  best = tf.math.top_k(logits, k).indices  # [B, k]
  found = tf.gather(is_label, best, batch_dims=1)
  return tf.cast(tf.reduce_any(found, axis=-1), tf.float32)


def build_metrics(num_classes: int) -> List[tf_keras.metrics.Metric]:
  """accuracy, and top_5_accuracy where there are more than 5 classes.

  With several labels an example, accuracy is the mean precision at 1, and
  top_5_accuracy the share of examples with a label among the best 5 classes.
  """
  metrics = [_Hits(1, name='accuracy')]
  if num_classes > 5:
    metrics.append(_Hits(5, name='top_5_accuracy'))
  return metrics


class _Hits(tf_keras.metrics.Mean):
  """Mean of hits over all examples."""

  def __init__(self, k: int, **kwargs):
    super().__init__(**kwargs)
    self._k = k

  def update_state(self, labels, logits, sample_weight=None):
    super().update_state(hits(labels, logits, self._k), sample_weight)


def _as_rows(labels: tf.Tensor, num_classes: int) -> tf.Tensor:
  if labels.shape.rank == 1:
    return tf.one_hot(labels, num_classes)
  return tf.cast(labels, tf.float32)
