"""Where the tokens of a frame come from: TokenLearner and what it is held to.

Every layer takes maps [B*T, H, W, C] and returns tokens [B*T, S, C].
"""

import tensorflow as tf
import tf_keras

from tf_tokenlearner import layers
from tf_tokenlearner.backbones import bottleneck_spec


def make_tokenizer(
    spec: bottleneck_spec.BottleneckSpec) -> tf_keras.layers.Layer:
  """The tokenizer that a spec names."""
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

  It is the one tokenizer whose weights belong to one size of map.
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
  """The mean of a map, of which an MLP makes the tokens."""

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
