"""TokenLearner: from N positions to S learned tokens."""

from typing import Optional, Sequence

import tensorflow as tf
import tf_keras

from tf_tokenlearner.layers import blocks
from tf_tokenlearner.layers import shapes

_POOLINGS = ('sum', 'mean')


def _pool(weights: tf.Tensor, inputs: tf.Tensor, return_attention: bool):
  """Returns weighted sums of positions, [B, S, C], and maybe the weights.

  Args:
    weights: [B, S, N].
    inputs: [B, N, C] or [B, H, W, C].
    return_attention: whether to return the weights, too.
  """
  tokens = tf.matmul(weights, shapes.to_tokens(inputs))  # [B, S, C]
  if not return_attention:
    return tokens
  # [B, S, N] or [B, S, H, W]
  return tokens, tf.reshape(
      weights, [-1, weights.shape[1], *inputs.shape[1:-1]])


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class TokenLearner(shapes.Layer):
  """TokenLearner v1.0: each token pools the map under its own mask.

  LayerNorm, convolutions without bias (GELU after all but the last), sigmoid.
  The masks weight the input itself, not its normalized values.
  Source: Ryoo et al. 2021 (arXiv 2106.11297), section 2, TokenLearnerModule of
  the official Scenic code, which has four 3x3 convolutions. Differs from it in
  taking rectangular token lists; the paper's video model has one convolution.

  Args:
    num_tokens: int > 0. Tokens to learn (S).
    pooling: 'sum' (the released code) or 'mean' (the paper's text).
    grid_size: (H, W) of a token list; None takes it from a map, and from a
      list only if N is a square.
    num_convolutions: int > 0.
    kernel_size: int > 0. Side of each convolution.

  Call arguments:
    inputs: float tensor [B, H, W, C] or [B, N, C]; only B may be unknown.
    training: bool. No effect; every tokenizer takes it.
    return_attention: bool. Also return the masks.

  Returns:
    float tensor [B, S, C]; with return_attention also the masks (divided by N
    for 'mean'), [B, S, H, W] for a map and [B, S, N] for a list.

  Raises:
    ValueError: wrong rank, N that is neither grid_size nor a square.

  Example:
    >>> TokenLearner(num_tokens=8)(tf.zeros([2, 14, 14, 32])).shape
    TensorShape([2, 8, 32])
  """

  def __init__(self, num_tokens: int, pooling: str = 'sum',
               grid_size: Optional[Sequence[int]] = None,
               num_convolutions: int = 4, kernel_size: int = 3, **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive(
        'TokenLearner', num_tokens=num_tokens,
        num_convolutions=num_convolutions, kernel_size=kernel_size)
    if pooling not in _POOLINGS:
      raise ValueError(
          f'TokenLearner: pooling must be one of {_POOLINGS}, '
          f'got {pooling!r}.')
    self.num_tokens = num_tokens
    self.pooling = pooling
    self.grid_size = None if grid_size is None else shapes.require_pair(
        'TokenLearner', 'grid_size', grid_size)
    self.num_convolutions = num_convolutions
    self.kernel_size = kernel_size

  def build(self, input_shape):
    shapes.require_tokens_or_map('TokenLearner', 'inputs', input_shape)
    map_size = shapes.map_size('TokenLearner', input_shape, self.grid_size)
    self.norm = blocks.LayerNorm(name='norm', dtype=self.dtype_policy)
    shapes.build(self.norm, input_shape)
    self.convs = []
    channels = input_shape[-1]
    for i in range(self.num_convolutions):
      conv = tf_keras.layers.Conv2D(
          self.num_tokens, self.kernel_size, padding='same', use_bias=False,
          kernel_initializer='lecun_normal', name=f'conv_{i}',
          dtype=self.dtype_policy)
      shapes.build(conv, [None, *map_size, channels])
      self.convs.append(conv)
      channels = self.num_tokens
    super().build(input_shape)

  def call(self, inputs, training=None, return_attention=False):
    del training
    h, w = shapes.map_size('TokenLearner', inputs.shape, self.grid_size)
    x = tf.reshape(self.norm(inputs), [-1, h, w, inputs.shape[-1]])
    for conv in self.convs[:-1]:
      x = blocks.gelu(conv(x))
    masks = tf.sigmoid(self.convs[-1](x))  # [B, H, W, S]
    masks = tf.transpose(
        tf.reshape(masks, [-1, h * w, self.num_tokens]), [0, 2, 1])
    if self.pooling == 'mean':
      masks /= h * w
    return _pool(masks, inputs, return_attention)

  def get_config(self):
    return {
        **super().get_config(),
        'num_tokens': self.num_tokens,
        'pooling': self.pooling,
        'grid_size': self.grid_size,
        'num_convolutions': self.num_convolutions,
        'kernel_size': self.kernel_size,
    }


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class TokenLearnerV11(shapes.Layer):
  """TokenLearner v1.1: each token is a weighted mean of all positions.

  LayerNorm, an MLP that scores every position for every token, softmax over
  positions. The weights apply to the input itself. The authors prefer it over
  v1.0 in general, above all early in a network. It sees positions one by one,
  so the shape of the map has no effect.
  Source: TokenLearnerModuleV11 of the official Scenic code; no difference.

  Args:
    num_tokens: int > 0. Tokens to learn (S).
    bottleneck_dim: int > 0. Hidden width of the scoring MLP; 64 in the source.
    dropout_rate: float in [0, 1), inside the MLP. Best left 0: the MLP's
      output are scores before a softmax, and a dropped score is 0, not low.

  Call arguments:
    inputs: float tensor [B, N, C] or [B, H, W, C]; only B may be unknown.
    training: bool. Turns dropout on.
    return_attention: bool. Also return the weights.

  Returns:
    float tensor [B, S, C]; with return_attention also the weights, [B, S, N]
    for a list and [B, S, H, W] for a map, each token's summing to 1.

  Raises:
    ValueError: wrong rank, a size below 1.

  Example:
    >>> TokenLearnerV11(num_tokens=8)(tf.zeros([2, 196, 32])).shape
    TensorShape([2, 8, 32])
  """

  def __init__(self, num_tokens: int, bottleneck_dim: int = 64,
               dropout_rate: float = 0., **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive(
        'TokenLearnerV11', num_tokens=num_tokens, bottleneck_dim=bottleneck_dim)
    shapes.require_rate('TokenLearnerV11', dropout_rate=dropout_rate)
    self.num_tokens = num_tokens
    self.bottleneck_dim = bottleneck_dim
    self.dropout_rate = dropout_rate

  def build(self, input_shape):
    shapes.require_tokens_or_map('TokenLearnerV11', 'inputs', input_shape)
    self.norm = blocks.LayerNorm(name='norm', dtype=self.dtype_policy)
    self.mlp = blocks.MlpBlock(
        self.bottleneck_dim, self.num_tokens, self.dropout_rate, name='mlp',
        dtype=self.dtype_policy)
    shapes.build(self.norm, input_shape)
    shapes.build(self.mlp, input_shape)
    super().build(input_shape)

  def call(self, inputs, training=None, return_attention=False):
    x = self.norm(shapes.to_tokens(inputs))
    scores = self.mlp(x, training=training)  # [B, N, S]
    scores = tf.transpose(scores, [0, 2, 1])  # [B, S, N]
    weights = tf.nn.softmax(tf.cast(scores, self.variable_dtype))
    return _pool(
        tf.cast(weights, self.compute_dtype), inputs, return_attention)

  def get_config(self):
    return {
        **super().get_config(),
        'num_tokens': self.num_tokens,
        'bottleneck_dim': self.bottleneck_dim,
        'dropout_rate': self.dropout_rate,
    }
