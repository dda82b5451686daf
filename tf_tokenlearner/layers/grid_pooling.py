"""GridPooling: fixed tokens, the baseline for TokenLearner."""

import math
from typing import Optional, Sequence

import numpy as np
import tensorflow as tf
import tf_keras

from tf_tokenlearner.layers import shapes


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class GridPooling(shapes.Layer):
  """Averages a map over rows x columns cells; each cell gives a token.

  Nothing is learned; this is a baseline for TokenLearner. Where the cells do
  not divide the map, neighbours share a row or column of positions.

  Args:
    rows: int > 0. Cells from top to bottom; S = rows * columns.
    columns: int > 0. Cells from left to right.
    grid_size: (H, W) of a token list; None takes it from a map, and from a
      list only if N is a square.

  Call arguments:
    inputs: float tensor [B, H, W, C] or [B, N, C]; only B may be unknown.
    training: bool. No effect; every tokenizer takes it.

  Returns:
    float tensor [B, S, C], row after row.

  Raises:
    ValueError: wrong rank, N that is neither grid_size nor a square, more cells
      along an axis than positions.

  Example:
    >>> inputs = tf.constant([[[[1.], [3.], [10.], [20.]]]])
    >>> GridPooling(1, 2)(inputs).numpy().tolist()
    [[[2.0], [15.0]]]
  """

  def __init__(self, rows: int, columns: int,
               grid_size: Optional[Sequence[int]] = None, **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive('GridPooling', rows=rows, columns=columns)
    self.rows = rows
    self.columns = columns
    self.grid_size = None if grid_size is None else shapes.require_pair(
        'GridPooling', 'grid_size', grid_size)

  @property
  def num_tokens(self) -> int:
    """Number of tokens S."""
    return self.rows * self.columns

  def build(self, input_shape):
    self._cells(input_shape)
    super().build(input_shape)

  def call(self, inputs, training=None):
    del training
    cells = tf.constant(self._cells(inputs.shape), self.compute_dtype)
    return tf.matmul(cells, shapes.to_tokens(inputs))  # [S, N] and [B, N, C]

  def _cells(self, input_shape) -> np.ndarray:
    """Returns [S, H * W], the weight of each position in each mean."""
    shapes.require_tokens_or_map('GridPooling', 'inputs', input_shape)
    height, width = shapes.map_size('GridPooling', input_shape, self.grid_size)
    if self.rows > height or self.columns > width:
      raise ValueError(
          f'GridPooling: a map of {height} x {width} positions has no '
          f'{self.rows} x {self.columns} cells.')
    return np.kron(_stretches(self.rows, height),
                   _stretches(self.columns, width))

  def get_config(self):
    return {
        **super().get_config(),
        'rows': self.rows,
        'columns': self.columns,
        'grid_size': self.grid_size,
    }


def _stretches(count: int, size: int) -> np.ndarray:
  """Returns [count, size], the weights of means over `count` stretches."""
  weights = np.zeros([count, size])
  for i in range(count):
    stretch = slice(i * size // count, math.ceil((i + 1) * size / count))
    weights[i, stretch] = 1 / (stretch.stop - stretch.start)
  return weights
