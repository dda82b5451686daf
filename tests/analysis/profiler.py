"""Costs of built models by TensorFlow's profiler, to compare with ours."""

import tensorflow as tf

# The profiler counts more than we do: BiasAdd and Softmax, and the products,
# sums, means, powers and roots of LayerNorm and residuals. GELU's and sigmoid's
# kernels it does not count either.
COUNTED = ('MatMul', 'BatchMatMulV2', 'Conv2D')
NOT_COUNTED = {
    'AddV2', 'BiasAdd', 'Mean', 'Mul', 'Pow', 'RealDiv', 'Rsqrt', 'Softmax',
    'Sub'}


def profile(model, input_size):
  """Returns the floating-point operations per example by operation type."""
  graph = tf.function(model).get_concrete_function(
      tf.TensorSpec([1, *input_size])).graph
  builder = tf.compat.v1.profiler.ProfileOptionBuilder
  options = builder(builder.float_operation()).with_empty_output().build()
  # Each kind of operation is the only child of the one before it.
  node = tf.compat.v1.profiler.profile(graph, cmd='op', options=options)
  operations = {}
  while node.children:
    node = node.children[0]
    operations[node.name] = node.float_ops
  return operations


def check_macs(rows, model, input_size):
  """Checks that the MACs of rows equal those that the profiler finds."""
  operations = profile(model, input_size)
  assert set(operations) - set(COUNTED) <= NOT_COUNTED
  # Two floating-point operations make one MAC.
  assert 2 * sum(row.macs for row in rows) == sum(
      operations.get(kind, 0) for kind in COUNTED)


def parameters_of(layers):
  """Returns (name, parameters) of the layers that have parameters."""
  return [(layer.name, layer.count_params()) for layer in layers
          if layer.count_params()]
