"""Few-shot linear evaluation: what features tell of a few images a class.

Of each class a few training images are drawn. Ridge regression from their
standardised features to 1 for the class and -1 for the others is solved in
closed form, and the class of a test image is the largest of its outputs. So do
the official code of ViT and TokenLearner and its successor,
google-research/big_vision's evaluators/fewshot_lsr.py. Differs from them in:
float64; an intercept that is not regularised, where they append a feature of
constant 100, whose weight hardly is; images are drawn by a seed.

The strength of regularisation, l2, is chosen in two ways. From the drawn images
alone, by how many are recognised by what the others tell: nothing of the test
images is known. And as in the official code, one for all data sets, that of the
best mean rank of the accuracies on their test images: it has seen the answers,
but is what published numbers are.
"""

from typing import Iterator, NamedTuple, Sequence, Tuple

import numpy as np

from tf_tokenlearner import errors


class Ridge:
  """Minimises |X W + b - Y|^2 + l2 |W|^2 over W and b, for any l2 > 0.

  One decomposition U S V' of the centred X serves them all, W = V S / (S^2 +
  l2) U' Y. It has min(n, d) components, so that neither many features nor many
  examples alone make it slow, and keeps the digits that X'X would lose. The
  intercept b is not regularised. All is float64.

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

  def solution(self, l2: float) -> Tuple[np.ndarray, np.ndarray]:
    """W [d, k] and b [k]."""
    weights = self._vt.T @ self._weights(l2)
    return weights, self._target_mean - self._feature_mean @ weights

  def predictions(self, features: np.ndarray,
                  l2s: Sequence[float]) -> Iterator[np.ndarray]:
    """X W + b of other features [m, d], [m, k] for each l2."""
    features = np.asarray(features, np.float64)
    rotated = (features - self._feature_mean) @ self._vt.T  # [m, min(n, d)]
    for l2 in l2s:
      yield rotated @ self._weights(l2) + self._target_mean

  def left_out_predictions(self, l2: float) -> np.ndarray:
    """What each example would be given if it were left out of X, [n, k].

    The residual over 1 - leverage is what solving n times would leave (Allen
    1974, PRESS).
    """
    kept = self._s**2 / (self._s**2 + l2)
    residuals = self._targets - self._u @ (kept[:, None] * self._projected)
    leverages = 1 / len(self._u) + self._u**2 @ kept
    return (self._targets + self._target_mean
            - residuals / (1 - leverages)[:, None])

  def _weights(self, l2: float) -> np.ndarray:
    """V' W, [min(n, d), k]."""
    return (self._s / (self._s**2 + l2))[:, None] * self._projected


# The official code's.
L2S = tuple(2.**power for power in range(-10, 20))
_LEAST_DEVIATION = 1e-5
_AT_ONCE = 4096  # Test images, to keep float64 scores small.


class Sweep(NamedTuple):
  """What every l2 is worth.

  Attributes:
    accuracies: on the test images, by index of l2.
    left_out: accuracies on the drawn images, each left out in turn.
    left_out_errors: squared errors of these.
  """
  accuracies: Tuple[float, ...]
  left_out: Tuple[float, ...]
  left_out_errors: Tuple[float, ...]

  @property
  def chosen(self) -> int:
    """Index of the l2 that the drawn images speak for.

    There are few of them: of equal accuracies that of the least error.
    """
    return min(range(len(self.left_out)), key=lambda i: (
        -self.left_out[i], self.left_out_errors[i]))


def draw(labels: np.ndarray, num_classes: int, shots: int,
         seed: int) -> np.ndarray:
  """Indices of so many examples of each class, or of all that it has, sorted.

  Those of fewer shots are among those of more.

  Args:
    labels: int [n].
    num_classes: of the data set.
    shots: examples a class.
    seed: of the choice.
  """
  generator = np.random.default_rng(seed)
  return np.sort(np.concatenate([
      generator.permutation(np.flatnonzero(labels == label))[:shots]
      for label in range(num_classes)]))


def sweep(train_features: np.ndarray, train_labels: np.ndarray,
          test_features: np.ndarray, test_labels: np.ndarray,
          num_classes: int, l2s: Sequence[float] = L2S) -> Sweep:
  """Learns from the one and scores on the other.

  Args:
    train_features: [n, d].
    train_labels: int [n].
    test_features: [m, d].
    test_labels: int [m].
    num_classes: labels are below it.
    l2s: strengths of regularisation.

  Raises:
    UserError: features that are not finite, or no test images.
  """
  if not len(test_labels):
    raise errors.UserError(
        'Few-shot evaluation: there are no test images to score on.')
  if not (np.isfinite(train_features).all()
          and np.isfinite(test_features).all()):
    raise errors.UserError(
        'Few-shot evaluation: some features are not finite, so that nothing '
        'can be learned from them. Did the training of this checkpoint '
        'diverge?')
  mean, deviation = standardisation(train_features)
  wanted = targets(train_labels, num_classes)
  regression = Ridge((train_features - mean) / deviation, wanted)
  hits = np.zeros(len(l2s), np.int64)
  for start in range(0, len(test_labels), _AT_ONCE):
    part = slice(start, start + _AT_ONCE)
    scores = regression.predictions(
        (test_features[part] - mean) / deviation, l2s)
    hits += [np.sum(s.argmax(axis=-1) == test_labels[part]) for s in scores]
  left_out, left_out_errors = [], []
  for l2 in l2s:
    scores = regression.left_out_predictions(l2)
    left_out.append(float(np.mean(scores.argmax(axis=-1) == train_labels)))
    left_out_errors.append(float(np.mean((scores - wanted)**2)))
  return Sweep(tuple((hits / len(test_labels)).tolist()), tuple(left_out),
               tuple(left_out_errors))


def standardisation(features: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
  """Mean and deviation of each feature, float64 [d]."""
  features = np.asarray(features, np.float64)
  return features.mean(axis=0), features.std(axis=0) + _LEAST_DEVIATION


def targets(labels: np.ndarray, num_classes: int) -> np.ndarray:
  """1 for the class, -1 for the others, float64 [n, num_classes]."""
  return 2. * np.eye(num_classes)[labels] - 1.


def best_for_all(sweeps: Sequence[Sweep]) -> int:
  """Index of the l2 with the best mean rank on the test images of all."""
  accuracies = np.array([each.accuracies for each in sweeps])  # [sets, l2s]
  mine, others = accuracies[:, :, None], accuracies[:, None, :]
  ranks = np.sum((mine > others) + 0.5 * (mine == others), axis=-1)
  return int(np.argmax(ranks.mean(axis=0)))
