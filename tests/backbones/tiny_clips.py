"""A bottleneck video model small enough for tests."""

from typing import Any

import numpy as np
import tf_keras

from tests import layer_checks
from tests.backbones import tiny
from tf_tokenlearner import backbones

CLIP = (4, 64, 96, 3)
MAP = (4, 2, 3)  # T, H, W in the last stage.


def spec(**kwargs: Any) -> backbones.BottleneckSpec:
  return backbones.BottleneckSpec(**{**dict(
      num_blocks=[1, 1, 1, 2], num_module_blocks=1, stage_widths=[2, 3, 4, 4],
      expansion=2, num_tokens=2, attention_dim=4, num_heads=2,
      representation_size=5), **kwargs})


def model(input_size=CLIP, **kwargs: Any) -> backbones.BottleneckTransformer:
  """A model with drawn weights, whose moving variances are positive."""
  made = backbones.BottleneckTransformer(spec(**kwargs), input_size)
  draw_weights(made)
  return made


def shared(**kwargs: Any) -> backbones.BottleneckTransformer:
  """Returns model(**kwargs), one for all tests, which must not change it."""
  return tiny.shared(model, **kwargs)


def draw_weights(layer: tf_keras.layers.Layer) -> None:
  """Fixed random weights that pass signals on, and variances above zero."""
  layer_checks.draw_weights(layer, .4)
  for weight in layer.non_trainable_variables:
    if 'moving_variance' in weight.name:
      weight.assign(np.abs(weight) + .5)


def clips(batch: int = 2, input_size=CLIP) -> np.ndarray:
  return np.random.default_rng(8).uniform(
      -1, 1, [batch, *input_size]).astype('float32')
