"""Positions on another grid, against the official code."""

import numpy as np
import pytest

from tests import goldens
from tf_tokenlearner.checkpoints import transfer


@pytest.mark.parametrize('name, old, new', [
    ('grid4x4_to_6x6', (4, 4), (6, 6)),
    ('grid4x4_to_9x9', (4, 4), (9, 9)),
    ('grid7x7_to_5x5', (7, 7), (5, 5)),
    ('line8_to_12', (8,), (12,)),
    ('line8_to_5', (8,), (5,)),
])
def test_resize_matches_golden(name, old, new):
  golden = goldens.read('posembed_resize')
  resized = transfer.resize(
      golden.inputs[name.split('_')[0]], old, new)
  np.testing.assert_allclose(
      resized, golden.outputs[name][0], atol=1e-5, rtol=1e-5)


def test_repeat_matches_golden():
  golden = goldens.read('posembed_resize')
  np.testing.assert_array_equal(
      transfer.repeat(golden.inputs['grid4x4'], 4),
      golden.outputs['grid4x4_tile_to_64'][0])


def test_same_grid_changes_nothing():
  x = np.random.default_rng(0).normal(size=[6, 4]).astype(np.float32)
  np.testing.assert_array_equal(
      transfer.resize(x, (2, 3), (2, 3)), x)


def test_linear_stays_linear_on_any_grid():
  y, x = np.mgrid[0:3, 0:5].astype(np.float32)
  flat = np.stack([y / 2, x / 4, 3 - y + x], -1).reshape(-1, 3)
  resized = transfer.resize(flat, (3, 5), (7, 4)).reshape(7, 4, 3)
  rows, columns = np.mgrid[0:1:7j, 0:1:4j]
  np.testing.assert_allclose(resized[..., 0], rows, atol=1e-6)
  np.testing.assert_allclose(resized[..., 1], columns, atol=1e-6)
  np.testing.assert_allclose(
      resized[..., 2], 3 - 2 * rows + 4 * columns, atol=1e-6)


def test_one_position():
  one = np.array([[1., 2.]], np.float32)
  np.testing.assert_array_equal(
      transfer.resize(one, (1, 1), (2, 2)), np.repeat(one, 4, 0))
  np.testing.assert_array_equal(
      transfer.resize(np.arange(4.)[:, None], (4,), (1,)), [[0.]])
