"""What stands between the expansion and the reduction of a bottleneck block.

Each part of bottleneck_spec.MODULES is a layer that takes and returns maps of
clips, [B, T, H, W, C]. The paper (Ryoo et al. 2021, arXiv 2106.11297, tables 11
and 12) names them and gives what they cost, no more; what follows is the
plainest that costs about that. All but convolutions keep a residual, and see
their input through a LayerNorm. There are no position embeddings, for which the
paper's parameters leave no room.
"""

from typing import Tuple

import tensorflow as tf
import tf_keras

from tf_tokenlearner import layers
from tf_tokenlearner.backbones import bottleneck_spec
from tf_tokenlearner.backbones import bottleneck_tokenizers
from tf_tokenlearner.backbones import x2plus1d


def make_part(name: str, spec: bottleneck_spec.BottleneckSpec, width: int,
              stride: int = 1) -> tf_keras.layers.Layer:
  """One part of a module; a stride is for conv2d only.

  Args:
    name: a part of bottleneck_spec.MODULES.
    spec: BottleneckSpec, resolved.
    width: channels in and out.
    stride: over height and width.
  """
  attention = lambda axes: MapAttention(
      axes, spec.num_heads, spec.attention_dim, name=name)
  makers = {
      'conv2d': lambda: x2plus1d.SpatialConvolution(
          spec, width, 3, stride, name=name),
      'conv1d': lambda: x2plus1d.TemporalConvolution(
          spec, width, 3, name=name),
      'joint_mhsa': lambda: attention('THW'),
      'spatial_transformer': lambda: attention('HW'),
      'temporal_transformer': lambda: attention('T'),
      'mlp_mixer': lambda: FrameMixer(name=name),
      'token_learner': lambda: TokenModule(spec, name=name),
  }
  return makers[name]()


