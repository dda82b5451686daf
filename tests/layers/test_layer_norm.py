"""LayerNorm."""

import numpy as np
import pytest
import tensorflow as tf

from tests import layer_checks
from tests import numpy_layers
from tf_tokenlearner import layers

CASES = (
    layer_checks.Case(layers.LayerNorm, {'epsilon': 1e-3}, ((9, 8),), (9, 8)),
    layer_checks.Case(layers.LayerNorm, {}, ((2, 3, 8),), (2, 3, 8)),
)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_equals_numpy(case):
  layer, (x,) = case.make(), case.tensors()
  np.testing.assert_allclose(
      layer(x), numpy_layers.layer_norm(x.numpy().astype('float64'), layer),
      **layer_checks.CLOSE)


def test_epsilon_is_that_of_flax():
  x = tf.constant([[-1e-3, 1e-3]])  # Variance 1e-6, as large as epsilon.
  np.testing.assert_allclose(
      layers.LayerNorm()(x), [[-.5**.5, .5**.5]], **layer_checks.CLOSE)


def test_statistics_are_float32_in_half_precision():
  x = np.float32([[300., 301.] * 4])  # Squares beyond float16.
  outputs = layers.LayerNorm(dtype='mixed_float16')(x)
  np.testing.assert_allclose(outputs, [[-1., 1.] * 4], atol=1e-3)


@pytest.mark.parametrize('epsilon', [0, -1e-6, float('nan')])
def test_refuses_epsilon(epsilon):
  with pytest.raises(ValueError, match=f'epsilon must be > 0, .* {epsilon}'):
    layers.LayerNorm(epsilon)
