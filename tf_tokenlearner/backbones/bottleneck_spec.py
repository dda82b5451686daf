"""Spec of the bottleneck video model, importable without TensorFlow."""

import dataclasses
import math
from typing import Dict, List, Optional, Tuple

from tf_tokenlearner.backbones import spec_checks
from tf_tokenlearner import errors

# The rows of the paper's tables 11 and 12: the layers, in this order, between
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
_STAGES = tuple(f'stage {i + 1}' for i in range(NUM_STAGES))
STRIDE = 2  # Stride of the stem and of the first block of every stage.

_Clip = Tuple[int, int, int, int]


@dataclasses.dataclass
class BottleneckSpec:
  """X(2+1)D with TokenLearner between expansion and reduction.

  The sizes are those of X3D-M (Feichtenhofer 2020, arXiv 2004.04730). The paper
  does not say how many blocks hold the module. Three of the last stage follow
  from its sums: 532 GFLOPs for the plain backbone, 493 with spatial and
  temporal transformers and 487 with TokenLearner differ by three times what it
  gives for the modules alone (18.3, 5.5 and 3.4), and 532 fits clips of
  64 x 256 x 256.

  Attributes:
    module: what the last blocks hold in place of their two convolutions, a name
      of MODULES; 'conv2d_conv1d' is the plain backbone.
    num_module_blocks: blocks, counted from the last one, that hold it.
    num_tokens: tokens to learn per frame (S).
    tokenizer: 'token_learner', or one of the baselines 'fixed_split' (S cells
      of the frame), 'dense' (a linear layer over its positions) and
      'frame_pooling' (its mean, then an MLP).
    token_learner_kernel_size: side of the one convolution of the TokenLearner.
      The paper gives none; 1 is nearest to its number of parameters.
    attention_dim: width of the queries and keys of the attention modules.
    num_heads: their heads.
    stage_widths: channels of each of the four stages; the first is the stem's.
    num_blocks: blocks of each stage.
    expansion: inner width of a block, as a multiple of its stage's width.
    representation_size: width of a dense ReLU layer after pooling, as in X3D,
      or None.
    norm_momentum: momentum of the moving statistics of batch normalization.
    norm_epsilon: added to its variances.
    use_sync_bn: whether replicas share its statistics.
  """
  module: str = spec_checks.choice('conv2d_token_learner', tuple(MODULES))
  num_module_blocks: int = spec_checks.size(3)
  num_tokens: int = spec_checks.size(8)
  tokenizer: str = spec_checks.choice('token_learner', TOKENIZERS)
  token_learner_kernel_size: int = spec_checks.size(1)
  attention_dim: int = spec_checks.size(128)
  num_heads: int = spec_checks.size(8)
  stage_widths: List[int] = spec_checks.sizes([24, 48, 96, 192], *_STAGES)
  num_blocks: List[int] = spec_checks.sizes([3, 5, 11, 7], *_STAGES)
  expansion: float = spec_checks.number(2.25)
  representation_size: Optional[int] = spec_checks.size(
      2048, optional=True)
  norm_momentum: float = spec_checks.rate(.99)
  norm_epsilon: float = spec_checks.number(1e-5)
  use_sync_bn: bool = True

  def completed(self, input_size: _Clip) -> 'BottleneckSpec':
    """Returns a checked copy.

    Args:
      input_size: (frames, height, width, channels) of the clips. Any height and
        width are allowed; 'same' convolutions determine the size of a map.

    Returns:
      BottleneckSpec; completing it again changes nothing.

    Raises:
      UserError: unknown names, or options that contradict each other.
    """
    spec = spec_checks.plain_copy(BottleneckSpec, self)
    spec_checks.require_sizes(
        'input_size', input_size, ('frames', 'height', 'width', 'channels'))
    spec_checks.check_fields(spec)
    spec.stage_widths = list(spec.stage_widths)
    spec.num_blocks = list(spec.num_blocks)
    spec_checks.check_rules(spec, _RULES)
    spec._check_split(input_size)
    return spec

  def inner_width(self, stage: int) -> int:
    """Returns the channels between expansion and reduction of a stage."""
    return round(self.stage_widths[stage] * self.expansion)

  def parts(self, stage: int, block: int) -> Tuple[str, ...]:
    """Returns the layers in the middle of a block; both counted from 0."""
    first = self.num_blocks[-1] - self.num_module_blocks
    if stage == NUM_STAGES - 1 and block >= first:
      return MODULES[self.module]
    return MODULES['conv2d_conv1d']

  def stride(self, block: int) -> int:
    """Returns the stride of a block over height and width; counted from 0."""
    return STRIDE if block == 0 else 1

  def map_size(self, input_size: _Clip) -> Tuple[int, int, int]:
    """Returns (T, H, W) of the map of the last stage."""
    frames, height, width, _ = input_size
    stride = STRIDE**(1 + NUM_STAGES)
    return frames, math.ceil(height / stride), math.ceil(width / stride)

  def split_grid(self) -> Tuple[int, int]:
    """Returns (rows, columns) of the cells of fixed_split, nearly square."""
    rows = max(n for n in range(1, math.isqrt(self.num_tokens) + 1)
               if self.num_tokens % n == 0)
    return rows, self.num_tokens // rows

  def _check_split(self, input_size: _Clip):
    _, height, width = self.map_size(input_size)
    rows, columns = self.split_grid()
    if self.tokenizer == 'fixed_split' and (rows > height or columns > width):
      raise errors.UserError(
          f'tokenizer=fixed_split cuts a frame into {rows} x {columns} cells, '
          f'more than its map of {height} x {width} has. Use fewer tokens or '
          'larger frames.')

  @property
  def _attends(self) -> bool:
    return bool(set(MODULES[self.module]) & set(ATTENTIONS))


_RULES: Tuple[spec_checks.Rule, ...] = (
    (lambda s: s.expansion < 1,
     'expansion must be at least 1, got {s.expansion}.'),
    (lambda s: s.num_module_blocks >= s.num_blocks[-1],
     'num_module_blocks={s.num_module_blocks} must be less than the '
     '{s.num_blocks[3]} blocks of the last stage: its first halves the map and '
     'keeps its convolutions.'),
    (lambda s: not s.norm_epsilon > 0,
     'norm_epsilon must be above 0, got {s.norm_epsilon}.'),
    (lambda s: s._attends and s.attention_dim % s.num_heads,
     'attention_dim={s.attention_dim} is no multiple of num_heads='
     '{s.num_heads}.'),
    (lambda s: s._attends and s.inner_width(-1) % s.num_heads,
     'stage_widths={s.stage_widths} with expansion={s.expansion} gives the '
     'last '
     'stage an inner width that is no multiple of num_heads={s.num_heads}.'),
    (lambda s: (s.tokenizer != 'token_learner'
                and 'token_learner' not in MODULES[s.module]),
     'tokenizer={s.tokenizer} takes the place of a TokenLearner, but module='
     '{s.module} has none. Known with one: ' + ', '.join(
         name for name, parts in MODULES.items() if 'token_learner' in parts)
     + '.'),
    (lambda s: (s.token_learner_kernel_size != 1
                and s.tokenizer != 'token_learner'),
     'token_learner_kernel_size={s.token_learner_kernel_size} goes with '
     'tokenizer=token_learner only, got {s.tokenizer}.'),
)
