"""MlpBlock."""

import numpy as np
import pytest

from tests import layer_checks
from tests import numpy_layers
from tf_tokenlearner import layers

CASES = (
    layer_checks.Case(layers.MlpBlock, {'mlp_dim': 12}, ((9, 8),), (9, 8)),
    layer_checks.Case(layers.MlpBlock, {'mlp_dim': 12, 'out_dim': 5},
                      ((2, 3, 8),), (2, 3, 5)),
)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_equals_numpy(case):
  layer, (x,) = case.make(), case.tensors()
  np.testing.assert_allclose(
      layer(x), numpy_layers.mlp(x.numpy().astype('float64'), layer),
      **layer_checks.CLOSE)


def test_dropout_after_both_dense_layers():
  layer = CASES[0].make(dropout_rate=.5)
  layer.output_dense.set_weights([np.zeros([12, 8]), np.ones([8])])
  (x,) = CASES[0].tensors()
  outputs = layer(x, training=True).numpy()
  assert set(outputs.flat) == {0., 2.}  # The last one scales what it keeps.
  layer.output_dense.set_weights([np.eye(12, 8), np.zeros([8])])
  ratio = (layer(x, training=True) / layer(x)).numpy()
  assert set(ratio.round(4).flat) == {0., 4.}  # Through both: 1 / (.5 * .5).


@pytest.mark.parametrize('kwargs, message', [
    ({'mlp_dim': 0}, 'MlpBlock: mlp_dim must be .* at least 1, received 0'),
    ({'mlp_dim': 4, 'out_dim': 2.}, 'out_dim must be .* received 2.0'),
    ({'mlp_dim': 4, 'dropout_rate': 1.}, r'dropout_rate must lie in \[0, 1\)'),
])
def test_refuses(kwargs, message):
  with pytest.raises(ValueError, match=message):
    layers.MlpBlock(**kwargs)
