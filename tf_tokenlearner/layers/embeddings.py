"""Embeddings: patches, tubelets, class token and positions."""

import math
from typing import Sequence

import tensorflow as tf
import tf_keras

from tf_tokenlearner.layers import shapes


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class PatchEmbedding(shapes.Layer):
  """Cuts an image into patches and projects each to one token.

  Source: Dosovitskiy et al. 2021 (arXiv 2010.11929), equation 1, as the strided
  convolution of the official code. Differs from it in refusing an image that
  the patches do not tile, where the source drops the remainder.

  Args:
    hidden_size: int > 0. Width of a token (C).
    patch_size: (height, width) of a patch in pixels.

  Call arguments:
    inputs: float tensor [B, height, width, channels]; only B may be unknown.

  Returns:
    float tensor [B, H, W, C], H and W counted in patches.

  Raises:
    ValueError: wrong rank, or a size that is no multiple of the patch's.

  Example:
    >>> PatchEmbedding(32, (16, 16))(tf.zeros([1, 224, 224, 3])).shape
    TensorShape([1, 14, 14, 32])
  """

  def __init__(self, hidden_size: int, patch_size: Sequence[int], **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive('PatchEmbedding', hidden_size=hidden_size)
    self.hidden_size = hidden_size
    self.patch_size = shapes.require_pair(
        'PatchEmbedding', 'patch_size', patch_size)

  def build(self, input_shape):
    self._require_tiled(input_shape)
    self.projection = tf_keras.layers.Conv2D(
        self.hidden_size, self.patch_size, self.patch_size,
        kernel_initializer='lecun_normal', name='projection',
        dtype=self.dtype_policy)
    shapes.build(self.projection, input_shape)
    super().build(input_shape)

  def _require_tiled(self, shape):
    if len(shape) != 4 or None in tuple(shape)[1:]:
      raise ValueError(
          'PatchEmbedding: expected images [B, height, width, channels] of '
          f'known size, got shape {tuple(shape)}.')
    shapes.require_tiled(
        'PatchEmbedding', 'image', shape[1:3], 'patch', self.patch_size,
        ('height', 'width'))

  def call(self, inputs):
    self._require_tiled(inputs.shape)  # The convolution drops a remainder.
    return self.projection(inputs)  # [B, H, W, C]

  def get_config(self):
    return {
        **super().get_config(),
        'hidden_size': self.hidden_size,
        'patch_size': self.patch_size,
    }


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class ClassToken(shapes.Layer):
  """Inserts learned tokens, which start at zero.

  Source: Dosovitskiy et al. 2021 (arXiv 2010.11929), equation 1; several, and
  behind others, they are distillation tokens (Touvron et al. 2021, arXiv
  2012.12877) or registers (Darcet et al. 2024, arXiv 2309.16588).

  Args:
    num_tokens: int > 0. Tokens to insert.
    position: int >= 0. Number of tokens that stay before them.

  Call arguments:
    inputs: float tensor [B, N, C]; C static.

  Returns:
    float tensor [B, num_tokens + N, C].

  Raises:
    ValueError: inputs is not a list of tokens.

  Example:
    >>> ClassToken()(tf.ones([1, 2, 1])).numpy().ravel().tolist()
    [0.0, 1.0, 1.0]
  """

  def __init__(self, num_tokens: int = 1, position: int = 0, **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive('ClassToken', num_tokens=num_tokens)
    self.num_tokens = num_tokens
    self.position = position

  def build(self, input_shape):
    if len(input_shape) != 3:
      raise ValueError(
          'ClassToken: inputs must be tokens [B, N, C], got shape '
          f'{tuple(input_shape)}.')
    self.embedding = self.add_weight(
        'embedding', [1, self.num_tokens, input_shape[-1]],
        initializer='zeros')
    super().build(input_shape)

  def call(self, inputs):
    # Zeros of the inputs carry the unknown B.
    tokens = tf.zeros_like(inputs[:, :1]) + self.embedding  # [B, tokens, C]
    before, after = inputs[:, :self.position], inputs[:, self.position:]
    return tf.concat(
        [before, tokens, after] if self.position else [tokens, inputs], axis=1)

  def get_config(self):
    return {**super().get_config(), 'num_tokens': self.num_tokens,
            'position': self.position}


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class PositionEmbedding(shapes.Layer):
  """Adds a learned vector to every position.

  Source: Dosovitskiy et al. 2021 (arXiv 2010.11929), equation 1. The vectors
  start from normal(0.02), as in the official code.

  Args:
    num_repeats: int > 0. Groups of positions, one after the other, that share
      their vectors, for instance the frames of a clip.

  Call arguments:
    inputs: float tensor [B, N, C] or [B, H, W, C]; only B may be unknown.

  Returns:
    float tensor of the shape of inputs.

  Raises:
    ValueError: wrong rank, unknown axis, not the positions it was built for, or
      positions that are no multiple of num_repeats.

  Example:
    >>> PositionEmbedding()(tf.zeros([2, 14, 14, 32])).shape
    TensorShape([2, 14, 14, 32])
  """

  def __init__(self, num_repeats: int = 1, **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive('PositionEmbedding', num_repeats=num_repeats)
    self.num_repeats = num_repeats

  def build(self, input_shape):
    shapes.require_tokens_or_map('PositionEmbedding', 'inputs', input_shape)
    positions = shapes.num_positions(input_shape)
    if positions % self.num_repeats:
      raise ValueError(
          f'PositionEmbedding: {positions} positions are no multiple of '
          f'num_repeats={self.num_repeats}.')
    self.embedding = self.add_weight(
        'embedding', [1, positions // self.num_repeats, input_shape[-1]],
        initializer=tf_keras.initializers.RandomNormal(stddev=0.02))
    super().build(input_shape)

  def call(self, inputs):
    shapes.require_tokens_or_map('PositionEmbedding', 'inputs', inputs.shape)
    built_for = self.embedding.shape[1] * self.num_repeats
    if shapes.num_positions(inputs.shape) != built_for:
      raise ValueError(
          f'PositionEmbedding: built for {built_for} positions, got shape '
          f'{inputs.shape}.')
    embedding = tf.tile(self.embedding, [1, self.num_repeats, 1])  # [1, N, C]
    return inputs + tf.reshape(embedding, [1, *inputs.shape[1:]])

  def get_config(self):
    return {**super().get_config(), 'num_repeats': self.num_repeats}


_AXES = ('length', 'height', 'width')


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class TubeletEmbedding(shapes.Layer):
  """Cuts a clip into tubelets and projects each to one token.

  Source: Arnab et al. 2021 (arXiv 2103.15691), section 3.2, as the strided 3-D
  convolution of the official code. Tubelets do not overlap, so this is one
  matrix multiplication of rearranged pixels: faster on a CPU than tf.nn.conv3d,
  and TFLite quantizes it. Differs from the source in refusing a clip that the
  tubelets do not tile, where the source drops the remainder.

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
          f'channels] of known size, got shape {tuple(shape)}.')
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
