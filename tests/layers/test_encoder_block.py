"""TransformerEncoderBlock."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tests import numpy_layers
from tf_tokenlearner import layers

CASES = (
    layer_checks.Case(layers.TransformerEncoderBlock,
                      {'num_heads': 2, 'mlp_dim': 12}, ((9, 8),), (9, 8)),
    layer_checks.Case(layers.TransformerEncoderBlock,
                      {'num_heads': 4, 'mlp_dim': 12}, ((2, 3, 8),), (2, 3, 8)),
)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


def test_equals_numpy():
  layer, (x,) = CASES[0].make(), CASES[0].tensors()
  np.testing.assert_allclose(
      layer(x), numpy_layers.block(x.numpy().astype('float64'), layer),
      **layer_checks.CLOSE)


def test_stochastic_depth_drops_whole_branches_of_examples():
  layer, (x,) = CASES[0].make(stochastic_depth_rate=.5), CASES[0].tensors(64)
  attended = layer.attention(layer.attention_norm(x))
  # Each example keeps its first branch at twice its size, or loses it; the
  # same then happens to its second.
  expected = []
  for first in (x, x + 2 * attended):
    expected += [first, first + 2 * layer.mlp(layer.mlp_norm(first))]
  outputs = layer(x, training=True)
  distances = tf.stack([
      tf.reduce_max(tf.abs(outputs - way), axis=[1, 2]) for way in expected])
  assert tf.reduce_max(tf.reduce_min(distances, axis=0)) < 1e-5
  assert set(tf.argmin(distances, axis=0).numpy()) == {0, 1, 2, 3}


def test_stochastic_depth_keeps_the_mean():
  layer, (x,) = CASES[0].make(stochastic_depth_rate=.25), CASES[0].tensors(1)
  layer.mlp.output_dense.kernel.assign(tf.zeros([12, 8]))
  layer.mlp.output_dense.bias.assign(tf.zeros([8]))
  outputs = layer(tf.repeat(x, 4000, axis=0), training=True)
  # The standard error of a share of 4000 draws is 0.7 %.
  branch = np.abs(layer(x) - x).max()
  np.testing.assert_allclose(
      tf.reduce_mean(outputs, axis=0), layer(x)[0], atol=.04 * branch)


def test_dropout_follows_attention_and_fills_the_mlp():
  layer = CASES[0].make(dropout_rate=.5)
  assert layer.dropout.rate == layer.mlp.dropout_rate == .5
  assert layer.attention.dropout_rate == 0


@pytest.mark.parametrize('kwargs, message', [
    ({'num_heads': 0, 'mlp_dim': 4}, 'num_heads must be a whole number'),
    ({'num_heads': 2, 'mlp_dim': '4'}, "mlp_dim must be .* received '4'"),
    ({'num_heads': 2, 'mlp_dim': 4, 'stochastic_depth_rate': 1},
     'TransformerEncoderBlock: stochastic_depth_rate must lie in'),
    ({'num_heads': 2, 'mlp_dim': 4, 'dropout_rate': 2}, 'received 2'),
    ({'num_heads': 2, 'mlp_dim': 4, 'attention_dropout_rate': -1},
     'attention_dropout_rate must lie in'),
])
def test_refuses_option(kwargs, message):
  with pytest.raises(ValueError, match=message):
    layers.TransformerEncoderBlock(**kwargs)


def test_refuses_rank():
  with pytest.raises(ValueError, match='TransformerEncoderBlock: inputs must'):
    layers.TransformerEncoderBlock(2, 4)(tf_keras.Input([8]))
