"""Backbone specs: plain dataclasses, importable without TensorFlow.

A spec states what a transformer backbone consists of. `completed` fills in what
the variant ('B/16') implies and refuses options that contradict each other.
"""

import dataclasses
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from tf_tokenlearner.backbones import sampling
from tf_tokenlearner.backbones import spec_checks
from tf_tokenlearner.backbones import variants
from tf_tokenlearner import errors

TOKENIZERS = ('token_learner', 'grid_pooling')
FUSERS = ('token_fuser', 'unpooling', 'reprojection')
POOLERS = ('gap', 'gmp', 'gsp', 'token', 'token_and_mean', 'attention')
ACTIVATIONS = ('gelu_tanh', 'gelu', 'quick_gelu')
FINAL_NORMS = ('before_pooling', 'after_pooling')
TUBELET_EMBEDDINGS = ('3d_conv', 'temporal_sampling')
POSITION_EMBEDDINGS = ('learned', 'repeated')
MIDDLE = 'middle'  # token_learner_location: half of the depth.

_Map = Tuple[int, int]  # (rows, columns), or (height, width).
_Clip = Tuple[int, int, int, int]  # (frames, height, width, channels).


@dataclasses.dataclass
class TokenLearnerSpec:
  """How tokens are learned and, with a TokenFuser, spread again.

  Attributes:
    version: 'v1.0' (convolutions and sigmoid, as in the paper) or 'v1.1' (MLP
      and softmax, which the authors recommend).
    bottleneck_dim: hidden width of the MLP of v1.1 and of the TokenFuser.
    dropout_rate: dropout inside these MLPs. The official code uses the rate of
      the transformer blocks, but never trains TokenLearner with one above 0:
      the MLPs give scores, and a dropped score is no longer small but 0.
    pooling: 'sum' or 'mean' under the masks of v1.0.
    num_convolutions: convolutions of v1.0; 4 in the released code, 1 in the
      paper's video model.
    kernel_size: side of each convolution.
  """
  version: str = spec_checks.choice('v1.1', ('v1.0', 'v1.1'))
  bottleneck_dim: int = spec_checks.size(64)
  dropout_rate: float = spec_checks.rate(0.)
  pooling: str = spec_checks.choice('sum', ('sum', 'mean'))
  num_convolutions: int = spec_checks.size(4)
  kernel_size: int = spec_checks.size(3)


