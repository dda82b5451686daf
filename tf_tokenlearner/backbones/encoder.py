"""The transformer encoder with TokenLearner, for images and clips.

An image is a clip of one frame. Shapes: B batch, T frames, N positions per
frame, S learned tokens per frame, P class tokens and registers, C channels.
TokenLearner is called in TokenLearnerStage, TokenFuser in TokenFuserStage.
"""

from typing import List, Optional, Tuple

import tensorflow as tf
import tf_keras

from tf_tokenlearner.backbones import specs
from tf_tokenlearner import errors
from tf_tokenlearner import layers
from tf_tokenlearner.layers import shapes


class Encoder(tf_keras.layers.Layer):
  """A list of stages, then a LayerNorm.

  Without a Fuser, a TokenLearnerStage stands before block k for each location
  k, or behind the last block: blocks before it see T*N positions, those after
  it T*S tokens. With a Fuser, every block from k on is a TokenFuserStage, and
  T*N positions leave the encoder. Source: Ryoo et al. 2021 (arXiv 2106.11297),
  sections 3.1 and 3.2; Encoder of the official Scenic code, where no
  TokenLearner can stand behind the last block.

  Args:
    spec: TransformerSpec, completed.
    grid_size: (H, W), the map of positions in a frame; N = H * W.
    num_frames: T.

  Call arguments:
    inputs: float tensor [B, P + T*N, C].
    training: bool. Turns dropout and stochastic depth on.

  Returns:
    float tensor [B, P + T*S, C], or [B, P + T*N, C] without TokenLearner or
    with a Fuser.
  """

  def __init__(self, spec: specs.TransformerSpec, grid_size: Tuple[int, int],
               num_frames: int = 1, name: Optional[str] = None):
    super().__init__(name=name)
    self._grid_size = tuple(grid_size)
    self._num_frames = num_frames
    self._num_prefix_tokens = spec.num_prefix_tokens()
    self._num_frozen = 0  # Stages, from the first on.
    self.stages = make_stages(spec, self._grid_size, num_frames)
    self.norm = (
        layers.LayerNorm(spec.norm_epsilon, name='norm')
        if spec.final_norm == 'before_pooling'
        else tf_keras.layers.Activation('linear', name='norm'))

  def build(self, input_shape):
    batch, positions, width = input_shape
    prefix = self._num_prefix_tokens
    expected = prefix + (
        self._num_frames * self._grid_size[0] * self._grid_size[1])
    learns = any(isinstance(s, TokenLearnerStage) for s in self.stages)
    if learns and positions != expected:
      raise ValueError(
          f'Encoder: expected {expected} positions ({self._num_frames} frames '
          f'of {self._grid_size[0]} x {self._grid_size[1]}'
          + (f', {prefix} class tokens and registers' if prefix else '')
          + f'), got {positions}.')
    for stage in self.stages:
      shapes.build(stage, [batch, positions, width])
      if type(stage) is TokenLearnerStage:  # Fuser stages keep the length.
        positions = self._num_prefix_tokens + (
            self._num_frames * stage.token_learner.num_tokens)
    shapes.build(self.norm, [batch, positions, width])
    super().build(input_shape)

  def call(self, inputs, training=None):
    return self.upper(self.lower(inputs), training=training)

  def lower(self, inputs: tf.Tensor) -> tf.Tensor:
    """Runs the frozen blocks, without dropout; none unless freeze_below.

    Args:
      inputs: float tensor [B, P + T*N, C].

    Returns:
      float tensor [B, P + T*N, C].
    """
    x = inputs
    for stage in self.frozen_stages:
      x = stage(x, training=False)
    return x

  def upper(self, tokens: tf.Tensor,
            training: Optional[bool] = None) -> tf.Tensor:
    """Runs the stages above the frozen blocks, and the LayerNorm.

    Args:
      tokens: float tensor [B, P + T*N, C], the result of `lower`.
      training: bool. Turns dropout and stochastic depth on.

    Returns:
      float tensor, as of the call.
    """
    x = tokens
    for stage in self.stages[self._num_frozen:]:
      x = stage(x, training=training)  # Later P + T*S tokens.
    return self.norm(x)

  @property
  def frozen_stages(self) -> List[tf_keras.layers.Layer]:
    """The blocks that `freeze_below` froze, first to last."""
    return self.stages[:self._num_frozen]

  def freeze_below(self, block: int) -> None:
    """Freezes the blocks before one, and turns their dropout off.

    Raises:
      UserError: a TokenLearner stands before that block.
    """
    frozen = self.stages[:block]
    if not all(isinstance(stage, layers.TransformerEncoderBlock)
               for stage in frozen) or len(frozen) < block:
      raise errors.UserError(
          f'freeze_below={block} expects {block} blocks before the first '
          'TokenLearner, whose weights must be trained. Set it to '
          'token_learner_location or less.')
    self._num_frozen = block
    for stage in frozen:
      stage.trainable = False

  def attention_maps(self, inputs: tf.Tensor) -> tf.Tensor:
    """Returns where the first TokenLearner looks.

    Later ones see tokens, which form no map, or, with a Fuser, all positions
    again; the first one reads the picture.

    Args:
      inputs: float tensor [B, P + T*N, C].

    Returns:
      float tensor [B, T, S, H, W].

    Raises:
      ValueError: the encoder has no TokenLearner, or its tokens are not
        learned.
    """
    x = inputs
    for stage in self.stages:
      if isinstance(stage, TokenLearnerStage):
        weights = stage.attention(x)  # [B, T, S, N]
        return tf.reshape(
            weights, [-1, *weights.shape[1:3], *self._grid_size])
      x = stage(x, training=False)
    raise ValueError(
        'attention_maps: this encoder has no TokenLearner; set '
        'token_learner_location.')


