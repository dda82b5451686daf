"""Few-shot linear evaluation of features.

A few training images of each class are drawn. Ridge regression from their
standardized features to 1 for the class and -1 for the others is solved in
closed form; the largest output determines the class of a test image. The
official code of ViT and TokenLearner and its successor,
google-research/big_vision's evaluators/fewshot_lsr.py, do the same. Differences
from them: float64; an intercept that is not regularized, where they append a
constant feature of 100, whose weight hardly is; a seed determines the draw.

The regularization strength l2 is chosen in two ways. Own: by leave-one-out
accuracy on the drawn images, without using test images. Shared: as in the
official code, one value for all data sets, with the best mean rank of the
accuracies on their test images. Published numbers are of the second type,
although it uses the test labels.
"""

from typing import Iterator, NamedTuple, Sequence, Tuple

import numpy as np

from tf_tokenlearner import errors


class Ridge:
  """Minimises |X W + b - Y|^2 + l2 |W|^2 over W and b, for any l2 > 0.

  One decomposition U S V' of the centered X serves every l2, as W = V S / (S^2
  + l2) U' Y. It has min(n, d) components, so that neither many features nor
  many examples alone make it slow, and is more accurate than forming X'X. The
  intercept b is not regularized. All computations are in float64.

  Args:
    features: X, [n, d].
    targets: Y, [n, k].
  """

  def __init__(self, features: np.ndarray, targets: np.ndarray):
    features = np.asarray(features, np.float64)
    targets = np.asarray(targets, np.float64)
    self._feature_mean = features.mean(axis=0)
    self._target_mean = targets.mean(axis=0)
    self._targets = targets - self._target_mean
    self._u, self._s, self._vt = np.linalg.svd(
        features - self._feature_mean, full_matrices=False)
    self._projected = self._u.T @ self._targets  # [min(n, d), k]

  def predictions(self, features: np.ndarray,
                  l2s: Sequence[float]) -> Iterator[np.ndarray]:
    """Yields X W + b [m, k] of other features [m, d] for each l2."""
    features = np.asarray(features, np.float64)
    rotated = (features - self._feature_mean) @ self._vt.T  # [m, min(n, d)]
    for l2 in l2s:
      yield rotated @ self._weights(l2) + self._target_mean

  def left_out_predictions(self, l2: float) -> np.ndarray:
    """Returns the prediction of each example from all others, [n, k].

    The residual divided by 1 - leverage equals that of solving n times (Allen
    1974, PRESS).
    """
    kept = self._s**2 / (self._s**2 + l2)
    residuals = self._targets - self._u @ (kept[:, None] * self._projected)
    leverages = 1 / len(self._u) + self._u**2 @ kept
    return (self._targets + self._target_mean
            - residuals / (1 - leverages)[:, None])

  def _weights(self, l2: float) -> np.ndarray:
    """Returns V' W, [min(n, d), k]."""
    return (self._s / (self._s**2 + l2))[:, None] * self._projected


# Values of the official code.
L2S = tuple(2.**power for power in range(-10, 20))
_LEAST_DEVIATION = 1e-5
_AT_ONCE = 4096  # Test images per step, which limits memory.


class Sweep(NamedTuple):
  """Scores of every l2, by its index.

  Attributes:
    accuracies: accuracies on the test images.
    left_out: leave-one-out accuracies on the drawn images.
    left_out_errors: mean squared errors of leaving one out.
  """
  accuracies: Tuple[float, ...]
  left_out: Tuple[float, ...]
  left_out_errors: Tuple[float, ...]

  @property
  def chosen(self) -> int:
    """Index of the l2 with the best leave-one-out accuracy.

    Ties are frequent with few images; the smallest squared error breaks them.
    """
    return min(range(len(self.left_out)), key=lambda i: (
        -self.left_out[i], self.left_out_errors[i]))


def draw(labels: np.ndarray, num_classes: int, shots: int,
         seed: int) -> np.ndarray:
  """Returns sorted indices of `shots` random examples of each class.

  A class with fewer examples gives all of them. Draws with the same seed are
  nested: those of fewer shots are subsets of those of more.

  Args:
    labels: int [n].
    num_classes: number of classes of the data set.
    shots: examples per class.
    seed: seed of the draw.
  """
  generator = np.random.default_rng(seed)
  return np.sort(np.concatenate([
      generator.permutation(np.flatnonzero(labels == label))[:shots]
      for label in range(num_classes)]))


def sweep(train_features: np.ndarray, train_labels: np.ndarray,
          test_features: np.ndarray, test_labels: np.ndarray,
          num_classes: int) -> Sweep:
  """Fits ridge regression for every value in L2S and scores the test features.

  Args:
    train_features: [n, d].
    train_labels: int [n].
    test_features: [m, d].
    test_labels: int [m].
    num_classes: upper bound of the labels.

  Raises:
    UserError: features are not finite, or there are no test images.
  """
  if not len(test_labels):
    raise errors.UserError(
        'Few-shot evaluation: there are no test images to score on.')
  if not (np.isfinite(train_features).all()
          and np.isfinite(test_features).all()):
    raise errors.UserError(
        'Few-shot evaluation: some features are not finite, so nothing can be '
        'learned from them. Check whether training diverged.')
  mean, deviation = standardisation(train_features)
  wanted = targets(train_labels, num_classes)
  regression = Ridge((train_features - mean) / deviation, wanted)
  hits = np.zeros(len(L2S), np.int64)
  for start in range(0, len(test_labels), _AT_ONCE):
    part = slice(start, start + _AT_ONCE)
    scores = regression.predictions(
        (test_features[part] - mean) / deviation, L2S)
    hits += [np.sum(s.argmax(axis=-1) == test_labels[part]) for s in scores]
  left_out, left_out_errors = [], []
  for l2 in L2S:
    scores = regression.left_out_predictions(l2)
    left_out.append(float(np.mean(scores.argmax(axis=-1) == train_labels)))
    left_out_errors.append(float(np.mean((scores - wanted)**2)))
  return Sweep(tuple((hits / len(test_labels)).tolist()), tuple(left_out),
               tuple(left_out_errors))


def standardisation(features: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
  """Returns mean and standard deviation of each feature, float64 [d]."""
  features = np.asarray(features, np.float64)
  return features.mean(axis=0), features.std(axis=0) + _LEAST_DEVIATION


def targets(labels: np.ndarray, num_classes: int) -> np.ndarray:
  """Returns 1 for the class and -1 for others, float64 [n, num_classes]."""
  return 2. * np.eye(num_classes)[labels] - 1.


def best_for_all(sweeps: Sequence[Sweep]) -> int:
  """Returns the index of the l2 with the best mean rank over data sets."""
  accuracies = np.array([result.accuracies for result in sweeps])  # [sets, l2s]
  each, others = accuracies[:, :, None], accuracies[:, None, :]
  ranks = np.sum((each > others) + 0.5 * (each == others), axis=-1)
  return int(np.argmax(ranks.mean(axis=0)))
