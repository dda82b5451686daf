"""What the backbones for clips are made of: plain data without TensorFlow."""

import dataclasses
from typing import List, Optional, Tuple

from tf_tokenlearner import errors
from tf_tokenlearner.backbones import frame_sampling
from tf_tokenlearner.backbones import spec_checks
from tf_tokenlearner.backbones import specs
from tf_tokenlearner.backbones import variants

TUBELET_EMBEDDINGS = ('3d_conv', 'temporal_sampling')
POSITION_EMBEDDINGS = ('learned', 'repeated')

_Clip = Tuple[int, int, int, int]


@dataclasses.dataclass
class VideoSpec(specs.TransformerSpec):
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

  def resolved(self, input_size: _Clip) -> 'ViViTSpec':
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
    return frame_sampling.sampled_frames(input_size[0], self.num_sampled_frames)

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

  def resolved(self, input_size: _Clip) -> 'FactorizedViViTSpec':
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
    spec._check_temporal()
    spec._check_tiled(input_size)
    spec._resolve_pooling(spec.grid_size(input_size))
    return spec

  def tokens_per_frame(self) -> int:
    """Tokens that go from each tubelet index to the temporal transformer."""
    locations = self.learn_locations()
    return locations[-1][1] if locations else 1

  def temporal_spec(self) -> specs.TransformerSpec:
    """The temporal transformer, for a spec that is resolved."""
    return specs.TransformerSpec(
        variant=self.variant, num_layers=self.temporal_num_layers,
        hidden_size=self.hidden_size, mlp_dim=self.temporal_mlp_dim,
        num_heads=self.temporal_num_heads, dropout_rate=self.dropout_rate,
        attention_dropout_rate=self.attention_dropout_rate,
        stochastic_depth_rate=self.stochastic_depth_rate)

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
