"""Cells that grid_pooling averages and frames that temporal_sampling picks."""

import math
from typing import Any, List, Tuple

import numpy as np

from tf_tokenlearner.backbones import spec_checks
from tf_tokenlearner import errors

_Map = Tuple[int, int]  # (height, width), or (rows, columns).


def nearly_square_cells(num_cells: int, map_size: _Map) -> _Map:
  """Returns (rows, columns) of that many cells, as nearly square as possible.

  Raises:
    UserError: no grid of that many cells fits the map.
  """
  height, width = map_size
  grids = [(rows, num_cells // rows) for rows in range(1, height + 1)
           if num_cells % rows == 0 and num_cells // rows <= width]
  if not grids:
    raise errors.UserError(
        f'num_tokens={num_cells} does not go with tokenizer=grid_pooling: no '
        f'grid of {num_cells} cells fits a map of {height} x {width} '
        'positions.')
  log_aspect = lambda grid: math.log(height * grid[1] / (width * grid[0]))
  return min(grids, key=lambda grid: abs(log_aspect(grid)))


def window_cells(window: Any, map_size: _Map) -> _Map:
  """Returns (rows, columns) of windows of (height, width) positions.

  Raises:
    UserError: window is no such pair, or windows do not fill the map.
  """
  axes = ('height', 'width')
  spec_checks.require_sizes('pooling_window', window, axes)
  spec_checks.require_tiled('map', map_size, 'pooling_window', window, axes)
  return map_size[0] // window[0], map_size[1] // window[1]


def sampled_frames(num_frames: int, num_wanted: int) -> List[int]:
  """Returns indices of evenly spaced frames, as the official ViViT code does.

  step = num_frames / (num_wanted + 1); the frames lie at step, 2 * step and so
  on below num_frames, in float32, rounded half to even. Where the division
  rounds down, the official code returns one frame more than wanted, and it may
  be the last one twice; so does this. Source: Arnab et al. 2021 (arXiv
  2103.15691), section 3.2; sample_frames_uniformly of Scenic, no difference.

  Args:
    num_frames: frames of the clip.
    num_wanted: frames to pick; a shorter clip is taken whole.

  Returns:
    num_wanted indices, ascending, sometimes num_wanted + 1.

  Example:
    >>> sampled_frames(8, 4), sampled_frames(8, 2), sampled_frames(4, 2)
    ([2, 3, 5, 6], [3, 5, 7], [1, 3, 3])
  """
  if num_wanted >= num_frames:
    return list(range(num_frames))
  step = num_frames / (num_wanted + 1)
  steps = np.arange(math.ceil((num_frames - step) / step), dtype='float32')
  positions = np.float32(step) + steps * np.float32(step)
  return np.minimum(np.rint(positions), num_frames - 1).astype(int).tolist()
