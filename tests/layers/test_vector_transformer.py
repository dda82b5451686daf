"""VectorTransformer."""

from ai_edge_litert import interpreter as litert
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tests import numpy_layers
from tf_tokenlearner import layers

CASES = (
    layer_checks.Case(layers.VectorTransformer, {}, ((9, 8),), (9, 8)),
    # Two channels at a time, and of the last chunk one.
    layer_checks.Case(layers.VectorTransformer, {'weights_at_once': 200},
                      ((9, 7),), (9, 7)),
    layer_checks.Case(layers.VectorTransformer, {}, ((2, 3, 8),), (2, 3, 8)),
)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


@pytest.mark.parametrize('case', CASES[:2], ids=['whole', 'chunks'])
def test_equals_numpy(case):
  layer, (x,) = case.make(), case.tensors()
  np.testing.assert_allclose(
      layer(x),
      numpy_layers.vector_transformer(x.numpy().astype('float64'), layer),
      **layer_checks.CLOSE)


def test_map_equals_list():
  layer, (x,) = CASES[2].make(), CASES[2].tensors()
  np.testing.assert_allclose(
      tf.reshape(layer(x), [-1, 6, 8]), layer(tf.reshape(x, [-1, 6, 8])),
      **layer_checks.CLOSE)


def test_is_attention_of_heads_of_width_one():
  layer, (x,) = CASES[0].make(), CASES[0].tensors()
  attention = layers.SelfAttention(num_heads=8)
  attention.build(x.shape)
  attention.qkv.set_weights(layer.qkv.get_weights())
  attention.output_dense.set_weights([np.eye(8), np.zeros(8)])
  np.testing.assert_allclose(
      layer(x), x + attention(layer.norm(x)), **layer_checks.CLOSE)


def derivatives(weights_at_once, compiled):
  layer = CASES[0].make(weights_at_once=weights_at_once)
  (x,) = CASES[0].tensors()

  @tf.function(autograph=False, jit_compile=compiled)
  def function(x):
    with tf.GradientTape() as tape:
      tape.watch(x)
      total = tf.reduce_sum(tf.sin(3 * layer(x)))
    return tape.gradient(total, [x, *layer.trainable_variables])

  return function(x)


def test_gradient_equals_that_of_self_attention():
  """The closed form against what TensorFlow derives from matmuls."""
  layer, (x,) = CASES[0].make(), CASES[0].tensors()
  attention = layers.SelfAttention(num_heads=8)
  attention.build(x.shape)
  attention.qkv.set_weights(layer.qkv.get_weights())
  attention.output_dense.set_weights([np.eye(8), np.zeros(8)])
  with tf.GradientTape() as tape:
    tape.watch(x)
    total = tf.reduce_sum(tf.sin(3 * (x + attention(layer.norm(x)))))
  expected = tape.gradient(
      total, [x, layer.norm.gamma, layer.norm.beta, attention.qkv.kernel,
              attention.qkv.bias])
  for ours, theirs in zip(derivatives(2**23, False), expected):
    assert np.abs(theirs).max() > .1
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize('compiled', [False, True])
@pytest.mark.parametrize('weights_at_once', [1, 81, 250, 647])
def test_chunks_give_the_same_gradient(weights_at_once, compiled):
  whole = derivatives(648, False)
  for ours, theirs in zip(derivatives(weights_at_once, compiled), whole):
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def waits_for(operation):
  """All operations that must be done before this one starts."""
  found, to_visit = set(), [operation]
  while to_visit:
    operation = to_visit.pop()
    needs = [*operation.control_inputs, *[x.op for x in operation.inputs]]
    to_visit += set(needs) - found
    found.update(needs)
  return found


def test_holds_no_more_weights_than_it_may():
  """With N = 32 and C = 8, chunks of two channels are computed in turn."""
  layer = layers.VectorTransformer(weights_at_once=2 * 32**2)

  def function(x):
    with tf.GradientTape() as tape:
      y = layer(x)
    return tape.gradient(y, layer.trainable_variables)

  layer(tf.zeros([1, 32, 8]))
  operations = tf.function(function).get_concrete_function(
      tf.TensorSpec([1, 32, 8])).graph.get_operations()
  assert max(tensor.shape.num_elements() or 0 for operation in operations
             for tensor in operation.outputs) == 2 * 32**2
  chunks = [operation for operation in operations
            if operation.type == 'Softmax']
  assert len(chunks) == 4 + 4  # Made again for the gradient.
  for earlier, later in zip(chunks, chunks[1:]):
    assert earlier in waits_for(later)


@pytest.mark.parametrize('batch', [1, None])
def test_converts_without_flex(batch):
  layer, (x,) = CASES[1].make(), CASES[1].tensors(batch or 3)
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
      [CASES[1].function(layer, batch).get_concrete_function()], layer)
  converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
  interpreter = litert.Interpreter(
      model_content=converter.convert(), num_threads=1)
  (detail,) = interpreter.get_input_details()
  interpreter.resize_tensor_input(detail['index'], x.shape)
  interpreter.allocate_tensors()
  interpreter.set_tensor(detail['index'], x)
  interpreter.invoke()
  (detail,) = interpreter.get_output_details()
  np.testing.assert_allclose(
      interpreter.get_tensor(detail['index']), layer(x), atol=1e-5)


@pytest.mark.parametrize('shape, message', [
    ([8], r'VectorTransformer: inputs must be of rank 3, .* \(None, 8\)'),
    ([None, 8], r'but the batch must be known, .* \(None, None, 8\)'),
])
def test_refuses_shape(shape, message):
  with pytest.raises(ValueError, match=message):
    layers.VectorTransformer()(tf_keras.Input(shape))


def test_refuses_option():
  with pytest.raises(ValueError, match='weights_at_once must be .* 0'):
    layers.VectorTransformer(weights_at_once=0)
