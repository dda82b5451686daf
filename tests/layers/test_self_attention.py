"""SelfAttention."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tests import numpy_layers
from tf_tokenlearner import layers

CASES = (
    layer_checks.Case(
        layers.SelfAttention, {'num_heads': 2}, ((9, 8),), (9, 8)),
    layer_checks.Case(
        layers.SelfAttention, {'num_heads': 4}, ((2, 3, 8),), (2, 3, 8)),
)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


def test_equals_numpy():
  layer, (x,) = CASES[0].make(), CASES[0].tensors()
  np.testing.assert_allclose(
      layer(x), numpy_layers.attention(x.numpy().astype('float64'), layer),
      **layer_checks.CLOSE)


def test_map_equals_list():
  layer, (x,) = CASES[1].make(), CASES[1].tensors()
  as_list = layer(tf.reshape(x, [-1, 6, 8]))
  np.testing.assert_allclose(
      tf.reshape(layer(x), [-1, 6, 8]), as_list, **layer_checks.CLOSE)


def test_follows_the_order_of_positions():
  layer, (x,) = CASES[0].make(), CASES[0].tensors()
  order = np.random.default_rng(3).permutation(9)
  np.testing.assert_allclose(
      layer(tf.gather(x, order, axis=1)),
      tf.gather(layer(x), order, axis=1), **layer_checks.CLOSE)


def test_key_bias_has_no_effect():
  layer, (x,) = CASES[0].make(), CASES[0].tensors()
  before = layer(x)
  layer.qkv.bias.assign_add(tf.repeat([0., 5., 0.], 8))
  np.testing.assert_allclose(layer(x), before, **layer_checks.CLOSE)


def test_kernels_start_as_three_of_glorot():
  layer = layers.SelfAttention(2)
  layer.build([None, 9, 64])
  q, k, v = np.split(layer.qkv.kernel.numpy(), 3, axis=1)
  limit = np.sqrt(6 / (64 + 64))
  for kernel in (q, k, v):
    assert .95 * limit < np.abs(kernel).max() <= limit
    np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=.05)
  assert not layer.qkv.bias.numpy().any()


@pytest.mark.parametrize('shape, message', [
    ([8], r'SelfAttention: inputs must be of rank 3, .* shape \(None, 8\)'),
    ([2, 2, 2, 8], 'SelfAttention: inputs must be of rank 3, .* rank 4, '),
    ([9, 6], r'the width 6 must be a multiple of num_heads, .* num_heads=4'),
    ([None, 8], r'but the batch must be known, .* \(None, None, 8\)'),
])
def test_refuses_shape(shape, message):
  with pytest.raises(ValueError, match=message):
    layers.SelfAttention(4)(tf_keras.Input(shape))


@pytest.mark.parametrize('kwargs, message', [
    ({'num_heads': True}, 'num_heads must be a whole number .* received True'),
    ({'num_heads': 2, 'dropout_rate': -.1}, 'received -0.1'),
])
def test_refuses_option(kwargs, message):
  with pytest.raises(ValueError, match=message):
    layers.SelfAttention(**kwargs)
