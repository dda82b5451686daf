"""Checks that every public layer passes.

A test module lists its layers as CASES and runs all CHECKS on each; every check
takes a Case and an empty folder.
"""

import inspect
import pathlib
import warnings
from typing import Any, Dict, NamedTuple, Tuple

import numpy as np
import tensorflow as tf
import tf_keras

BATCH = 2
CLOSE = dict(atol=1e-5, rtol=0)


def draw_weights(layer: tf_keras.layers.Layer, scale: float = .3) -> None:
  """Gives every weight fixed random values, so that none is zero or one."""
  rng = np.random.default_rng(0)
  layer.set_weights([
      rng.normal('gamma' in weight.name, scale, weight.shape)
      for weight in layer.weights])


class Case(NamedTuple):
  """A layer and its inputs; shapes are without the batch.

  Attributes:
    layer: the class.
    kwargs: arguments of its constructor, rates left out.
    inputs: one shape for each tensor that it takes.
    output: shape of what it returns.
    without_effect: parts of names of weights that cannot change the output.
  """
  layer: type
  kwargs: Dict[str, Any]
  inputs: Tuple[Tuple[int, ...], ...]
  output: Tuple[int, ...]
  without_effect: Tuple[str, ...] = ()

  @property
  def label(self) -> str:
    rank = 'map' if len(self.inputs[-1]) == 3 else 'list'
    options = [str(v) for v in self.kwargs.values() if isinstance(v, str)]
    return '-'.join([self.layer.__name__, rank, *options])

  def make(self, **kwargs) -> tf_keras.layers.Layer:
    """Returns the built layer with random weights."""
    layer = self.layer(**{**self.kwargs, **kwargs})
    layer(*[tf.zeros([1, *shape]) for shape in self.inputs])
    draw_weights(layer)
    return layer

  def tensors(self, batch: int = BATCH) -> Tuple[tf.Tensor, ...]:
    rng = np.random.default_rng(1)
    return tuple(tf.constant(rng.normal(size=[batch, *shape]), tf.float32)
                 for shape in self.inputs)

  def function(self, layer, batch=None, **kwargs):
    """Returns the layer as a tf.function for a batch size."""
    return tf.function(
        lambda *tensors: layer(*tensors), autograph=False, input_signature=[
            tf.TensorSpec([batch, *shape]) for shape in self.inputs], **kwargs)

  def model(self, layer) -> tf_keras.Model:
    """Returns the layer as a functional model of unknown batch size."""
    inputs = [tf_keras.Input(shape) for shape in self.inputs]
    return tf_keras.Model(inputs, layer(*inputs))


def check_unknown_batch(case: Case, folder: pathlib.Path):
  """Checks that a batch gives the same numbers as single examples."""
  del folder
  layer = case.make()
  tensors = case.tensors()
  one_by_one = tf.concat(
      [layer(*[x[i:i + 1] for x in tensors]) for i in range(BATCH)], axis=0)
  assert one_by_one.shape == (BATCH, *case.output)
  model = case.model(layer)
  assert model.output_shape == (None, *case.output)
  np.testing.assert_allclose(model(list(tensors)), one_by_one, **CLOSE)
  function = case.function(layer)
  shape = function.get_concrete_function().structured_outputs.shape
  assert shape.as_list() == [None, *case.output]
  np.testing.assert_allclose(function(*tensors), one_by_one, **CLOSE)
  assert function(*case.tensors(batch=5)).shape[0] == 5


def check_compiled(case: Case, folder: pathlib.Path):
  """Checks that XLA and eager execution agree."""
  del folder
  layer, tensors = case.make(), case.tensors()
  function = case.function(layer, jit_compile=True)
  np.testing.assert_allclose(function(*tensors), layer(*tensors), **CLOSE)


