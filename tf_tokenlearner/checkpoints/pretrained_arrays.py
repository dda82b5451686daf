"""Converts timm's and transformers' vision transformers to official names.

Layer scale and pixel statistics are folded into kernels and biases, which is
exact. Biases and positions that a model does not have become zeros or the
sin-cos positions that its code adds.
"""

import math
from typing import Any, Dict, List, NamedTuple, Sequence, Set, Tuple

import numpy as np

from tf_tokenlearner import errors
from tf_tokenlearner.backbones import specs
from tf_tokenlearner.backbones import variants
from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner.checkpoints import hub_files
from tf_tokenlearner.checkpoints import pretrained_config
from tf_tokenlearner.checkpoints import pretrained_names

_HEAD_KERNEL = f'{flax_names.HEAD}/kernel'
_HEAD_BIAS = f'{flax_names.HEAD}/bias'
_NORMS = (('norm1', 'LayerNorm_0'), ('norm2', flax_names.SECOND_NORM))


class Pretrained(NamedTuple):
  """A pretrained model in the official names.

  Attributes:
    arrays: float32 arrays by official name, keys joined by '/'.
    spec: ViTSpec or ViViTSpec of the model.
    input_size: shape of an image or clip.
    num_classes: outputs of the head; None: the file has no head.
    notes: what was folded, left out or filled, one sentence each.
  """
  arrays: Dict[str, np.ndarray]
  spec: specs.TransformerSpec
  input_size: Tuple[int, ...]
  num_classes: Any
  notes: List[str]


def convert(files: hub_files.PretrainedFiles, num_heads: int = 0,
            needs_head: bool = True) -> Pretrained:
  """Converts the weights of a file.

  Args:
    files: what hub_files.read returned.
    num_heads: attention heads, if no config.json states them; 0: as in the
      config, else one per 64 channels.
    needs_head: False leaves out a head whose pooling is not supported, which
      is refused otherwise.

  Raises:
    UserError: tensors are missing, unknown, damaged or of a model that is not
      supported.
  """
  return _Converter(files, num_heads, needs_head).convert()


