"""TokenFuser and its alternatives."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import goldens
from tests import layer_checks
from tests import numpy_layers
from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner import layers

TOKEN_FUSER = (
    layer_checks.Case(
        layers.TokenFuser, {'bottleneck_dim': 12}, ((4, 8), (9, 8)), (9, 8),
        ('mix/bias',)),  # The LayerNorm over channels takes its mean away.
    layer_checks.Case(
        layers.TokenFuser, {'use_normalization': False},
        ((4, 8), (2, 3, 8)), (2, 3, 8)),
)
SPACE_TIME = (
    layer_checks.Case(
        layers.SpaceTimeTokenFuser, {'num_tokens': 2},
        ((6, 8), (3, 2, 4, 8)), (3, 2, 4, 8)),
    layer_checks.Case(
        layers.SpaceTimeTokenFuser, {'num_tokens': 3},
        ((3, 8), (1, 3, 3, 8)), (1, 3, 3, 8)),
)
UNPOOLING = (
    layer_checks.Case(
        layers.TokenUnpooling, {}, ((4, 8), (4, 9)), (9, 8)),
    layer_checks.Case(
        layers.TokenUnpooling, {}, ((4, 8), (4, 2, 3)), (2, 3, 8)),
)
REPROJECTION = (
    layer_checks.Case(
        layers.TokenReprojection, {'num_heads': 2}, ((4, 8), (9, 8)), (9, 8)),
    layer_checks.Case(
        layers.TokenReprojection, {'num_heads': 4},
        ((4, 8), (2, 3, 8)), (2, 3, 8)),
)
CASES = (*TOKEN_FUSER, *SPACE_TIME, *UNPOOLING, *REPROJECTION)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


@pytest.mark.parametrize('name', [
    'token_fuser', 'token_fuser_nonorm', 'token_fuser_small_inputs'])
def test_token_fuser_equals_official(name):
  golden = goldens.read(name)
  layer = layers.TokenFuser(**golden.kwargs)
  tokens, original = golden.inputs['inputs'], golden.inputs['original']
  layer(tokens, original)
  flax_names.assign(flax_names.token_fuser_entries(layer), golden.params)
  np.testing.assert_allclose(
      layer(tokens, original), golden.outputs['fused'], **goldens.TOLERANCE)
  np.testing.assert_allclose(
      layer(tokens, original.reshape([2, 4, 9, 16])),
      golden.outputs['fused'].reshape([2, 4, 9, 16]), **goldens.TOLERANCE)
  masks = layer.mlp(layer.original_norm(original))  # Before the sigmoid.
  np.testing.assert_allclose(
      masks, golden.outputs['intermediates/token_masking'],
      **goldens.TOLERANCE)


def test_token_fuser_equals_numpy():
  case = TOKEN_FUSER[0]
  layer, tensors = case.make(), case.tensors()
  tokens, original = (x.numpy().astype('float64') for x in tensors)
  np.testing.assert_allclose(
      layer(*tensors), numpy_layers.token_fuser(tokens, original, layer),
      **layer_checks.CLOSE)


@pytest.mark.parametrize('use_normalization', [True, False])
def test_token_fuser_adds_nothing_at_first_but_can_learn(use_normalization):
  layer = layers.TokenFuser(use_normalization=use_normalization)
  tensors = TOKEN_FUSER[0].tensors()
  with tf.GradientTape() as tape:
    outputs = layer(*tensors)
    total = tf.reduce_sum(outputs * tensors[1])
  assert not outputs.numpy().any()
  gradient = tape.gradient(total, layer.mix.kernel)
  assert np.abs(gradient).max() > 1e-3


@pytest.mark.parametrize('tokens, original, message', [
    ([4, 8], [8], 'TokenFuser: original must be of rank 3'),
    ([4, 8], [None, 8], 'every axis of original but the batch must be known'),
    ([4, 8], [9, 6], r'the same width, got \(None, 4, 8\) and '
     r'\(None, 9, 6\)'),
    ([2, 2, 8], [9, 8], r'inputs must be tokens \[B, S, C\] with S and C '
     r'known, got shape \(None, 2, 2, 8\)'),
    ([None, 8], [9, 8], 'with S and C known'),
])
def test_token_fuser_refuses_shape(tokens, original, message):
  with pytest.raises(ValueError, match=message):
    layers.TokenFuser()(tf_keras.Input(tokens), tf_keras.Input(original))


@pytest.mark.parametrize('kwargs, message', [
    ({'bottleneck_dim': -1}, 'TokenFuser: bottleneck_dim must .* got -1'),
    ({'dropout_rate': 1.}, r'dropout_rate must lie in \[0, 1\), got 1.0'),
    ({'mlp_dropout_rate': 1.}, 'mlp_dropout_rate must lie in .* got 1.0'),
])
def test_token_fuser_refuses_option(kwargs, message):
  with pytest.raises(ValueError, match=message):
    layers.TokenFuser(**kwargs)


@pytest.mark.parametrize('case', SPACE_TIME, ids=['clip', 'frame'])
def test_space_time_equals_numpy(case):
  layer, (tokens, maps) = case.make(), case.tensors()
  expected = numpy_layers.space_time_token_fuser(
      tokens.numpy().astype('float64'), maps.numpy().astype('float64'), layer)
  np.testing.assert_allclose(
      layer(tokens, maps), expected, **layer_checks.CLOSE)


def test_space_time_any_token_reaches_every_frame():
  layer, (tokens, maps) = SPACE_TIME[0].make(), SPACE_TIME[0].tensors()
  change = layer(tokens + tf.one_hot([5], 6)[..., None], maps) - layer(
      tokens, maps)
  assert np.abs(change).min() > 1e-4


def test_space_time_weights_of_a_position_come_from_it_alone():
  layer, (tokens, maps) = SPACE_TIME[0].make(), SPACE_TIME[0].tensors()
  touched = maps + tf.scatter_nd([[0, 1, 0, 2, 3]], [5.], maps.shape)
  moved = np.abs(layer(tokens, touched) - layer(tokens, maps)).max(axis=-1)
  assert np.argwhere(moved > 1e-6).tolist() == [[0, 1, 0, 2]]


def test_space_time_adds_nothing_at_first_but_can_learn():
  layer, tensors = layers.SpaceTimeTokenFuser(2), SPACE_TIME[0].tensors()
  with tf.GradientTape() as tape:
    outputs = layer(*tensors)
    total = tf.reduce_sum(outputs * tensors[1])
  assert not outputs.numpy().any()
  assert np.abs(tape.gradient(total, layer.mix.kernel)).max() > 1e-3


@pytest.mark.parametrize('tokens, original, message', [
    ([6, 8], [6, 8], r'SpaceTimeTokenFuser: original must be maps \[B, T, H, W,'
     r' C\], got shape \(None, 6, 8\)'),
    ([6, 8], [3, None, 2, 8], 'every axis of original but the batch must be '),
    ([6, 8], [3, 2, 2, 7], 'each frame of original needs 2 tokens in inputs, '
     r'of the same width, got \(None, 6, 8\) and \(None, 3, 2, 2, 7\)'),
    ([6, 8], [2, 2, 2, 8], 'each frame of original needs 2 tokens'),
    ([3, 2, 8], [3, 2, 2, 8], r'inputs must be tokens \[B, T\*S, C\] with T\*S '
     r'and C known, got shape \(None, 3, 2, 8\)'),
    ([None, 8], [3, 2, 2, 8], r'with T\*S and C known'),
])
def test_space_time_refuses_shape(tokens, original, message):
  with pytest.raises(ValueError, match=message):
    layers.SpaceTimeTokenFuser(2)(
        tf_keras.Input(tokens), tf_keras.Input(original))


def test_space_time_refuses_option():
  with pytest.raises(ValueError, match='num_tokens must be .* got 0'):
    layers.SpaceTimeTokenFuser(0)


def test_unpooling_equals_numpy():
  case = UNPOOLING[1]
  tokens, masks = case.tensors()
  np.testing.assert_allclose(
      case.make()(tokens, masks), np.einsum('bsc,bshw->bhwc', tokens, masks),
      **layer_checks.CLOSE)


def test_unpooling_undoes_a_pooling_by_disjoint_masks():
  """Positions under one mask get their common value back."""
  masks = np.array([[[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]]], 'float32')
  tokens = np.random.default_rng(3).normal(size=[1, 2, 8]).astype('float32')
  positions = layers.TokenUnpooling()(tokens, masks).numpy()
  pooled = (masks / masks.sum(axis=2, keepdims=True)) @ positions
  np.testing.assert_allclose(pooled, tokens, **layer_checks.CLOSE)


@pytest.mark.parametrize('tokens, masks, message', [
    ([4, 8], [5, 9], r'got shapes \(None, 4, 8\) and \(None, 5, 9\).'),
    ([4, 8], [4], r'expected tokens \[B, S, C\] and as many masks'),
    ([2, 4, 8], [4, 9], r'expected tokens \[B, S, C\] and as many masks'),
    ([4, 8], [4, None], 'every axis of masks but the batch must be known'),
])
def test_unpooling_refuses_shape(tokens, masks, message):
  with pytest.raises(ValueError, match=message):
    layers.TokenUnpooling()(tf_keras.Input(tokens), tf_keras.Input(masks))


def test_reprojection_equals_numpy():
  case = REPROJECTION[0]
  layer, tensors = case.make(), case.tensors()
  tokens, original = (x.numpy().astype('float64') for x in tensors)
  np.testing.assert_allclose(
      layer(*tensors), numpy_layers.token_reprojection(tokens, original, layer),
      **layer_checks.CLOSE)


def test_reprojection_one_token_is_what_every_position_gets():
  layer = REPROJECTION[0].make()
  tokens, original = REPROJECTION[0].tensors()
  outputs = layer(tokens[:, :1], original)
  np.testing.assert_allclose(
      outputs, tf.tile(outputs[:, :1], [1, 9, 1]), **layer_checks.CLOSE)


def test_reprojection_adds_nothing_at_first_but_can_learn():
  layer = layers.TokenReprojection(2)
  tensors = REPROJECTION[0].tensors()
  with tf.GradientTape() as tape:
    outputs = layer(*tensors)
    total = tf.reduce_sum(outputs * tensors[1])
  assert not outputs.numpy().any()
  gradient = tape.gradient(total, layer.output_dense.kernel)
  assert np.abs(gradient).max() > 1e-3


def test_reprojection_queries_keys_and_values_start_like_glorot():
  layer = layers.TokenReprojection(2)
  layer(tf.zeros([1, 4, 64]), tf.zeros([1, 9, 64]))
  limit = np.sqrt(3 / 64)
  for kernel in (layer.query.kernel, *tf.split(layer.key_value.kernel, 2, 1)):
    assert .95 * limit < np.abs(kernel).max() <= limit


@pytest.mark.parametrize('tokens, original, message', [
    ([4, 8], [8], 'TokenReprojection: original must be of rank 3'),
    ([4, 8], [None, 8], 'every axis of original but the batch must be known'),
    ([4, 8], [9, 6], r'the same width, got \(None, 4, 8\) and '
     r'\(None, 9, 6\)'),
    ([2, 2, 8], [9, 8], r'inputs must be tokens \[B, S, C\] with S and C '
     r'known, got shape \(None, 2, 2, 8\)'),
    ([None, 8], [9, 8], 'with S and C known'),
    ([4, 9], [9, 9], 'the width 9 must be a multiple of num_heads, got '
     'num_heads=2'),
])
def test_reprojection_refuses_shape(tokens, original, message):
  with pytest.raises(ValueError, match=message):
    layers.TokenReprojection(2)(
        tf_keras.Input(tokens), tf_keras.Input(original))


@pytest.mark.parametrize('kwargs, message', [
    ({'num_heads': 0}, 'TokenReprojection: num_heads must .* got 0'),
    ({'num_heads': 2, 'attention_dropout_rate': 1.},
     r'attention_dropout_rate must lie in \[0, 1\), got 1.0'),
])
def test_reprojection_refuses_option(kwargs, message):
  with pytest.raises(ValueError, match=message):
    layers.TokenReprojection(**kwargs)