def check_config(case: Case, folder: pathlib.Path):
  """Checks that get_config holds all arguments and rebuilds the layer."""
  del folder
  layer = case.make()
  config = layer.get_config()
  arguments = set(inspect.signature(case.layer.__init__).parameters)
  arguments -= {'self', 'kwargs', 'dynamic'}
  assert set(config) == arguments | {'name', 'trainable', 'dtype'}
  assert {key: config[key] for key in case.kwargs} == case.kwargs
  again = case.layer.from_config(config)
  assert again.get_config() == config
  tensors = case.tensors()
  again(*tensors)
  assert [w.name for w in again.weights] == [w.name for w in layer.weights]
  again.set_weights(layer.get_weights())
  np.testing.assert_array_equal(again(*tensors), layer(*tensors))


def check_mixed_precision(case: Case, folder: pathlib.Path):
  """Checks that outputs have the compute dtype and weights are float32."""
  del folder
  tensors = case.tensors()
  expected = case.make()(*tensors)
  for dtype, tolerance in (('bfloat16', 4e-2), ('float16', 5e-3)):
    layer = case.make(dtype=f'mixed_{dtype}')
    outputs = layer(*tensors)
    assert outputs.dtype == dtype
    assert {weight.dtype for weight in layer.weights} <= {tf.float32}
    assert {part.compute_dtype for part in layer.submodules} <= {dtype}
    np.testing.assert_allclose(
        tf.cast(outputs, tf.float32), expected, rtol=0,
        atol=tolerance * np.abs(expected).max())


def check_gradients(case: Case, folder: pathlib.Path):
  """Checks that every weight and input has a gradient, except the exempt."""
  del folder
  layer, tensors = case.make(), case.tensors()
  with tf.GradientTape() as tape:
    tape.watch(tensors)
    outputs = layer(*tensors)
    slope = np.random.default_rng(2).normal(size=outputs.shape)
    total = tf.reduce_sum(outputs * slope)
  names = [weight.name for weight in layer.trainable_variables]
  names += [f'tensor {i}' for i, _ in enumerate(tensors)]
  gradients = tape.gradient(total, [*layer.trainable_variables, *tensors])
  for name, gradient in zip(names, gradients):
    is_flat = any(part in name for part in case.without_effect)
    largest = np.abs(gradient).max()
    assert largest < 1e-4 if is_flat else largest > 1e-3, (name, largest)


def check_dropout(case: Case, folder: pathlib.Path):
  """Checks that every rate acts only in training, and not at 0."""
  del folder
  tensors = case.tensors()
  plain = case.make()
  expected = plain(*tensors)
  takes_training = 'training' in inspect.signature(case.layer.call).parameters
  training = {'training': True} if takes_training else {}
  np.testing.assert_array_equal(plain(*tensors, **training), expected)
  rates = [key for key in plain.get_config() if key.endswith('_rate')]
  assert takes_training or not rates
  for rate in rates:
    layer = case.make(**{rate: .9})
    np.testing.assert_array_equal(layer(*tensors), expected)
    np.testing.assert_array_equal(layer(*tensors, training=False), expected)
    dropped = layer(*tensors, training=True)
    assert np.abs(dropped - expected).max() > 1e-3, rate


def check_saved_model(case: Case, folder: pathlib.Path):
  """Checks that a SavedModel takes any batch size and agrees."""
  layer = case.make()
  module = tf.Module()
  module.layer = layer
  module.serve = case.function(layer)
  tf.saved_model.save(module, str(folder / 'saved'))
  loaded = tf.saved_model.load(str(folder / 'saved'))
  for batch in (1, 3):
    tensors = case.tensors(batch)
    np.testing.assert_allclose(
        loaded.serve(*tensors), layer(*tensors), **CLOSE)


def check_keras_files(case: Case, folder: pathlib.Path):
  """Checks that Keras files restore the layer and its weights."""
  layer, tensors = case.make(), case.tensors()
  names = [weight.name for weight in layer.weights]
  assert len(set(names)) == len(names)
  model = case.model(layer)
  for path in (folder / 'model.keras', folder / 'model.h5'):
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # HDF5 is old, but still around.
      model.save(path)
    loaded = tf_keras.models.load_model(path)
    assert type(loaded.layers[-1]) is case.layer
    np.testing.assert_array_equal(
        loaded(list(tensors)), model(list(tensors)))


CHECKS = (
    check_unknown_batch, check_compiled, check_config, check_mixed_precision,
    check_gradients, check_dropout, check_saved_model, check_keras_files)
