"""TokenUnpooling."""

import numpy as np
import pytest
import tf_keras

from tests import layer_checks
from tf_tokenlearner import layers

CASES = (
    layer_checks.Case(
        layers.TokenUnpooling, {}, ((4, 8), (4, 9)), (9, 8)),
    layer_checks.Case(
        layers.TokenUnpooling, {}, ((4, 8), (4, 2, 3)), (2, 3, 8)),
)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


def test_equals_numpy():
  case = CASES[1]
  tokens, masks = case.tensors()
  np.testing.assert_allclose(
      case.make()(tokens, masks), np.einsum('bsc,bshw->bhwc', tokens, masks),
      **layer_checks.CLOSE)


def test_undoes_a_pooling_by_disjoint_masks():
  """What all positions of a mask share comes back to them."""
  masks = np.array([[[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]]], 'float32')
  tokens = np.random.default_rng(3).normal(size=[1, 2, 8]).astype('float32')
  positions = layers.TokenUnpooling()(tokens, masks).numpy()
  pooled = (masks / masks.sum(axis=2, keepdims=True)) @ positions
  np.testing.assert_allclose(pooled, tokens, **layer_checks.CLOSE)


@pytest.mark.parametrize('tokens, masks, message', [
    ([4, 8], [5, 9], r'received shapes \(None, 4, 8\) and \(None, 5, 9\).'),
    ([4, 8], [4], r'expected tokens \[B, S, C\] and as many masks'),
    ([2, 4, 8], [4, 9], r'expected tokens \[B, S, C\] and as many masks'),
    ([4, 8], [4, None], 'every axis of masks but the batch must be known'),
])
def test_refuses_shape(tokens, masks, message):
  with pytest.raises(ValueError, match=message):
    layers.TokenUnpooling()(tf_keras.Input(tokens), tf_keras.Input(masks))
