"""TokenFuser: from S tokens back to the positions they were learned from."""

import tensorflow as tf
import tf_keras

from tf_tokenlearner.layers import building
from tf_tokenlearner.layers import layer_norm
from tf_tokenlearner.layers import matmul_dense
from tf_tokenlearner.layers import mlp_block
from tf_tokenlearner.layers import shapes


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class TokenFuser(tf_keras.layers.Layer):
  """Mixes tokens among each other, then spreads them over the positions.

  The caller adds the residual. Source: Ryoo et al. 2021 (arXiv 2106.11297),
  section 3.2, TokenFuser of the official Scenic code. Differs from it in
  returning a map for a map. The mixing kernel starts at zero, as there, so a
  fresh fused block changes nothing.

  Args:
    bottleneck_dim: int > 0. Hidden width of the spreading MLP; 64 in the
      source.
    use_normalization: bool. LayerNorm around the mixing of the tokens.
    dropout_rate: float in [0, 1), inside the MLP and on the result.

  Call arguments:
    inputs: float tensor [B, S, C], the tokens.
    original: float tensor [B, N, C] or [B, H, W, C], what they came from.
    training: bool. Turns dropout on.

  Returns:
    float tensor of the shape of original.

  Raises:
    ValueError: wrong rank, or two different widths C.

  Example:
    >>> TokenFuser()(tf.zeros([2, 8, 32]), tf.zeros([2, 14, 14, 32])).shape
    TensorShape([2, 14, 14, 32])
  """

  def __init__(self, bottleneck_dim: int = 64, use_normalization: bool = True,
               dropout_rate: float = 0., **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive('TokenFuser', bottleneck_dim=bottleneck_dim)
    shapes.require_rate('TokenFuser', dropout_rate=dropout_rate)
    self.bottleneck_dim = bottleneck_dim
    self.use_normalization = use_normalization
    self.dropout_rate = dropout_rate

  def build(self, input_shape):
    if len(input_shape) != 3 or None in tuple(input_shape)[1:]:
      raise ValueError(
          'TokenFuser: inputs must be tokens [B, S, C] with S and C known, '
          f'received shape {tuple(input_shape)}.')
    _, num_tokens, width = input_shape
    policy = self.dtype_policy
    norm = lambda name: layer_norm.LayerNorm(name=name, dtype=policy)
    if self.use_normalization:
      self.norm_before = norm('norm_before')
      self.norm_after = norm('norm_after')
    else:
      self.norm_before = self.norm_after = tf_keras.layers.Activation(
          'linear', dtype=policy)
    self.mix = matmul_dense.MatmulDense(
        num_tokens, kernel_initializer='zeros', name='mix', dtype=policy)
    self.original_norm = norm('original_norm')
    self.mlp = mlp_block.MlpBlock(
        self.bottleneck_dim, num_tokens, self.dropout_rate, name='mlp',
        dtype=policy)
    self.dropout = tf_keras.layers.Dropout(self.dropout_rate, dtype=policy)
    building.build(self.norm_before, input_shape)
    building.build(self.mix, [None, width, num_tokens])
    building.build(self.norm_after, input_shape)
    building.build(self.original_norm, [None, None, width])
    building.build(self.mlp, [None, None, width])
    super().build(input_shape)

  def call(self, inputs, original, training=None):
    original = tf.cast(original, self.compute_dtype)  # As Keras does to inputs.
    shapes.require_tokens_or_map('TokenFuser', 'original', original.shape)
    if original.shape[-1] != inputs.shape[-1]:
      raise ValueError(
          'TokenFuser: inputs and original must have the same width, received '
          f'{inputs.shape} and {original.shape}.')
    tokens = tf.transpose(self.norm_before(inputs), [0, 2, 1])  # [B, C, S]
    tokens = tf.transpose(self.mix(tokens), [0, 2, 1])  # [B, S, C]
    tokens = self.norm_after(tokens)

    x = self.original_norm(shapes.to_tokens(original))
    masks = tf.sigmoid(self.mlp(x, training=training))  # [B, N, S]
    x = self.dropout(tf.matmul(masks, tokens), training=training)  # [B, N, C]
    return tf.reshape(x, [-1, *original.shape[1:]])

  def get_config(self):
    return {
        **super().get_config(),
        'bottleneck_dim': self.bottleneck_dim,
        'use_normalization': self.use_normalization,
        'dropout_rate': self.dropout_rate,
    }
