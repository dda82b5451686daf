"""The parts of the transformer block, and the block."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tests import numpy_layers
from tf_tokenlearner import layers
from tf_tokenlearner.layers import blocks

LAYER_NORM = (
    layer_checks.Case(layers.LayerNorm, {'epsilon': 1e-3}, ((9, 8),), (9, 8)),
    layer_checks.Case(layers.LayerNorm, {}, ((2, 3, 8),), (2, 3, 8)),
)
MATMUL_DENSE = (
    layer_checks.Case(layers.MatmulDense, {'units': 5}, ((8,),), (5,)),
    layer_checks.Case(
        layers.MatmulDense, {'units': 5, 'activation': 'tanh'}, ((9, 8),),
        (9, 5)),
    layer_checks.Case(
        layers.MatmulDense, {'units': 5, 'use_bias': False}, ((2, 3, 8),),
        (2, 3, 5)),
)
MLP = (
    layer_checks.Case(layers.MlpBlock, {'mlp_dim': 12}, ((9, 8),), (9, 8)),
    layer_checks.Case(layers.MlpBlock, {'mlp_dim': 12, 'out_dim': 5},
                      ((2, 3, 8),), (2, 3, 5)),
)
ATTENTION = (
    layer_checks.Case(
        layers.SelfAttention, {'num_heads': 2}, ((9, 8),), (9, 8)),
    layer_checks.Case(
        layers.SelfAttention, {'num_heads': 4}, ((2, 3, 8),), (2, 3, 8)),
)
BLOCK = (
    layer_checks.Case(layers.TransformerEncoderBlock,
                      {'num_heads': 2, 'mlp_dim': 12}, ((9, 8),), (9, 8)),
    layer_checks.Case(layers.TransformerEncoderBlock,
                      {'num_heads': 4, 'mlp_dim': 12}, ((2, 3, 8),), (2, 3, 8)),
)
CASES = (*LAYER_NORM, *MATMUL_DENSE, *MLP, *ATTENTION, *BLOCK)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


X = np.linspace(-6, 6, 121)


def test_gelu_is_the_tanh_form_not_the_erf_form():
  ours = blocks.gelu(tf.constant(X, tf.float32))
  np.testing.assert_allclose(ours, numpy_layers.gelu(X), atol=1e-6)
  erf = X / 2 * (1 + np.vectorize(math.erf)(X / math.sqrt(2)))
  assert 1e-4 < np.abs(ours - erf).max() < 1e-3


def test_gelu_keras_knows_it_by_name():
  config = tf_keras.activations.serialize(blocks.gelu)
  assert tf_keras.activations.deserialize(config) is blocks.gelu


@pytest.mark.parametrize('case', LAYER_NORM, ids=lambda case: case.label)
def test_layer_norm_equals_numpy(case):
  layer, (x,) = case.make(), case.tensors()
  np.testing.assert_allclose(
      layer(x), numpy_layers.layer_norm(x.numpy().astype('float64'), layer),
      **layer_checks.CLOSE)


def test_layer_norm_epsilon_is_that_of_flax():
  x = tf.constant([[-1e-3, 1e-3]])  # Variance 1e-6, as large as epsilon.
  np.testing.assert_allclose(
      layers.LayerNorm()(x), [[-.5**.5, .5**.5]], **layer_checks.CLOSE)


def test_layer_norm_statistics_are_float32_in_half_precision():
  x = np.float32([[300., 301.] * 4])  # Squares beyond float16.
  outputs = layers.LayerNorm(dtype='mixed_float16')(x)
  np.testing.assert_allclose(outputs, [[-1., 1.] * 4], atol=1e-3)


@pytest.mark.parametrize('epsilon', [0, -1e-6, float('nan')])
def test_layer_norm_refuses_epsilon(epsilon):
  with pytest.raises(ValueError, match=f'epsilon must be > 0, .* {epsilon}'):
    layers.LayerNorm(epsilon)


@pytest.mark.parametrize('case', MATMUL_DENSE, ids=lambda case: case.label)
def test_matmul_dense_equals_dense_of_keras(case):
  layer, (x,) = case.make(), case.tensors()
  dense = tf_keras.layers.Dense.from_config(layer.get_config())
  dense.build(x.shape)
  dense.set_weights(layer.get_weights())
  np.testing.assert_allclose(layer(x), dense(x), **layer_checks.CLOSE)


def test_matmul_dense_is_one_matmul_without_run_time_shapes():
  layer = layers.MatmulDense(5)
  graph = tf.function(layer, input_signature=[
      tf.TensorSpec([None, 9, 8])]).get_concrete_function().graph
  kinds = [operation.type for operation in graph.get_operations()]
  assert kinds.count('MatMul') == 1
  assert not {'Shape', 'Tensordot', 'ConcatV2', 'Transpose'} & set(kinds)


def test_matmul_dense_refuses_unknown_axis():
  with pytest.raises(ValueError, match=r'MatmulDense: every axis of inputs but '
                     r'the batch must be known, .* \(None, None, 8\)'):
    layers.MatmulDense(5)(tf_keras.Input([None, 8]))


@pytest.mark.parametrize('case', MLP, ids=lambda case: case.label)
def test_mlp_equals_numpy(case):
  layer, (x,) = case.make(), case.tensors()
  np.testing.assert_allclose(
      layer(x), numpy_layers.mlp(x.numpy().astype('float64'), layer),
      **layer_checks.CLOSE)


def test_mlp_dropout_after_both_dense_layers():
  layer = MLP[0].make(dropout_rate=.5)
  layer.output_dense.set_weights([np.zeros([12, 8]), np.ones([8])])
  (x,) = MLP[0].tensors()
  outputs = layer(x, training=True).numpy()
  assert set(outputs.flat) == {0., 2.}  # The last one scales what it keeps.
  layer.output_dense.set_weights([np.eye(12, 8), np.zeros([8])])
  ratio = (layer(x, training=True) / layer(x)).numpy()
  assert set(ratio.round(4).flat) == {0., 4.}  # Through both: 1 / (.5 * .5).


@pytest.mark.parametrize('kwargs, message', [
    ({'mlp_dim': 0}, 'MlpBlock: mlp_dim must be .* at least 1, got 0'),
    ({'mlp_dim': 4, 'out_dim': 2.}, 'out_dim must be .* got 2.0'),
    ({'mlp_dim': 4, 'dropout_rate': 1.}, r'dropout_rate must lie in \[0, 1\)'),
    ({'mlp_dim': 4, 'activation': 'relu'},
     "activation must be one of gelu_tanh, .*got 'relu'"),
])
def test_mlp_refuses(kwargs, message):
  with pytest.raises(ValueError, match=message):
    layers.MlpBlock(**kwargs)


def test_attention_equals_numpy():
  layer, (x,) = ATTENTION[0].make(), ATTENTION[0].tensors()
  np.testing.assert_allclose(
      layer(x), numpy_layers.attention(x.numpy().astype('float64'), layer),
      **layer_checks.CLOSE)


def test_attention_map_equals_list():
  layer, (x,) = ATTENTION[1].make(), ATTENTION[1].tensors()
  as_tokens = layer(tf.reshape(x, [-1, 6, 8]))
  np.testing.assert_allclose(
      tf.reshape(layer(x), [-1, 6, 8]), as_tokens, **layer_checks.CLOSE)


def test_attention_follows_the_order_of_positions():
  layer, (x,) = ATTENTION[0].make(), ATTENTION[0].tensors()
  order = np.random.default_rng(3).permutation(9)
  np.testing.assert_allclose(
      layer(tf.gather(x, order, axis=1)),
      tf.gather(layer(x), order, axis=1), **layer_checks.CLOSE)


def test_attention_key_bias_has_no_effect():
  layer, (x,) = ATTENTION[0].make(), ATTENTION[0].tensors()
  before = layer(x)
  layer.qkv.bias.assign_add(tf.repeat([0., 5., 0.], 8))
  np.testing.assert_allclose(layer(x), before, **layer_checks.CLOSE)


def test_attention_kernels_start_as_three_of_glorot():
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
def test_attention_refuses_shape(shape, message):
  with pytest.raises(ValueError, match=message):
    layers.SelfAttention(4)(tf_keras.Input(shape))


@pytest.mark.parametrize('kwargs, message', [
    ({'num_heads': True}, 'num_heads must be a whole number .* got True'),
    ({'num_heads': 2, 'dropout_rate': -.1}, 'got -0.1'),
])
def test_attention_refuses_option(kwargs, message):
  with pytest.raises(ValueError, match=message):
    layers.SelfAttention(**kwargs)


def test_block_equals_numpy():
  layer, (x,) = BLOCK[0].make(), BLOCK[0].tensors()
  np.testing.assert_allclose(
      layer(x), numpy_layers.block(x.numpy().astype('float64'), layer),
      **layer_checks.CLOSE)


def test_block_stochastic_depth_drops_whole_branches_of_examples():
  layer, (x,) = BLOCK[0].make(stochastic_depth_rate=.5), BLOCK[0].tensors(64)
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


def test_block_stochastic_depth_keeps_the_mean():
  layer, (x,) = BLOCK[0].make(stochastic_depth_rate=.25), BLOCK[0].tensors(1)
  layer.mlp.output_dense.kernel.assign(tf.zeros([12, 8]))
  layer.mlp.output_dense.bias.assign(tf.zeros([8]))
  outputs = layer(tf.repeat(x, 4000, axis=0), training=True)
  # The standard error of a share of 4000 draws is 0.7 %.
  branch = np.abs(layer(x) - x).max()
  np.testing.assert_allclose(
      tf.reduce_mean(outputs, axis=0), layer(x)[0], atol=.04 * branch)


def test_block_dropout_follows_attention_and_fills_the_mlp():
  layer = BLOCK[0].make(dropout_rate=.5)
  assert layer.dropout.rate == layer.mlp.dropout_rate == .5
  assert layer.attention.dropout_rate == 0


@pytest.mark.parametrize('kwargs, message', [
    ({'num_heads': 0, 'mlp_dim': 4}, 'num_heads must be a whole number'),
    ({'num_heads': 2, 'mlp_dim': '4'}, "mlp_dim must be .* got '4'"),
    ({'num_heads': 2, 'mlp_dim': 4, 'stochastic_depth_rate': 1},
     'TransformerEncoderBlock: stochastic_depth_rate must lie in'),
    ({'num_heads': 2, 'mlp_dim': 4, 'dropout_rate': 2}, 'got 2'),
    ({'num_heads': 2, 'mlp_dim': 4, 'attention_dropout_rate': -1},
     'attention_dropout_rate must lie in'),
])
def test_block_refuses_option(kwargs, message):
  with pytest.raises(ValueError, match=message):
    layers.TransformerEncoderBlock(**kwargs)


def test_block_refuses_rank():
  with pytest.raises(ValueError, match='TransformerEncoderBlock: inputs must'):
    layers.TransformerEncoderBlock(2, 4)(tf_keras.Input([8]))
