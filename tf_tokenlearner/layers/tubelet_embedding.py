"""From clips to tokens: tubelets."""

import math
from typing import Sequence

import tensorflow as tf
import tf_keras

from tf_tokenlearner.layers import shapes

_AXES = ('length', 'height', 'width')


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class TubeletEmbedding(tf_keras.layers.Layer):
  """Cuts a clip into tubelets and projects each to one token.

  Source: Arnab et al. 2021 (arXiv 2103.15691), section 3.2, as the strided 3-D
  convolution of the official code. Tubelets do not overlap, so this is one
  matrix multiplication of rearranged pixels: on a CPU faster than tf.nn.conv3d,
  and unlike that quantised by TFLite. Differs from the source in refusing a
  clip that the tubelets do not tile, where it drops what is left over.

  Args:
    hidden_size: int > 0. Width of a token (C).
    tubelet_size: (frames, height, width) of a tubelet.

  Call arguments:
    inputs: float tensor [B, frames, height, width, channels]; only B may be
      unknown.

  Returns:
    float tensor [B, T, H, W, C], counted in tubelets.

  Raises:
    ValueError: wrong rank, or a size that is no multiple of the tubelet's.

  Example:
    >>> TubeletEmbedding(32, (2, 16, 16))(tf.zeros([1, 8, 64, 48, 3])).shape
    TensorShape([1, 4, 4, 3, 32])
  """

  def __init__(self, hidden_size: int, tubelet_size: Sequence[int], **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive('TubeletEmbedding', hidden_size=hidden_size)
    self.hidden_size = hidden_size
    self.tubelet_size = shapes.require_sizes(
        'TubeletEmbedding', 'tubelet_size', tubelet_size,
        ('frames', 'height', 'width'))

  def build(self, input_shape):
    self._require_tiled(input_shape)
    self.kernel = self.add_weight(
        'kernel', [*self.tubelet_size, input_shape[-1], self.hidden_size],
        initializer='lecun_normal')
    self.bias = self.add_weight('bias', [self.hidden_size], initializer='zeros')
    super().build(input_shape)

  def _require_tiled(self, shape):
    if len(shape) != 5 or None in tuple(shape)[1:]:
      raise ValueError(
          'TubeletEmbedding: expected clips [B, frames, height, width, '
          f'channels] of known size, received shape {tuple(shape)}.')
    shapes.require_tiled(
        'TubeletEmbedding', 'clip', shape[1:4], 'tubelet', self.tubelet_size,
        _AXES)

  def call(self, inputs):
    self._require_tiled(inputs.shape)
    t, h, w = self.tubelet_size
    channels = inputs.shape[-1]
    size = [n // step for n, step in zip(inputs.shape[1:4], self.tubelet_size)]
    # Pixels of a row stay together: TFLite transposes six axes at most.
    x = tf.reshape(inputs, [-1, t, size[1], h, size[2], w * channels])
    x = tf.transpose(x, [0, 2, 4, 1, 3, 5])  # [B * T, H, W, t, h, w * channels]
    x = tf.reshape(x, [-1, math.prod(self.tubelet_size) * channels])
    x = tf.matmul(x, tf.reshape(self.kernel, [-1, self.hidden_size]))
    x = tf.nn.bias_add(x, self.bias)
    return tf.reshape(x, [-1, *size, self.hidden_size])  # [B, T, H, W, C]

  def get_config(self):
    return {
        **super().get_config(),
        'hidden_size': self.hidden_size,
        'tubelet_size': self.tubelet_size,
    }
