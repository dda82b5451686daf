"""What the encoder is a list of: blocks, and where tokens are learned.

A stage takes and returns [B, T*N, C]. Only learning and fusing look at frames:
they fold time into the batch, [B, T*N, C] -> [B*T, N, C], and back.
"""

from typing import Tuple

import tensorflow as tf
import tf_keras

from tf_tokenlearner import layers
from tf_tokenlearner.backbones import specs
from tf_tokenlearner.layers import building


def make_token_learner(
    spec: specs.TokenLearnerSpec, num_tokens: int, grid_size: Tuple[int, int],
    dropout_rate: float) -> tf_keras.layers.Layer:
  """The layer that a spec describes; grid_size is the map it will see."""
  if spec.version == 'v1.0':
    return layers.TokenLearner(
        num_tokens, spec.pooling, grid_size, name='token_learner')
  return layers.TokenLearnerV11(
      num_tokens, spec.bottleneck_dim, dropout_rate, name='token_learner')


class LearnStage(tf_keras.layers.Layer):
  """[B, T*N, C] -> [B, T*S, C]: learns S tokens in each frame."""

  def __init__(self, token_learner: tf_keras.layers.Layer, num_frames: int,
               **kwargs):
    super().__init__(**kwargs)
    self.token_learner = token_learner
    self.num_frames = num_frames

  def build(self, input_shape):
    _, positions, width = input_shape
    building.build(
        self.token_learner, [None, positions // self.num_frames, width])
    super().build(input_shape)

  def call(self, inputs, training=None):
    tokens = self.token_learner(_fold(inputs, self.num_frames),
                                **_training(self.token_learner, training))
    return _unfold(tokens, self.num_frames)

  def attention(self, inputs: tf.Tensor) -> tf.Tensor:
    """[B, T*N, C] -> weights of the positions for each token, [B, T, S, N]."""
    _, weights = self.token_learner(
        _fold(inputs, self.num_frames), return_attention=True,
        **_training(self.token_learner, False))
    return tf.reshape(weights, [-1, self.num_frames, *weights.shape[1:]])


class FuseStage(LearnStage):
  """[B, T*N, C] -> the same: learn, block on the tokens, fuse, add."""

  def __init__(self, token_learner: tf_keras.layers.Layer,
               block: layers.TransformerEncoderBlock,
               token_fuser: layers.TokenFuser, num_frames: int, **kwargs):
    super().__init__(token_learner, num_frames, **kwargs)
    self.block = block
    self.token_fuser = token_fuser

  def build(self, input_shape):
    super().build(input_shape)
    width = input_shape[-1]
    num_tokens = self.token_learner.num_tokens
    building.build(self.block, [None, self.num_frames * num_tokens, width])
    building.build(self.token_fuser, [None, num_tokens, width])

  def call(self, inputs, training=None):
    x = super().call(inputs, training=training)  # [B, T*S, C]
    x = self.block(x, training=training)
    frames = _fold(inputs, self.num_frames)  # [B*T, N, C]
    fused = self.token_fuser(
        _fold(x, self.num_frames), frames, training=training)
    return inputs + _unfold(fused, self.num_frames)


def _training(layer: tf_keras.layers.Layer, training) -> dict:
  """TokenLearner v1.0 has no dropout and so takes no training argument."""
  if isinstance(layer, layers.TokenLearner):
    return {}
  return {'training': training}


def _fold(x: tf.Tensor, num_frames: int) -> tf.Tensor:
  """[B, T*N, C] -> [B*T, N, C]."""
  return tf.reshape(x, [-1, x.shape[1] // num_frames, x.shape[2]])


def _unfold(x: tf.Tensor, num_frames: int) -> tf.Tensor:
  """[B*T, N, C] -> [B, T*N, C]."""
  return tf.reshape(x, [-1, num_frames * x.shape[1], x.shape[2]])
