"""Options of a pretrained model, as its config.json states or implies them."""

import math
import re
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import hub_files

_ACTIVATIONS = {
    'gelu': 'gelu', 'gelu_new': 'gelu_tanh', 'gelu_fast': 'gelu_tanh',
    'gelu_pytorch_tanh': 'gelu_tanh', 'gelu_tanh': 'gelu_tanh',
    'quick_gelu': 'quick_gelu'}
# Defaults of transformers by model_type. A config.json may omit them.
_DEFAULTS = {
    'vit': ('gelu', 1e-12), 'deit': ('gelu', 1e-12), 'dinov2': ('gelu', 1e-6),
    'dinov2_with_registers': ('gelu', 1e-6), 'clip': ('quick_gelu', 1e-5),
    'clip_vision_model': ('quick_gelu', 1e-5),
    'siglip': ('gelu_pytorch_tanh', 1e-6),
    'siglip_vision_model': ('gelu_pytorch_tanh', 1e-6),
    'videomae': ('gelu', 1e-12), 'vivit': ('gelu_fast', 1e-6)}
_DEFAULT_HEADS = 12
_DEFAULT_IMAGE_SIZE = 224
_DEFAULT_FRAMES = {'videomae': 16, 'vivit': 32}
# SigLIP models of timm, some of which differ from the original activation.
_TIMM_SIGLIP = (
    (r'vit_(base_patch16|so400m_patch14)_siglip_(gap_)?\d+', 'gelu'),
    (r'vit_large_patch16_siglip_(gap_)?(256|384)', 'gelu'),
    (r'vit_(base_patch32|so400m_patch16|giantopt_patch16)_siglip_(gap_)?\d+',
     'gelu_tanh'),
    (r'vit_large_patch16_siglip_(gap_)?512', 'gelu_tanh'))
_TIMM_POOLERS = {'avg': 'gap', 'token': 'token', 'map': 'attention'}
_TIMM_MODES = {'center': 'crop', 'squash': 'stretch', 'border': 'letterbox'}
# Names of timm, and Pillow's numbers, which transformers keeps.
_INTERPOLATIONS = {
    'bilinear': 'bilinear', 'bicubic': 'bicubic', 'lanczos': 'lanczos3',
    'nearest': 'nearest', 0: 'nearest', 1: 'lanczos3', 2: 'bilinear',
    3: 'bicubic'}
_TORCH_EPSILON = 1e-5
_HEAD_WIDTH = 64  # Of nearly all vision transformers.


