"""From pixels to tokens: patches, the class token, positions."""

from typing import Sequence

import tensorflow as tf
import tf_keras

from tf_tokenlearner.layers import building
from tf_tokenlearner.layers import shapes


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class PatchEmbedding(tf_keras.layers.Layer):
  """Cuts an image into patches and projects each to one token.

  Source: Dosovitskiy et al. 2021 (arXiv 2010.11929), equation 1, as the strided
  convolution of the official code. Differs from it in refusing an image that
  the patches do not tile, where the source drops what is left over.

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
    building.build(self.projection, input_shape)
    super().build(input_shape)

  def _require_tiled(self, shape):
    if len(shape) != 4 or None in tuple(shape)[1:]:
      raise ValueError(
          'PatchEmbedding: expected images [B, height, width, channels] of '
          f'known size, received shape {tuple(shape)}.')
    shapes.require_tiled(
        'PatchEmbedding', 'image', shape[1:3], 'patch', self.patch_size,
        ('height', 'width'))

  def call(self, inputs):
    self._require_tiled(inputs.shape)  # The convolution would drop the rest.
    return self.projection(inputs)  # [B, H, W, C]

  def get_config(self):
    return {
        **super().get_config(),
        'hidden_size': self.hidden_size,
        'patch_size': self.patch_size,
    }


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class ClassToken(tf_keras.layers.Layer):
  """Puts one learned token, zero at first, before all others.

  Source: Dosovitskiy et al. 2021 (arXiv 2010.11929), equation 1. For plain ViT
  only: a TokenLearner would pool it away.

  Call arguments:
    inputs: float tensor [B, N, C]; C static.

  Returns:
    float tensor [B, 1 + N, C].

  Raises:
    ValueError: inputs is not a list of tokens.

  Example:
    >>> ClassToken()(tf.ones([1, 2, 1])).numpy().ravel().tolist()
    [0.0, 1.0, 1.0]
  """

  def build(self, input_shape):
    if len(input_shape) != 3:
      raise ValueError(
          'ClassToken: inputs must be tokens [B, N, C], received shape '
          f'{tuple(input_shape)}.')
    self.embedding = self.add_weight(
        'embedding', [1, 1, input_shape[-1]], initializer='zeros')
    super().build(input_shape)

  def call(self, inputs):
    token = tf.zeros_like(inputs[:, :1]) + self.embedding  # [B, 1, C]
    return tf.concat([token, inputs], axis=1)


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class PositionEmbedding(tf_keras.layers.Layer):
  """Adds a learned vector to every position.

  Source: Dosovitskiy et al. 2021 (arXiv 2010.11929), equation 1; normal(0.02)
  at first, as in the official code.

  Args:
    num_repeats: int > 0. The positions are this many runs of the same ones, for
      instance the frames of a clip, which share their vectors.

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
          f'PositionEmbedding: built for {built_for} positions, received shape '
          f'{inputs.shape}.')
    embedding = tf.tile(self.embedding, [1, self.num_repeats, 1])  # [1, N, C]
    return inputs + tf.reshape(embedding, [1, *inputs.shape[1:]])

  def get_config(self):
    return {**super().get_config(), 'num_repeats': self.num_repeats}
