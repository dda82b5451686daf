"""The pre-norm transformer block."""

import tf_keras

from tf_tokenlearner.layers import building
from tf_tokenlearner.layers import layer_norm
from tf_tokenlearner.layers import mlp_block
from tf_tokenlearner.layers import self_attention
from tf_tokenlearner.layers import shapes


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class TransformerEncoderBlock(tf_keras.layers.Layer):
  """x + attention(norm(x)), then x + mlp(norm(x)).

  Stochastic depth drops either branch for whole examples and scales what stays
  by 1 / (1 - rate). Source: Dosovitskiy et al. 2021 (arXiv 2010.11929),
  section 3.1, and Encoder1DBlock of the official Scenic code; differs from the
  latter in having stochastic depth, which TokenLearner's config sets but its
  model never reads.

  Args:
    num_heads: int > 0, divides C.
    mlp_dim: int > 0. Hidden width of the MLP.
    dropout_rate: float in [0, 1), after attention and inside the MLP.
    attention_dropout_rate: float in [0, 1), on the attention weights.
    stochastic_depth_rate: float in [0, 1).

  Call arguments:
    inputs: float tensor [B, N, C] or [B, H, W, C]; only B may be unknown.
    training: bool. Turns dropout and stochastic depth on.

  Returns:
    float tensor of the shape of inputs.

  Raises:
    ValueError: wrong rank or size, C no multiple of num_heads.

  Example:
    >>> TransformerEncoderBlock(2, mlp_dim=32)(tf.zeros([1, 9, 8])).shape
    TensorShape([1, 9, 8])
  """

  def __init__(self, num_heads: int, mlp_dim: int, dropout_rate: float = 0.,
               attention_dropout_rate: float = 0.,
               stochastic_depth_rate: float = 0., **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive(
        'TransformerEncoderBlock', num_heads=num_heads, mlp_dim=mlp_dim)
    shapes.require_rate(
        'TransformerEncoderBlock', dropout_rate=dropout_rate,
        attention_dropout_rate=attention_dropout_rate,
        stochastic_depth_rate=stochastic_depth_rate)
    self.num_heads = num_heads
    self.mlp_dim = mlp_dim
    self.dropout_rate = dropout_rate
    self.attention_dropout_rate = attention_dropout_rate
    self.stochastic_depth_rate = stochastic_depth_rate

  def build(self, input_shape):
    shapes.require_tokens_or_map(
        'TransformerEncoderBlock', 'inputs', input_shape)
    policy = self.dtype_policy
    self.attention_norm = layer_norm.LayerNorm(
        name='attention_norm', dtype=policy)
    self.attention = self_attention.SelfAttention(
        self.num_heads, self.attention_dropout_rate, name='attention',
        dtype=policy)
    self.mlp_norm = layer_norm.LayerNorm(name='mlp_norm', dtype=policy)
    self.mlp = mlp_block.MlpBlock(
        self.mlp_dim, dropout_rate=self.dropout_rate, name='mlp', dtype=policy)
    self.dropout = tf_keras.layers.Dropout(self.dropout_rate, dtype=policy)
    self.drop_branch = tf_keras.layers.Dropout(
        self.stochastic_depth_rate, dtype=policy,
        noise_shape=[None] + [1] * (len(input_shape) - 1))
    for layer in (self.attention_norm, self.attention, self.mlp_norm, self.mlp):
      building.build(layer, input_shape)
    super().build(input_shape)

  def call(self, inputs, training=None):
    x = self.attention(self.attention_norm(inputs), training=training)
    x = self.dropout(x, training=training)
    x = inputs + self.drop_branch(x, training=training)
    y = self.mlp(self.mlp_norm(x), training=training)
    return x + self.drop_branch(y, training=training)

  def get_config(self):
    return {
        **super().get_config(),
        'num_heads': self.num_heads,
        'mlp_dim': self.mlp_dim,
        'dropout_rate': self.dropout_rate,
        'attention_dropout_rate': self.attention_dropout_rate,
        'stochastic_depth_rate': self.stochastic_depth_rate,
    }
