"""Reads checkpoints of the Model Garden's own vision transformer.

Source: official/vision/modeling/backbones/vit.py, which computes the same as
our plain model, and the trainer of the Garden's image classification task.
"""

import re
from typing import Dict, Iterable, Optional

import numpy as np
import tensorflow as tf

from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner.checkpoints import tf_checkpoint
from tf_tokenlearner import errors
from tf_tokenlearner import run_folder

_SOURCE = 'ViT of the Model Garden'
_VALUE = '/.ATTRIBUTES/VARIABLE_VALUE'
_ENCODER = re.compile(r'(.+?)(layer_with_weights-\d+)/_encoder_layers/0/')
_LAYER = r'layer_with_weights-(\d+)/'
# The Garden's names in its encoder, and the official ones.
_RENAMED = (
    (r'_pos_embed/', 'posembed_input/'),
    (r'_encoder_layers/(\d+)/', r'encoderblock_\1/'),
    (r'_attention_layer/_(query|key|value)_dense/',
     rf'{flax_names.ATTENTION}/\1/'),
    (r'_attention_layer/_output_dense/', f'{flax_names.ATTENTION}/out/'),
    (r'_attention_layer_norm/', 'LayerNorm_0/'),
    (r'_output_layer_norm/', f'{flax_names.SECOND_NORM}/'),
    (r'_intermediate_dense/', f'{flax_names.MLP}/Dense_0/'),
    (r'_output_dense/', f'{flax_names.MLP}/Dense_1/'),
    (r'_norm/', 'encoder_norm/'),
    (r'gamma$', 'scale'),
    (r'beta$', 'bias'),
)
# The Garden's classification task normalises pixels in [0, 255] by these.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32) * 255


def matches(path: str) -> bool:
  """Returns whether a path is a TensorFlow checkpoint of that model."""
  return tf.io.gfile.exists(f'{path}.index') and any(
      map(_ENCODER.match, tf_checkpoint.variables(path)))


def read(path: str, normalized: bool = True) -> flax_names.Weights:
  """Reads a checkpoint.

  The Garden's task normalises pixels by ImageNet's mean and deviation, ours
  scales them to [-1, 1]. The difference is folded into the patch kernel and
  bias, so that the same image gives the same logits.

  Args:
    path: of the checkpoint.
    normalized: the checkpoint was trained on pixels that were normalised so;
      False keeps kernel and bias.

  Raises:
    UserError: variables are missing or unknown, or cannot be read.
  """
  reader = tf.train.load_checkpoint(run_folder.readable(path))
  keys = [key.removesuffix(_VALUE)
          for key in reader.get_variable_to_shape_map()
          if key.endswith(_VALUE) and '.OPTIMIZER_SLOT' not in key
          and not key.startswith('optimizer/')]
  names = _official_names(path, keys)
  with tf_checkpoint.damage_reported(path):
    arrays = {name: reader.get_tensor(key + _VALUE)
              for key, name in names.items()}
  kernel = arrays.get('embedding/kernel', np.zeros(0))
  if (normalized and kernel.shape[2:3] == (3,)
      and 'embedding/bias' in arrays):  # Checked later.
    shift = ((127.5 - _MEAN) / _DEVIATION)[:, np.newaxis]
    arrays['embedding/bias'] = (
        arrays['embedding/bias'] + (kernel * shift).sum((0, 1, 2)))
    arrays['embedding/kernel'] = (
        kernel * (127.5 / _DEVIATION)[:, np.newaxis])
  return flax_names.Weights(path, _SOURCE, arrays)


def _official_names(path: str, keys: Iterable[str]) -> Dict[str, str]:
  """Returns {key in the checkpoint: official name}."""
  prefix, encoder = next(filter(None, map(_ENCODER.match, keys))).groups()
  encoder_number = int(encoder.rpartition('-')[2])
  names = {}
  for key in keys:
    name = _in_encoder(key, f'{prefix}{encoder}/') or _beside_encoder(
        key, prefix, encoder_number)
    if name:
      names[key] = name
    elif key.startswith((prefix, 'model/')):
      raise errors.UserError(
          f'{path} holds {key}, which a plain vision transformer does not have '
          '(layer scale and batch normalisation are not supported).')
  return names


def _in_encoder(key: str, encoder: str) -> Optional[str]:
  """Returns the official name of a variable of the encoder, or None."""
  if not key.startswith(encoder):
    return None
  key = key.removeprefix(encoder)
  name = flax_names.rename([key], _RENAMED)[key]
  return None if name.startswith('_') or '/_' in name else f'Transformer/{name}'


def _beside_encoder(key: str, prefix: str, encoder: int) -> Optional[str]:
  """Returns the official name of another variable, or None.

  Patches and the class token precede the encoder; dense layers follow it.
  """
  is_inside = key.startswith(prefix)
  match = re.fullmatch(
      (re.escape(prefix) if is_inside else '(?:model/)?')
      + _LAYER + r'(kernel|bias|cls)', key)
  if not match:
    return None
  number, part = int(match[1]), match[2]
  if part == 'cls':
    return 'cls'
  if not is_inside:
    return f'{flax_names.HEAD}/{part}'
  return f'embedding/{part}' if number < encoder else f'pre_logits/{part}'