class Config:
  """Options of transformers or timm, with the defaults of these libraries.

  Args:
    files: the configs of a pretrained model.
    num_heads: attention heads, for files without config.json; 0: as in the
      config, else transformers' default or one per 64 channels.
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
    if not heads and self._values.get('model_type') in _DEFAULTS:
      heads = _DEFAULT_HEADS
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
    if size is None and self._values.get('model_type') in _DEFAULTS:
      size = _DEFAULT_IMAGE_SIZE
    if size is None:
      side = math.isqrt(max(positions, 0))
      return () if len(tubelet) == 3 else (side, side)
    size = list(size) if isinstance(size, (list, tuple)) else [size, size]
    if len(tubelet) == 3:
      frames = _DEFAULT_FRAMES.get(self._values.get('model_type'), 0)
      size = [self._values.get('num_frames', frames), *size]
    return tuple(n // step for n, step in zip(size, tubelet))

  def pixel_statistics(self, channels: int) -> Tuple[np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of pixels in [0, 1], [channels].

    The statistics include the rescaling of preprocessor_config.json. Values
    that no file states are .5, which stands for pixels in [-1, 1].
    """
    processor = self._files.preprocessor
    mean, deviation = self._stated_statistics()
    if not processor.get('do_normalize', True):
      mean, deviation = 0., 1.
    # The library normalises scale * x - offset of pixels x in [0, 1].
    scale = 255. * (processor.get('rescale_factor', 1 / 255)
                    if processor.get('do_rescale', True) else 1.)
    offset = float(bool(processor.get('offset')))
    spread = lambda value: np.broadcast_to(
        np.asarray(value, np.float32).ravel(), channels)
    return ((spread(.5 if mean is None else mean) + offset) / scale,
            spread(.5 if deviation is None else deviation) / scale)

  def states_pixels(self) -> bool:
    """Returns whether a file states the statistics of the pixels."""
    return (not self._files.preprocessor.get('do_normalize', True)
            or None not in self._stated_statistics())

  def _stated_statistics(self) -> Tuple[Any, Any]:
    """Returns mean and deviation as a file states them, or None."""
    pretrained = self._files.config.get('pretrained_cfg', {})
    mean, deviation = (
        self._files.preprocessor.get(key, pretrained.get(short))
        for key, short in (('image_mean', 'mean'), ('image_std', 'std')))
    return mean, deviation

  def picture_size(self) -> Optional[Tuple[int, int]]:
    """Returns (height, width) that the source's preprocessing makes, or None.

    It may differ from the size that the positions are for: DINOv2 has positions
    for 518 px and sees 224 px.
    """
    processor = self._files.preprocessor
    key = 'crop_size' if processor.get('do_center_crop') else 'size'
    size = processor.get(key)
    if isinstance(size, int):
      return size, size
    if isinstance(size, dict) and {'height', 'width'} <= set(size):
      return size['height'], size['width']
    return None

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

  def resizing(self) -> Dict[str, Any]:
    """Returns the options of data.resizing.Resizing that a file states.

    Both libraries resize with Pillow or as it does, which is antialiased.

    Raises:
      UserError: the interpolation is not supported.
    """
    processor = self._files.preprocessor
    pretrained = self._files.config.get('pretrained_cfg', {})
    options: Dict[str, Any] = {}
    mode = _TIMM_MODES.get(pretrained.get('crop_mode'))
    if processor.get('size') and processor.get('do_resize', True):
      # A single number, of old files, is height and width.
      sides = processor['size']
      is_square = not isinstance(sides, dict) or 'height' in sides
      mode = ('stretch' if is_square and not processor.get('do_center_crop')
              else 'crop')
    if mode:
      options['resize'] = mode
    stated = processor.get('resample', pretrained.get('interpolation'))
    if stated is not None:
      if stated not in _INTERPOLATIONS:
        raise errors.unknown_name(
            'interpolation of the pretrained model', str(stated),
            map(str, _INTERPOLATIONS))
      options['interpolation'] = _INTERPOLATIONS[stated]
      options['antialias'] = options['interpolation'] != 'nearest'
    return options

  def activation(self) -> str:
    """Returns the activation of the MLPs, one of specs.ACTIVATIONS.

    Raises:
      UserError: it is unknown, or nothing states it.
    """
    name = self._values.get('hidden_act') or self._values.get('act_layer')
    if name is None:
      name = self._default(0, 'hidden_act', self._timm_activation)
    if name not in _ACTIVATIONS:
      raise errors.unknown_name('activation of the pretrained model', name,
                                _ACTIVATIONS)
    return _ACTIVATIONS[name]

  def _timm_activation(self) -> str:
    if 'siglip' not in self._architecture:
      return 'quick_gelu' if 'quickgelu' in self._architecture else 'gelu'
    for pattern, name in _TIMM_SIGLIP:
      if re.fullmatch(pattern, self._architecture.split('.')[0]):
        return name
    raise errors.UserError(
        f'{self._files.source}: the activation of {self._architecture} is '
        'unknown. Put act_layer (gelu or gelu_tanh) into model_args of '
        'config.json.')

  def norm_epsilon(self) -> float:
    """Returns the epsilon of the LayerNorms.

    Raises:
      UserError: nothing states it.
    """
    value = self._values.get('layer_norm_eps')
    if value is None:
      value = self._default(1, 'layer_norm_eps', self._timm_epsilon)
    return float(value)

  def _timm_epsilon(self) -> float:
    is_clip = 'clip' in self._architecture and (
        'siglip' not in self._architecture)
    return _TORCH_EPSILON if is_clip else 1e-6

  def _default(self, i: int, key: str, timm_default: Callable[[], Any]) -> Any:
    """Returns an entry of _DEFAULTS, or timm's default for its models."""
    model_type = self._values.get('model_type')
    if model_type is None:
      return timm_default()
    if model_type not in _DEFAULTS:
      raise errors.UserError(
          f'{self._files.source}: expected {key} in config.json, whose '
          f'model_type={model_type} has no known default. Add it.')
    return _DEFAULTS[model_type][i]

  def is_assumed(self) -> bool:
    """Returns whether the library that made the model is unknown."""
    return not self._architecture and 'model_type' not in self._values

  def pooled_norm_epsilon(self) -> Optional[float]:
    """Returns the epsilon of a LayerNorm after pooling; None: the same."""
    # VideoMAE makes this one with PyTorch's default.
    is_videomae = self._values.get('model_type') == 'videomae'
    return _TORCH_EPSILON if is_videomae else None

  def pooler(self) -> Optional[str]:
    """Returns the pooler that the config of timm states, or None.

    Raises:
      UserError: the pooling is not supported.
    """
    stated = self._values.get('global_pool')
    if stated is None:
      return None
    if stated not in _TIMM_POOLERS:
      raise errors.unknown_name('global_pool of the pretrained model', stated,
                                _TIMM_POOLERS)
    if stated == 'avg' and self._values.get('pool_include_prefix'):
      raise errors.UserError(
          f'{self._files.source}: expected a mean over patches, got '
          'pool_include_prefix=true, which is not supported.')
    return _TIMM_POOLERS[stated]

  def pools_first_patch(self) -> bool:
    """Returns whether a VideoMAE classifies its first token, not the mean."""
    return self._values.get('use_mean_pooling') is False

  def has_final_norm(self) -> bool:
    """Returns False if the config of timm leaves out the last LayerNorm."""
    return self._values.get('final_norm') is not False


def _vision_values(config: Mapping[str, Any]) -> Dict[str, Any]:
  """Returns the vision part of a config.json, of transformers or timm."""
  merged = {**config, **config.get('model_args', {})}
  vision = config.get('vision_config')
  if isinstance(vision, dict):
    merged.update(vision)
  pretrained = config.get('pretrained_cfg', {})
  if 'img_size' not in merged and 'input_size' in pretrained:
    merged['img_size'] = pretrained['input_size'][1:]
  return merged
