"""Multi-head self-attention as three plain matrix multiplications."""

import tensorflow as tf
import tf_keras

from tf_tokenlearner.layers import building
from tf_tokenlearner.layers import matmul_dense
from tf_tokenlearner.layers import shapes


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class SelfAttention(tf_keras.layers.Layer):
  """Scaled dot-product attention of all positions to all positions.

  Query, key and value come from one matmul of [C, 3 C]; heads are folded by
  reshape and transpose, never by einsum, so that XLA and TFLite see matmuls.
  Source: Vaswani et al. 2017, section 3.2, as in Flax's
  MultiHeadDotProductAttention; no difference but the fused kernel.

  Args:
    num_heads: int > 0, divides C.
    dropout_rate: float in [0, 1), on the attention weights.

  Call arguments:
    inputs: float tensor [B, N, C] or [B, H, W, C]; only B may be unknown.
    training: bool. Turns dropout on.

  Returns:
    float tensor of the shape of inputs.

  Raises:
    ValueError: C is no multiple of num_heads; wrong rank or unknown axis.

  Example:
    >>> SelfAttention(num_heads=2)(tf.zeros([1, 9, 8])).shape
    TensorShape([1, 9, 8])
  """

  def __init__(self, num_heads: int, dropout_rate: float = 0., **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive('SelfAttention', num_heads=num_heads)
    shapes.require_rate('SelfAttention', dropout_rate=dropout_rate)
    self.num_heads = num_heads
    self.dropout_rate = dropout_rate

  def build(self, input_shape):
    shapes.require_tokens_or_map('SelfAttention', 'inputs', input_shape)
    width = input_shape[-1]
    if width % self.num_heads:
      raise ValueError(
          f'SelfAttention: the width {width} must be a multiple of num_heads, '
          f'received num_heads={self.num_heads}.')
    # On [C, 3 C] this draws what Glorot draws on each [C, C] of q, k and v.
    glorot_each = tf_keras.initializers.VarianceScaling(
        1., mode='fan_in', distribution='uniform')
    self.qkv = matmul_dense.MatmulDense(
        3 * width, kernel_initializer=glorot_each, name='qkv',
        dtype=self.dtype_policy)
    self.output_dense = matmul_dense.MatmulDense(
        width, name='output_dense', dtype=self.dtype_policy)
    self.dropout = tf_keras.layers.Dropout(
        self.dropout_rate, dtype=self.dtype_policy)
    building.build(self.qkv, input_shape)
    building.build(self.output_dense, input_shape)
    super().build(input_shape)

  def call(self, inputs, training=None):
    n, c = shapes.num_positions(inputs.shape), inputs.shape[-1]
    d = c // self.num_heads
    qkv = tf.reshape(self.qkv(inputs), [-1, n, 3, self.num_heads, d])
    q, k, v = tf.unstack(
        tf.transpose(qkv, [2, 0, 3, 1, 4]), num=3)  # each [B, heads, N, d]
    scores = tf.matmul(q * d**-0.5, k, transpose_b=True)  # [B, heads, N, N]
    # A float16 softmax over many positions loses what float32 keeps.
    weights = tf.nn.softmax(tf.cast(scores, self.variable_dtype))
    weights = tf.cast(weights, self.compute_dtype)
    weights = self.dropout(weights, training=training)
    x = tf.transpose(tf.matmul(weights, v), [0, 2, 1, 3])  # [B, N, heads, d]
    return self.output_dense(tf.reshape(x, [-1, *inputs.shape[1:]]))

  def get_config(self):
    return {
        **super().get_config(),
        'num_heads': self.num_heads,
        'dropout_rate': self.dropout_rate,
    }
