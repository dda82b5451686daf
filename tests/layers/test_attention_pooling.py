"""AttentionPooling."""

import numpy as np
import pytest
import scipy.special

from tests import layer_checks
from tf_tokenlearner import layers

CASES = (
    layer_checks.Case(
        layers.AttentionPooling, {'num_heads': 2, 'mlp_dim': 12}, ((6, 8),),
        (8,), ('key_dense/bias',)),
    layer_checks.Case(
        layers.AttentionPooling,
        {'num_heads': 4, 'mlp_dim': 3, 'activation': 'quick_gelu',
         'norm_epsilon': 1e-5},
        ((5, 4),), (4,), ('key_dense/bias',)),
)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


def test_query_attends_in_each_head_and_an_mlp_follows():
  random = np.random.default_rng(0)
  tokens = random.normal(size=[3, 5, 4]).astype('float32')
  layer = layers.AttentionPooling(2, mlp_dim=6, activation='gelu')
  layer(tokens)
  weights = {w.name.split(':')[0].split('attention_pooling', 1)[-1].split(
      '/', 1)[-1]: random.normal(size=w.shape) for w in layer.weights}
  layer.set_weights(list(weights.values()))

  def dense(x, name):
    return x @ weights[f'{name}/kernel'] + weights[f'{name}/bias']
  query = dense(weights['query'][0, 0], 'query_dense')
  keys, values = dense(tokens, 'key_dense'), dense(tokens, 'value_dense')
  heads = []
  for part in (slice(0, 2), slice(2, 4)):
    attention = scipy.special.softmax(
        keys[..., part] @ query[part] / np.sqrt(2), axis=1)
    heads.append((attention[:, :, None] * values[..., part]).sum(axis=1))
  x = dense(np.concatenate(heads, axis=-1), 'output_dense')
  normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(
      x.var(-1, keepdims=True) + 1e-6)
  normed = normed * weights['norm/gamma'] + weights['norm/beta']
  hidden = dense(normed, 'mlp/hidden')
  hidden *= scipy.special.ndtr(hidden)
  expected = x + dense(hidden, 'mlp/output_dense')
  np.testing.assert_allclose(layer(tokens), expected, **layer_checks.CLOSE)


@pytest.mark.parametrize('shape', [[2, 8], [2, 4, 4, 8], [2, 4, 7]])
def test_other_shapes_are_refused(shape):
  with pytest.raises(ValueError, match=(
      r'^AttentionPooling: expected tokens \[B, N, C\], C a multiple of '
      r'num_heads=2, got shape ')):
    layers.AttentionPooling(2, mlp_dim=8)(np.zeros(shape, 'float32'))
