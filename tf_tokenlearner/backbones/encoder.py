"""The one encoder, for images (clips of one frame) and clips."""

from typing import List, Optional, Tuple

import tensorflow as tf
import tf_keras

from tf_tokenlearner import layers
from tf_tokenlearner.backbones import specs
from tf_tokenlearner.backbones import stages
from tf_tokenlearner.layers import building


class Encoder(tf_keras.layers.Layer):
  """A flat list of stages, then a LayerNorm.

  Without a Fuser, a learn stage stands before block k for each location k, or
  behind the last block: blocks before it see T*N positions, those after it T*S
  tokens. With a Fuser, each stage from k on learns, runs its block on the
  tokens, fuses and adds, and T*N positions leave the encoder. Source: Ryoo et
  al. 2021 (arXiv 2106.11297), sections 3.1 and 3.2; Encoder of the official
  Scenic code, where none can stand behind the last block.

  Args:
    spec: TransformerSpec, resolved.
    grid_size: (H, W), the map of positions in a frame; N = H * W.
    num_frames: T.

  Call arguments:
    inputs: float tensor [B, T*N, C].
    training: bool. Turns dropout and stochastic depth on.

  Returns:
    float tensor [B, T*S, C], or [B, T*N, C] without TokenLearner or with Fuser.
  """

  def __init__(self, spec: specs.TransformerSpec, grid_size: Tuple[int, int],
               num_frames: int = 1, name: Optional[str] = None):
    super().__init__(name=name)
    self._grid_size = tuple(grid_size)
    self._num_frames = num_frames
    self.stages = _make_stages(spec, self._grid_size, num_frames)
    self.norm = layers.LayerNorm(name='norm')

  def build(self, input_shape):
    batch, positions, width = input_shape
    expected = self._num_frames * self._grid_size[0] * self._grid_size[1]
    learns = any(isinstance(s, stages.LearnStage) for s in self.stages)
    if learns and positions != expected:
      raise ValueError(
          f'Encoder: expected {expected} positions ({self._num_frames} frames '
          f'of {self._grid_size[0]} x {self._grid_size[1]}), received '
          f'{positions}.')
    for stage in self.stages:
      building.build(stage, [batch, positions, width])
      if type(stage) is stages.LearnStage:  # A FuseStage gives all back.
        positions = self._num_frames * stage.token_learner.num_tokens
    building.build(self.norm, [batch, positions, width])
    super().build(input_shape)

  def call(self, inputs, training=None):
    x = inputs
    for stage in self.stages:
      x = stage(x, training=training)
    return self.norm(x)

  def attention_maps(self, inputs: tf.Tensor) -> tf.Tensor:
    """[B, T*N, C] -> [B, T, S, H, W]: where the first TokenLearner looks.

    Later ones, if any, look at tokens (no map) or, with a Fuser, again at all
    positions; the first is the one that reads the picture.

    Raises:
      ValueError: the encoder has no TokenLearner, or its tokens are not
        learned.
    """
    x = inputs
    for stage in self.stages:
      if isinstance(stage, stages.LearnStage):
        weights = stage.attention(x)
        return tf.reshape(
            weights, [-1, *weights.shape[1:3], *self._grid_size])
      x = stage(x, training=False)
    raise ValueError(
        'attention_maps: this encoder has no TokenLearner; set '
        'token_learner_location.')


def _make_stages(
    spec: specs.TransformerSpec, grid_size: Tuple[int, int],
    num_frames: int) -> List[tf_keras.layers.Layer]:
  """The stages of a resolved spec, first to last."""
  def block(i):
    depth = i / max(spec.num_layers - 1, 1)
    return layers.TransformerEncoderBlock(
        spec.num_heads, spec.mlp_dim, spec.dropout_rate,
        spec.attention_dropout_rate, spec.stochastic_depth_rate * depth,
        name=f'block_{i}')

  def learn(i):
    return stages.LearnStage(
        stages.make_tokenizer(spec, i, grid_size), num_frames,
        name=f'learn_{i}')

  def fuse(i):
    return stages.make_fuse_stage(
        spec, grid_size, block(i), num_frames, name=f'fuse_{i}')

  locations = dict(spec.learn_locations())
  first = min(locations, default=spec.num_layers)
  made = []
  for i in range(spec.num_layers):
    if spec.use_token_fuser and i >= first:
      made.append(fuse(i))
      continue
    if i in locations:
      made.append(learn(i))
    made.append(block(i))
  if spec.num_layers in locations:  # Behind the last block.
    made.append(learn(spec.num_layers))
  return made
