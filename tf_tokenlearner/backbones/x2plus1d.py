"""X(2+1)D: the convolutional parts of the bottleneck video model.

The architecture is X3D (Feichtenhofer 2020, arXiv 2004.04730) with every 3-D
convolution split into one over space and one over time, full where X3D's are
depthwise, and without squeeze-and-excitation and swish. Layers take and return
maps of clips, [B, T, H, W, C]. Inside, all convolutions are 2-D, on frames
folded into the batch or on space folded into one axis: 3-D ones are slower on a
CPU and have no int16 kernel in TFLite.
"""

from typing import Sequence, Tuple

import tensorflow as tf
import tf_keras

from tf_tokenlearner.backbones import bottleneck_spec


class SpatialConvolution(tf_keras.layers.Layer):
  """Convolution of every frame, batch normalization and ReLU.

  Args:
    spec: BottleneckSpec, for the normalization.
    filters: channels of the output.
    kernel_size: side of the kernel.
    stride: over height and width; maps shrink to 1 / stride, rounded up.
    activation: after the normalization.
    gamma_initializer: initializer of the normalization's scale.
  """

  def __init__(self, spec: bottleneck_spec.BottleneckSpec, filters: int,
               kernel_size: int, stride: int = 1, activation: str = 'relu',
               gamma_initializer: str = 'ones', **kwargs):
    super().__init__(**kwargs)
    self.conv = _convolution(filters, self.window(kernel_size), stride, 'conv')
    # On one replica the plain layer is equal, and its fused kernel is faster.
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    self.norm = tf_keras.layers.BatchNormalization(
        momentum=spec.norm_momentum, epsilon=spec.norm_epsilon,
        gamma_initializer=gamma_initializer,
        synchronized=spec.use_sync_bn and replicas > 1, name='norm')
    self.activation = tf_keras.layers.Activation(activation)

  def window(self, kernel_size: int) -> Tuple[int, int]:
    """Returns the kernel's shape for the maps that fold returns."""
    return kernel_size, kernel_size

  def fold(self, x: tf.Tensor) -> tf.Tensor:
    """[B, T, H, W, C] -> [B*T, H, W, C]."""
    return tf.reshape(x, [-1, *x.shape[2:]])

  def unfold(self, y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Returns y with the axes of x that fold merged."""
    return tf.reshape(y, [-1, x.shape[1], *y.shape[1:]])

  def call(self, inputs, training=None):
    x = self.conv(self.fold(inputs))
    x = self.activation(self.norm(x, training=training))
    return self.unfold(x, inputs)


class TemporalConvolution(SpatialConvolution):
  """Convolution over time at every position, batch normalization, ReLU."""

  def window(self, kernel_size: int) -> Tuple[int, int]:
    return kernel_size, 1

  def fold(self, x: tf.Tensor) -> tf.Tensor:
    """[B, T, H, W, C] -> [B, T, H*W, C]."""
    return tf.reshape(x, [-1, x.shape[1], x.shape[2] * x.shape[3], x.shape[4]])

  def unfold(self, y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    return tf.reshape(y, [-1, *x.shape[1:4], y.shape[-1]])


class Stem(tf_keras.layers.Layer):
  """[B, T, height, width, channels] -> [B, T, H, W, C], of half the size.

  A 3x3 convolution over space, then one of 5 over time, as in X3D without a
  nonlinearity in between.
  """

  def __init__(self, spec: bottleneck_spec.BottleneckSpec, **kwargs):
    super().__init__(**kwargs)
    width = spec.stage_widths[0]
    self.space = _convolution(width, (3, 3), bottleneck_spec.STRIDE, 'space')
    self.time = TemporalConvolution(spec, width, 5, name='time')

  def call(self, inputs, training=None):
    frames = tf.reshape(inputs, [-1, *inputs.shape[2:]])
    x = self.space(frames)  # [B*T, H, W, C]
    x = tf.reshape(x, [-1, inputs.shape[1], *x.shape[1:]])
    return self.time(x, training=training)


class BottleneckBlock(tf_keras.layers.Layer):
  """A bottleneck block: relu(shortcut(x) + reduce(inside(expand(x)))).

  The last scale of the branch starts at zero, so a new block returns its
  shortcut. Where size or width change, the shortcut is a convolution.

  Args:
    spec: BottleneckSpec, for the normalization.
    inside: layers at the inner width, one of them with the stride.
    inner_width: channels between expansion and reduction.
    width: channels of the output.
    stride: product of the strides of the layers inside.
  """

  def __init__(self, spec: bottleneck_spec.BottleneckSpec,
               inside: Sequence[tf_keras.layers.Layer], inner_width: int,
               width: int, stride: int, **kwargs):
    super().__init__(**kwargs)
    self.expand = SpatialConvolution(spec, inner_width, 1, name='expand')
    self.inside = list(inside)
    self.reduce = SpatialConvolution(
        spec, width, 1, activation='linear', gamma_initializer='zeros',
        name='reduce')
    self.shortcut = (
        SpatialConvolution(spec, width, 1, stride, activation='linear',
                           name='shortcut')
        if stride > 1 else _identity)

  def call(self, inputs, training=None):
    x = self.expand(inputs, training=training)
    for part in self.inside:
      x = part(x, training=training)
    x = self.reduce(x, training=training)
    return tf.nn.relu(self.shortcut(inputs, training=training) + x)


def _identity(x: tf.Tensor, training=None) -> tf.Tensor:
  del training
  return x


def _convolution(filters: int, window: Tuple[int, int], stride: int,
                 name: str) -> tf_keras.layers.Layer:
  return tf_keras.layers.Conv2D(
      filters, window, stride, 'same', use_bias=False,
      kernel_initializer='he_normal', name=name)
