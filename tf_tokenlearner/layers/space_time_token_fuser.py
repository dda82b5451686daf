"""From the tokens of all frames back to the maps they were learned from."""

import tensorflow as tf
import tf_keras

from tf_tokenlearner.layers import building
from tf_tokenlearner.layers import matmul_dense
from tf_tokenlearner.layers import shapes


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class SpaceTimeTokenFuser(tf_keras.layers.Layer):
  """Mixes the tokens of all frames, then spreads each frame's over its map.

  A linear layer over the T*S tokens, the same for every channel; then, at each
  position, the sum of its frame's tokens under sigmoid weights, one linear
  layer of the position's features. The caller adds the residual. Source: Ryoo
  et al. 2021 (arXiv 2106.11297), TokenFuser of the bottleneck video model. Ours
  is that the mixing starts at zero, as in the released TokenFuser for images:
  a fresh module changes nothing.

  Args:
    num_tokens: int > 0. Tokens per frame (S).

  Call arguments:
    inputs: float tensor [B, T*S, C], the tokens, frame after frame.
    original: float tensor [B, T, H, W, C], what they came from.

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
    if len(input_shape) != 3 or None in tuple(input_shape)[1:]:
      raise ValueError(
          'SpaceTimeTokenFuser: inputs must be tokens [B, T*S, C] with T*S and '
          f'C known, received shape {tuple(input_shape)}.')
    _, tokens_of_all_frames, width = input_shape
    dense = lambda units, name, initializer: matmul_dense.MatmulDense(
        units, kernel_initializer=initializer, name=name,
        dtype=self.dtype_policy)
    self.mix = dense(tokens_of_all_frames, 'mix', 'zeros')
    self.masks = dense(self.num_tokens, 'masks', 'glorot_uniform')
    building.build(self.mix, [None, width, tokens_of_all_frames])
    building.build(self.masks, [None, None, width])
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
          f'received shape {original}.')
    shapes.require_known('SpaceTimeTokenFuser', 'original', original)
    if (original[-1] != inputs[-1]
        or original[1] * self.num_tokens != inputs[1]):
      raise ValueError(
          'SpaceTimeTokenFuser: each frame of original needs '
          f'{self.num_tokens} tokens in inputs, of the same width, received '
          f'{inputs} and {original}.')

  def get_config(self):
    return {**super().get_config(), 'num_tokens': self.num_tokens}
