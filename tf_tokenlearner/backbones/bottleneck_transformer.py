"""The bottleneck video model: X(2+1)D with TokenLearner in its last blocks."""

import dataclasses
from typing import Dict, Optional, Sequence

import tensorflow as tf
import tf_keras

from tf_tokenlearner.backbones import bottleneck_spec
from tf_tokenlearner.backbones import x2plus1d
from tf_tokenlearner import layers


def make_tokenizer(
    spec: bottleneck_spec.BottleneckSpec) -> tf_keras.layers.Layer:
  """Returns the tokenizer that a spec names."""
  makers = {
      # Means, as in the paper's text; the released image code has sums.
      'token_learner': lambda: layers.TokenLearner(
          spec.num_tokens, 'mean', num_convolutions=1,
          kernel_size=spec.token_learner_kernel_size, name='token_learner'),
      'fixed_split': lambda: layers.GridPooling(
          *spec.split_grid(), name='fixed_split'),
      'dense': lambda: DenseTokenizer(spec.num_tokens, name='dense'),
      'frame_pooling': lambda: FramePooling(
          spec.num_tokens, name='frame_pooling'),
  }
  assert set(makers) == set(bottleneck_spec.TOKENIZERS)
  return makers[spec.tokenizer]()


class DenseTokenizer(tf_keras.layers.Layer):
  """A linear layer over the positions, the same for every channel and frame.

  Its weights, unlike those of the other tokenizers, fit one map size only.
  """

  def __init__(self, num_tokens: int, **kwargs):
    super().__init__(**kwargs)
    self.dense = layers.MatmulDense(num_tokens, name='dense')

  def call(self, inputs):
    x = tf.reshape(
        inputs, [-1, inputs.shape[1] * inputs.shape[2], inputs.shape[3]])
    x = self.dense(tf.transpose(x, [0, 2, 1]))  # [B*T, C, S]
    return tf.transpose(x, [0, 2, 1])


class FramePooling(tf_keras.layers.Layer):
  """An MLP that makes the tokens from the mean of a map."""

  def __init__(self, num_tokens: int, **kwargs):
    super().__init__(**kwargs)
    self.num_tokens = num_tokens

  def build(self, input_shape):
    width = input_shape[-1]
    self.mlp = layers.MlpBlock(width, self.num_tokens * width, name='mlp')
    super().build(input_shape)

  def call(self, inputs):
    x = self.mlp(tf.reduce_mean(inputs, axis=[1, 2]))  # [B*T, S * C]
    return tf.reshape(x, [-1, self.num_tokens, inputs.shape[-1]])


