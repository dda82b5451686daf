"""What the bottleneck video model is made of, as plain data.

Nothing here needs TensorFlow: the model, its configs and the arithmetic of its
cost read the same description.
"""

import dataclasses
import math
from typing import Dict, List, Optional, Tuple

from tf_tokenlearner import errors
from tf_tokenlearner.backbones import spec_checks

# The rows of the paper's tables 11 and 12: what stands, in this order, between
# the expanding and the reducing convolution of a block.
MODULES: Dict[str, Tuple[str, ...]] = {
    'conv2d_conv1d': ('conv2d', 'conv1d'),
    'joint_mhsa': ('joint_mhsa',),
    'conv2d_joint_mhsa': ('conv2d', 'joint_mhsa'),
    'token_learner': ('token_learner',),
    'conv2d_token_learner': ('conv2d', 'token_learner'),
    'spatial_token_learner': ('spatial_transformer', 'token_learner'),
    'conv2d_mlp_mixer': ('conv2d', 'mlp_mixer'),
    'conv2d_temporal_transformer': ('conv2d', 'temporal_transformer'),
    'spatial_temporal_transformer': (
        'spatial_transformer', 'temporal_transformer'),
    'conv2d_spatial_temporal_transformer': (
        'conv2d', 'spatial_transformer', 'temporal_transformer'),
}
ATTENTIONS = ('joint_mhsa', 'spatial_transformer', 'temporal_transformer')
TOKENIZERS = ('token_learner', 'fixed_split', 'dense', 'frame_pooling')
NUM_STAGES = 4
STRIDE = 2  # Of the stem and of the first block of every stage.

_Clip = Tuple[int, int, int, int]


