"""Mean average precision over the classes of a whole validation set."""

from typing import Dict, List, Tuple

import numpy as np
import tensorflow as tf

NAMES = ('mean_average_precision', 'classes_without_positive')


def mean_average_precision(labels: np.ndarray,
                           scores: np.ndarray) -> Tuple[float, int]:
  """The mean over classes, and how many had to be left out.

  scikit-learn's average precision of every class that some example has; the
  rest have no precision to speak of.

  Args:
    labels: [number of examples, num_classes] of zeros and ones.
    scores: of the same shape; only their order within a class matters.

  Returns:
    The mean (NaN if no class is left) and the number of classes without any
    positive example.
  """
  from sklearn import metrics  # pylint: disable=g-import-not-at-top, slow
  known = labels.any(axis=0)
  if not known.any():
    return float('nan'), labels.shape[1]
  mean = metrics.average_precision_score(
      labels[:, known], scores[:, known], average='macro')
  return float(mean), int((~known).sum())


class Collector:
  """Labels and logits of every example, batch by batch."""

  def __init__(self):
    self._labels: List[np.ndarray] = []
    self._logits: List[np.ndarray] = []

  def add(self, labels: tf.Tensor, logits: tf.Tensor) -> None:
    """Takes a batch; both are [B, num_classes], B may be 0."""
    self._labels.append(labels.numpy())
    self._logits.append(logits.numpy())

  def scores(self) -> Dict[str, float]:
    """The scores of NAMES."""
    return dict(zip(NAMES, mean_average_precision(
        np.concatenate(self._labels) > 0, np.concatenate(self._logits))))
