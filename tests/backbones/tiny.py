"""Models small enough for tests."""

from typing import Any, Callable

import tf_keras

from tests import layer_checks
from tf_tokenlearner import backbones

WIDTH = 8
IMAGE = (8, 12, 3)
CLIP = (6, 8, 12, 3)
GRID = (2, 3)  # Of patches in an image, and of tubelets in two frames.
FRAMES = 3  # Tubelets that follow each other in a clip.
V10 = backbones.TokenLearnerSpec('v1.0')
MEANS = backbones.TokenLearnerSpec('v1.0', pooling='mean')
V11 = backbones.TokenLearnerSpec('v1.1', bottleneck_dim=6)
# tokenizer and what must be said beside it.
POOLED = dict(
    tokenizer='grid_pooling', token_learner=backbones.TokenLearnerSpec())
_SIZES = dict(num_layers=3, hidden_size=WIDTH, mlp_dim=12, num_heads=2,
              num_tokens=4, token_learner=V11)


def spec(**kwargs: Any) -> backbones.ViTSpec:
  return backbones.ViTSpec(**{'variant': 'Ti/4', **_SIZES, **kwargs})


def vivit_spec(**kwargs: Any) -> backbones.ViViTSpec:
  return backbones.ViViTSpec(**{'variant': 'Ti/4x2', **_SIZES, **kwargs})


def factorized_spec(**kwargs: Any) -> backbones.FactorizedViViTSpec:
  return backbones.FactorizedViViTSpec(**{
      'variant': 'Ti/4x2', 'temporal_num_layers': 2, **_SIZES, **kwargs})


_SHARED = {}


def shared(make: Callable[..., tf_keras.Model], **kwargs: Any
           ) -> tf_keras.Model:
  """Returns make(**kwargs), one for all tests, which must not change it."""
  key = f'{make.__module__}.{make.__name__} {sorted(kwargs.items())}'
  if key not in _SHARED:
    _SHARED[key] = make(**kwargs)
  return _SHARED[key]


def encoder(num_frames: int = 1, scale: float = .3,
            **kwargs: Any) -> backbones.Encoder:
  """An encoder with drawn weights; scale 0 leaves them as they start."""
  layer = backbones.Encoder(spec(**kwargs).completed(IMAGE), GRID, num_frames)
  layer.build([None, num_frames * GRID[0] * GRID[1], WIDTH])
  if scale:
    layer_checks.draw_weights(layer, scale)
  return layer


def vit(**kwargs: Any) -> backbones.VisionTransformer:
  """A vision transformer with drawn weights."""
  model = backbones.VisionTransformer(spec(**kwargs), IMAGE)
  layer_checks.draw_weights(model)
  return model


def vivit(**kwargs: Any) -> backbones.VideoVisionTransformer:
  """A video vision transformer with drawn weights."""
  model = backbones.VideoVisionTransformer(vivit_spec(**kwargs), CLIP)
  layer_checks.draw_weights(model)
  return model


def factorized(**kwargs: Any) -> backbones.FactorizedVideoVisionTransformer:
  """A factorised encoder with drawn weights."""
  model = backbones.FactorizedVideoVisionTransformer(
      factorized_spec(**kwargs), CLIP)
  layer_checks.draw_weights(model)
  return model
