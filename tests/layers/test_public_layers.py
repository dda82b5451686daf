"""Every public layer passes the shared check; the package stays light."""

import importlib
import pkgutil
import subprocess
import sys

import keras
import pytest
import tf_keras

from tests import layers as layer_tests
from tf_tokenlearner import layers


def test_every_public_layer_is_checked():
  public = {value for value in vars(layers).values()
            if isinstance(value, type)}
  assert all(issubclass(value, tf_keras.layers.Layer) for value in public)
  checked = set()
  for module in pkgutil.iter_modules(layer_tests.__path__):
    tests = importlib.import_module(f'{layer_tests.__name__}.{module.name}')
    if hasattr(tests, 'test_contract'):
      checked |= {case.layer for case in tests.CASES}
  assert checked == public and len(public) == 18


def test_every_module_has_its_tests():
  modules = {m.name for m in pkgutil.iter_modules(layers.__path__)}
  tests = {m.name for m in pkgutil.iter_modules(layer_tests.__path__)}
  assert {f'test_{name}' for name in modules} <= tests


@pytest.mark.parametrize('layer, num_inputs', [
    (layers.TokenLearner(2), 1), (layers.MatmulDense(2), 1),
    (layers.TokenFuser(), 2)])
def test_refuses_tensors_of_keras_3(layer, num_inputs):
  tensor = keras.KerasTensor([None, 4, 4, 8])
  with pytest.raises(TypeError, match=(
      f'^{type(layer).__name__}: expected a tensor of TensorFlow or tf_keras, '
      'got a KerasTensor of Keras 3. Build the model with '
      '`import tf_keras`, not `import keras`.$')):
    layer(*[tensor] * num_inputs)


def test_layers_import_nothing_but_tensorflow_and_keras():
  script = '''
import sys
import tensorflow, tf_keras
before = set(sys.modules)
from tf_tokenlearner.layers import TokenLearnerV11
for name in sorted(set(sys.modules) - before):
  print(name)
'''
  run = subprocess.run([sys.executable, '-c', script], text=True,
                       capture_output=True, check=True)
  ours = [name for name in run.stdout.split()
          if not f'{name}.'.startswith(('tensorflow.', 'tf_keras.'))]
  assert 'tf_tokenlearner.layers.token_learner' in ours
  assert [n for n in ours if not n.startswith('tf_tokenlearner')] == []
  assert {n for n in ours if n.count('.') == 1} == {
      'tf_tokenlearner.layers', 'tf_tokenlearner.lazy'}
