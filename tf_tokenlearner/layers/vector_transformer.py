"""VectorTransformer: self-attention with one head per channel."""

import tensorflow as tf
import tf_keras

from tf_tokenlearner.layers import blocks
from tf_tokenlearner.layers import shapes


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class VectorTransformer(shapes.Layer):
  """x + attention(norm(x)) with as many heads as channels.

  A head of width 1 has the weights softmax over j of q[i] k[j], for N tokens
  N * N * C of them. They are computed for a few channels at a time, and again
  in the gradient, so that neither pass holds all of them. Scores and weights
  are float32 under every mixed-precision policy.
  Source: Ryoo et al. 2021 (arXiv 2106.11297), section 6. The paper leaves open
  the heads of width 1, the residual and the norm before it. There is no output
  projection: the parameters in the paper's table leave no room for one.

  Args:
    weights_at_once: int > 0. Attention weights of one example to hold at a
      time; at least one channel's are held.

  Call arguments:
    inputs: float tensor [B, N, C] or [B, H, W, C]; only B may be unknown.

  Returns:
    float tensor of the shape of inputs.

  Raises:
    ValueError: wrong rank or unknown axis; weights_at_once below 1.

  Example:
    >>> VectorTransformer()(tf.zeros([2, 32, 8])).shape
    TensorShape([2, 32, 8])
  """

  def __init__(self, weights_at_once: int = 2**23, **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive(
        'VectorTransformer', weights_at_once=weights_at_once)
    self.weights_at_once = weights_at_once

  def build(self, input_shape):
    shapes.require_tokens_or_map('VectorTransformer', 'inputs', input_shape)
    width = input_shape[-1]
    self.norm = blocks.LayerNorm(name='norm', dtype=self.dtype_policy)
    # On [C, 3 C] this draws what Glorot draws on each [C, C] of q, k and v.
    glorot_each = tf_keras.initializers.VarianceScaling(
        1., mode='fan_in', distribution='uniform')
    self.qkv = blocks.MatmulDense(
        3 * width, kernel_initializer=glorot_each, name='qkv',
        dtype=self.dtype_policy)
    shapes.build(self.norm, input_shape)
    shapes.build(self.qkv, input_shape)
    super().build(input_shape)

  def call(self, inputs):
    n, c = shapes.num_positions(inputs.shape), inputs.shape[-1]
    qkv = tf.reshape(self.qkv(self.norm(inputs)), [-1, n, 3, c])
    qkv = tf.cast(tf.transpose(qkv, [2, 0, 3, 1]), self.variable_dtype)
    q, k, v = tf.unstack(qkv, num=3)  # each [B, C, N]
    x = _attend(q, k, v, max(self.weights_at_once // n**2, 1))  # [B, C, N]
    x = tf.cast(tf.transpose(x, [0, 2, 1]), self.compute_dtype)  # [B, N, C]
    return inputs + tf.reshape(x, [-1, *inputs.shape[1:]])

  def get_config(self):
    return {**super().get_config(), 'weights_at_once': self.weights_at_once}


def _attend(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor,
            channels_at_once: int) -> tf.Tensor:
  """Returns sum over j of softmax_j(q[i] k[j]) v[j]; all are [B, C, N]."""

  def in_chunks(function, *tensors):
    chunks = [tensors]
    for i in range(0, q.shape[1], channels_at_once):
      # One after the other: TensorFlow would start all chunks at once and hold
      # all their weights.
      with tf.control_dependencies(chunks[-1]):
        chunks.append(
            function(*[x[:, i:i + channels_at_once] for x in tensors]))
    return [tf.concat(parts, axis=1) for parts in zip(*chunks[1:])]

  def forward(q, k, v):
    return (_weighted(_weights(q, k), v),)

  def backward(q, k, v, x, dx):
    # With weights p and x = sum of p v, the scores s have the gradient
    # ds[i, j] = p[i, j] dx[i] (v[j] - x[i]): q and k need it only summed over
    # an axis, and p times a few columns gives every such sum.
    p = _weights(q, k)
    pk, pkv = tf.unstack(_weighted_columns(p, k, k * v), axis=-1)
    dq = dx * (pkv - x * pk)
    p = tf.transpose(p, [0, 1, 3, 2])  # [B, C, j, i]
    dv, qdx, qxdx = tf.unstack(
        _weighted_columns(p, dx, q * dx, q * x * dx), axis=-1)
    return dq, v * qdx - qxdx, dv

  @tf.custom_gradient
  def attend(q, k, v):
    (x,) = in_chunks(forward, q, k, v)
    return x, lambda dx: tuple(in_chunks(backward, q, k, v, x, dx))

  return attend(q, k, v)


def _weights(q: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
  """[B, C, N] twice -> [B, C, i, j], summing to 1 over j."""
  return tf.nn.softmax(q[..., tf.newaxis] * k[:, :, tf.newaxis, :])


def _weighted(p: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
  """[B, C, i, j], [B, C, j] -> [B, C, i]."""
  return _weighted_columns(p, v)[..., 0]


def _weighted_columns(p: tf.Tensor, *columns: tf.Tensor) -> tf.Tensor:
  """[B, C, i, j], several [B, C, j] -> [B, C, i, columns]."""
  return tf.matmul(p, tf.stack(columns, axis=-1))