class TokenLearnerStage(tf_keras.layers.Layer):
  """[B, P + T*N, C] -> [B, P + T*S, C]: learns S tokens in each frame.

  The first num_prefix_tokens (P), class tokens and registers, pass by.
  """

  def __init__(self, token_learner: tf_keras.layers.Layer, num_frames: int,
               num_prefix_tokens: int = 0, **kwargs):
    super().__init__(**kwargs)
    self.token_learner = token_learner
    self.num_frames = num_frames
    self.num_prefix_tokens = num_prefix_tokens

  def build(self, input_shape):
    _, positions, width = input_shape
    positions -= self.num_prefix_tokens
    shapes.build(
        self.token_learner, [None, positions // self.num_frames, width])
    super().build(input_shape)

  def call(self, inputs, training=None):
    prefix, positions = self._split_prefix(inputs)
    frames = split_frames(positions, self.num_frames)  # [B*T, N, C]
    tokens = self.token_learner(frames, training=training)  # [B*T, S, C]
    tokens = join_frames(tokens, self.num_frames)  # [B, T*S, C]
    return tf.concat([*prefix, tokens], axis=1) if prefix else tokens

  def _split_prefix(self, inputs):
    """Returns ([prefix tokens], positions); ([], inputs) without prefix."""
    if not self.num_prefix_tokens:
      return [], inputs
    return ([inputs[:, :self.num_prefix_tokens]],
            inputs[:, self.num_prefix_tokens:])

  def attention(self, inputs: tf.Tensor) -> tf.Tensor:
    """Returns the weights of the positions for each token.

    Args:
      inputs: float tensor [B, P + T*N, C].

    Returns:
      float tensor [B, T, S, N].

    Raises:
      ValueError: the tokens are not learned.
    """
    if isinstance(self.token_learner, layers.GridPooling):
      raise ValueError(
          'attention_maps: the tokens come from grid_pooling, which looks '
          'everywhere equally; set tokenizer=token_learner.')
    _, positions = self._split_prefix(inputs)
    _, weights = self.token_learner(
        split_frames(positions, self.num_frames), training=False,
        return_attention=True)  # [B*T, S, N]
    return tf.reshape(weights, [-1, self.num_frames, *weights.shape[1:]])


class TokenFuserStage(TokenLearnerStage):
  """[B, T*N, C] -> [B, T*N, C]: learn tokens, transform, spread, add."""

  def __init__(self, token_learner: tf_keras.layers.Layer,
               block: layers.TransformerEncoderBlock,
               token_fuser: tf_keras.layers.Layer, num_frames: int, **kwargs):
    super().__init__(token_learner, num_frames, **kwargs)
    self.block = block
    self.token_fuser = token_fuser

  def build(self, input_shape):
    super().build(input_shape)
    width = input_shape[-1]
    num_tokens = self.token_learner.num_tokens
    shapes.build(self.block, [None, self.num_frames * num_tokens, width])
    shapes.build(self.token_fuser, [None, num_tokens, width])

  def call(self, inputs, training=None):
    frames = split_frames(inputs, self.num_frames)  # [B*T, N, C]
    tokens = self.token_learner(frames, training=training)  # [B*T, S, C]
    tokens = join_frames(tokens, self.num_frames)  # [B, T*S, C]
    tokens = self.block(tokens, training=training)
    tokens = split_frames(tokens, self.num_frames)  # [B*T, S, C]
    fused = self.token_fuser(tokens, frames, training=training)  # [B*T, N, C]
    return inputs + join_frames(fused, self.num_frames)


class TokenUnpoolingStage(TokenFuserStage):
  """A TokenFuserStage whose fuser reuses the masks that made the tokens."""

  def call(self, inputs, training=None):
    frames = split_frames(inputs, self.num_frames)  # [B*T, N, C]
    tokens, weights = self.token_learner(
        frames, training=training, return_attention=True)
    tokens = join_frames(tokens, self.num_frames)  # [B, T*S, C]
    tokens = self.block(tokens, training=training)
    tokens = split_frames(tokens, self.num_frames)  # [B*T, S, C]
    masks = weights * frames.shape[1]  # The tokens are means: masks over N.
    fused = self.token_fuser(tokens, masks)  # [B*T, N, C]
    return inputs + join_frames(fused, self.num_frames)


def split_frames(x: tf.Tensor, num_frames: int) -> tf.Tensor:
  """[B, T*N, C] -> [B*T, N, C]."""
  return tf.reshape(x, [-1, x.shape[1] // num_frames, x.shape[2]])


def join_frames(x: tf.Tensor, num_frames: int) -> tf.Tensor:
  """[B*T, N, C] -> [B, T*N, C]."""
  return tf.reshape(x, [-1, num_frames * x.shape[1], x.shape[2]])


def make_stages(
    spec: specs.TransformerSpec, grid_size: Tuple[int, int],
    num_frames: int) -> List[tf_keras.layers.Layer]:
  """Returns the stages of a completed spec, first to last."""
  locations = [location for location, _ in spec.token_learners()]
  learn = lambda i: TokenLearnerStage(
      make_tokenizer(spec, i, grid_size), num_frames, spec.num_prefix_tokens(),
      name=f'learn_{i}')
  stages = []
  for i in range(spec.num_layers):
    block = make_block(spec, i)
    if spec.use_token_fuser and i >= locations[0]:
      stages.append(make_token_fuser_stage(
          spec, grid_size, block, num_frames, name=f'fuse_{i}'))
    elif i in locations:
      stages += [learn(i), block]
    else:
      stages.append(block)
  if spec.num_layers in locations:  # Behind the last block.
    stages.append(learn(spec.num_layers))
  return stages


def make_block(
    spec: specs.TransformerSpec, i: int) -> layers.TransformerEncoderBlock:
  """Returns block i of a completed spec, counted from 0."""
  depth = i / max(spec.num_layers - 1, 1)
  return layers.TransformerEncoderBlock(
      spec.num_heads, spec.mlp_dim, spec.dropout_rate,
      spec.attention_dropout_rate, spec.stochastic_depth_rate * depth,
      spec.activation, spec.norm_epsilon, name=f'block_{i}')


def make_tokenizer(
    spec: specs.TransformerSpec, location: int,
    grid_size: Tuple[int, int]) -> tf_keras.layers.Layer:
  """Returns the layer [B, N, C] -> [B, S, C] at a location.

  Args:
    spec: TransformerSpec, completed.
    location: one of its token_learner_location.
    grid_size: (H, W) of the positions in a frame, before the first location.
  """
  if spec.tokenizer == 'grid_pooling':
    grid_size, cells = spec.pooled_maps(grid_size)[location]
    return layers.GridPooling(*cells, grid_size, name='grid_pooling')
  num_tokens = dict(spec.token_learners())[location]
  learner = spec.token_learner
  if learner.version == 'v1.0':
    return layers.TokenLearner(
        num_tokens, learner.pooling, grid_size, learner.num_convolutions,
        learner.kernel_size, name='token_learner')
  return layers.TokenLearnerV11(
      num_tokens, learner.bottleneck_dim, learner.dropout_rate,
      name='token_learner')


def make_token_fuser_stage(
    spec: specs.TransformerSpec, grid_size: Tuple[int, int],
    block: layers.TransformerEncoderBlock, num_frames: int,
    name: str) -> TokenFuserStage:
  """Returns a stage with this block and the fuser of a completed spec."""
  (location, _), = spec.token_learners()
  tokenizer = make_tokenizer(spec, location, grid_size)
  if spec.fuser == 'unpooling':
    return TokenUnpoolingStage(
        tokenizer, block, layers.TokenUnpooling(name='token_unpooling'),
        num_frames, name=name)
  if spec.fuser == 'reprojection':
    fuser = layers.TokenReprojection(
        spec.num_heads, spec.dropout_rate, spec.attention_dropout_rate,
        name='token_reprojection')
  else:
    fuser = layers.TokenFuser(
        spec.token_learner.bottleneck_dim, dropout_rate=spec.dropout_rate,
        mlp_dropout_rate=spec.token_learner.dropout_rate, name='token_fuser')
  return TokenFuserStage(tokenizer, block, fuser, num_frames, name=name)
