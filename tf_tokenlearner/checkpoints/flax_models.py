"""Builds the model that the weights of a public checkpoint belong to.

The shapes of the arrays give its sizes. What they do not give, such as the
location of a TokenLearner without a Fuser, is taken from the model to start.
"""

import math
import re
from typing import Dict, List, Optional, Tuple

from tf_tokenlearner import backbones
from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner.checkpoints import transfer
from tf_tokenlearner import errors

_Grid = Tuple[int, int]


def build(weights: flax_names.Weights, like: backbones.Classifier,
          grid_size: Optional[_Grid] = None) -> backbones.Classifier:
  """Builds a classifier with these weights; every array must have a place.

  Args:
    weights: as a reader returns them.
    like: the model that will start from the weights.
    grid_size: (H, W) in patches; None: that of like if it fits, or a square;
      the square first if weights prefer it.

  Raises:
    UserError: arrays are missing, left over, or contradict each other.
  """
  sizes = _Sizes(weights, like, grid_size)
  try:
    model = backbones.Classifier(
        sizes.backbone(), sizes.size(f'{flax_names.HEAD}/bias'))
  except errors.UserError as error:
    raise errors.UserError(f'{weights.path} cannot be loaded: {error}'
                           ) from error
  flax_names.assign(flax_names.classifier_entries(model), weights.arrays,
                    f'The arrays in {weights.path} do not go together')
  return model


