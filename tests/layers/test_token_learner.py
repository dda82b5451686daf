"""TokenLearner (v1.0) and TokenLearnerV11."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import goldens
from tests import layer_checks
from tests import numpy_layers
from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner import layers

V10, V11 = layers.TokenLearner, layers.TokenLearnerV11
# A shift of all scores of a token leaves the softmax over positions alone.
SOFTMAX_SHIFT = ('mlp/output_dense/bias',)
CASES = (
    layer_checks.Case(V10, {'num_tokens': 4}, ((3, 5, 8),), (4, 8)),
    layer_checks.Case(V10, {'num_tokens': 4}, ((9, 8),), (4, 8)),
    layer_checks.Case(
        V10, {'num_tokens': 1, 'pooling': 'mean', 'grid_size': (3, 5)},
        ((15, 8),), (1, 8)),
    layer_checks.Case(V11, {'num_tokens': 4, 'bottleneck_dim': 12},
                      ((9, 8),), (4, 8), SOFTMAX_SHIFT),
    layer_checks.Case(V11, {'num_tokens': 1}, ((3, 5, 8),), (1, 8),
                      SOFTMAX_SHIFT),
    layer_checks.Case(
        V10, {'num_tokens': 4, 'num_convolutions': 1, 'kernel_size': 1},
        ((3, 5, 8),), (4, 8)),
    layer_checks.Case(V10, {'num_tokens': 4, 'num_convolutions': 2},
                      ((3, 5, 8),), (4, 8)),
)
GOLDEN_V10 = ['token_learner_v10_sum', 'token_learner_v10_mean',
              'token_learner_v10_rect']
GOLDEN_V11 = ['token_learner_v11', 'token_learner_v11_rect']


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


def load(golden, inputs, grid_size=None):
  """The layer of a golden file, built on inputs, with its weights."""
  options = golden.kwargs
  if 'use_sum_pooling' in options:
    pooling = 'sum' if options['use_sum_pooling'] else 'mean'
    layer = V10(options['num_tokens'], pooling, grid_size)
  else:
    layer = V11(options['num_tokens'], options['bottleneck_dim'])
  layer.build(inputs.shape)
  flax_names.assign(
      flax_names.token_learner_entries(layer), golden.params)
  return layer


@pytest.mark.parametrize('name', GOLDEN_V10)
def test_v10_equals_official(name):
  golden = goldens.read(name)
  x = golden.inputs['inputs']
  layer = load(golden, x)
  tokens, masks = layer(x, return_attention=True)
  np.testing.assert_allclose(
      tokens, golden.outputs['tokens'], **goldens.TOLERANCE)
  expected = numpy_layers.sigmoid(golden.outputs['intermediates/Conv_3'])
  if layer.pooling == 'mean':
    expected /= x.shape[1] * x.shape[2]
  np.testing.assert_allclose(
      masks, expected.transpose([0, 3, 1, 2]), **goldens.TOLERANCE)


@pytest.mark.parametrize('name', GOLDEN_V10)
def test_v10_list_equals_map(name):
  golden = goldens.read(name)
  x = golden.inputs['inputs']
  _, height, width, channels = x.shape
  as_list = x.reshape([-1, height * width, channels])
  sizes = [(height, width)] + ([None] if height == width else [])
  for grid_size in sizes:
    layer = load(golden, as_list, grid_size)
    tokens, masks = layer(as_list, return_attention=True)
    np.testing.assert_allclose(
        tokens, golden.outputs['tokens'], **goldens.TOLERANCE)
    assert masks.shape == (2, 5, height * width)


@pytest.mark.parametrize('name', GOLDEN_V11)
@pytest.mark.parametrize('as_map', [False, True])
def test_v11_equals_official(name, as_map):
  golden = goldens.read(name)
  x = golden.inputs['inputs'].reshape([2, 4, 9, 16] if as_map else [2, 36, 16])
  layer = load(golden, x)
  tokens, weights = layer(x, return_attention=True)
  np.testing.assert_allclose(
      tokens, golden.outputs['tokens'], **goldens.TOLERANCE)
  scores = golden.outputs['intermediates/token_masking']
  expected = numpy_layers.softmax(scores.transpose([0, 2, 1]))
  assert weights.shape == ((2, 5, 4, 9) if as_map else (2, 5, 36))
  np.testing.assert_allclose(
      tf.reshape(weights, [2, 5, 36]), expected, **goldens.TOLERANCE)


@pytest.mark.parametrize('case', [CASES[0], CASES[5], CASES[6]],
                         ids=['four', 'one 1x1', 'two'])
def test_v10_equals_numpy(case):
  layer, (x,) = case.make(), case.tensors()
  np.testing.assert_allclose(
      layer(x), numpy_layers.token_learner(x.numpy().astype('float64'), layer),
      **layer_checks.CLOSE)


def test_v11_equals_numpy():
  layer, (x,) = CASES[3].make(), CASES[3].tensors()
  expected = numpy_layers.token_learner_v11(x.numpy().astype('float64'), layer)
  np.testing.assert_allclose(layer(x), expected, **layer_checks.CLOSE)


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_tokens_are_weighted_sums_of_the_input(case):
  layer, (x,) = case.make(), case.tensors()
  tokens, weights = layer(x, return_attention=True)
  assert weights.shape == (2, layer.num_tokens, *x.shape[1:-1])
  weights = tf.reshape(weights, [2, layer.num_tokens, -1])
  np.testing.assert_allclose(
      tokens, weights @ tf.reshape(x, [2, -1, 8]), **layer_checks.CLOSE)
  totals = tf.reduce_sum(weights, axis=-1)
  if case.layer is V11:
    np.testing.assert_allclose(totals, tf.ones_like(totals), atol=1e-6)
  else:
    positions = np.prod(x.shape[1:-1])
    most = 1 if layer.pooling == 'mean' else positions
    assert np.all((totals > 0) & (totals < most))


def test_mean_is_sum_over_positions():
  case = CASES[2]
  (x,) = case.tensors()
  mean, total = case.make(), case.make(pooling='sum')
  np.testing.assert_allclose(mean(x) * 15, total(x), **layer_checks.CLOSE)


def test_v10_looks_at_neighbours_v11_does_not():
  for case, moved in ((CASES[0], 9 * 9), (CASES[4], 1)):
    layer, (x,) = case.make(), tf.random.stateless_normal(
        [1, 1, 13, 13, 8], seed=[0, 1])
    touched = x + tf.scatter_nd([[0, 6, 6, 0]], [5.], x.shape)
    _, before = layer(x, return_attention=True)
    _, after = layer(touched, return_attention=True)
    # Of a softmax, only ratios of weights tell which scores have moved.
    change = (after / before)[0, 0]
    change = np.abs(change / change[0, 0] - 1) > 1e-5
    assert change.sum() <= moved and change[6, 6]
    rows, columns = np.nonzero(change)
    assert max(np.ptp(rows), np.ptp(columns)) == np.sqrt(moved) - 1


def test_v11_does_not_care_for_the_order_of_positions():
  layer, (x,) = CASES[3].make(), CASES[3].tensors()
  np.testing.assert_allclose(
      layer(tf.reverse(x, [1])), layer(x), **layer_checks.CLOSE)


def test_one_convolution_is_a_sigmoid_of_a_linear_layer():
  layer, (x,) = CASES[5].make(), CASES[5].tensors()
  _, masks = layer(x, return_attention=True)
  scores = layer.norm(x) @ layer.convs[0].kernel[0, 0]  # [B, H, W, S]
  np.testing.assert_allclose(
      masks, tf.sigmoid(tf.transpose(scores, [0, 3, 1, 2])),
      **layer_checks.CLOSE)


def test_v10_takes_maps_of_several_sizes():
  layer = CASES[0].make()
  x = tf.random.stateless_normal([2, 5, 3, 8], seed=[0, 1])
  np.testing.assert_allclose(  # Of 3 x 5 before.
      layer(x), numpy_layers.token_learner(x.numpy().astype('float64'), layer),
      **layer_checks.CLOSE)


@pytest.mark.parametrize('kwargs, shape, message', [
    ({'num_tokens': 0}, [9, 8], 'TokenLearner: num_tokens must be'),
    ({'num_tokens': 4, 'num_convolutions': 0}, [9, 8],
     'TokenLearner: num_convolutions must be .* got 0'),
    ({'num_tokens': 4, 'kernel_size': '3'}, [9, 8],
     "TokenLearner: kernel_size must be .* got '3'"),
    ({'num_tokens': 4, 'pooling': 'max'}, [9, 8],
     r"pooling must be one of \('sum', 'mean'\), got 'max'"),
    ({'num_tokens': 4, 'grid_size': (3,)}, [9, 8],
     r'grid_size must be \(height, width\), got \(3,\)'),
    ({'num_tokens': 4, 'grid_size': (0, 3)}, [9, 8],
     'grid_size height must be a whole number of at least 1, got 0'),
    ({'num_tokens': 4, 'grid_size': (3, 5)}, [3, 3, 8],
     r'grid_size=\(3, 5\) was given, but the input is a map of 3 x 3. Leave'),
    ({'num_tokens': 4, 'grid_size': (3, 5)}, [9, 8],
     '9 positions do not form a map of 3 x 5. Give grid_size'),
    ({'num_tokens': 4}, [15, 8], '15 positions do not form a map of 3 x 3'),
    ({'num_tokens': 4}, [8], 'TokenLearner: inputs must be of rank 3'),
    ({'num_tokens': 4}, [None, None, 8], 'but the batch must be known'),
])
def test_v10_refuses(kwargs, shape, message):
  with pytest.raises(ValueError, match=message):
    V10(**kwargs)(tf_keras.Input(shape))


@pytest.mark.parametrize('kwargs, shape, message', [
    ({'num_tokens': 2.5}, [9, 8], 'TokenLearnerV11: num_tokens must .* 2.5'),
    ({'num_tokens': 4, 'bottleneck_dim': 0}, [9, 8], 'bottleneck_dim must be'),
    ({'num_tokens': 4, 'dropout_rate': 1.5}, [9, 8], 'dropout_rate must lie'),
    ({'num_tokens': 4}, [8], 'TokenLearnerV11: inputs must be of rank 3'),
    ({'num_tokens': 4}, [None, 8], 'but the batch must be known'),
])
def test_v11_refuses(kwargs, shape, message):
  with pytest.raises(ValueError, match=message):
    V11(**kwargs)(tf_keras.Input(shape))
