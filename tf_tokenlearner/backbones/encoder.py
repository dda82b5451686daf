"""The one encoder, for images (clips of one frame) and clips."""

from typing import List, Optional, Tuple

import tensorflow as tf
import tf_keras

from tf_tokenlearner.backbones import specs
from tf_tokenlearner import layers
from tf_tokenlearner.layers import shapes


def make_tokenizer(
    spec: specs.TransformerSpec, location: int,
    grid_size: Tuple[int, int]) -> tf_keras.layers.Layer:
  """[B, N, C] -> [B, S, C], as a resolved spec says for one of its locations.

  Args:
    spec: TransformerSpec, resolved.
    location: one of its token_learner_location.
    grid_size: (H, W) of the positions in a frame, before the first location.
  """
  if spec.tokenizer == 'grid_pooling':
    seen, cells = spec.pooled_maps(grid_size)[location]
    return layers.GridPooling(*cells, seen, name='grid_pooling')
  return make_token_learner(
      spec.token_learner, dict(spec.token_learners())[location], grid_size,
      spec.dropout_rate)


def make_token_learner(
    spec: specs.TokenLearnerSpec, num_tokens: int, grid_size: Tuple[int, int],
    dropout_rate: float) -> tf_keras.layers.Layer:
  """The layer that a spec describes; grid_size is the map it will see."""
  if spec.version == 'v1.0':
    return layers.TokenLearner(
        num_tokens, spec.pooling, grid_size, spec.num_convolutions,
        spec.kernel_size, name='token_learner')
  return layers.TokenLearnerV11(
      num_tokens, spec.bottleneck_dim, dropout_rate, name='token_learner')


def make_fuse_stage(
    spec: specs.TransformerSpec, grid_size: Tuple[int, int],
    block: layers.TransformerEncoderBlock, num_frames: int,
    name: str) -> 'TokenFuserStage':
  """Learn, this block, and the fuser of a resolved spec."""
  (location, _), = spec.token_learners()
  kind, fuser = {
      'token_fuser': lambda: (TokenFuserStage, layers.TokenFuser(
          spec.token_learner.bottleneck_dim, dropout_rate=spec.dropout_rate,
          name='token_fuser')),
      'unpooling': lambda: (TokenUnpoolingStage, layers.TokenUnpooling(
          name='token_unpooling')),
      'reprojection': lambda: (TokenFuserStage, layers.TokenReprojection(
          spec.num_heads, spec.dropout_rate, spec.attention_dropout_rate,
          name='token_reprojection')),
  }[spec.fuser]()
  tokenizer = make_tokenizer(spec, location, grid_size)
  return kind(tokenizer, block, fuser, num_frames, name=name)


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
    prefix, positions = self._split(inputs)
    tokens = self.token_learner(_fold(positions, self.num_frames),
                                **_training(self.token_learner, training))
    tokens = _unfold(tokens, self.num_frames)  # [B, T*S, C]
    return tf.concat([*prefix, tokens], axis=1) if prefix else tokens

  def _split(self, inputs):
    """Splits inputs into ([prefix tokens], positions); ([], inputs) at P = 0.
    """
    if not self.num_prefix_tokens:
      return [], inputs
    return ([inputs[:, :self.num_prefix_tokens]],
            inputs[:, self.num_prefix_tokens:])

  def attention(self, inputs: tf.Tensor) -> tf.Tensor:
    """[B, T*N, C] -> weights of the positions for each token, [B, T, S, N].

    Raises:
      ValueError: the tokens are not learned.
    """
    if isinstance(self.token_learner, layers.GridPooling):
      raise ValueError(
          'attention_maps: the tokens come from grid_pooling, which looks '
          'everywhere alike; set tokenizer=token_learner.')
    _, positions = self._split(inputs)
    _, weights = self.token_learner(
        _fold(positions, self.num_frames), return_attention=True,
        **_training(self.token_learner, False))
    return tf.reshape(weights, [-1, self.num_frames, *weights.shape[1:]])


class TokenFuserStage(TokenLearnerStage):
  """[B, T*N, C] -> the same: learn, block on the tokens, fuse, add."""

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
    x = super().call(inputs, training=training)  # [B, T*S, C]
    x = self.block(x, training=training)
    frames = _fold(inputs, self.num_frames)  # [B*T, N, C]
    fused = self.token_fuser(
        _fold(x, self.num_frames), frames, training=training)
    return inputs + _unfold(fused, self.num_frames)


class TokenUnpoolingStage(TokenFuserStage):
  """The same with the TokenLearner's masks, of which its tokens are means."""

  def call(self, inputs, training=None):
    frames = _fold(inputs, self.num_frames)  # [B*T, N, C]
    tokens, weights = self.token_learner(frames, return_attention=True)
    x = self.block(_unfold(tokens, self.num_frames), training=training)
    masks = weights * frames.shape[1]  # Means divide them by N.
    x = self.token_fuser(_fold(x, self.num_frames), masks)
    return inputs + _unfold(x, self.num_frames)


def _training(layer: tf_keras.layers.Layer, training) -> dict:
  """Of the tokenizers only v1.1 has dropout and takes the argument."""
  if isinstance(layer, layers.TokenLearnerV11):
    return {'training': training}
  return {}


def _fold(x: tf.Tensor, num_frames: int) -> tf.Tensor:
  """[B, T*N, C] -> [B*T, N, C]."""
  return tf.reshape(x, [-1, x.shape[1] // num_frames, x.shape[2]])


def _unfold(x: tf.Tensor, num_frames: int) -> tf.Tensor:
  """[B*T, N, C] -> [B, T*N, C]."""
  return tf.reshape(x, [-1, num_frames * x.shape[1], x.shape[2]])


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
    self._num_prefix_tokens = spec.num_prefix_tokens()
    self.stages = _make_stages(spec, self._grid_size, num_frames)
    self.norm = (
        layers.LayerNorm(spec.norm_epsilon, name='norm')
        if spec.final_norm == 'before_pooling'
        else tf_keras.layers.Activation('linear'))

  def build(self, input_shape):
    batch, positions, width = input_shape
    expected = (self._num_prefix_tokens +
                self._num_frames * self._grid_size[0] * self._grid_size[1])
    learns = any(isinstance(s, TokenLearnerStage) for s in self.stages)
    if learns and positions != expected:
      raise ValueError(
          f'Encoder: expected {expected} positions ({self._num_frames} frames '
          f'of {self._grid_size[0]} x {self._grid_size[1]}), received '
          f'{positions}.')
    for stage in self.stages:
      shapes.build(stage, [batch, positions, width])
      if type(stage) is TokenLearnerStage:  # A TokenFuserStage gives all back.
        positions = (self._num_prefix_tokens +
                     self._num_frames * stage.token_learner.num_tokens)
    shapes.build(self.norm, [batch, positions, width])
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
      if isinstance(stage, TokenLearnerStage):
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
        spec.activation, spec.norm_epsilon, name=f'block_{i}')

  def learn(i):
    return TokenLearnerStage(
        make_tokenizer(spec, i, grid_size), num_frames,
        spec.num_prefix_tokens(), name=f'learn_{i}')

  def fuse(i):
    return make_fuse_stage(
        spec, grid_size, block(i), num_frames, name=f'fuse_{i}')

  locations = dict(spec.token_learners())
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