class _Sizes:
  """Reader of a model's sizes from shapes, of vectors where possible."""

  def __init__(self, weights, like, grid_size):
    self._arrays = weights.arrays
    self._prefers_square = weights.prefers_square
    self._like = like.backbone
    self._grid_size = grid_size

  def backbone(self):
    """Returns a backbone of the right class and sizes, with random weights."""
    kernel = self.shape('embedding/kernel')
    if len(kernel) not in (4, 5):
      raise errors.UserError(
          f'embedding/kernel {list(kernel)} is neither of images, [height, '
          'width, channels, C], nor of clips, [frames, height, ...].')
    if 'SpatialTransformer/encoder_norm/scale' in self._arrays:
      return self._factorized(kernel)
    if len(kernel) == 5 or self._samples_frames():
      return self._vivit(kernel)
    return self._vit(kernel)

  def _vit(self, kernel):
    spec = backbones.ViTSpec(
        'Ti/16', patch_size=kernel[:2], **self._encoder('Transformer'),
        **self._pooling('cls'))
    h, w = self._grid(self._positions('Transformer', 'cls'))
    return backbones.VisionTransformer(
        spec, (h * kernel[0], w * kernel[1], kernel[2]))

  def _vivit(self, kernel):
    transfer.require_compatible(
        backbones.VideoVisionTransformer, type(self._like))
    frames, grid = self._frames_and_grid(self._positions('Transformer', 'cls'))
    options, (t, h, w, channels) = {}, (1, *kernel[-4:-1])
    length = self._like.input_size[0]
    if len(kernel) == 5:
      t = kernel[0]
      length = frames * t
    else:
      options = dict(tubelet_embedding='temporal_sampling',
                     num_sampled_frames=self._like.spec.num_sampled_frames)
    spec = backbones.ViViTSpec(
        'Ti/16x2', tubelet_size=[t, h, w], **options,
        **self._encoder('Transformer'), **self._pooling('cls'))
    return backbones.VideoVisionTransformer(
        spec, (length, grid[0] * h, grid[1] * w, channels))

  def _factorized(self, kernel):
    transfer.require_compatible(
        backbones.FactorizedVideoVisionTransformer, type(self._like))
    space, time = 'SpatialTransformer', 'TemporalTransformer'
    t, h, w, channels = kernel[-5:-1] if len(kernel) == 5 else (1, *kernel[:3])
    temporal = self._encoder(time)
    spec = backbones.FactorizedViViTSpec(
        'Ti/16x2', tubelet_size=[t, h, w],
        temporal_num_layers=temporal['num_layers'],
        temporal_mlp_dim=temporal['mlp_dim'],
        temporal_num_heads=temporal['num_heads'],
        **self._encoder(space), **self._pooling(f'cls_{space}'))
    grid = self._grid(self._positions(space, f'cls_{space}'))
    frames = self._positions(time, f'cls_{time}')
    return backbones.FactorizedVideoVisionTransformer(
        spec, (frames * t, grid[0] * h, grid[1] * w, channels))

  def _encoder(self, prefix: str) -> Dict:
    """Returns the options of the blocks and of the layers between them."""
    num_layers = self._count(f'{prefix}/encoderblock_')
    first = f'{prefix}/encoderblock_0/'
    heads = self.shape(f'{first}{flax_names.ATTENTION}/query/bias')
    if len(heads) != 2:
      raise errors.UserError(
          f'{first}{flax_names.ATTENTION}/query/bias {list(heads)} is not '
          '[heads, width of a head].')
    return dict(
        num_layers=num_layers,
        hidden_size=self.size(f'{prefix}/encoder_norm/scale'),
        mlp_dim=self.size(f'{first}{flax_names.MLP}/Dense_0/bias'),
        num_heads=heads[0],
        **self._token_learner(prefix, num_layers))

  def _token_learner(self, prefix: str, num_layers: int) -> Dict:
    for version, module in (('v1.1', 'TokenLearnerModuleV11_'),
                            ('v1.0', 'TokenLearnerModule_')):
      num_learners = self._count(f'{prefix}/{module}', optional=True)
      if num_learners:
        break
    else:
      return {}
    learner = f'{prefix}/{module}0/'
    if version == 'v1.1':
      token_learner = backbones.TokenLearnerSpec(
          version, self.size(f'{learner}token_masking/Dense_0/bias'))
      num_tokens = self.size(f'{learner}token_masking/Dense_1/bias')
    else:
      token_learner = backbones.TokenLearnerSpec(version)
      num_tokens = self.shape(f'{learner}Conv_3/kernel')[-1]
    fusers = self._count(f'{prefix}/TokenFuser_', optional=True)
    if fusers:
      token_learner.bottleneck_dim = self.size(
          f'{prefix}/TokenFuser_0/token_masking/Dense_0/bias')
    return dict(
        token_learner=token_learner, num_tokens=num_tokens,
        use_token_fuser=bool(fusers),
        token_learner_location=(num_layers - num_learners if fusers
                                else self._location(num_learners)))

  def _location(self, num_learners: int) -> List[int]:
    """Returns the learners' locations, which the arrays do not tell."""
    locations = [k for k, _ in self._like.spec.token_learners()]
    if len(locations) != num_learners or self._like.spec.use_token_fuser:
      return list(range(num_learners))  # The model to start ignores them.
    return locations

  def _pooling(self, class_token: str) -> Dict:
    pooler = self._like.spec.pooler
    if class_token in self._arrays:
      pooler = 'token'
    elif pooler not in ('gap', 'gmp', 'gsp'):  # The others have weights.
      pooler = 'gap'
    return dict(
        pooler=pooler,
        representation_size=(self.size('pre_logits/bias')
                             if 'pre_logits/bias' in self._arrays else None))

  def _samples_frames(self) -> bool:
    spec = self._like.spec
    return getattr(spec, 'tubelet_embedding', '') == 'temporal_sampling' and (
        self._positions('Transformer', 'cls') == math.prod(
            (spec.num_frames(self._like.input_size),
             *spec.grid_size(self._like.input_size))))

  def _positions(self, prefix: str, class_token: str) -> int:
    name = f'{prefix}/posembed_input/pos_embedding'
    shape = self.shape(name)
    if len(shape) != 3 or shape[0] != 1:
      raise errors.UserError(
          f'{name} {list(shape)} is not [1, positions, C].')
    return shape[1] - (class_token in self._arrays)

  def _grid(self, positions: int) -> _Grid:
    """Returns (H, W): as given, or else a square or that of the model."""
    side = math.isqrt(positions)
    own = self._like.spec.grid_size(self._like.input_size)
    likely = [own, (side, side)]
    if self._prefers_square:
      likely.reverse()
    for grid in [self._grid_size] if self._grid_size else likely:
      if math.prod(grid) == positions:
        return tuple(grid)
    raise errors.UserError(
        f'it has {positions} positions in a frame, which are '
        + (f'not grid_size={tuple(self._grid_size)}.' if self._grid_size else
           'no square: give grid_size=(height, width) in patches, or a model '
           'of the same grid.'))

  def _frames_and_grid(self, positions: int) -> Tuple[int, _Grid]:
    """Returns T and (H, W); one of the two must be that of the model."""
    frames = self._like.spec.num_frames(self._like.input_size)
    own = self._grid_size or self._like.spec.grid_size(self._like.input_size)
    found = set()
    if positions % math.prod(own) == 0:
      found.add((positions // math.prod(own), tuple(own)))
    side = math.isqrt(positions // frames)
    if not self._grid_size and frames * side**2 == positions:
      found.add((frames, (side, side)))
    if len(found) != 1:
      raise errors.UserError(
          f'it has {positions} positions, from which frames and grid do not '
          f'follow; the model has {frames} frames of {own[0]} x {own[1]}. '
          'Load it into a model of its own size first.')
    return found.pop()

  def _count(self, prefix: str, optional: bool = False) -> int:
    """Returns the number of prefix0, prefix1, ..."""
    pattern = re.compile(re.escape(prefix) + r'(\d+)/')
    found = {int(match[1]) for name in self._arrays
             if (match := pattern.match(name))}
    if found != set(range(len(found))) or not (found or optional):
      absent = next(i for i in range(len(found) + 1) if i not in found)
      raise errors.UserError(f'it lacks {prefix}{absent}.')
    return len(found)

  def size(self, name: str) -> int:
    """Returns the length of a vector."""
    shape = self.shape(name)
    if len(shape) != 1:
      raise errors.UserError(
          f'{name} should be a vector, but its shape is {list(shape)}.')
    return shape[0]

  def shape(self, name: str) -> Tuple[int, ...]:
    """Returns the shape of an array that must exist."""
    if name not in self._arrays:
      raise errors.UserError(f'it lacks {name}.')
    return self._arrays[name].shape
