"""The pre-norm transformer block and its parts."""

from typing import Optional

import tensorflow as tf
import tf_keras

from tf_tokenlearner.layers import shapes


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
def gelu(x: tf.Tensor) -> tf.Tensor:
  """Returns the tanh approximation of GELU, as in the official JAX code.

  In tf_keras, 'gelu' uses erf, which changes logits by 1e-4 or more.
  After a matmul and a bias this is fused into one CPU kernel.
  """
  return tf.nn.gelu(x, approximate=True)


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
def gelu_erf(x: tf.Tensor) -> tf.Tensor:
  """Returns GELU by the error function, as in timm and most PyTorch models."""
  return tf.nn.gelu(x, approximate=False)


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
def quick_gelu(x: tf.Tensor) -> tf.Tensor:
  """Returns x * sigmoid(1.702 x), as in OpenAI's CLIP."""
  return x * tf.sigmoid(1.702 * x)


ACTIVATIONS = {'gelu_tanh': gelu, 'gelu': gelu_erf, 'quick_gelu': quick_gelu}


def _require_activation(layer: str, activation: str) -> None:
  if activation not in ACTIVATIONS:
    raise ValueError(
        f'{layer}: activation must be one of {", ".join(ACTIVATIONS)}, '
        f'got {activation!r}.')


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class LayerNorm(shapes.Layer):
  """Normalizes the last axis to mean 0 and variance 1, then scales and shifts.

  Means and products suit TFLite: the batch normalization in tf_keras takes
  twice the operations, and SquaredDifference has no int16 kernel. Statistics
  are float32 under every mixed-precision policy. Source: Ba et al. 2016, arXiv
  1607.06450; epsilon as in Flax (tf_keras has 1e-3).

  Args:
    epsilon: float > 0, added to the variance.

  Call arguments:
    inputs: float tensor [..., C]; C static.

  Returns:
    float tensor [..., C], dtype of the layer's compute policy.

  Raises:
    ValueError: epsilon is not above zero.

  Example:
    >>> LayerNorm()(tf.constant([[1., 3.]])).numpy().round(3).tolist()
    [[-1.0, 1.0]]
  """

  def __init__(self, epsilon: float = 1e-6, **kwargs):
    super().__init__(**kwargs)
    if not epsilon > 0:
      raise ValueError(f'LayerNorm: epsilon must be > 0, got {epsilon}.')
    self.epsilon = epsilon

  def build(self, input_shape):
    width = input_shape[-1]
    self.gamma = self.add_weight(
        'gamma', [width], initializer='ones', experimental_autocast=False)
    self.beta = self.add_weight(
        'beta', [width], initializer='zeros', experimental_autocast=False)
    super().build(input_shape)

  def call(self, inputs):
    x = tf.cast(inputs, self.variable_dtype)
    centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(centred * centred, axis=-1, keepdims=True)
    x = centred * tf.math.rsqrt(variance + self.epsilon)
    return tf.cast(x * self.gamma + self.beta, self.compute_dtype)

  def get_config(self):
    return {**super().get_config(), 'epsilon': self.epsilon}


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class MatmulDense(shapes.Layer, tf_keras.layers.Dense):
  """tf_keras Dense that folds every axis but the last into rows.

  tf_keras uses tensordot from rank 3 on. Its run-time shape arithmetic prevents
  the fusion of matmul, bias and activation, and adds shape operations to a
  TFLite file. This layer reshapes with a single -1 instead.

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


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class MlpBlock(shapes.Layer):
  """Dense, activation, dropout, dense, dropout over the last axis.

  Source: Dosovitskiy et al. 2021 (arXiv 2010.11929), section 3.1, and
  MlpBlock of the official Scenic code, which knows gelu_tanh only.

  Args:
    mlp_dim: int > 0. Hidden width.
    out_dim: int > 0 or None. Output width; None keeps the input's.
    dropout_rate: float in [0, 1), after both dense layers.
    activation: name in ACTIVATIONS, after the first dense layer.

  Call arguments:
    inputs: float tensor [B, ..., C]; everything but B static.
    training: bool. Turns dropout on.

  Returns:
    float tensor [B, ..., out_dim].

  Raises:
    ValueError: a size below 1, a rate outside [0, 1), an unknown activation.

  Example:
    >>> MlpBlock(mlp_dim=32)(tf.zeros([2, 9, 8])).shape
    TensorShape([2, 9, 8])
  """

  def __init__(self, mlp_dim: int, out_dim: Optional[int] = None,
               dropout_rate: float = 0., activation: str = 'gelu_tanh',
               **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive('MlpBlock', mlp_dim=mlp_dim)
    if out_dim is not None:
      shapes.require_positive('MlpBlock', out_dim=out_dim)
    shapes.require_rate('MlpBlock', dropout_rate=dropout_rate)
    _require_activation('MlpBlock', activation)
    self.mlp_dim = mlp_dim
    self.out_dim = out_dim
    self.dropout_rate = dropout_rate
    self.activation = activation

  def build(self, input_shape):
    def dense(units, name, activation=None):
      return MatmulDense(
          units, activation, kernel_initializer='glorot_uniform',
          bias_initializer=tf_keras.initializers.RandomNormal(stddev=1e-6),
          name=name, dtype=self.dtype_policy)

    self.hidden = dense(
        self.mlp_dim, 'hidden', ACTIVATIONS[self.activation])
    self.output_dense = dense(self.out_dim or input_shape[-1], 'output_dense')
    self.dropout = tf_keras.layers.Dropout(
        self.dropout_rate, dtype=self.dtype_policy)
    shapes.build(self.hidden, input_shape)
    shapes.build(self.output_dense, [*input_shape[:-1], self.mlp_dim])
    super().build(input_shape)

  def call(self, inputs, training=None):
    x = self.hidden(inputs)  # [B, ..., mlp_dim]
    x = self.dropout(x, training=training)
    x = self.output_dense(x)  # [B, ..., out_dim]
    return self.dropout(x, training=training)

  def get_config(self):
    return {
        **super().get_config(),
        'mlp_dim': self.mlp_dim,
        'out_dim': self.out_dim,
        'dropout_rate': self.dropout_rate,
        'activation': self.activation,
    }


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class SelfAttention(shapes.Layer):
  """Scaled dot-product attention of all positions to all positions.

  One matmul of [C, 3 C] gives query, key and value. Heads are split by reshape
  and transpose, not by einsum, so that XLA and TFLite see matmuls. Source:
  Vaswani et al. 2017, section 3.2, as in Flax's MultiHeadDotProductAttention;
  differs from it only in the fused kernel.

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
          f'got num_heads={self.num_heads}.')
    # On [C, 3 C] this draws what Glorot draws on each [C, C] of q, k and v.
    glorot_each = tf_keras.initializers.VarianceScaling(
        1., mode='fan_in', distribution='uniform')
    self.qkv = MatmulDense(
        3 * width, kernel_initializer=glorot_each, name='qkv',
        dtype=self.dtype_policy)
    self.output_dense = MatmulDense(
        width, name='output_dense', dtype=self.dtype_policy)
    self.dropout = tf_keras.layers.Dropout(
        self.dropout_rate, dtype=self.dtype_policy)
    shapes.build(self.qkv, input_shape)
    shapes.build(self.output_dense, input_shape)
    super().build(input_shape)

  def call(self, inputs, training=None):
    n, c = shapes.num_positions(inputs.shape), inputs.shape[-1]
    d = c // self.num_heads
    qkv = tf.reshape(self.qkv(inputs), [-1, n, 3, self.num_heads, d])
    q, k, v = tf.unstack(
        tf.transpose(qkv, [2, 0, 3, 1, 4]), num=3)  # each [B, heads, N, d]
    scores = tf.matmul(q * d**-0.5, k, transpose_b=True)  # [B, heads, N, N]
    # In float32: a float16 softmax over many positions loses precision.
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


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class TransformerEncoderBlock(shapes.Layer):
  """A transformer block: x + attention(norm(x)), then x + mlp(norm(x)).

  Stochastic depth drops either branch for whole examples and scales the other
  examples by 1 / (1 - rate). Source: Dosovitskiy et al. 2021 (arXiv
  2010.11929), section 3.1, and Encoder1DBlock of the official Scenic code;
  differs from the latter in having stochastic depth, which TokenLearner's
  config sets but its model never reads.

  Args:
    num_heads: int > 0, divides C.
    mlp_dim: int > 0. Hidden width of the MLP.
    dropout_rate: float in [0, 1), after attention and inside the MLP.
    attention_dropout_rate: float in [0, 1), on the attention weights.
    stochastic_depth_rate: float in [0, 1).
    activation: name in ACTIVATIONS, inside the MLP.
    norm_epsilon: float > 0, added to the variance in both LayerNorms.

  Call arguments:
    inputs: float tensor [B, N, C] or [B, H, W, C]; only B may be unknown.
    training: bool. Turns dropout and stochastic depth on.

  Returns:
    float tensor of the shape of inputs.

  Raises:
    ValueError: wrong rank or size, C no multiple of num_heads, an unknown
      activation.

  Example:
    >>> TransformerEncoderBlock(2, mlp_dim=32)(tf.zeros([1, 9, 8])).shape
    TensorShape([1, 9, 8])
  """

  def __init__(self, num_heads: int, mlp_dim: int, dropout_rate: float = 0.,
               attention_dropout_rate: float = 0.,
               stochastic_depth_rate: float = 0.,
               activation: str = 'gelu_tanh', norm_epsilon: float = 1e-6,
               **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive(
        'TransformerEncoderBlock', num_heads=num_heads, mlp_dim=mlp_dim)
    shapes.require_rate(
        'TransformerEncoderBlock', dropout_rate=dropout_rate,
        attention_dropout_rate=attention_dropout_rate,
        stochastic_depth_rate=stochastic_depth_rate)
    _require_activation('TransformerEncoderBlock', activation)
    self.num_heads = num_heads
    self.mlp_dim = mlp_dim
    self.dropout_rate = dropout_rate
    self.attention_dropout_rate = attention_dropout_rate
    self.stochastic_depth_rate = stochastic_depth_rate
    self.activation = activation
    self.norm_epsilon = norm_epsilon

  def build(self, input_shape):
    shapes.require_tokens_or_map(
        'TransformerEncoderBlock', 'inputs', input_shape)
    policy = self.dtype_policy
    self.attention_norm = LayerNorm(
        self.norm_epsilon, name='attention_norm', dtype=policy)
    self.attention = SelfAttention(
        self.num_heads, self.attention_dropout_rate, name='attention',
        dtype=policy)
    self.mlp_norm = LayerNorm(
        self.norm_epsilon, name='mlp_norm', dtype=policy)
    self.mlp = MlpBlock(
        self.mlp_dim, dropout_rate=self.dropout_rate,
        activation=self.activation, name='mlp', dtype=policy)
    self.dropout = tf_keras.layers.Dropout(self.dropout_rate, dtype=policy)
    self.drop_branch = tf_keras.layers.Dropout(
        self.stochastic_depth_rate, dtype=policy,
        noise_shape=[None] + [1] * (len(input_shape) - 1))
    for layer in (self.attention_norm, self.attention, self.mlp_norm, self.mlp):
      shapes.build(layer, input_shape)
    super().build(input_shape)

  def call(self, inputs, training=None):
    x = inputs  # [B, N, C]
    y = self.attention(self.attention_norm(x), training=training)
    y = self.dropout(y, training=training)
    x = x + self.drop_branch(y, training=training)

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
        'activation': self.activation,
        'norm_epsilon': self.norm_epsilon,
    }