def make_part(name: str, spec: bottleneck_spec.BottleneckSpec, width: int,
              stride: int = 1) -> tf_keras.layers.Layer:
  """Returns one part of a module.

  Args:
    name: a part of bottleneck_spec.MODULES.
    spec: BottleneckSpec, completed.
    width: channels in and out.
    stride: over height and width; for conv2d only.
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

  Queries and keys are narrower than values, and no projection follows: widths
  128, 128 and 432 give the paper's 0.30 M parameters at width 432 and agree
  with its GFLOPs. The 8 heads follow from its GFLOPs of joint attention, if
  softmax counts 5 operations per weight and scaling 1.

  Args:
    axes: 'THW', 'HW' or 'T': the axes along which positions attend.
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
    """[B * other axes, N along self.axes, ...] -> [B, T, H, W, C]."""
    _, t, h, w, c = shape
    if self.axes == 'T':
      x = tf.transpose(tf.reshape(x, [-1, h * w, t, c]), [0, 2, 1, 3])
    return tf.reshape(x, [-1, t, h, w, c])


class FrameMixer(tf_keras.layers.Layer):
  """An MLP-Mixer over the means of the frames, added to every position.

  Each frame's mean is a token. One MLP mixes over time and one over channels;
  the hidden widths equal the outer ones (Tolstikhin et al. 2021, arXiv
  2105.01601, figure 1). Means explain the paper's 0.38 M parameters at hardly
  any GFLOPs.
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
    spec: BottleneckSpec, completed.
  """

  def __init__(self, spec: bottleneck_spec.BottleneckSpec, **kwargs):
    super().__init__(**kwargs)
    self.tokenizer = make_tokenizer(spec)
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
    """Returns the masks of the TokenLearner, [B, T, S, H, W].

    Args:
      inputs: float tensor [B, T, H, W, C].

    Raises:
      ValueError: the tokens come from another tokenizer.
    """
    if not isinstance(self.tokenizer, layers.TokenLearner):
      raise ValueError(
          f'attention_maps: the tokens come from {self.tokenizer.name}, which '
          'looks everywhere equally; set tokenizer=token_learner.')
    _, masks = self.tokenizer(_frames(inputs), return_attention=True)
    return tf.reshape(masks, [-1, inputs.shape[1], *masks.shape[1:]])


def _frames(x: tf.Tensor) -> tf.Tensor:
  """[B, T, H, W, C] -> [B*T, H, W, C]."""
  return tf.reshape(x, [-1, *x.shape[2:]])


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class BottleneckTransformer(tf_keras.Model):
  """The bottleneck video model: stem, four stages of blocks, head.

  Source: Ryoo et al. 2021 (arXiv 2106.11297), section 6, on X3D-M
  (Feichtenhofer 2020, arXiv 2004.04730), whose head it keeps: a convolution to
  the inner width of the last stage, the mean, a dense ReLU layer.
  BottleneckSpec and MapAttention document choices that the paper leaves open.

  Only the weights of tokenizer=dense depend on height and width: the paper
  trains on 64 x 224 x 224 and tests on 64 x 256 x 256, for which a checkpoint
  is restored into a model of that input_size. The weights of TokenFuser and
  MLP-Mixer depend on the number of frames.

  Args:
    spec: BottleneckSpec, or its dict.
    input_size: (frames, height, width, channels) of the clips.

  Call arguments:
    inputs: float tensor [B, frames, height, width, channels].
    training: bool. Normalizes by the batch and updates the moving statistics.

  Returns:
    dict of float tensors: features [B, T*H*W, C] and pre_logits [B, C or
    representation_size], the input of a head.

  Raises:
    UserError (a ValueError): options of the spec contradict each other.

  Example:
    >>> spec = bottleneck_spec.BottleneckSpec(num_blocks=[1, 1, 1, 4])
    >>> model = BottleneckTransformer(spec, input_size=(4, 64, 64, 3))
    >>> outputs = model(tf.zeros([1, 4, 64, 64, 3]))
    >>> {name: tuple(value.shape) for name, value in outputs.items()}
    {'features': (1, 16, 432), 'pre_logits': (1, 2048)}
  """

  def __init__(self, spec: bottleneck_spec.BottleneckSpec,
               input_size: Sequence[int], name: Optional[str] = None):
    super().__init__(name=name)
    if isinstance(spec, dict):
      spec = bottleneck_spec.BottleneckSpec(**spec)
    self.input_size = tuple(input_size)
    self.spec = spec = spec.completed(self.input_size)
    self.stem = x2plus1d.Stem(spec, name='stem')
    self.blocks = [
        _make_block(spec, stage, block)
        for stage in range(bottleneck_spec.NUM_STAGES)
        for block in range(spec.num_blocks[stage])]
    self.head_convolution = x2plus1d.SpatialConvolution(
        spec, spec.inner_width(-1), 1, name='head_convolution')
    self.pre_logits = (
        layers.MatmulDense(spec.representation_size, activation='relu',
                           kernel_initializer='he_normal', name='pre_logits')
        if spec.representation_size
        else tf_keras.layers.Activation('linear'))
    self._has_replicas = tf.distribute.get_strategy().num_replicas_in_sync > 1
    self(tf_keras.Input(self.input_size))  # Builds; savers need the shape.

  def call(self, inputs, training=None):
    x = _at_least_one(inputs) if self._has_replicas else inputs
    x = self.stem(x, training=training)  # [B, T, H, W, C]
    for block in self.blocks:
      x = block(x, training=training)
    x = self.head_convolution(x, training=training)
    x = tf.reshape(x, [-1, x.shape[1] * x.shape[2] * x.shape[3], x.shape[4]])
    outputs = {'features': x,
               'pre_logits': self.pre_logits(tf.reduce_mean(x, axis=1))}
    if self._has_replicas:
      batch = tf.shape(inputs)[0]
      outputs = {name: value[:batch] for name, value in outputs.items()}
    return outputs

  def attention_maps(self, inputs: tf.Tensor) -> tf.Tensor:
    """Returns where the first TokenLearner looks: [B, T, S, H, W].

    Its masks are sigmoids divided by H * W.

    Raises:
      ValueError: the model has no TokenLearner.
    """
    x = self.stem(inputs, training=False)
    for block in self.blocks:
      y = block.expand(x, training=False)
      for part in block.inside:
        if isinstance(part, TokenModule):
          return part.attention(y)
        y = part(y, training=False)
      x = block(x, training=False)
    raise ValueError(
        f'attention_maps: module={self.spec.module} has no TokenLearner.')

  def get_config(self) -> Dict:
    return {'spec': dataclasses.asdict(self.spec),
            'input_size': self.input_size, 'name': self.name}


def _at_least_one(clips: tf.Tensor) -> tf.Tensor:
  """Returns the clips, or one black clip if there are none.

  In the last batch of an evaluation a replica may get no clips. Fused
  convolutions on a CPU (oneDNN, TensorFlow 2.20) then give a wrong depth.
  """
  missing = tf.cast(tf.equal(tf.shape(clips)[0], 0), tf.int32)
  padded = tf.pad(clips, [[0, missing], [0, 0], [0, 0], [0, 0], [0, 0]])
  return tf.reshape(padded, [-1, *clips.shape[1:]])


def _make_block(spec: bottleneck_spec.BottleneckSpec, stage: int,
                block: int) -> x2plus1d.BottleneckBlock:
  """Returns a block of a stage; both are counted from 0."""
  width, stride = spec.inner_width(stage), spec.stride(block)
  inside = [
      make_part(name, spec, width, stride if i == 0 else 1)
      for i, name in enumerate(spec.parts(stage, block))]
  return x2plus1d.BottleneckBlock(
      spec, inside, width, spec.stage_widths[stage], stride,
      name=f'stage{stage + 1}_{block}')
