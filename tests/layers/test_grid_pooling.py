"""GridPooling."""

import numpy as np
import pytest
import tf_keras

from tests import layer_checks
from tf_tokenlearner import layers

CASES = (
    layer_checks.Case(
        layers.GridPooling, {'rows': 2, 'columns': 1}, ((4, 6, 8),), (2, 8)),
    layer_checks.Case(
        layers.GridPooling, {'rows': 2, 'columns': 2, 'grid_size': (2, 3)},
        ((6, 8),), (4, 8)),
)
X = np.random.default_rng(4).normal(size=[3, 4, 6, 8]).astype('float32')


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


def test_means_over_cells():
  expected = X.reshape([3, 2, 2, 2, 3, 8]).mean(axis=(2, 4))
  layer = layers.GridPooling(2, 2)
  np.testing.assert_allclose(
      layer(X), expected.reshape([3, 4, 8]), **layer_checks.CLOSE)
  assert layer.num_tokens == 4 and not layer.weights


def test_list_is_read_as_grid_or_square():
  as_map = layers.GridPooling(2, 3)(X)
  np.testing.assert_array_equal(
      layers.GridPooling(2, 3, grid_size=(4, 6))(X.reshape([3, 24, 8])), as_map)
  square = X[:, :, :4].reshape([3, 16, 8])
  np.testing.assert_array_equal(
      layers.GridPooling(2, 2)(square), layers.GridPooling(2, 2)(X[:, :, :4]))


def test_one_cell_is_the_mean_of_all():
  np.testing.assert_allclose(
      layers.GridPooling(1, 1)(X)[:, 0], X.mean(axis=(1, 2)),
      **layer_checks.CLOSE)


def test_as_many_cells_as_positions_change_nothing():
  np.testing.assert_array_equal(
      layers.GridPooling(4, 6)(X), X.reshape([3, 24, 8]))


def test_cells_share_positions_where_they_do_not_divide():
  x = X[:, :3]
  rows, columns = [(0, 2), (1, 3)], [(0, 2), (1, 3), (3, 5), (4, 6)]
  expected = np.stack(
      [x[:, slice(*row), slice(*column)].mean(axis=(1, 2))
       for row in rows for column in columns], axis=1)
  np.testing.assert_allclose(
      layers.GridPooling(2, 4)(x), expected, **layer_checks.CLOSE)


@pytest.mark.parametrize('shape, message', [
    ([8], 'GridPooling: inputs must be of rank 3'),
    ([None, 6, 8], 'every axis of inputs but the batch must be known'),
    ([12, 8], 'GridPooling: 12 positions do not form a map of 3 x 3'),
    ([3, 6, 8], 'GridPooling: a map of 3 x 6 positions has no 4 x 2 cells.'),
    ([6, 1, 8], 'GridPooling: a map of 6 x 1 positions has no 4 x 2 cells.'),
])
def test_refuses_shape(shape, message):
  with pytest.raises(ValueError, match=message):
    layers.GridPooling(4, 2)(tf_keras.Input(shape))


@pytest.mark.parametrize('kwargs, message', [
    (dict(rows=0, columns=2), 'GridPooling: rows must be .* got 0'),
    (dict(rows=2, columns=2, grid_size=3),
     r'GridPooling: grid_size must be \(height, width\), got 3'),
])
def test_refuses_option(kwargs, message):
  with pytest.raises(ValueError, match=message):
    layers.GridPooling(**kwargs)
