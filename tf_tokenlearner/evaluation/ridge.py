"""Ridge regression in closed form, for many strengths at the cost of one."""

from typing import Iterator, Sequence, Tuple

import numpy as np


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
