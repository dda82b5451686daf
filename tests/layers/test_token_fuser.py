"""TokenFuser."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import goldens
from tests import layer_checks
from tests import numpy_layers
from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner import layers

CASES = (
    layer_checks.Case(
        layers.TokenFuser, {'bottleneck_dim': 12}, ((4, 8), (9, 8)), (9, 8),
        ('mix/bias',)),  # The LayerNorm over channels takes its mean away.
    layer_checks.Case(
        layers.TokenFuser, {'use_normalization': False},
        ((4, 8), (2, 3, 8)), (2, 3, 8)),
)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


@pytest.mark.parametrize('name', [
    'token_fuser', 'token_fuser_nonorm', 'token_fuser_small_inputs'])
def test_equals_official(name):
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


def test_equals_numpy():
  case = CASES[0]
  layer, tensors = case.make(), case.tensors()
  tokens, original = (x.numpy().astype('float64') for x in tensors)
  np.testing.assert_allclose(
      layer(*tensors), numpy_layers.token_fuser(tokens, original, layer),
      **layer_checks.CLOSE)


@pytest.mark.parametrize('use_normalization', [True, False])
def test_adds_nothing_at_first_but_can_learn(use_normalization):
  layer = layers.TokenFuser(use_normalization=use_normalization)
  tensors = CASES[0].tensors()
  with tf.GradientTape() as tape:
    outputs = layer(*tensors)
    total = tf.reduce_sum(outputs * tensors[1])
  assert not outputs.numpy().any()
  gradient = tape.gradient(total, layer.mix.kernel)
  assert np.abs(gradient).max() > 1e-3


@pytest.mark.parametrize('tokens, original, message', [
    ([4, 8], [8], 'TokenFuser: original must be of rank 3'),
    ([4, 8], [None, 8], 'every axis of original but the batch must be known'),
    ([4, 8], [9, 6], r'the same width, received \(None, 4, 8\) and '
     r'\(None, 9, 6\)'),
    ([2, 2, 8], [9, 8], r'inputs must be tokens \[B, S, C\] with S and C '
     r'known, received shape \(None, 2, 2, 8\)'),
    ([None, 8], [9, 8], 'with S and C known'),
])
def test_refuses_shape(tokens, original, message):
  with pytest.raises(ValueError, match=message):
    layers.TokenFuser()(tf_keras.Input(tokens), tf_keras.Input(original))


@pytest.mark.parametrize('kwargs, message', [
    ({'bottleneck_dim': -1}, 'TokenFuser: bottleneck_dim must .* received -1'),
    ({'dropout_rate': 1.}, r'dropout_rate must lie in \[0, 1\), received 1.0'),
    ({'mlp_dropout_rate': 1.}, 'mlp_dropout_rate must lie in .* received 1.0'),
])
def test_refuses_option(kwargs, message):
  with pytest.raises(ValueError, match=message):
    layers.TokenFuser(**kwargs)