class _Converter:
  """Reads one model; `_take` marks a tensor as used."""

  def __init__(self, files: hub_files.PretrainedFiles, num_heads: int,
               needs_head: bool):
    self._files, self._needs_head = files, needs_head
    self._config = pretrained_config.Config(files, num_heads)
    self._names, left_out = pretrained_names.translate(
        files.source, files.tensors)
    self._used: Set[str] = set()
    self._notes = [f'left out: {name}' for name in left_out]

  def convert(self) -> Pretrained:
    patch = self._take('patch.weight')  # [C, channels, (t,) h, w]
    if patch.ndim not in (4, 5):
      raise self._error(f'the patch kernel has shape {list(patch.shape)}, '
                        'expected 4 axes for images or 5 for clips')
    width = patch.shape[0]
    tubelet = patch.shape[2:]
    spec_class = specs.ViTSpec if patch.ndim == 4 else specs.ViViTSpec
    num_layers = self._num_blocks()
    arrays: Dict[str, np.ndarray] = {}
    self._embedding(patch, arrays)
    grid, num_registers, num_class_tokens = self._tokens(
        width, tubelet, arrays)
    for i in range(num_layers):
      self._block(i, width, arrays)
    options = self._norms_and_pooling(width, num_class_tokens, arrays)
    num_classes = self._head(num_class_tokens, options, arrays)
    spare = sorted(set(self._names) - self._used)
    if spare:
      raise self._error('no place for ' + ', '.join(
          self._names[name] for name in spare[:5]))
    size_key = 'patch_size' if patch.ndim == 4 else 'tubelet_size'
    first_mlp = f'Transformer/encoderblock_0/{flax_names.MLP}/'
    if self._config.is_assumed():
      self._notes.append(
          'assumed: GELU by the error function and LayerNorm epsilon 1e-6, no '
          'config.json states them')
    spec = spec_class(
        variant=variants.AUTO, num_layers=num_layers, hidden_size=width,
        mlp_dim=len(arrays[f'{first_mlp}Dense_0/bias']),
        num_heads=self._config.num_heads(width),
        num_class_tokens=num_class_tokens, num_registers=num_registers,
        activation=self._config.activation(),
        norm_epsilon=self._config.norm_epsilon(),
        pooled_norm_epsilon=self._config.pooled_norm_epsilon(),
        **{size_key: list(tubelet)}, **options)
    pixels = [n * step for n, step in zip(grid, tubelet)]
    return Pretrained(arrays, spec, (*pixels, patch.shape[1]), num_classes,
                      self._notes)

  # Tensors.

  def _error(self, text: str) -> errors.UserError:
    return errors.UserError(f'{self._files.source}: {text}.')

  def _has(self, short: str) -> bool:
    return short in self._names

  def _take(self, short: str) -> np.ndarray:
    """Returns a tensor that must be there and hold finite numbers."""
    if short not in self._names:
      raise self._error(f'it lacks {short} (in the names of this package); the '
                        'file is incomplete or of another architecture')
    name = self._names[short]
    value = self._files.tensors[name]
    if not np.isfinite(value).all():
      raise self._error(f'{name} holds NaN or infinity')
    self._used.add(short)
    return value

  def _dense(self, short: str, path: str, arrays: Dict[str, np.ndarray],
             scale: np.ndarray = np.float32(1)) -> None:
    """Stores a linear layer, transposed and with its output scaled."""
    kernel = self._take(f'{short}.weight')
    if kernel.ndim != 2:
      raise self._error(f'{self._names[short + ".weight"]} has shape '
                        f'{list(kernel.shape)}, expected 2 axes')
    arrays[f'{path}/kernel'] = kernel.T * scale
    arrays[f'{path}/bias'] = self._take(f'{short}.bias') * scale

  def _norm(self, short: str, path: str,
            arrays: Dict[str, np.ndarray]) -> None:
    arrays[f'{path}/scale'] = self._take(f'{short}.weight')
    arrays[f'{path}/bias'] = self._take(f'{short}.bias')

  # Parts of the model, in order of the forward path.

  def _embedding(self, patch: np.ndarray, arrays) -> None:
    """Stores the patch kernel, which sees pixels in [-1, 1]."""
    kernel = np.moveaxis(patch, [0, 1], [-1, -2])  # [(t,) h, w, channels, C]
    bias = np.zeros(patch.shape[0], np.float32)
    if self._has('patch.bias') or not self._has('pre_norm.weight'):
      bias = self._take('patch.bias')
    mean, std = self._config.pixel_statistics(patch.shape[1])
    if not self._config.states_pixels():
      self._notes.append(
          'assumed: pixels in [-1, 1], no file states their mean and deviation')
    if not (np.allclose(mean, .5) and np.allclose(std, .5)):
      # (x / 2 + 1 / 2 - mean) / std of pixels x in [-1, 1].
      axes = tuple(range(kernel.ndim - 2))
      shift = ((.5 - mean) / std)[:, np.newaxis]  # [channels, 1]
      bias = bias + (kernel.sum(axes) * shift).sum(0)
      kernel = kernel * (.5 / std)[:, np.newaxis]
      self._notes.append(
          f'folded: pixel mean {mean.tolist()} and deviation {std.tolist()}')
    arrays['embedding/kernel'] = kernel.astype(np.float32)
    arrays['embedding/bias'] = bias.astype(np.float32)

  def _tokens(self, width: int, tubelet: Sequence[int], arrays):
    """Stores class tokens, registers and positions.

    Returns:
      Grid of the positions, number of registers, number of class tokens.
    """
    prefix = [self._take(name).reshape(1, width)
              for name in ('class_token', 'distillation_token')
              if self._has(name)]
    registers = np.zeros([0, width], np.float32)
    if self._has('registers'):
      registers = self._take('registers').reshape(-1, width)
    if self._has('positions'):
      positions = self._take('positions').reshape(-1, width)
    elif len(tubelet) == 3:
      positions = _sin_cos(math.prod(self._config.grid(tubelet, 0)), width)
      self._notes.append('filled: sin-cos positions, which are in no file')
    else:
      raise self._error('it lacks positions')
    count = len(positions)
    for num_prefix in (len(prefix), len(prefix) + len(registers), 0):
      grid = self._config.grid(tubelet, count - num_prefix)
      if grid and math.prod(grid) == count - num_prefix:
        break
    else:
      raise self._error(f'{count} positions fit no grid of patches' + (
          '; the image size of config.json does not belong to this file'
          if self._files.config else '. Put config.json next to the weights'))
    before, positions = positions[:num_prefix], positions[num_prefix:]
    if num_prefix > len(prefix):
      registers = registers + before[len(prefix):]
    class_positions = np.zeros([len(prefix), width], np.float32)
    if num_prefix:
      class_positions = before[:len(prefix)]
    if prefix:
      arrays['cls'] = np.concatenate(prefix)[np.newaxis]
    if len(registers):
      arrays['registers'] = registers[np.newaxis]
    arrays['Transformer/posembed_input/pos_embedding'] = np.concatenate(
        [class_positions, positions])[np.newaxis]
    return grid, len(registers), len(prefix)

  def _num_blocks(self) -> int:
    numbers = {int(name.split('.')[1]) for name in self._names
               if name.startswith('block.')}
    if numbers != set(range(len(numbers))) or not numbers:
      raise self._error(f'it lacks a block: it has {sorted(numbers)}')
    return len(numbers)

  def _block(self, i: int, width: int, arrays) -> None:
    ours = f'Transformer/encoderblock_{i}/'
    theirs = f'block.{i}.'
    for norm, path in _NORMS:
      self._norm(theirs + norm, ours + path, arrays)
    attention = f'{ours}{flax_names.ATTENTION}/'
    heads = self._config.num_heads(width)
    for name, kernel, bias in zip(
        ('query', 'key', 'value'), *self._qkv(theirs, width)):
      arrays[f'{attention}{name}/kernel'] = kernel.T.reshape(width, heads, -1)
      arrays[f'{attention}{name}/bias'] = bias.reshape(heads, -1)
    scales = [self._take(f'{theirs}scale{k}')
              if self._has(f'{theirs}scale{k}') else np.float32(1)
              for k in (1, 2)]
    if i == 0 and self._has(f'{theirs}scale1'):
      self._notes.append('folded: layer scale')
    self._dense(f'{theirs}out', f'{attention}out', arrays, scales[0])
    out = arrays[f'{attention}out/kernel']
    arrays[f'{attention}out/kernel'] = out.reshape(heads, -1, width)
    mlp = f'{ours}{flax_names.MLP}/'
    self._dense(f'{theirs}fc1', f'{mlp}Dense_0', arrays)
    self._dense(f'{theirs}fc2', f'{mlp}Dense_1', arrays, scales[1])

  def _qkv(self, prefix: str, width: int):
    """Returns the kernels and biases of q, k and v, [C, C] and [C] each."""
    if self._has(f'{prefix}qkv.weight'):
      kernels = np.split(self._take(f'{prefix}qkv.weight'), 3)
      biases = (np.split(self._take(f'{prefix}qkv.bias'), 3)
                if self._has_bias('qkv', prefix) else
                [np.zeros(width, np.float32)] * 3)
    else:
      kernels = [self._take(f'{prefix}{name}.weight') for name in 'qkv']
      biases = [self._take(f'{prefix}{name}.bias')
                if self._has_bias(name, prefix)
                else np.zeros(width, np.float32) for name in 'qkv']
    for kernel in kernels:
      if kernel.shape != (width, width):
        raise self._error(f'{prefix}q, k, v have kernels of shape '
                          f'{list(kernel.shape)}, expected {[width, width]}')
    return kernels, biases

  def _has_bias(self, name: str, prefix: str) -> bool:
    """Returns whether the blocks have a bias; all have it, or none."""
    anywhere = any(other.startswith('block.') and
                   other.endswith(f'.{name}.bias') for other in self._names)
    if not anywhere and prefix == 'block.0.':
      self._notes.append(f'filled: no {name} bias in the file, zeros')
    return anywhere

  def _norms_and_pooling(self, width: int, num_class_tokens: int,
                         arrays) -> Dict[str, Any]:
    """Stores the norms around the blocks; returns the spec's options."""
    options: Dict[str, Any] = dict(pooler=self._pooler(width, num_class_tokens))
    if self._has('pre_norm.weight'):
      self._norm('pre_norm', 'pre_norm', arrays)
      options['pre_norm'] = True
    after = not self._has('norm.weight') or self._is_clip()
    options['final_norm'] = 'after_pooling' if after else 'before_pooling'
    if self._has('pooled_norm.weight'):
      self._norm('pooled_norm', 'pooled_norm', arrays)
    elif self._has('norm.weight'):
      self._norm('norm', 'pooled_norm' if after else 'Transformer/encoder_norm',
                 arrays)
    elif self._has('head.weight') or not self._config.has_final_norm():
      raise self._error('expected a LayerNorm before or after the pooling, got '
                        'none, which is not supported')
    else:
      self._notes.append('filled: the file has no final LayerNorm, it starts '
                         'at scale 1')
      arrays['pooled_norm/scale'] = np.ones(width, np.float32)
      arrays['pooled_norm/bias'] = np.zeros(width, np.float32)
    if options['pooler'] == 'attention':
      self._attention_pooling(width, arrays)
    return options

  def _is_clip(self) -> bool:
    """Returns whether this is CLIP of transformers (norm on class tokens)."""
    return self._has('class_token') and self._names.get(
        'norm.weight', '').endswith('post_layernorm.weight')

  def _pooler(self, width: int, num_class_tokens: int) -> str:
    """Returns the pooler that the library uses."""
    if self._has('head.weight'):
      if self._is_clip():
        self._refuse_head(
            'the mean of the patches before the last LayerNorm '
            '(CLIPForImageClassification)')
      elif self._config.pools_first_patch():
        self._refuse_head('the first patch (use_mean_pooling=false)')
    has_head, stated = self._has('head.weight'), self._config.pooler()
    if self._has('pooling.query'):
      # SiglipForImageClassification averages, and never calls this pooling.
      if not has_head or 'probe' not in self._names['pooling.query']:
        return 'attention'
      unused = [name for name in self._names if name.startswith('pooling.')]
      self._used.update(unused)
      self._notes += [f'left out: {self._names[name]}' for name in unused]
      return 'gap'
    if has_head and num_class_tokens == 1 and (
        self._shape('head.weight')[-1] == 2 * width):
      return 'token_and_mean'
    if stated is not None:
      return stated
    return 'token' if num_class_tokens and (
        not self._has('pooled_norm.weight')) else 'gap'

  def _refuse_head(self, what: str) -> None:
    """Leaves out the head, which reads something else; fails if it is needed.
    """
    if self._needs_head:
      raise self._error(
          f'its head reads {what}, which is not supported. Start from its '
          'backbone: give num_classes, or init_checkpoint_modules=backbone')
    for short in ('head.weight', 'head.bias'):
      self._notes.append(f'left out: {self._names.pop(short)}')

  def _shape(self, short: str) -> Tuple[int, ...]:
    return self._files.tensors.shape(self._names[short])

  def _attention_pooling(self, width: int, arrays) -> None:
    path = 'attention_pooling/'
    arrays[f'{path}query'] = self._take('pooling.query').reshape(1, 1, width)
    kernels, biases = [], []
    for short in ('qkv', 'q', 'kv'):
      if self._has(f'pooling.{short}.weight'):
        parts = len(short)
        kernels += np.split(self._take(f'pooling.{short}.weight'), parts)
        biases += np.split(self._take(f'pooling.{short}.bias'), parts)
    if len(kernels) != 3:
      raise self._error('its attention pooling lacks q, k or v')
    for name, kernel, bias in zip(('query', 'key', 'value'), kernels, biases):
      arrays[f'{path}{name}_dense/kernel'] = kernel.T
      arrays[f'{path}{name}_dense/bias'] = bias
    self._dense('pooling.out', f'{path}output_dense', arrays)
    self._norm('pooling.norm', f'{path}norm', arrays)
    self._dense('pooling.fc1', f'{path}mlp/Dense_0', arrays)
    self._dense('pooling.fc2', f'{path}mlp/Dense_1', arrays)

  def _head(self, num_class_tokens: int, options: Dict[str, Any], arrays):
    """Stores what follows the pooling; returns the number of outputs."""
    if self._has('pooler.weight'):
      if self._has('head.weight'):
        raise self._error('it has both a tanh pooler and a head')
      self._dense('pooler', 'pre_logits', arrays)
      options['representation_size'] = len(arrays['pre_logits/bias'])
    if self._has('projection.weight'):
      kernel = self._take('projection.weight').T
      arrays[_HEAD_KERNEL] = kernel
      arrays[_HEAD_BIAS] = np.zeros(kernel.shape[1], np.float32)
      self._notes.append('filled: the projection has no bias, zeros')
      return kernel.shape[1]
    if not self._has('head.weight'):
      return None
    self._dense('head', flax_names.HEAD, arrays)
    if num_class_tokens == 2 and options['pooler'] == 'token':
      self._distilled_head(arrays)
    return len(arrays[_HEAD_BIAS])

  def _distilled_head(self, arrays) -> None:
    """Joins the heads of class and distillation token: logits are the mean."""
    kernel, bias = arrays[_HEAD_KERNEL], arrays[_HEAD_BIAS]
    if self._has('distillation_head.weight'):
      other = self._take('distillation_head.weight').T
      kernel = np.concatenate([kernel, other]) / 2
      bias = (bias + self._take('distillation_head.bias')) / 2
      self._notes.append('folded: the mean of two heads into one')
    else:
      kernel = np.concatenate([kernel, np.zeros_like(kernel)])
    arrays[_HEAD_KERNEL], arrays[_HEAD_BIAS] = kernel, bias


def _sin_cos(positions: int, width: int) -> np.ndarray:
  """Returns fixed sin-cos positions [N, C]; Vaswani et al. 2017, section 3.5.
  """
  rates = 10000. ** (2 * (np.arange(width) // 2) / width)
  angles = np.arange(positions)[:, np.newaxis] / rates
  angles[:, 0::2] = np.sin(angles[:, 0::2])
  angles[:, 1::2] = np.cos(angles[:, 1::2])
  return angles.astype(np.float32)
