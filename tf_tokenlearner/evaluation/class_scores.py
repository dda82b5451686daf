"""Scores of a classifier by class, and over all classes.

Scores that are not defined, such as the recall of a class without examples, are
NaN. Means over classes leave them out.
"""

import dataclasses
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

# Attributes of ClassScores that may select the best checkpoint.
ONE_LABEL = ('balanced_accuracy', 'macro_f1', 'auc')
MANY_LABELS = (
    'mean_average_precision', 'classes_without_positive', 'macro_f1', 'auc')
_THRESHOLD = .5


@dataclasses.dataclass(frozen=True, eq=False)
class ClassScores:
  """Scores of the examples of an evaluation.

  Attributes:
    num_examples: number of examples.
    accuracy: share of examples whose most likely class is among their labels.
    macro_f1: mean F1 of the classes with examples.
    auc: mean area under the ROC curve of each class against the others.
    balanced_accuracy: mean recall of the classes; NaN with any_number.
    mean_average_precision: mean over classes; NaN without any_number.
    support: examples of each class, int [C].
    precision: share of the predictions of a class that are right, [C].
    recall: share of the examples of a class that are predicted as it, [C].
    f1: harmonic mean of precision and recall, [C].
    class_auc: area under the ROC curve of each class against the others, [C].
    average_precision: of each class, [C]; NaN without any_number.
    confusion: examples by label (rows) and prediction, int [C, C]; None if
      examples may have several labels.
  """
  num_examples: int
  accuracy: float
  macro_f1: float
  auc: float
  balanced_accuracy: float
  mean_average_precision: float
  support: np.ndarray
  precision: np.ndarray
  recall: np.ndarray
  f1: np.ndarray
  class_auc: np.ndarray
  average_precision: np.ndarray
  confusion: Optional[np.ndarray]

  @property
  def classes_without_positive(self) -> int:
    """Number of classes without examples."""
    return int((self.support == 0).sum())

  def as_dict(self, label_names: Sequence[str]) -> Dict[str, Any]:
    """Returns all scores as plain data; those that are not defined are None.

    Args:
      label_names: names of the classes.
    """
    overall = {name: _plain(getattr(self, name)) for name in (
        'accuracy', 'balanced_accuracy', 'macro_f1', 'auc',
        'mean_average_precision')}
    columns = {'precision': self.precision, 'recall': self.recall,
               'f1': self.f1, 'auc': self.class_auc,
               'average_precision': self.average_precision,
               'examples': self.support}
    if self.confusion is not None:
      del overall['mean_average_precision'], columns['average_precision']
    return {
        'examples': self.num_examples, **overall,
        'classes': [
            {'name': name, **{key: _plain(values[i])
                              for key, values in columns.items()}}
            for i, name in enumerate(label_names)],
        'confusion': (
            None if self.confusion is None else self.confusion.tolist())}


def compute(labels: np.ndarray, probabilities: np.ndarray,
            any_number: bool = False) -> ClassScores:
  """Computes the scores of an evaluation.

  Args:
    labels: int [N], or [N, C] of zeros and ones for several labels an example.
    probabilities: float [N, C].
    any_number: whether the model predicts any number of classes, those with a
      probability of at least 0.5, instead of the most likely one.
  """
  num_examples, num_classes = probabilities.shape
  classes = np.arange(num_classes)
  targets = labels[:, np.newaxis] == classes if labels.ndim == 1 else labels > 0
  predicted = decide(probabilities, any_number)
  hits = (targets & predicted).sum(axis=0)
  support = targets.sum(axis=0)
  recall = _ratio(hits, support)
  f1 = _ratio(2 * hits, support + predicted.sum(axis=0))
  class_auc, average_precision = _ranking(targets, probabilities, any_number)
  best = probabilities.argmax(axis=-1)
  confusion = None
  if labels.ndim == 1:
    confusion = np.bincount(
        labels.astype(np.int64) * num_classes + best,
        minlength=num_classes**2).reshape(num_classes, num_classes)
  return ClassScores(
      num_examples=num_examples,
      accuracy=_mean(targets[np.arange(num_examples), best]),
      macro_f1=_mean(f1[support > 0]),
      auc=_mean(class_auc),
      balanced_accuracy=float('nan') if any_number else _mean(recall),
      mean_average_precision=_mean(average_precision),
      support=support,
      precision=_ratio(hits, predicted.sum(axis=0)),
      recall=recall, f1=f1, class_auc=class_auc,
      average_precision=average_precision, confusion=confusion)


def decide(probabilities: np.ndarray, any_number: bool = False) -> np.ndarray:
  """Returns which classes are predicted, bool [N, C]; see compute."""
  if any_number:
    return probabilities >= _THRESHOLD
  best = probabilities.argmax(axis=-1)
  return best[:, np.newaxis] == np.arange(probabilities.shape[-1])


def probabilities_of(logits: np.ndarray, loss: str) -> np.ndarray:
  """Returns float64 probabilities of logits [N, C].

  Args:
    logits: outputs of the model.
    loss: that it was trained with, 'softmax' or 'sigmoid'.
  """
  from scipy import special  # pylint: disable=g-import-not-at-top, slow
  logits = logits.astype(np.float64)
  return (special.expit(logits) if loss == 'sigmoid'
          else special.softmax(logits, axis=-1))


def confusions(values: Dict[str, Any], limit: int
               ) -> List[Tuple[int, int, str, str]]:
  """Returns the most frequent confusions.

  Args:
    values: result of ClassScores.as_dict.
    limit: maximum number.

  Returns:
    (count, examples of the label, label, prediction) of each.
  """
  matrix = np.array(values['confusion'])
  names = [row['name'] for row in values['classes']]
  wrong = matrix * (1 - np.eye(len(matrix), dtype=int))
  order = np.argsort(-wrong, axis=None, kind='stable')[:limit]
  return [(int(wrong[i, j]), int(matrix[i].sum()), names[i], names[j])
          for i, j in zip(*np.unravel_index(order, wrong.shape)) if wrong[i, j]]


def _ranking(targets, probabilities, any_number):
  """Returns AUC and average precision of each class, [C] each."""
  from sklearn import metrics  # pylint: disable=g-import-not-at-top, slow
  auc, average_precision = np.full([2, targets.shape[1]], np.nan)
  support = targets.sum(axis=0)
  for i in np.flatnonzero(support):
    if support[i] < len(targets):
      auc[i] = metrics.roc_auc_score(targets[:, i], probabilities[:, i])
    if any_number:
      average_precision[i] = metrics.average_precision_score(
          targets[:, i], probabilities[:, i])
  if len(auc) == 2 and (targets[:, 0] != targets[:, 1]).all():
    auc[0] = auc[1]  # But for ties that rounding breaks.
  return auc, average_precision


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
  """Returns part / whole, NaN where whole is 0."""
  return np.divide(part, whole, out=np.full(part.shape, np.nan),
                   where=whole > 0)


def _mean(values: np.ndarray) -> float:
  """Returns the mean of the values that are defined; NaN without any."""
  known = values[~np.isnan(values)]
  return float(known.mean()) if known.size else float('nan')


def _plain(value) -> Any:
  """Returns a number of Python; None for NaN."""
  number = value.item() if hasattr(value, 'item') else value
  return None if number != number else number
