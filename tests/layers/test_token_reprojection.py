"""TokenReprojection."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tests import numpy_layers
from tf_tokenlearner import layers

CASES = (
    layer_checks.Case(
        layers.TokenReprojection, {'num_heads': 2}, ((4, 8), (9, 8)), (9, 8)),
    layer_checks.Case(
        layers.TokenReprojection, {'num_heads': 4},
        ((4, 8), (2, 3, 8)), (2, 3, 8)),
)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


def test_equals_numpy():
  case = CASES[0]
  layer, tensors = case.make(), case.tensors()
  tokens, original = (x.numpy().astype('float64') for x in tensors)
  np.testing.assert_allclose(
      layer(*tensors), numpy_layers.token_reprojection(tokens, original, layer),
      **layer_checks.CLOSE)


def test_one_token_is_what_every_position_gets():
  layer = CASES[0].make()
  tokens, original = CASES[0].tensors()
  outputs = layer(tokens[:, :1], original)
  np.testing.assert_allclose(
      outputs, tf.tile(outputs[:, :1], [1, 9, 1]), **layer_checks.CLOSE)


def test_adds_nothing_at_first_but_can_learn():
  layer = layers.TokenReprojection(2)
  tensors = CASES[0].tensors()
  with tf.GradientTape() as tape:
    outputs = layer(*tensors)
    total = tf.reduce_sum(outputs * tensors[1])
  assert not outputs.numpy().any()
  gradient = tape.gradient(total, layer.output_dense.kernel)
  assert np.abs(gradient).max() > 1e-3


def test_queries_keys_and_values_start_like_glorot():
  layer = layers.TokenReprojection(2)
  layer(tf.zeros([1, 4, 64]), tf.zeros([1, 9, 64]))
  limit = np.sqrt(3 / 64)
  for kernel in (layer.query.kernel, *tf.split(layer.key_value.kernel, 2, 1)):
    assert .95 * limit < np.abs(kernel).max() <= limit


@pytest.mark.parametrize('tokens, original, message', [
    ([4, 8], [8], 'TokenReprojection: original must be of rank 3'),
    ([4, 8], [None, 8], 'every axis of original but the batch must be known'),
    ([4, 8], [9, 6], r'the same width, received \(None, 4, 8\) and '
     r'\(None, 9, 6\)'),
    ([2, 2, 8], [9, 8], r'inputs must be tokens \[B, S, C\] with S and C '
     r'known, received shape \(None, 2, 2, 8\)'),
    ([None, 8], [9, 8], 'with S and C known'),
    ([4, 9], [9, 9], 'the width 9 must be a multiple of num_heads, received '
     'num_heads=2'),
])
def test_refuses_shape(tokens, original, message):
  with pytest.raises(ValueError, match=message):
    layers.TokenReprojection(2)(
        tf_keras.Input(tokens), tf_keras.Input(original))


@pytest.mark.parametrize('kwargs, message', [
    ({'num_heads': 0}, 'TokenReprojection: num_heads must .* received 0'),
    ({'num_heads': 2, 'attention_dropout_rate': 1.},
     r'attention_dropout_rate must lie in \[0, 1\), received 1.0'),
])
def test_refuses_option(kwargs, message):
  with pytest.raises(ValueError, match=message):
    layers.TokenReprojection(**kwargs)
