"""A dense layer that is one plain matrix multiplication at any input rank."""

import tensorflow as tf
import tf_keras

from tf_tokenlearner.layers import shapes


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class MatmulDense(tf_keras.layers.Dense):
  """tf_keras Dense with every axis but the last folded into rows.

  tf_keras reaches rank 3 through tensordot, whose run-time shape arithmetic
  keeps matmul, bias and activation from becoming one kernel and fills a TFLite
  file with shape operations. Here the fold has a single -1.

  Call arguments:
    inputs: float tensor [B, ..., C]; everything but B static.

  Returns:
    float tensor [B, ..., units].

  Raises:
    ValueError: an axis other than B is unknown.

  Example:
    >>> MatmulDense(5)(tf.zeros([2, 4, 4, 3])).shape
    TensorShape([2, 4, 4, 5])
  """

  def call(self, inputs):
    shapes.require_known('MatmulDense', 'inputs', inputs.shape)
    x = tf.reshape(inputs, [-1, inputs.shape[-1]])  # [B * ..., C]
    x = tf.matmul(x, self.kernel)
    if self.use_bias:
      x = tf.nn.bias_add(x, self.bias)
    if self.activation is not None:
      x = self.activation(x)
    return tf.reshape(x, [-1, *inputs.shape[1:-1], self.units])
