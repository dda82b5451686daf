"""MatmulDense."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tf_tokenlearner import layers

CASES = (
    layer_checks.Case(layers.MatmulDense, {'units': 5}, ((8,),), (5,)),
    layer_checks.Case(
        layers.MatmulDense, {'units': 5, 'activation': 'tanh'}, ((9, 8),),
        (9, 5)),
    layer_checks.Case(
        layers.MatmulDense, {'units': 5, 'use_bias': False}, ((2, 3, 8),),
        (2, 3, 5)),
)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_equals_dense_of_keras(case):
  layer, (x,) = case.make(), case.tensors()
  dense = tf_keras.layers.Dense.from_config(layer.get_config())
  dense.build(x.shape)
  dense.set_weights(layer.get_weights())
  np.testing.assert_allclose(layer(x), dense(x), **layer_checks.CLOSE)


def test_is_one_matmul_without_run_time_shapes():
  layer = layers.MatmulDense(5)
  graph = tf.function(layer, input_signature=[
      tf.TensorSpec([None, 9, 8])]).get_concrete_function().graph
  kinds = [operation.type for operation in graph.get_operations()]
  assert kinds.count('MatMul') == 1
  assert not {'Shape', 'Tensordot', 'ConcatV2', 'Transpose'} & set(kinds)


def test_refuses_unknown_axis():
  with pytest.raises(ValueError, match=r'MatmulDense: every axis of inputs but '
                     r'the batch must be known, .* \(None, None, 8\)'):
    layers.MatmulDense(5)(tf_keras.Input([None, 8]))
