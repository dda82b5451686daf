"""What the backbones for clips are made of: plain data without TensorFlow."""

import dataclasses
import math
from typing import Any, Dict, List, Optional, Tuple, Union

import numpy as np

from tf_tokenlearner.backbones import spec_checks
from tf_tokenlearner.backbones import variants
from tf_tokenlearner import errors





_Map = Tuple[int, int]


def by_number(num_tokens: int, map_size: _Map) -> _Map:
  """(rows, columns) of that many cells, as nearly square as there are.

  Raises:
    UserError: no grid of that many cells fits the map.
  """
  height, width = map_size
  grids = [(rows, num_tokens // rows) for rows in range(1, height + 1)
           if num_tokens % rows == 0 and num_tokens // rows <= width]
  if not grids:
    raise errors.UserError(
        f'num_tokens={num_tokens} cannot be had by tokenizer=grid_pooling: no '
        f'grid of {num_tokens} cells fits a map of {height} x {width} '
        'positions.')
  # Of a cell, how far from 1 its height over its width is.
  return min(grids, key=lambda grid: abs(
      math.log(height * grid[1] / (width * grid[0]))))


def by_window(window: Any, map_size: _Map) -> _Map:
  """(rows, columns) of windows of (height, width) positions.

  Raises:
    UserError: no such window, or windows do not fill the map.
  """
  spec_checks.require_sizes('pooling_window', window, ('height', 'width'))
  for axis, size, step in zip(('height', 'width'), map_size, window):
    spec_checks.require_multiple(
        f'The map {axis}', size, f'the pooling_window {axis}', step)
  return map_size[0] // window[0], map_size[1] // window[1]


def sampled_frames(num_frames: int, num_wanted: int) -> List[int]:
  """Indices of frames, as the official code of ViViT picks them.

  step = num_frames / (num_wanted + 1); the frames lie at step, 2 * step and so
  on below num_frames, in float32, rounded half to even. There a quirk is
  inherited: where the division rounds down, one frame more than wanted comes
  out, and it may be the last one twice. Source: Arnab et al. 2021 (arXiv
  2103.15691), section 3.2; sample_frames_uniformly of Scenic, no difference.

  Args:
    num_frames: of the clip.
    num_wanted: frames to pick; if there are no more than that, all are.

  Returns:
    num_wanted indices, ascending, sometimes num_wanted + 1.

  Example:
    >>> sampled_frames(8, 4), sampled_frames(8, 2), sampled_frames(4, 2)
    ([2, 3, 5, 6], [3, 5, 7], [1, 3, 3])
  """
  if num_wanted >= num_frames:
    return list(range(num_frames))
  step = num_frames / (num_wanted + 1)
  steps = np.arange(math.ceil((num_frames - step) / step), dtype='float32')
  positions = np.float32(step) + steps * np.float32(step)
  return np.minimum(np.rint(positions), num_frames - 1).astype(int).tolist()


VERSIONS = ('v1.0', 'v1.1')
TOKENIZERS = ('token_learner', 'grid_pooling')
FUSERS = ('token_fuser', 'unpooling', 'reprojection')
POOLERS = ('gap', 'gmp', 'gsp', 'token', 'token_and_mean', 'attention')
ACTIVATIONS = ('gelu_tanh', 'gelu', 'quick_gelu')
FINAL_NORMS = ('before_pooling', 'after_pooling')



@dataclasses.dataclass
class TokenLearnerSpec:
  """How tokens are learned (and, with a Fuser, given back).

  Attributes:
    version: 'v1.0' (convolutions and sigmoid, the paper's) or 'v1.1' (MLP and
      softmax, the authors' better one).
    bottleneck_dim: hidden width of v1.1's MLP and of the Fuser's.
    pooling: 'sum' or 'mean' under the masks of v1.0; v1.1 knows only the
      weighted mean, which is 'sum' under weights that sum to 1.
    num_convolutions: of v1.0; 4 in the released code, 1 in the paper's video
      model.
    kernel_size: side of each of them.
  """
  version: str = 'v1.1'
  bottleneck_dim: int = 64
  pooling: str = 'sum'
  num_convolutions: int = 4
  kernel_size: int = 3

  def check(self) -> None:
    """Raises UserError for what makes no sense together."""
    spec_checks.require_known('token_learner.version', self.version, VERSIONS)
    spec_checks.require_known(
        'token_learner.pooling', self.pooling, ('sum', 'mean'))
    for name in ('bottleneck_dim', 'num_convolutions', 'kernel_size'):
      spec_checks.require_positive(f'token_learner.{name}', getattr(self, name))
    if self.version == 'v1.0':
      return
    if self.pooling != 'sum':
      raise errors.UserError(
          f'token_learner.pooling={self.pooling} goes with version v1.0 only: '
          'the weights of v1.1 sum to 1, so its tokens are means already.')
    if (self.num_convolutions, self.kernel_size) != (4, 3):
      raise errors.UserError(
          f'token_learner.num_convolutions={self.num_convolutions} and '
          f'kernel_size={self.kernel_size} go with version v1.0 only: v1.1 has '
          'an MLP.')


@dataclasses.dataclass
class TransformerSpec:
  """A transformer with TokenLearner; None takes the size from the variant.

  Attributes:
    variant: letter of the size and patch, such as 'B/16'.
    num_layers: transformer blocks in all, before and after the TokenLearner.
    hidden_size: width of a token (C).
    mlp_dim: hidden width of the blocks' MLP.
    num_heads: attention heads.
    token_learner_location: k or a list of them: block k, counted from 0, is the
      first that sees learned tokens. None: no TokenLearner.
    num_tokens: tokens per frame (S); a list has one per location. None: as
      many as pooling_window makes.
    tokenizer: where they come from: 'token_learner', or in its place
      'grid_pooling', means over S cells of the map, each nearly square; one
      cell is the mean of a frame.
    pooling_window: [height, width] of a cell of grid_pooling, in positions of
      the map it sees; None takes the cells from num_tokens.
    token_learner: how tokens are learned.
    use_token_fuser: from the location on, every block is learn, block, fuse
      and add, so that all positions live on.
    fuser: what then fuses: 'token_fuser', or in its place 'unpooling' (the
      masks of a TokenLearner v1.0 of means once more) or 'reprojection'
      (positions attend to tokens).
    dropout_rate: after the position embedding, attention and dense layers.
    attention_dropout_rate: on attention weights.
    stochastic_depth_rate: of the last block; grows linearly from 0.
    pooler: 'gap' mean, 'gmp' maximum or 'gsp' sum over tokens, as in the
      official code; 'token' the class tokens, concatenated; 'token_and_mean'
      the class token beside the mean; 'attention' a learned query.
    num_class_tokens: class tokens, which pass by a TokenLearner; None: 1 if the
      pooler reads them, else 0.
    num_registers: learned tokens without positions behind the class tokens.
    activation: of the blocks' MLP: 'gelu_tanh', 'gelu' (erf) or 'quick_gelu'.
    norm_epsilon: added to the variance in every LayerNorm.
    pooled_norm_epsilon: the same of a LayerNorm after pooling; None: as
      norm_epsilon.
    pre_norm: a LayerNorm before the first block.
    final_norm: the last LayerNorm stands 'before_pooling' or 'after_pooling'.
    representation_size: width of a dense tanh layer after pooling, or None.
  """
  variant: str = 'B/16'
  num_layers: Optional[int] = None
  hidden_size: Optional[int] = None
  mlp_dim: Optional[int] = None
  num_heads: Optional[int] = None
  token_learner_location: Optional[Union[int, List[int]]] = None
  num_tokens: Optional[Union[int, List[int]]] = 8
  tokenizer: str = 'token_learner'
  pooling_window: Optional[List[int]] = None
  token_learner: TokenLearnerSpec = dataclasses.field(
      default_factory=TokenLearnerSpec)
  use_token_fuser: bool = False
  fuser: str = 'token_fuser'
  dropout_rate: float = 0.
  attention_dropout_rate: float = 0.
  stochastic_depth_rate: float = 0.
  pooler: str = 'gap'
  num_class_tokens: Optional[int] = None
  num_registers: int = 0
  activation: str = 'gelu_tanh'
  norm_epsilon: float = 1e-6
  pooled_norm_epsilon: Optional[float] = None
  pre_norm: bool = False
  final_norm: str = 'before_pooling'
  representation_size: Optional[int] = None

  @classmethod
  def from_dict(cls, values: Dict[str, Any]) -> 'TransformerSpec':
    """What dataclasses.asdict made a dict of."""
    learn = TokenLearnerSpec(**values.get('token_learner', {}))
    return cls(**{**values, 'token_learner': learn})

  def num_prefix_tokens(self) -> int:
    """Returns the number of class tokens and registers; completed specs only.
    """
    return self.num_class_tokens + self.num_registers

  def token_learners(self) -> List[Tuple[int, int]]:
    """(block, tokens) of each TokenLearner, in order of depth."""
    return sorted(self._locations())

  def _locations(self):
    if self.token_learner_location is None:
      return []
    locations = spec_checks.as_list(self.token_learner_location)
    num_tokens = spec_checks.as_list(self.num_tokens)
    if len(num_tokens) == 1:
      num_tokens *= len(locations)
    if len(num_tokens) != len(locations):
      raise errors.UserError(
          f'num_tokens={self.num_tokens} and token_learner_location='
          f'{self.token_learner_location} differ in length: give one number of '
          'tokens for all locations, or one for each.')
    return list(zip(locations, num_tokens))

  def pooled_maps(
      self, grid_size: _Map) -> Dict[int, Tuple[_Map, _Map]]:
    """What grid_pooling pools into what, at each location.

    Args:
      grid_size: (H, W) of the positions in a frame.

    Returns:
      {block: (map that is seen, (rows, columns) of its cells)}; what is pooled
      is a map again, which the next location sees.
    """
    maps, seen = {}, grid_size
    for location, num_tokens in self.token_learners():
      cells = (by_number(num_tokens, seen)
               if self.pooling_window is None
               else by_window(self.pooling_window, seen))
      maps[location] = seen, cells
      seen = cells
    return maps

  def _resolve_pooling(self, grid_size: _Map):
    """Sets num_tokens if windows do, and refuses cells that do not fit."""
    if self.tokenizer != 'grid_pooling':
      return
    maps = self.pooled_maps(grid_size)
    if self.pooling_window is None or not maps:
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

  def _resolved_as(self, kind: type, size: variants.Size):
    """A checked copy of this kind; what is None comes from the variant."""
    spec = spec_checks.plain_copy(kind, self)
    spec.token_learner = spec_checks.plain_copy(
        TokenLearnerSpec, self.token_learner)
    for name, value in size._asdict().items():
      if getattr(spec, name) is None:
        setattr(spec, name, value)
    if spec.num_class_tokens is None:
      spec.num_class_tokens = int(spec.pooler in ('token', 'token_and_mean'))
    if spec.pooled_norm_epsilon is None:
      spec.pooled_norm_epsilon = spec.norm_epsilon
    spec._check()
    return spec

  def _check(self):
    """Raises UserError for what makes no sense together."""
    for name in variants.Size._fields:
      spec_checks.require_positive(name, getattr(self, name))
    if self.hidden_size % self.num_heads:
      raise errors.UserError(
          f'hidden_size={self.hidden_size} is no multiple of num_heads='
          f'{self.num_heads}.')
    for name in (
        'dropout_rate', 'attention_dropout_rate', 'stochastic_depth_rate'):
      rate = getattr(self, name)
      if not isinstance(rate, (int, float)) or not 0 <= rate < 1:
        raise errors.UserError(
            f'{name} must lie in [0, 1), received {rate!r}.')
    self._check_token_learner()
    self._check_pooling()

  def _check_token_learner(self):
    self.token_learner.check()
    spec_checks.require_known('tokenizer', self.tokenizer, TOKENIZERS)
    locations = self._locations()
    if self.tokenizer == 'grid_pooling' and not locations:
      raise errors.UserError(
          'tokenizer=grid_pooling needs a token_learner_location: the block '
          'that is the first to see what was pooled.')
    for location, num_tokens in locations:
      if num_tokens is not None or self.pooling_window is None:
        spec_checks.require_positive('num_tokens', num_tokens)
      self._check_location(location)
    if len(dict(locations)) < len(locations):
      raise errors.UserError(
          f'token_learner_location={self.token_learner_location} names a block '
          'twice.')
    if self.tokenizer == 'grid_pooling':
      self._check_pooled_alone()
    elif self.pooling_window is not None:
      raise errors.UserError(
          f'pooling_window={self.pooling_window} goes with '
          'tokenizer=grid_pooling only.')
    elif self.token_learner.version == 'v1.0' and len(locations) > 1:
      raise errors.UserError(
          'token_learner.version=v1.0 reads a map of positions and can stand '
          'at one location only: after it there is no map. Use v1.1 for '
          'several.')
    self._check_bottleneck()
    self._check_fuser(len(locations))

  def _check_bottleneck(self):
    """Refuses the width of an MLP that is not there."""
    width = self.token_learner.bottleneck_dim
    if (self.token_learner.version == 'v1.0' and not self._has_token_fuser()
        and width != TokenLearnerSpec.bottleneck_dim):
      raise errors.UserError(
          f'token_learner.bottleneck_dim={width} has no effect with version '
          'v1.0, which has convolutions, and without a TokenFuser: leave it '
          'out.')

  def _has_token_fuser(self) -> bool:
    return self.use_token_fuser and self.fuser == 'token_fuser'

  def _check_pooled_alone(self):
    """Refuses options of a TokenLearner that is not there."""
    its = ('version', 'pooling', 'num_convolutions', 'kernel_size')
    if not self._has_token_fuser():
      its += ('bottleneck_dim',)
    for name in its:
      value = getattr(self.token_learner, name)
      if value != getattr(TokenLearnerSpec, name):
        raise errors.UserError(
            f'token_learner.{name}={value} has no effect with '
            'tokenizer=grid_pooling, which learns nothing: leave it out.')

  def _check_fuser(self, num_locations: int):
    spec_checks.require_known('fuser', self.fuser, FUSERS)
    if self.use_token_fuser and num_locations != 1:
      raise errors.UserError(
          'use_token_fuser needs exactly one token_learner_location, received '
          f'{self.token_learner_location}: from it on, every block learns and '
          'fuses.')
    if self.fuser != 'token_fuser' and not self.use_token_fuser:
      raise errors.UserError(
          f'fuser={self.fuser} goes with use_token_fuser=true only.')
    if self.fuser == 'unpooling' and (
        self.tokenizer, self.token_learner.version, self.token_learner.pooling
    ) != ('token_learner', 'v1.0', 'mean'):
      raise errors.UserError(
          'fuser=unpooling goes with tokenizer=token_learner, '
          'token_learner.version=v1.0 and token_learner.pooling=mean only: it '
          'needs masks, and sums of all positions, given back to each, would '
          'grow from block to block.')

  def _check_location(self, location: Any):
    last = self._last_location()
    if (isinstance(location, bool) or not isinstance(location, int)
        or not 0 <= location <= last):
      after_all = (f' {last} is behind all of them;' if last == self.num_layers
                   else '')
      raise errors.UserError(
          f'token_learner_location={location!r} is outside 0..{last}: it names '
          f'the first of the {self.num_layers} blocks, counted from 0, that '
          f'sees learned tokens;{after_all} null (in Python: None) leaves the '
          'TokenLearner out.')

  def _last_location(self) -> int:
    return self.num_layers - 1

  def _check_pooling(self):
    spec_checks.require_known('pooler', self.pooler, POOLERS)
    spec_checks.require_known('activation', self.activation, ACTIVATIONS)
    spec_checks.require_known('final_norm', self.final_norm, FINAL_NORMS)
    for name in ('num_class_tokens', 'num_registers'):
      value = getattr(self, name)
      if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise errors.UserError(
            f'{name} must be a whole number from 0, got {value!r}.')
    for name in ('norm_epsilon', 'pooled_norm_epsilon'):
      value = getattr(self, name)
      if not isinstance(value, float) or not 0 < value < 1:
        raise errors.UserError(f'{name} must lie in (0, 1), got {value!r}.')
    if self.pooler.startswith('token') and not self.num_class_tokens:
      raise errors.UserError(
          f'pooler={self.pooler} reads a class token, got num_class_tokens=0. '
          'Set num_class_tokens=null, or another pooler.')
    if self.use_token_fuser and self.num_prefix_tokens():
      raise errors.UserError(
          'use_token_fuser cannot go with class tokens or registers, which '
          'have no place in the map that is fused. Set pooler=gap, '
          'num_class_tokens=0 and num_registers=0, or use_token_fuser=false.')
    if self.representation_size is not None:
      spec_checks.require_positive(
          'representation_size', self.representation_size)


@dataclasses.dataclass
class ViTSpec(TransformerSpec):
  """A vision transformer for images.

  Attributes:
    patch_size: (height, width) in pixels; None takes it from the variant.
  """
  patch_size: Optional[List[int]] = None

  def completed(self, input_size: Tuple[int, int, int]) -> 'ViTSpec':
    """A checked copy in which nothing is left to the variant.

    Args:
      input_size: (height, width, channels) of the images.

    Returns:
      ViTSpec; applying resolved again changes nothing.

    Raises:
      UserError: unknown names, or options that make no sense together.
    """
    size, patch_size = variants.parse_image_variant(self.variant)
    spec = self._resolved_as(ViTSpec, size)
    if spec.patch_size is None:
      spec.patch_size = patch_size
    spec_checks.require_sizes(
        'patch_size', spec.patch_size, ('height', 'width'))
    spec.patch_size = tuple(spec.patch_size)
    spec._resolve_pooling(spec.grid_size(input_size))
    return spec

  def grid_size(self, input_size: Tuple[int, int, int]) -> Tuple[int, int]:
    """(H, W) in patches. Raises UserError if patches do not tile the image."""
    spec_checks.require_sizes(
        'input_size', input_size, ('height', 'width', 'channels'))
    for axis, pixels, patch in zip(
        ('height', 'width'), input_size, self.patch_size):
      spec_checks.require_multiple(
          f'The image {axis}', pixels, f'the patch {axis}', patch)
    return (input_size[0] // self.patch_size[0],
            input_size[1] // self.patch_size[1])


TUBELET_EMBEDDINGS = ('3d_conv', 'temporal_sampling')
POSITION_EMBEDDINGS = ('learned', 'repeated')

_Clip = Tuple[int, int, int, int]


@dataclasses.dataclass
class VideoSpec(TransformerSpec):
  """A transformer that sees a clip as T x H x W tubelets.

  Attributes:
    variant: letter of the size, patch and frames of a tubelet: 'B/16x2'.
    tubelet_size: (frames, height, width); None takes it from the variant.
  """
  variant: str = 'B/16x2'
  tubelet_size: Optional[List[int]] = None

  def grid_size(self, input_size: _Clip) -> Tuple[int, int]:
    """(H, W) in tubelets, for a spec that is resolved."""
    return (input_size[1] // self.tubelet_size[1],
            input_size[2] // self.tubelet_size[2])

  def num_frames(self, input_size: _Clip) -> int:
    """T, how many tubelets follow each other, for a spec that is resolved."""
    return input_size[0] // self.tubelet_size[0]

  def _resolved_as(self, kind: type, size: variants.Size):
    spec = super()._resolved_as(kind, size)
    if spec.tubelet_size is None:
      _, spec.tubelet_size = variants.parse_video_variant(spec.variant)
    spec_checks.require_sizes(
        'tubelet_size', spec.tubelet_size, ('frames', 'height', 'width'))
    spec.tubelet_size = tuple(spec.tubelet_size)
    return spec

  def _check_tiled(self, input_size: _Clip):
    spec_checks.require_sizes(
        'input_size', input_size, ('frames', 'height', 'width', 'channels'))
    for axis, size, step in zip(
        ('length', 'height', 'width'), input_size, self.tubelet_size):
      spec_checks.require_multiple(
          f'The clip {axis}', size, f'the tubelet {axis}', step)


@dataclasses.dataclass
class ViViTSpec(VideoSpec):
  """A video vision transformer, all positions in one encoder.

  Attributes:
    tubelet_embedding: '3d_conv' embeds every tubelet; 'temporal_sampling' picks
      frames evenly and embeds their patches, for tubelets of one frame.
    num_sampled_frames: frames that temporal_sampling is to pick. T may be one
      more, as in the official code: frame_sampling.sampled_frames says when.
    position_embedding: 'learned', a vector for every one of the T*N positions,
      or 'repeated', one for each of N, the same at every time.
  """
  tubelet_embedding: str = '3d_conv'
  num_sampled_frames: Optional[int] = None
  position_embedding: str = 'learned'

  def completed(self, input_size: _Clip) -> 'ViViTSpec':
    """A checked copy in which nothing is left to the variant.

    Args:
      input_size: (frames, height, width, channels) of the clips.

    Returns:
      ViViTSpec; applying resolved again changes nothing.

    Raises:
      UserError: unknown names, or options that make no sense together.
    """
    size, _ = variants.parse_video_variant(self.variant)
    spec = self._resolved_as(ViViTSpec, size)
    spec._check_embeddings()
    spec._check_tiled(input_size)
    spec._resolve_pooling(spec.grid_size(input_size))
    return spec

  def num_frames(self, input_size: _Clip) -> int:
    frames = self.sampled_frames(input_size)
    return super().num_frames(input_size) if frames is None else len(frames)

  def sampled_frames(self, input_size: _Clip) -> Optional[List[int]]:
    """Indices of the frames that are looked at; None for all of them."""
    if self.tubelet_embedding == '3d_conv':
      return None
    return sampled_frames(input_size[0], self.num_sampled_frames)

  def _check_embeddings(self):
    spec_checks.require_known(
        'tubelet_embedding', self.tubelet_embedding, TUBELET_EMBEDDINGS)
    spec_checks.require_known(
        'position_embedding', self.position_embedding, POSITION_EMBEDDINGS)
    if self.position_embedding == 'repeated' and self.pooler == 'token':
      raise errors.UserError(
          'position_embedding=repeated cannot go with pooler=token: a class '
          'token belongs to no frame. Use position_embedding=learned, or '
          'pooler=gap.')
    if self.tubelet_embedding == '3d_conv':
      if self.num_sampled_frames is not None:
        raise errors.UserError(
            f'num_sampled_frames={self.num_sampled_frames} goes with '
            'tubelet_embedding=temporal_sampling only; 3d_conv sees every '
            'frame.')
      return
    spec_checks.require_positive('num_sampled_frames', self.num_sampled_frames)
    if self.tubelet_size[0] != 1:
      raise errors.UserError(
          'tubelet_embedding=temporal_sampling embeds single frames, but a '
          f'tubelet holds {self.tubelet_size[0]}: use a variant that ends in '
          'x1, or tubelet_size=[1, height, width].')


@dataclasses.dataclass
class FactorizedViViTSpec(VideoSpec):
  """A spatial transformer in each of T tubelet indices, then a temporal one.

  What TransformerSpec says holds for the spatial one. Without TokenLearner each
  index gives one pooled token, as in the source; with it, all S tokens of every
  index go on. token_learner_location may be num_layers: behind the spatial
  blocks. Source: Arnab et al. 2021 (arXiv 2103.15691), section 3.3, model 2,
  where there is no TokenLearner.

  Attributes:
    temporal_num_layers: blocks of the temporal transformer.
    temporal_mlp_dim: hidden width of its MLPs; None: as in the spatial one.
    temporal_num_heads: its heads; None: as in the spatial one.
  """
  temporal_num_layers: int = 4
  temporal_mlp_dim: Optional[int] = None
  temporal_num_heads: Optional[int] = None

  def completed(self, input_size: _Clip) -> 'FactorizedViViTSpec':
    """A checked copy in which nothing is left to the variant.

    Args:
      input_size: (frames, height, width, channels) of the clips.

    Returns:
      FactorizedViViTSpec; applying resolved again changes nothing.

    Raises:
      UserError: unknown names, or options that make no sense together.
    """
    if self.use_token_fuser:
      raise errors.UserError(
          'use_token_fuser cannot go with a factorised encoder: the temporal '
          'transformer is to see learned tokens, not all positions again. Set '
          'use_token_fuser=false, or use the ViViT that is not factorised.')
    size, _ = variants.parse_video_variant(self.variant)
    spec = self._resolved_as(FactorizedViViTSpec, size)
    if (spec.num_registers or spec.pre_norm or spec.num_class_tokens > 1
        or spec.final_norm != 'before_pooling'
        or spec.pooler in ('token_and_mean', 'attention')
        or spec.num_class_tokens and spec.token_learners()):
      raise errors.UserError(
          'A factorised encoder takes no registers, pre_norm, '
          'final_norm=after_pooling, pooler=token_and_mean or attention, and '
          'no class token beside a TokenLearner. Use the ViViT that is not '
          'factorised.')
    spec._check_temporal()
    spec._check_tiled(input_size)
    spec._resolve_pooling(spec.grid_size(input_size))
    return spec

  def tokens_per_frame(self) -> int:
    """Tokens that go from each tubelet index to the temporal transformer."""
    locations = self.token_learners()
    return locations[-1][1] if locations else 1

  def temporal_spec(self) -> TransformerSpec:
    """The temporal transformer, for a spec that is resolved."""
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

  def _check_temporal(self):
    if self.temporal_mlp_dim is None:
      self.temporal_mlp_dim = self.mlp_dim
    if self.temporal_num_heads is None:
      self.temporal_num_heads = self.num_heads
    for name in (
        'temporal_num_layers', 'temporal_mlp_dim', 'temporal_num_heads'):
      spec_checks.require_positive(name, getattr(self, name))
    if self.hidden_size % self.temporal_num_heads:
      raise errors.UserError(
          f'hidden_size={self.hidden_size} is no multiple of '
          f'temporal_num_heads={self.temporal_num_heads}.')
