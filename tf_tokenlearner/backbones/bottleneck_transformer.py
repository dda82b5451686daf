"""The bottleneck video model: X(2+1)D with TokenLearner in its last blocks."""

import dataclasses
from typing import Dict, Optional, Sequence

import tensorflow as tf
import tf_keras

from tf_tokenlearner import layers
from tf_tokenlearner.backbones import bottleneck_modules
from tf_tokenlearner.backbones import bottleneck_spec
from tf_tokenlearner.backbones import x2plus1d


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class BottleneckTransformer(tf_keras.Model):
  """Stem, four stages of bottleneck blocks, head.

  Source: Ryoo et al. 2021 (arXiv 2106.11297), section 6, on X3D-M
  (Feichtenhofer 2020, arXiv 2004.04730), whose head it keeps: a convolution to
  the inner width of the last stage, the mean, a dense ReLU layer. What the
  paper leaves open is said in bottleneck_spec and bottleneck_modules.

  No weight depends on height and width, but those of tokenizer=dense: the paper
  trains on 64 x 224 x 224 and tests on 64 x 256 x 256, for which a checkpoint
  is restored into a model of that input_size. The number of frames is part of
  the weights of TokenFuser and MLP-Mixer.

  Args:
    spec: BottleneckSpec, or the dict of one.
    input_size: (frames, height, width, channels) of the clips.

  Call arguments:
    inputs: float tensor [B, frames, height, width, channels].
    training: bool. Normalises by the batch and moves the statistics.

  Returns:
    dict of float tensors: features [B, T*H*W, C] and pre_logits [B, C or
    representation_size], what a head needs.

  Raises:
    UserError (a ValueError): a spec that makes no sense.

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
    self.spec = spec = spec.resolved(self.input_size)
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
    """Where the first TokenLearner looks: [B, T, S, H, W].

    Its masks are sigmoids over H * W, which weigh the mean of a frame.

    Raises:
      ValueError: the model has no TokenLearner.
    """
    x = self.stem(inputs, training=False)
    for block in self.blocks:
      y = block.expand(x, training=False)
      for part in block.inside:
        if isinstance(part, bottleneck_modules.TokenModule):
          return part.attention(y)
        y = part(y, training=False)
      x = block(x, training=False)
    raise ValueError(
        f'attention_maps: module={self.spec.module} has no TokenLearner.')

  def get_config(self) -> Dict:
    return {'spec': dataclasses.asdict(self.spec),
            'input_size': self.input_size, 'name': self.name}


def _at_least_one(clips: tf.Tensor) -> tf.Tensor:
  """The same clips; a black one in place of none.

  Of the last batch of an evaluation a replica may get nothing, of which fused
  convolutions on a CPU (oneDNN, TensorFlow 2.20) make maps of a wrong depth.
  """
  missing = tf.cast(tf.equal(tf.shape(clips)[0], 0), tf.int32)
  padded = tf.pad(clips, [[0, missing], [0, 0], [0, 0], [0, 0], [0, 0]])
  return tf.reshape(padded, [-1, *clips.shape[1:]])


def _make_block(spec: bottleneck_spec.BottleneckSpec, stage: int,
                block: int) -> x2plus1d.BottleneckBlock:
  """A block, of a stage, both counted from 0."""
  width, stride = spec.inner_width(stage), spec.stride(block)
  inside = [
      bottleneck_modules.make_part(name, spec, width, stride if i == 0 else 1)
      for i, name in enumerate(spec.parts(stage, block))]
  return x2plus1d.BottleneckBlock(
      spec, inside, width, spec.stage_widths[stage], stride,
      name=f'stage{stage + 1}_{block}')
