"""Pooling by attention: one learned query reads all tokens."""

import tensorflow as tf
import tf_keras

from tf_tokenlearner.layers import blocks
from tf_tokenlearner.layers import shapes


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class AttentionPooling(shapes.Layer):
  """Pools tokens by multi-head attention of a learned query, then an MLP.

  Source: Zhai et al. 2022 (arXiv 2106.04560), the MAP head, as in SigLIP:
  x = attention(query, tokens), then x + mlp(norm(x)).

  Args:
    num_heads: int > 0, divides C.
    mlp_dim: int > 0. Hidden width of the MLP.
    activation: name in blocks.ACTIVATIONS.
    norm_epsilon: float > 0, of the LayerNorm.

  Call arguments:
    inputs: float tensor [B, N, C]; N and C static.

  Returns:
    float tensor [B, C].

  Raises:
    ValueError: wrong rank, or C is no multiple of num_heads.

  Example:
    >>> AttentionPooling(num_heads=2, mlp_dim=16)(tf.zeros([3, 9, 8])).shape
    TensorShape([3, 8])
  """

  def __init__(self, num_heads: int, mlp_dim: int,
               activation: str = 'gelu_tanh', norm_epsilon: float = 1e-6,
               **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive(
        'AttentionPooling', num_heads=num_heads, mlp_dim=mlp_dim)
    self.num_heads = num_heads
    self.mlp_dim = mlp_dim
    self.activation = activation
    self.norm_epsilon = norm_epsilon

  def build(self, input_shape):
    if len(input_shape) != 3 or input_shape[-1] % self.num_heads:
      raise ValueError(
          'AttentionPooling: expected tokens [B, N, C], C a multiple of '
          f'num_heads={self.num_heads}, got shape {tuple(input_shape)}.')
    width, policy = input_shape[-1], self.dtype_policy
    self.query = self.add_weight(
        'query', [1, 1, width],
        initializer=tf_keras.initializers.RandomNormal(stddev=0.02))
    self.query_dense, self.key_dense, self.value_dense, self.output_dense = (
        blocks.MatmulDense(width, name=name, dtype=policy)
        for name in ('query_dense', 'key_dense', 'value_dense', 'output_dense'))
    self.norm = blocks.LayerNorm(self.norm_epsilon, name='norm', dtype=policy)
    self.mlp = blocks.MlpBlock(
        self.mlp_dim, activation=self.activation, name='mlp', dtype=policy)
    shapes.build(self.query_dense, [1, 1, width])
    shapes.build(self.key_dense, input_shape)
    shapes.build(self.value_dense, input_shape)
    for layer in (self.output_dense, self.norm, self.mlp):
      shapes.build(layer, [None, width])
    super().build(input_shape)

  def call(self, inputs):
    n, c = inputs.shape[1:]
    d = c // self.num_heads
    q = self.query_dense(tf.cast(self.query, self.compute_dtype))  # [1, 1, C]
    q = tf.reshape(q * d**-0.5, [1, self.num_heads, 1, d])
    k, v = (
        tf.transpose(
            tf.reshape(dense(inputs), [-1, n, self.num_heads, d]), [0, 2, 1, 3])
        for dense in (self.key_dense, self.value_dense))  # [B, heads, N, d]
    scores = tf.matmul(q, k, transpose_b=True)  # [B, heads, 1, N]
    weights = tf.nn.softmax(tf.cast(scores, self.variable_dtype))
    x = tf.matmul(tf.cast(weights, self.compute_dtype), v)  # [B, heads, 1, d]
    x = self.output_dense(tf.reshape(x, [-1, c]))  # [B, C]
    return x + self.mlp(self.norm(x))

  def get_config(self):
    return {
        **super().get_config(),
        'num_heads': self.num_heads,
        'mlp_dim': self.mlp_dim,
        'activation': self.activation,
        'norm_epsilon': self.norm_epsilon,
    }
