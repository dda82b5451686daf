"""SpaceTimeTokenFuser."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tests import numpy_layers
from tf_tokenlearner import layers

CASES = (
    layer_checks.Case(
        layers.SpaceTimeTokenFuser, {'num_tokens': 2},
        ((6, 8), (3, 2, 4, 8)), (3, 2, 4, 8)),
    layer_checks.Case(
        layers.SpaceTimeTokenFuser, {'num_tokens': 3},
        ((3, 8), (1, 3, 3, 8)), (1, 3, 3, 8)),
)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


@pytest.mark.parametrize('case', CASES, ids=['clip', 'frame'])
def test_equals_numpy(case):
  layer, (tokens, maps) = case.make(), case.tensors()
  expected = numpy_layers.space_time_token_fuser(
      tokens.numpy().astype('float64'), maps.numpy().astype('float64'), layer)
  np.testing.assert_allclose(
      layer(tokens, maps), expected, **layer_checks.CLOSE)


def test_any_token_reaches_every_frame():
  layer, (tokens, maps) = CASES[0].make(), CASES[0].tensors()
  change = layer(tokens + tf.one_hot([5], 6)[..., None], maps) - layer(
      tokens, maps)
  assert np.abs(change).min() > 1e-4


def test_weights_of_a_position_come_from_it_alone():
  layer, (tokens, maps) = CASES[0].make(), CASES[0].tensors()
  touched = maps + tf.scatter_nd([[0, 1, 0, 2, 3]], [5.], maps.shape)
  moved = np.abs(layer(tokens, touched) - layer(tokens, maps)).max(axis=-1)
  assert np.argwhere(moved > 1e-6).tolist() == [[0, 1, 0, 2]]


def test_adds_nothing_at_first_but_can_learn():
  layer, tensors = layers.SpaceTimeTokenFuser(2), CASES[0].tensors()
  with tf.GradientTape() as tape:
    outputs = layer(*tensors)
    total = tf.reduce_sum(outputs * tensors[1])
  assert not outputs.numpy().any()
  assert np.abs(tape.gradient(total, layer.mix.kernel)).max() > 1e-3


@pytest.mark.parametrize('tokens, original, message', [
    ([6, 8], [6, 8], r'SpaceTimeTokenFuser: original must be maps \[B, T, H, W,'
     r' C\], received shape \(None, 6, 8\)'),
    ([6, 8], [3, None, 2, 8], 'every axis of original but the batch must be '),
    ([6, 8], [3, 2, 2, 7], 'each frame of original needs 2 tokens in inputs, '
     r'of the same width, received \(None, 6, 8\) and \(None, 3, 2, 2, 7\)'),
    ([6, 8], [2, 2, 2, 8], 'each frame of original needs 2 tokens'),
    ([3, 2, 8], [3, 2, 2, 8], r'inputs must be tokens \[B, T\*S, C\] with T\*S '
     r'and C known, received shape \(None, 3, 2, 8\)'),
    ([None, 8], [3, 2, 2, 8], r'with T\*S and C known'),
])
def test_refuses_shape(tokens, original, message):
  with pytest.raises(ValueError, match=message):
    layers.SpaceTimeTokenFuser(2)(
        tf_keras.Input(tokens), tf_keras.Input(original))


def test_refuses_option():
  with pytest.raises(ValueError, match='num_tokens must be .* received 0'):
    layers.SpaceTimeTokenFuser(0)
