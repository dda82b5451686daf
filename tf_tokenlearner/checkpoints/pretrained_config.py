"""Options of a pretrained model, as its config.json states or implies them."""

import math
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import hub_files

_ACTIVATIONS = {
    'gelu': 'gelu', 'gelu_new': 'gelu_tanh', 'gelu_fast': 'gelu_tanh',
    'gelu_pytorch_tanh': 'gelu_tanh', 'gelu_tanh': 'gelu_tanh',
    'quick_gelu': 'quick_gelu'}
_TORCH_EPSILON = 1e-5
_HEAD_WIDTH = 64  # Of nearly all vision transformers.


class Config:
  """Options of transformers or timm, with the defaults of these libraries.

  Args:
    files: the configs of a pretrained model.
    num_heads: attention heads, for files without config.json; 0: as in the
      config, else one per 64 channels.
  """

  def __init__(self, files: hub_files.PretrainedFiles, num_heads: int = 0):
    self._files = files
    self._values = _vision_values(files.config)
    self._num_heads = num_heads
    self._architecture = str(files.config.get('architecture', ''))

  def num_heads(self, width: int) -> int:
    """Returns the number of attention heads.

    Raises:
      UserError: nothing states it, or it does not divide the width.
    """
    heads = (self._num_heads or self._values.get('num_attention_heads')
             or self._values.get('num_heads'))
    if not heads and width % _HEAD_WIDTH == 0:
      heads = width // _HEAD_WIDTH
    if not isinstance(heads, int) or heads < 1 or width % heads:
      raise errors.UserError(
          f'{self._files.source}: expected a number of attention heads that '
          f'divides the width {width}, got {heads}. Put config.json next to '
          'the weights, or give num_heads.')
    return heads

  def grid(self, tubelet: Sequence[int], positions: int) -> Tuple[int, ...]:
    """Returns ((T,) H, W) by the image size, else a square of positions."""
    size = self._values.get('image_size', self._values.get('img_size'))
    if size is None:
      side = math.isqrt(max(positions, 0))
      return () if len(tubelet) == 3 else (side, side)
    size = list(size) if isinstance(size, (list, tuple)) else [size, size]
    if len(tubelet) == 3:
      size = [self._values.get('num_frames', 0), *size]
    return tuple(n // step for n, step in zip(size, tubelet))

  def pixel_statistics(self, channels: int) -> Tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of pixels in [0, 1], [channels]."""
    pretrained = self._files.config.get('pretrained_cfg', {})
    mean, deviation = (
        self._files.preprocessor.get(key, pretrained.get(short, .5))
        for key, short in (('image_mean', 'mean'), ('image_std', 'std')))
    spread = lambda value: np.broadcast_to(
        np.asarray(value, np.float32).ravel(), channels)
    return spread(mean), spread(deviation)

  def crop_fraction(self) -> float:
    """Returns the share of the shorter side that the source evaluates on."""
    processor = self._files.preprocessor
    if processor.get('do_center_crop'):
      size, crop = (processor.get(key) for key in ('size', 'crop_size'))
      shorter = lambda value: (
          min(value.values()) if isinstance(value, dict) else value)
      return min(shorter(crop) / shorter(size), 1.) if size and crop else 1.
    return float(self._files.config.get('pretrained_cfg', {}).get(
        'crop_pct', 1.))

  def activation(self) -> str:
    """Returns the activation of the MLPs, one of specs.ACTIVATIONS."""
    name = self._values.get('hidden_act') or self._values.get('act_layer')
    if name is None:
      name = ('gelu_tanh' if 'siglip' in self._architecture else
              'quick_gelu' if 'quickgelu' in self._architecture else 'gelu')
    if name not in _ACTIVATIONS:
      raise errors.unknown_name('activation of the pretrained model', name,
                                _ACTIVATIONS)
    return _ACTIVATIONS[name]

  def norm_epsilon(self) -> float:
    """Returns the epsilon of the LayerNorms."""
    is_timm_clip = ('clip' in self._architecture
                    and 'siglip' not in self._architecture)
    default = 1e-5 if is_timm_clip else 1e-6
    return float(self._values.get('layer_norm_eps', default))

  def pooled_norm_epsilon(self) -> Optional[float]:
    """Returns the epsilon of a LayerNorm after pooling; None: the same."""
    # VideoMAE makes this one with PyTorch's default.
    is_videomae = self._values.get('model_type') == 'videomae'
    return _TORCH_EPSILON if is_videomae else None

  def pools_by_mean(self) -> bool:
    """Returns whether the config states a mean over positions."""
    return self._values.get('global_pool') == 'avg'

  def is_clip(self) -> bool:
    """Returns whether this is CLIP, whose last norm follows the pooling."""
    return 'clip' in str(self._values.get('model_type', ''))


def _vision_values(config: Mapping[str, Any]) -> Dict[str, Any]:
  """Returns the vision part of a config.json, of transformers or timm."""
  merged = {**config, **config.get('model_args', {})}
  vision = config.get('vision_config')
  if isinstance(vision, dict):
    merged.update(vision)
    merged.setdefault('model_type', config.get('model_type'))
  pretrained = config.get('pretrained_cfg', {})
  if 'img_size' not in merged and 'input_size' in pretrained:
    merged['img_size'] = pretrained['input_size'][1:]
  return merged