@dataclasses.dataclass
class BottleneckSpec:
  """X(2+1)D with TokenLearner between expansion and reduction.

  The sizes are those of X3D-M (Feichtenhofer 2020, arXiv 2004.04730). That
  three blocks of the last stage hold the module is read from the paper's sums:
  532 GFLOPs for the plain backbone, 493 with spatial and temporal transformers
  and 487 with TokenLearner differ by three times what it gives for the modules
  alone (18.3, 5.5 and 3.4), and 532 fits clips of 64 x 256 x 256.

  Attributes:
    module: what the last blocks hold in place of their two convolutions, a name
      of MODULES; 'conv2d_conv1d' is the plain backbone.
    num_module_blocks: how many blocks, counted from the last one, hold it.
    num_tokens: tokens to learn per frame (S).
    tokenizer: where the tokens come from: 'token_learner', or in its place
      'fixed_split' (S cells of the frame), 'dense' (a linear layer over its
      positions), 'frame_pooling' (its mean, then an MLP).
    token_learner_kernel_size: side of the one convolution of the TokenLearner.
      The paper gives none; 1 is nearest to its number of parameters.
    attention_dim: width of the queries and keys of the attention modules.
    num_heads: their heads.
    stage_widths: channels of each of the four stages; the first is the stem's.
    num_blocks: blocks of each stage.
    expansion: inner width of a block over that of its stage.
    representation_size: width of a dense ReLU layer after pooling, as in X3D,
      or None.
    norm_momentum: of the moving statistics of batch normalisation.
    norm_epsilon: added to its variances.
    use_sync_bn: whether replicas share its statistics.
  """
  module: str = 'conv2d_token_learner'
  num_module_blocks: int = 3
  num_tokens: int = 8
  tokenizer: str = 'token_learner'
  token_learner_kernel_size: int = 1
  attention_dim: int = 128
  num_heads: int = 8
  stage_widths: List[int] = dataclasses.field(
      default_factory=lambda: [24, 48, 96, 192])
  num_blocks: List[int] = dataclasses.field(
      default_factory=lambda: [3, 5, 11, 7])
  expansion: float = 2.25
  representation_size: Optional[int] = 2048
  norm_momentum: float = .99
  norm_epsilon: float = 1e-5
  use_sync_bn: bool = True

  def completed(self, input_size: _Clip) -> 'BottleneckSpec':
    """A checked copy.

    Args:
      input_size: (frames, height, width, channels) of the clips. Any height and
        width will do; a map is as large as 'same' convolutions make it.

    Returns:
      BottleneckSpec; applying resolved again changes nothing.

    Raises:
      UserError: unknown names, or options that make no sense together.
    """
    spec = spec_checks.plain_copy(BottleneckSpec, self)
    spec_checks.require_sizes(
        'input_size', input_size, ('frames', 'height', 'width', 'channels'))
    spec_checks.require_known('module', spec.module, MODULES)
    spec_checks.require_known('tokenizer', spec.tokenizer, TOKENIZERS)
    for name in ('num_module_blocks', 'num_tokens', 'token_learner_kernel_size',
                 'attention_dim', 'num_heads'):
      spec_checks.require_positive(name, getattr(spec, name))
    if spec.representation_size is not None:
      spec_checks.require_positive(
          'representation_size', spec.representation_size)
    spec._check_stages()
    spec._check_norm()
    spec._check_attention()
    spec._check_tokenizer(input_size)
    return spec

  def inner_width(self, stage: int) -> int:
    """Channels between expansion and reduction, in a stage counted from 0."""
    return round(self.stage_widths[stage] * self.expansion)

  def parts(self, stage: int, block: int) -> Tuple[str, ...]:
    """What a block, of a stage, both counted from 0, holds in its middle."""
    first = self.num_blocks[-1] - self.num_module_blocks
    if stage == NUM_STAGES - 1 and block >= first:
      return MODULES[self.module]
    return MODULES['conv2d_conv1d']

  def stride(self, block: int) -> int:
    """Of the block of any stage, counted from 0, over height and width."""
    return STRIDE if block == 0 else 1

  def stem_size(self, input_size: _Clip) -> Tuple[int, int, int]:
    """(T, H, W) of the map that the stem gives."""
    frames, height, width, _ = input_size
    return frames, math.ceil(height / STRIDE), math.ceil(width / STRIDE)

  def map_size(self, input_size: _Clip) -> Tuple[int, int, int]:
    """(T, H, W) of the map of the last stage."""
    frames, height, width, _ = input_size
    stride = STRIDE**(1 + NUM_STAGES)
    return frames, math.ceil(height / stride), math.ceil(width / stride)

  def split_grid(self) -> Tuple[int, int]:
    """(rows, columns) of the cells of tokenizer=fixed_split, nearly square."""
    rows = max(n for n in range(1, math.isqrt(self.num_tokens) + 1)
               if self.num_tokens % n == 0)
    return rows, self.num_tokens // rows

  def _check_stages(self):
    stages = tuple(f'stage {i + 1}' for i in range(NUM_STAGES))
    for name in ('stage_widths', 'num_blocks'):
      spec_checks.require_sizes(name, getattr(self, name), stages)
      setattr(self, name, list(getattr(self, name)))
    _require_number('expansion', self.expansion)
    if self.expansion < 1:
      raise errors.UserError(
          f'expansion must be at least 1, received {self.expansion}.')
    if self.num_module_blocks >= self.num_blocks[-1]:
      raise errors.UserError(
          f'num_module_blocks={self.num_module_blocks} must be less than the '
          f'{self.num_blocks[-1]} blocks of the last stage: its first halves '
          'the map and keeps its convolutions.')

  def _check_norm(self):
    _require_number('norm_momentum', self.norm_momentum)
    _require_number('norm_epsilon', self.norm_epsilon)
    if not 0 <= self.norm_momentum < 1:
      raise errors.UserError(
          f'norm_momentum must lie in [0, 1), received {self.norm_momentum}.')
    if not self.norm_epsilon > 0:
      raise errors.UserError(
          f'norm_epsilon must be above 0, received {self.norm_epsilon}.')

  def _check_attention(self):
    if not set(MODULES[self.module]) & set(ATTENTIONS):
      return
    for name, width in (('attention_dim', self.attention_dim), (
        'The inner width of the last stage', self.inner_width(-1))):
      if width % self.num_heads:
        raise errors.UserError(
            f'{name}, {width}, is no multiple of num_heads={self.num_heads}.')

  def _check_tokenizer(self, input_size: _Clip):
    if self.tokenizer != 'token_learner' and (
        'token_learner' not in MODULES[self.module]):
      raise errors.UserError(
          f'tokenizer={self.tokenizer} takes the place of a TokenLearner, but '
          f'module={self.module} has none. Known with one: '
          + ', '.join(name for name, parts in MODULES.items()
                      if 'token_learner' in parts) + '.')
    if self.token_learner_kernel_size != 1 and (
        self.tokenizer != 'token_learner'):
      raise errors.UserError(
          f'token_learner_kernel_size={self.token_learner_kernel_size} goes '
          f'with tokenizer=token_learner only, received {self.tokenizer}.')
    _, height, width = self.map_size(input_size)
    rows, columns = self.split_grid()
    if self.tokenizer == 'fixed_split' and (rows > height or columns > width):
      raise errors.UserError(
          f'tokenizer=fixed_split cuts a frame into {rows} x {columns} cells, '
          f'more than its map of {height} x {width} has. Use fewer tokens or '
          'larger frames.')


def _require_number(name: str, value: object) -> None:
  if isinstance(value, bool) or not isinstance(value, (int, float)):
    raise errors.UserError(f'{name} must be a number, received {value!r}.')
