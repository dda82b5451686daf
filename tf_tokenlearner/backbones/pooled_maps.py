"""Into which cells a map of positions is pooled.

By number, a map of 32 x 32 becomes 16 tokens of 8 x 8 positions each; by
window, windows of 2 x 2 make 256 tokens of it. Plain arithmetic.
"""

import math
from typing import Any, Tuple

from tf_tokenlearner import errors
from tf_tokenlearner.backbones import spec_checks

_Map = Tuple[int, int]


def by_number(num_tokens: int, map_size: _Map) -> _Map:
  """(rows, columns) of that many cells, as nearly square as there are.

  Raises:
    UserError: no grid of that many cells fits the map.
  """
  height, width = map_size
  grids = [(rows, num_tokens // rows) for rows in range(1, height + 1)
           if num_tokens % rows == 0 and num_tokens // rows <= width]
  if not grids:
    raise errors.UserError(
        f'num_tokens={num_tokens} cannot be had by tokenizer=grid_pooling: no '
        f'grid of {num_tokens} cells fits a map of {height} x {width} '
        'positions.')
  # Of a cell, how far from 1 its height over its width is.
  return min(grids, key=lambda grid: abs(
      math.log(height * grid[1] / (width * grid[0]))))


def by_window(window: Any, map_size: _Map) -> _Map:
  """(rows, columns) of windows of (height, width) positions.

  Raises:
    UserError: no such window, or windows do not fill the map.
  """
  spec_checks.require_sizes('pooling_window', window, ('height', 'width'))
  for axis, size, step in zip(('height', 'width'), map_size, window):
    spec_checks.require_multiple(
        f'The map {axis}', size, f'the pooling_window {axis}', step)
  return map_size[0] // window[0], map_size[1] // window[1]
