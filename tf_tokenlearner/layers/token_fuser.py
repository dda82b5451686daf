"""From S tokens back to positions: TokenFuser and its alternatives."""

import tensorflow as tf
import tf_keras

from tf_tokenlearner.layers import blocks
from tf_tokenlearner.layers import shapes


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class TokenFuser(shapes.Layer):
  """Mixes the tokens, then spreads them over the positions.

  The caller adds the residual. Source: Ryoo et al. 2021 (arXiv 2106.11297),
  section 3.2, TokenFuser of the official Scenic code. Differs from it in
  returning a map for a map, and in the dropout inside the MLP, which has its
  own rate. The mixing kernel starts at zero, as there, so a new fused block
  changes nothing.

  Args:
    bottleneck_dim: int > 0. Hidden width of the spreading MLP; 64 in the
      source.
    use_normalization: bool. LayerNorm around the mixing of the tokens.
    dropout_rate: float in [0, 1), on the result.
    mlp_dropout_rate: float in [0, 1), inside the MLP. Best left 0: the MLP's
      output are scores before a sigmoid, and a dropped score is 0, not low.

  Call arguments:
    inputs: float tensor [B, S, C], the tokens.
    original: float tensor [B, N, C] or [B, H, W, C], the tokens' source.
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
               dropout_rate: float = 0., mlp_dropout_rate: float = 0.,
               **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive('TokenFuser', bottleneck_dim=bottleneck_dim)
    shapes.require_rate('TokenFuser', dropout_rate=dropout_rate,
                        mlp_dropout_rate=mlp_dropout_rate)
    self.bottleneck_dim = bottleneck_dim
    self.use_normalization = use_normalization
    self.dropout_rate = dropout_rate
    self.mlp_dropout_rate = mlp_dropout_rate

  def build(self, input_shape):
    _require_tokens('TokenFuser', input_shape)
    _, num_tokens, width = input_shape
    policy = self.dtype_policy
    norm = lambda name: blocks.LayerNorm(name=name, dtype=policy)
    if self.use_normalization:
      self.norm_before = norm('norm_before')
      self.norm_after = norm('norm_after')
    else:
      self.norm_before = self.norm_after = tf_keras.layers.Activation(
          'linear', dtype=policy)
    self.mix = blocks.MatmulDense(
        num_tokens, kernel_initializer='zeros', name='mix', dtype=policy)
    self.original_norm = norm('original_norm')
    self.mlp = blocks.MlpBlock(
        self.bottleneck_dim, num_tokens, self.mlp_dropout_rate, name='mlp',
        dtype=policy)
    self.dropout = tf_keras.layers.Dropout(self.dropout_rate, dtype=policy)
    shapes.build(self.norm_before, input_shape)
    shapes.build(self.mix, [None, width, num_tokens])
    shapes.build(self.norm_after, input_shape)
    shapes.build(self.original_norm, [None, None, width])
    shapes.build(self.mlp, [None, None, width])
    super().build(input_shape)

  def call(self, inputs, original, training=None):
    original = tf.cast(original, self.compute_dtype)  # As Keras does to inputs.
    _require_original('TokenFuser', inputs.shape, original.shape)
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
        'mlp_dropout_rate': self.mlp_dropout_rate,
    }


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class SpaceTimeTokenFuser(shapes.Layer):
  """Mixes the tokens of all frames, then spreads each frame's over its map.

  A linear layer over the T*S tokens, the same for every channel; then, at each
  position, the sum of its frame's tokens under sigmoid weights, one linear
  layer of the position's features. The caller adds the residual. Source: Ryoo
  et al. 2021 (arXiv 2106.11297), TokenFuser of the bottleneck video model.
  Differs from it in the mixing, which starts at zero as in the released
  TokenFuser for images: a new module changes nothing.

  Args:
    num_tokens: int > 0. Tokens per frame (S).

  Call arguments:
    inputs: float tensor [B, T*S, C], the tokens, frame after frame.
    original: float tensor [B, T, H, W, C], the tokens' source.

  Returns:
    float tensor of the shape of original.

  Raises:
    ValueError: wrong rank, unknown axis, other than S tokens for each frame of
      original, or two different widths C.

  Example:
    >>> fuser = SpaceTimeTokenFuser(num_tokens=8)
    >>> fuser(tf.zeros([2, 32, 16]), tf.zeros([2, 4, 7, 7, 16])).shape
    TensorShape([2, 4, 7, 7, 16])
  """

  def __init__(self, num_tokens: int, **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive('SpaceTimeTokenFuser', num_tokens=num_tokens)
    self.num_tokens = num_tokens

  def build(self, input_shape):
    _require_tokens('SpaceTimeTokenFuser', input_shape, length='T*S')
    _, tokens_of_all_frames, width = input_shape
    dense = lambda units, name, initializer: blocks.MatmulDense(
        units, kernel_initializer=initializer, name=name,
        dtype=self.dtype_policy)
    self.mix = dense(tokens_of_all_frames, 'mix', 'zeros')
    self.masks = dense(self.num_tokens, 'masks', 'glorot_uniform')
    shapes.build(self.mix, [None, width, tokens_of_all_frames])
    shapes.build(self.masks, [None, None, width])
    super().build(input_shape)

  def call(self, inputs, original):
    original = tf.cast(original, self.compute_dtype)  # As Keras does to inputs.
    self._require_frames(inputs.shape, original.shape)
    c = inputs.shape[-1]
    tokens = tf.transpose(inputs, [0, 2, 1])  # [B, C, T*S]
    tokens = tf.transpose(self.mix(tokens), [0, 2, 1])  # [B, T*S, C]
    tokens = tf.reshape(tokens, [-1, self.num_tokens, c])  # [B*T, S, C]
    maps = tf.reshape(
        original, [-1, original.shape[2] * original.shape[3], c])  # [B*T, N, C]
    x = tf.matmul(tf.sigmoid(self.masks(maps)), tokens)  # [B*T, N, C]
    return tf.reshape(x, [-1, *original.shape[1:]])

  def _require_frames(self, inputs, original):
    if original.rank != 5:
      raise ValueError(
          'SpaceTimeTokenFuser: original must be maps [B, T, H, W, C], '
          f'got shape {original}.')
    shapes.require_known('SpaceTimeTokenFuser', 'original', original)
    if (original[-1] != inputs[-1]
        or original[1] * self.num_tokens != inputs[1]):
      raise ValueError(
          'SpaceTimeTokenFuser: each frame of original needs '
          f'{self.num_tokens} tokens in inputs, of the same width, got '
          f'{inputs} and {original}.')

  def get_config(self):
    return {**super().get_config(), 'num_tokens': self.num_tokens}


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class TokenUnpooling(shapes.Layer):
  """Gives every position the sum of the tokens under its masks.

  Nothing is learned; the caller adds the residual. The TokenLearner paper (Ryoo
  et al. 2021, arXiv 2106.11297) compares TokenFuser with "unpooling" and gives
  no formula. This is the plain reading: the masks of the TokenLearner once
  more. Its cost agrees: B/16 with 8 and 16 tokens takes 28.44 and 29.03 G
  multiply-accumulates, and the paper's figure shows 28.6 and 29.2 (read off,
  +-0.05).

  Call arguments:
    inputs: float tensor [B, S, C], the tokens.
    masks: float tensor [B, S, N] or [B, S, H, W].

  Returns:
    float tensor [B, N, C], or [B, H, W, C].

  Raises:
    ValueError: wrong rank, or not one mask for each token.

  Example:
    >>> tokens = tf.constant([[[1.], [5.]]])
    >>> masks = tf.constant([[[1., 0., .5], [0., 1., .5]]])
    >>> TokenUnpooling()(tokens, masks).numpy().ravel().tolist()
    [1.0, 5.0, 3.0]
  """

  def call(self, inputs, masks):
    masks = tf.cast(masks, self.compute_dtype)  # As Keras does to inputs.
    if (inputs.shape.rank != 3 or masks.shape.rank not in (3, 4)
        or inputs.shape[1] != masks.shape[1]):
      raise ValueError(
          'TokenUnpooling: expected tokens [B, S, C] and as many masks, '
          f'[B, S, N] or [B, S, H, W], got shapes {inputs.shape} and '
          f'{masks.shape}.')
    shapes.require_known('TokenUnpooling', 'masks', masks.shape)
    positions = masks.shape[2:]
    masks = tf.reshape(masks, [-1, inputs.shape[1], positions.num_elements()])
    x = tf.matmul(tf.transpose(masks, [0, 2, 1]), inputs)  # [B, N, C]
    return tf.reshape(x, [-1, *positions, inputs.shape[2]])


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class TokenReprojection(shapes.Layer):
  """Positions look up the tokens by multi-head attention.

  Queries come from the positions, keys and values from the tokens, each through
  a LayerNorm; an output projection follows, zero at first like the mixing of
  TokenFuser. The caller adds the residual. The TokenLearner paper (Ryoo et al.
  2021, arXiv 2106.11297) compares TokenFuser with "reprojection" and gives no
  formula. This is the plain reading whose cost agrees: B/16 with 8 and 16
  tokens takes 32.59 and 33.26 G multiply-accumulates, and the paper's figure
  shows 32.7 and 33.4 (read off, +-0.05). Without the output projection it would
  be 30.5 and 31.2.

  Args:
    num_heads: int > 0, divides C.
    dropout_rate: float in [0, 1), on the result.
    attention_dropout_rate: float in [0, 1), on the attention weights.

  Call arguments:
    inputs: float tensor [B, S, C], the tokens.
    original: float tensor [B, N, C] or [B, H, W, C], the tokens' source.
    training: bool. Turns dropout on.

  Returns:
    float tensor of the shape of original.

  Raises:
    ValueError: wrong rank, two different widths C, C no multiple of num_heads.

  Example:
    >>> tokens, original = tf.zeros([2, 8, 32]), tf.zeros([2, 14, 14, 32])
    >>> TokenReprojection(num_heads=4)(tokens, original).shape
    TensorShape([2, 14, 14, 32])
  """

  def __init__(self, num_heads: int, dropout_rate: float = 0.,
               attention_dropout_rate: float = 0., **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive('TokenReprojection', num_heads=num_heads)
    shapes.require_rate('TokenReprojection', dropout_rate=dropout_rate,
                        attention_dropout_rate=attention_dropout_rate)
    self.num_heads = num_heads
    self.dropout_rate = dropout_rate
    self.attention_dropout_rate = attention_dropout_rate

  def build(self, input_shape):
    _require_tokens('TokenReprojection', input_shape)
    width = input_shape[-1]
    if width % self.num_heads:
      raise ValueError(
          f'TokenReprojection: the width {width} must be a multiple of '
          f'num_heads, got num_heads={self.num_heads}.')
    policy = self.dtype_policy
    # On [C, 2 C] this draws what Glorot draws on each [C, C] of k and v.
    glorot_each = tf_keras.initializers.VarianceScaling(
        1., mode='fan_in', distribution='uniform')
    dense = lambda units, name, initializer: blocks.MatmulDense(
        units, kernel_initializer=initializer, name=name, dtype=policy)
    dropout = lambda rate: tf_keras.layers.Dropout(rate, dtype=policy)
    self.token_norm = blocks.LayerNorm(name='token_norm', dtype=policy)
    self.original_norm = blocks.LayerNorm(
        name='original_norm', dtype=policy)
    self.query = dense(width, 'query', 'glorot_uniform')
    self.key_value = dense(2 * width, 'key_value', glorot_each)
    self.output_dense = dense(width, 'output_dense', 'zeros')
    self.attention_dropout = dropout(self.attention_dropout_rate)
    self.dropout = dropout(self.dropout_rate)
    for part in (self.token_norm, self.original_norm, self.query,
                 self.key_value, self.output_dense):
      shapes.build(part, [None, None, width])
    super().build(input_shape)

  def call(self, inputs, original, training=None):
    original = tf.cast(original, self.compute_dtype)  # As Keras does to inputs.
    _require_original('TokenReprojection', inputs.shape, original.shape)
    s, c = inputs.shape[1:]
    n, d = shapes.num_positions(original.shape), c // self.num_heads
    x = self.original_norm(shapes.to_tokens(original))
    q = tf.reshape(self.query(x), [-1, n, self.num_heads, d])
    q = tf.transpose(q, [0, 2, 1, 3])  # [B, heads, N, d]
    kv = tf.reshape(
        self.key_value(self.token_norm(inputs)), [-1, s, 2, self.num_heads, d])
    k, v = tf.unstack(
        tf.transpose(kv, [2, 0, 3, 1, 4]), num=2)  # each [B, heads, S, d]
    scores = tf.matmul(q * d**-0.5, k, transpose_b=True)  # [B, heads, N, S]
    weights = tf.nn.softmax(tf.cast(scores, self.variable_dtype))
    weights = self.attention_dropout(
        tf.cast(weights, self.compute_dtype), training=training)
    x = tf.transpose(tf.matmul(weights, v), [0, 2, 1, 3])  # [B, N, heads, d]
    x = self.output_dense(tf.reshape(x, [-1, n, c]))
    return tf.reshape(
        self.dropout(x, training=training), [-1, *original.shape[1:]])

  def get_config(self):
    return {
        **super().get_config(),
        'num_heads': self.num_heads,
        'dropout_rate': self.dropout_rate,
        'attention_dropout_rate': self.attention_dropout_rate,
    }


def _require_tokens(layer: str, shape: tf.TensorShape,
                    length: str = 'S') -> None:
  """Raises ValueError if inputs are no tokens of known length and width."""
  if len(shape) != 3 or None in tuple(shape)[1:]:
    raise ValueError(
        f'{layer}: inputs must be tokens [B, {length}, C] with {length} and C '
        f'known, got shape {tuple(shape)}.')


def _require_original(layer: str, inputs: tf.TensorShape,
                      original: tf.TensorShape) -> None:
  """Raises ValueError if original is no source of the tokens in inputs."""
  shapes.require_tokens_or_map(layer, 'original', original)
  if original[-1] != inputs[-1]:
    raise ValueError(
        f'{layer}: inputs and original must have the same width, got {inputs} '
        f'and {original}.')