@dataclasses.dataclass
class TransformerSpec:
  """A transformer with TokenLearner.

  Attributes:
    variant: letter of the size, and patch size, such as 'B/16', for every size
      below that is None. 'auto': the sizes of task.init_checkpoint.
    num_layers: transformer blocks in all, before and after the TokenLearner.
    hidden_size: width of a token (C).
    mlp_dim: hidden width of the MLP of a block.
    num_heads: attention heads.
    token_learner_location: k or a list of them: block k, counted from 0, is the
      first that sees learned tokens. 'middle': half of num_layers. None: no
      TokenLearner.
    num_tokens: tokens per frame (S), one number or one per location. None:
      pooling_window determines it.
    tokenizer: 'token_learner', or the baseline 'grid_pooling': means over S
      nearly square cells of the map.
    pooling_window: [height, width] of a cell of grid_pooling, in positions.
      None: the cells follow from num_tokens.
    token_learner: how tokens are learned.
    use_token_fuser: from the location on, every block learns tokens, transforms
      them, spreads them over all positions and adds them.
    fuser: 'token_fuser', or one of the baselines 'unpooling' (the masks of a
      TokenLearner v1.0 once more) and 'reprojection' (attention of positions to
      tokens).
    dropout_rate: after the position embedding, attention and dense layers.
    attention_dropout_rate: on attention weights.
    stochastic_depth_rate: rate of the last block; it grows linearly from 0.
    pooler: 'gap' mean, 'gmp' maximum or 'gsp' sum over tokens; 'token' the
      class tokens, concatenated; 'token_and_mean' the class token and the mean,
      concatenated; or 'attention' of a learned query.
    num_class_tokens: class tokens, which bypass a TokenLearner. None: 1 if the
      pooler reads them, else 0.
    num_registers: learned tokens without positions, after the class tokens;
      they bypass a TokenLearner.
    activation: of the MLP of a block: 'gelu_tanh', 'gelu' (by the error
      function) or 'quick_gelu'.
    norm_epsilon: added to the variance in every LayerNorm of the transformer.
      TokenLearner and TokenFuser keep 1e-6, as in the official code.
    pooled_norm_epsilon: the same of the LayerNorm after pooling. None: as
      norm_epsilon.
    pre_norm: whether a LayerNorm precedes the first block.
    final_norm: place of the last LayerNorm, 'before_pooling' or
      'after_pooling'.
    representation_size: width of a dense tanh layer after pooling, or None.
  """
  variant: str = 'B/16'
  num_layers: Optional[int] = spec_checks.size(None)
  hidden_size: Optional[int] = spec_checks.size(None)
  mlp_dim: Optional[int] = spec_checks.size(None)
  num_heads: Optional[int] = spec_checks.size(None)
  token_learner_location: Optional[Union[int, str, List[int]]] = None
  num_tokens: Optional[Union[int, List[int]]] = 8
  tokenizer: str = spec_checks.choice('token_learner', TOKENIZERS)
  pooling_window: Optional[List[int]] = None
  token_learner: TokenLearnerSpec = dataclasses.field(
      default_factory=TokenLearnerSpec)
  use_token_fuser: bool = False
  fuser: str = spec_checks.choice('token_fuser', FUSERS)
  dropout_rate: float = spec_checks.rate(0.)
  attention_dropout_rate: float = spec_checks.rate(0.)
  stochastic_depth_rate: float = spec_checks.rate(0.)
  pooler: str = spec_checks.choice('gap', POOLERS)
  num_class_tokens: Optional[int] = spec_checks.count(None)
  num_registers: int = spec_checks.count(0)
  activation: str = spec_checks.choice('gelu_tanh', ACTIVATIONS)
  norm_epsilon: float = spec_checks.epsilon(1e-6)
  pooled_norm_epsilon: Optional[float] = spec_checks.epsilon(None)
  pre_norm: bool = False
  final_norm: str = spec_checks.choice('before_pooling', FINAL_NORMS)
  representation_size: Optional[int] = spec_checks.size(None)

  @classmethod
  def from_dict(cls, values: Dict[str, Any]) -> 'TransformerSpec':
    """Returns the spec that dataclasses.asdict made a dict of."""
    learner = TokenLearnerSpec(**values.get('token_learner', {}))
    return cls(**{**values, 'token_learner': learner})

  def num_prefix_tokens(self) -> int:
    """Returns class tokens plus registers, for a completed spec."""
    return self.num_class_tokens + self.num_registers

  def pooled_size(self) -> int:
    """Returns the width after pooling, for a completed spec."""
    vectors = {'token': self.num_class_tokens,
               'token_and_mean': self.num_class_tokens + 1}
    return vectors.get(self.pooler, 1) * self.hidden_size

  def completed(self, input_size: Sequence[int]) -> 'TransformerSpec':
    """Returns a checked copy in which every size is set.

    Args:
      input_size: shape of an image or clip, without the batch.

    Returns:
      A spec of the same class; completing it again changes nothing.

    Raises:
      UserError: unknown names, or options that contradict each other.
    """
    plain_class = next(  # The Garden's configs are subclasses.
        c for c in type(self).__mro__ if c.__module__ == __name__)
    spec = spec_checks.plain_copy(plain_class, self)
    spec.token_learner = spec_checks.plain_copy(
        TokenLearnerSpec, self.token_learner)
    for name, value in spec._implied_sizes().items():
      if getattr(spec, name) is None:
        setattr(spec, name, value)
    if spec.token_learner_location == MIDDLE:
      spec.token_learner_location = spec.num_layers // 2
    if spec.num_class_tokens is None:
      spec.num_class_tokens = int(spec.pooler in ('token', 'token_and_mean'))
    if spec.pooled_norm_epsilon is None:
      spec.pooled_norm_epsilon = spec.norm_epsilon
    spec._check()
    spec._check_input(input_size)
    spec._complete_pooling(spec.grid_size(input_size))
    return spec

  def token_learners(self) -> List[Tuple[int, int]]:
    """Returns (location, num_tokens) of each TokenLearner, first to last."""
    if self.token_learner_location is None:
      return []
    locations = spec_checks.to_list(self.token_learner_location)
    num_tokens = spec_checks.to_list(self.num_tokens)
    if len(num_tokens) == 1:
      num_tokens *= len(locations)
    return sorted(zip(locations, num_tokens))

  def pooled_maps(self, grid_size: _Map) -> Dict[int, Tuple[_Map, _Map]]:
    """Returns the maps that grid_pooling reads and makes.

    Args:
      grid_size: (H, W) of the positions in a frame.

    Returns:
      {location: (map that is read, map of its cells)}. The cells are the map
      that the next location reads.
    """
    maps = {}
    for location, num_tokens in self.token_learners():
      cells = (sampling.nearly_square_cells(num_tokens, grid_size)
               if self.pooling_window is None
               else sampling.window_cells(self.pooling_window, grid_size))
      maps[location] = grid_size, cells
      grid_size = cells
    return maps

  def _check(self):
    """Raises UserError for options that contradict each other."""
    spec_checks.check_fields(self)
    spec_checks.check_fields(self.token_learner, 'token_learner.')
    self._check_locations()
    spec_checks.check_rules(self, spec_checks.TRANSFORMER_RULES)
    spec_checks.check_options_are_read(self)

  def _check_locations(self):
    if self.token_learner_location is None:
      return
    locations = spec_checks.to_list(self.token_learner_location)
    num_tokens = spec_checks.to_list(self.num_tokens)
    if len(num_tokens) not in (1, len(locations)):
      raise errors.UserError(
          f'num_tokens={self.num_tokens} and token_learner_location='
          f'{self.token_learner_location} differ in length: give one number of '
          'tokens for all locations, or one for each.')
    for number in num_tokens:
      if number is not None or self.pooling_window is None:
        spec_checks.require_positive('num_tokens', number)
    last = self._last_location()
    behind = (
        f' {last} is behind all of them;' if last == self.num_layers else '')
    for location in locations:
      if type(location) is not int or not 0 <= location <= last:
        raise errors.UserError(
            f'token_learner_location={location!r} is outside 0..{last}: it '
            f'names the first of the {self.num_layers} blocks, counted from 0, '
            f'that sees learned tokens;{behind} null (in Python: None) leaves '
            'the TokenLearner out.')

  def _last_location(self) -> int:
    return self.num_layers - 1

  def _complete_pooling(self, grid_size: _Map):
    """Sets num_tokens from pooling_window; refuses cells that do not fit."""
    if self.tokenizer != 'grid_pooling':
      return
    maps = self.pooled_maps(grid_size)
    if self.pooling_window is None:
      return
    self.pooling_window = tuple(self.pooling_window)
    made = [rows * columns for _, (rows, columns) in maps.values()]
    given = [num_tokens for _, num_tokens in self.token_learners()]
    if given not in (made, [None] * len(made)):
      raise errors.UserError(
          f'num_tokens={self.num_tokens} does not go with pooling_window='
          f'{list(self.pooling_window)}, which makes {made} of a map of '
          f'{grid_size[0]} x {grid_size[1]}. Set num_tokens=null, or '
          'pooling_window=null.')
    if given != made:
      self.token_learner_location = list(maps)
      self.num_tokens = made


