"""Fits learned positions to another grid, and images' positions to clips."""

from typing import Tuple

import numpy as np


def resize(embedding: np.ndarray, old_grid: Tuple[int, ...],
           new_grid: Tuple[int, ...]) -> np.ndarray:
  """Interpolates linearly along each axis of a grid.

  The corners of the grids lie on each other, as in interpolate_positional_
  embeddings of the official ViViT code (unlike in tf.image.resize). That takes
  square grids only; here any grid of any number of axes.

  Args:
    embedding: [N, C], N the product of old_grid; no class token.
    old_grid: such as (H, W), or (T,).
    new_grid: of as many axes.

  Returns:
    float32 [product of new_grid, C]; equal to embedding if the grids are.
  """
  x = np.asarray(embedding, np.float32).reshape([*old_grid, -1])
  for axis, size in enumerate(new_grid):
    x = _resize_axis(x, axis, size)
  return x.reshape([-1, x.shape[-1]])


def repeat(embedding: np.ndarray, num_frames: int) -> np.ndarray:
  """[N, C] -> [T*N, C]: the same in each frame, as in Arnab et al. 2021."""
  return np.tile(embedding, [num_frames, 1])


def _resize_axis(x: np.ndarray, axis: int, size: int) -> np.ndarray:
  old = x.shape[axis]
  if size == old:
    return x
  at = np.linspace(0, old - 1, size) if size > 1 else np.zeros(1)
  below = np.minimum(at.astype(int), max(old - 2, 0))
  above = np.minimum(below + 1, old - 1)
  share = (at - below).astype(np.float32).reshape(
      [-1] + [1] * (x.ndim - axis - 1))
  return (np.take(x, below, axis) * (1 - share)
          + np.take(x, above, axis) * share)