class MapAttention(tf_keras.layers.Layer):
  """x + attention(norm(x)) among the positions along some axes of a clip.

  Queries and keys are narrower than values, and no projection follows: the
  paper's 0.30M parameters at width 432 are those of widths 128, 128 and 432,
  and its GFLOPs agree. That it has 8 heads, too, is how its GFLOPs of joint
  attention come out, if softmax counts 5 for every weight and scaling 1.

  Args:
    axes: 'THW', 'HW' or 'T': the axes along which positions see each other.
    num_heads: divides the width and attention_dim.
    attention_dim: width of all queries, and of all keys.
  """

  def __init__(self, axes: str, num_heads: int, attention_dim: int, **kwargs):
    super().__init__(**kwargs)
    self.axes = axes
    self.num_heads = num_heads
    self.attention_dim = attention_dim

  def build(self, input_shape):
    width = input_shape[-1]
    self.norm = layers.LayerNorm(name='norm')
    self.qkv = layers.MatmulDense(
        2 * self.attention_dim + width, name='qkv',
        # On [C, q + k + v] this draws about what Glorot draws on [C, C].
        kernel_initializer=tf_keras.initializers.VarianceScaling(
            1., mode='fan_in', distribution='uniform'))
    super().build(input_shape)

  def call(self, inputs, training=None):
    del training
    x = self._to_sequences(self.norm(inputs))  # [B', N, C]
    q, k, v = tf.split(
        self.qkv(x), [self.attention_dim, self.attention_dim, -1], axis=-1)
    q, k, v = self._to_heads(q), self._to_heads(k), self._to_heads(v)
    scores = tf.matmul(q * q.shape[-1]**-.5, k, transpose_b=True)
    weights = tf.nn.softmax(tf.cast(scores, self.variable_dtype))
    x = tf.matmul(tf.cast(weights, self.compute_dtype), v)
    x = tf.transpose(x, [0, 2, 1, 3])  # [B', N, heads, C / heads]
    return inputs + self._to_maps(x, inputs.shape)

  def _to_heads(self, x):
    """[B', N, D] -> [B', heads, N, D / heads]."""
    x = tf.reshape(
        x, [-1, x.shape[1], self.num_heads, x.shape[2] // self.num_heads])
    return tf.transpose(x, [0, 2, 1, 3])

  def _to_sequences(self, x):
    """[B, T, H, W, C] -> [B * other axes, N along self.axes, C]."""
    _, t, h, w, c = x.shape
    if self.axes == 'T':
      x = tf.transpose(tf.reshape(x, [-1, t, h * w, c]), [0, 2, 1, 3])
    lengths = {'T': t, 'HW': h * w, 'THW': t * h * w}
    return tf.reshape(x, [-1, lengths[self.axes], c])

  def _to_maps(self, x, shape):
    """_to_sequences undone."""
    _, t, h, w, c = shape
    if self.axes == 'T':
      x = tf.transpose(tf.reshape(x, [-1, h * w, t, c]), [0, 2, 1, 3])
    return tf.reshape(x, [-1, t, h, w, c])


class FrameMixer(tf_keras.layers.Layer):
  """Adds to every position of a frame what an MLP-Mixer makes of the clip.

  Each frame's mean is a token; one MLP mixes over time, one over channels, both
  as wide inside as outside (Tolstikhin et al. 2021, arXiv 2105.01601, figure
  1). That it sees means is how the paper's module, 0.38M parameters for hardly
  any GFLOPs, is to be had.
  """

  def build(self, input_shape):
    self.time_norm = layers.LayerNorm(name='time_norm')
    self.time_mlp = layers.MlpBlock(input_shape[1], name='time_mlp')
    self.channel_norm = layers.LayerNorm(name='channel_norm')
    self.channel_mlp = layers.MlpBlock(input_shape[-1], name='channel_mlp')
    super().build(input_shape)

  def call(self, inputs, training=None):
    del training
    x = tf.reduce_mean(inputs, axis=[2, 3])  # [B, T, C]
    y = self.time_mlp(tf.transpose(self.time_norm(x), [0, 2, 1]))  # [B, C, T]
    x += tf.transpose(y, [0, 2, 1])
    x += self.channel_mlp(self.channel_norm(x))
    return inputs + x[:, :, tf.newaxis, tf.newaxis, :]


class TokenModule(tf_keras.layers.Layer):
  """x + fuse(transform(learn(x))): S tokens of each frame see all others.

  Args:
    spec: BottleneckSpec, resolved.
  """

  def __init__(self, spec: bottleneck_spec.BottleneckSpec, **kwargs):
    super().__init__(**kwargs)
    self.tokenizer = bottleneck_tokenizers.make_tokenizer(spec)
    self.transformer = layers.VectorTransformer(name='transformer')
    self.fuser = layers.SpaceTimeTokenFuser(spec.num_tokens, name='fuser')

  def call(self, inputs, training=None):
    del training
    tokens = self.tokenizer(_frames(inputs))  # [B*T, S, C]
    tokens = tf.reshape(
        tokens, [-1, inputs.shape[1] * tokens.shape[1], tokens.shape[2]])
    tokens = self.transformer(tokens)  # [B, T*S, C]
    return inputs + self.fuser(tokens, inputs)

  def attention(self, inputs: tf.Tensor) -> tf.Tensor:
    """[B, T, H, W, C] -> the masks of the TokenLearner, [B, T, S, H, W].

    Raises:
      ValueError: the tokens come from something else.
    """
    if not isinstance(self.tokenizer, layers.TokenLearner):
      raise ValueError(
          f'attention_maps: the tokens come from {self.tokenizer.name}, which '
          'looks everywhere alike; set tokenizer=token_learner.')
    _, masks = self.tokenizer(_frames(inputs), return_attention=True)
    return tf.reshape(masks, [-1, inputs.shape[1], *masks.shape[1:]])


def _frames(x: tf.Tensor) -> tf.Tensor:
  """[B, T, H, W, C] -> [B*T, H, W, C]."""
  return tf.reshape(x, [-1, *x.shape[2:]])