@dataclasses.dataclass
class ViTSpec(TransformerSpec):
  """A vision transformer for images.

  Attributes:
    patch_size: (height, width) in pixels; None takes it from the variant.
  """
  patch_size: Optional[List[int]] = spec_checks.sizes(None, 'height', 'width')

  def grid_size(self, input_size: Sequence[int]) -> _Map:
    """Returns (H, W) in patches, for a completed spec."""
    return tuple(a // b for a, b in zip(input_size, self.patch_size))

  def _implied_sizes(self) -> Dict[str, Any]:
    if self.variant == variants.AUTO:
      spec_checks.require_known_sizes(
          self, *variants.Size._fields, 'patch_size')
      return {}
    size, patch_size = variants.parse_image_variant(self.variant)
    return {**size._asdict(), 'patch_size': patch_size}

  def _check_input(self, input_size: Sequence[int]):
    self.patch_size = tuple(self.patch_size)
    axes = ('height', 'width', 'channels')
    spec_checks.require_sizes('input_size', input_size, axes)
    spec_checks.require_tiled(
        'image', input_size, 'patch', self.patch_size, axes)


@dataclasses.dataclass
class VideoSpec(TransformerSpec):
  """A transformer that sees a clip as T x H x W tubelets.

  Attributes:
    variant: letter of the size, patch size and frames of a tubelet: 'B/16x2'.
    tubelet_size: (frames, height, width); None takes it from the variant.
  """
  variant: str = 'B/16x2'
  tubelet_size: Optional[List[int]] = spec_checks.sizes(
      None, 'frames', 'height', 'width')

  def grid_size(self, input_size: _Clip) -> _Map:
    """Returns (H, W) in tubelets, for a completed spec."""
    return tuple(a // b for a, b in zip(input_size[1:], self.tubelet_size[1:]))

  def num_frames(self, input_size: _Clip) -> int:
    """Returns T, the tubelets along time, for a completed spec."""
    return input_size[0] // self.tubelet_size[0]

  def _implied_sizes(self) -> Dict[str, Any]:
    if self.variant == variants.AUTO:
      spec_checks.require_known_sizes(
          self, *variants.Size._fields, 'tubelet_size')
      return {}
    size, tubelet_size = variants.parse_video_variant(self.variant)
    return {**size._asdict(), 'tubelet_size': tubelet_size}

  def _check_input(self, input_size: _Clip):
    self.tubelet_size = tuple(self.tubelet_size)
    spec_checks.require_sizes(
        'input_size', input_size, ('frames', 'height', 'width', 'channels'))
    spec_checks.require_tiled(
        'clip', input_size, 'tubelet', self.tubelet_size,
        ('length', 'height', 'width'))


@dataclasses.dataclass
class ViViTSpec(VideoSpec):
  """A video vision transformer: all positions of a clip in one encoder.

  Attributes:
    tubelet_embedding: '3d_conv' embeds every tubelet; 'temporal_sampling' picks
      frames evenly and embeds their patches, for tubelets of one frame.
    num_sampled_frames: frames that temporal_sampling picks. T may be one more,
      as in the official code; see sampling.py.
    position_embedding: 'learned', a vector for each of the T*N positions, or
      'repeated', a vector for each of N, the same in every frame.
  """
  tubelet_embedding: str = spec_checks.choice('3d_conv', TUBELET_EMBEDDINGS)
  num_sampled_frames: Optional[int] = spec_checks.size(None)
  position_embedding: str = spec_checks.choice('learned', POSITION_EMBEDDINGS)

  def num_frames(self, input_size: _Clip) -> int:
    frames = self.sampled_frames(input_size)
    return super().num_frames(input_size) if frames is None else len(frames)

  def sampled_frames(self, input_size: _Clip) -> Optional[List[int]]:
    """Returns the indices of the frames to embed; None for all of them."""
    if self.tubelet_embedding == '3d_conv':
      return None
    return sampling.sampled_frames(input_size[0], self.num_sampled_frames)

  def _check(self):
    super()._check()
    if self.tubelet_embedding == 'temporal_sampling':
      spec_checks.require_positive(
          'num_sampled_frames', self.num_sampled_frames)
    spec_checks.check_rules(self, spec_checks.VIVIT_RULES)


@dataclasses.dataclass
class FactorizedViViTSpec(VideoSpec):
  """A spatial transformer in each of T tubelet indices, then a temporal one.

  The options of TransformerSpec describe the spatial one. Without TokenLearner
  each index gives one pooled token, as in the source; with it, all S tokens.
  token_learner_location may be num_layers: behind the spatial blocks. Source:
  Arnab et al. 2021 (arXiv 2103.15691), section 3.3, model 2.

  Attributes:
    temporal_num_layers: blocks of the temporal transformer.
    temporal_mlp_dim: hidden width of its MLPs; None: as in the spatial one.
    temporal_num_heads: its heads; None: as in the spatial one.
  """
  temporal_num_layers: int = spec_checks.size(4)
  temporal_mlp_dim: Optional[int] = spec_checks.size(None)
  temporal_num_heads: Optional[int] = spec_checks.size(None)

  def tokens_per_frame(self) -> int:
    """Returns the tokens that the temporal transformer sees of each index."""
    learners = self.token_learners()
    return learners[-1][1] if learners else 1

  def temporal_spec(self) -> TransformerSpec:
    """Returns the temporal transformer, for a completed spec."""
    return TransformerSpec(
        variant=self.variant, num_layers=self.temporal_num_layers,
        hidden_size=self.hidden_size, mlp_dim=self.temporal_mlp_dim,
        num_heads=self.temporal_num_heads, dropout_rate=self.dropout_rate,
        attention_dropout_rate=self.attention_dropout_rate,
        stochastic_depth_rate=self.stochastic_depth_rate,
        num_class_tokens=self.num_class_tokens, activation=self.activation,
        norm_epsilon=self.norm_epsilon)

  def _last_location(self) -> int:
    return self.num_layers

  def _check(self):
    if self.temporal_mlp_dim is None:
      self.temporal_mlp_dim = self.mlp_dim
    if self.temporal_num_heads is None:
      self.temporal_num_heads = self.num_heads
    super()._check()
    spec_checks.check_rules(self, spec_checks.FACTORIZED_RULES)
