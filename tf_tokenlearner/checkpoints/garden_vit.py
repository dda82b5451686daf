"""Checkpoints of the Model Garden's own vision transformer.

Source: official/vision/modeling/backbones/vit.py, the same function as our
plain model, and the trainer of its image classification task.
"""

import re
from typing import Dict, Iterable, Optional

import numpy as np
import tensorflow as tf

from tf_tokenlearner import backbones
from tf_tokenlearner.checkpoints import flax_models
from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner.checkpoints import tf_checkpoint
from tf_tokenlearner import errors

_VALUE = '/.ATTRIBUTES/VARIABLE_VALUE'
_ENCODER = re.compile(r'(.+?)(layer_with_weights-\d+)/_encoder_layers/0/')
_LAYER = r'layer_with_weights-(\d+)/'
# The Garden's names in its encoder, and what Flax calls the same.
_RENAMED = (
    (r'_pos_embed/', 'posembed_input/'),
    (r'_encoder_layers/(\d+)/', r'encoderblock_\1/'),
    (r'_attention_layer/_(query|key|value)_dense/',
     rf'{flax_names.SCENIC.attention}/\1/'),
    (r'_attention_layer/_output_dense/', f'{flax_names.SCENIC.attention}/out/'),
    (r'_attention_layer_norm/', 'LayerNorm_0/'),
    (r'_output_layer_norm/', f'{flax_names.SCENIC.second_norm}/'),
    (r'_intermediate_dense/', f'{flax_names.SCENIC.mlp}/Dense_0/'),
    (r'_output_dense/', f'{flax_names.SCENIC.mlp}/Dense_1/'),
    (r'_norm/', 'encoder_norm/'),
    (r'gamma$', 'scale'),
    (r'beta$', 'bias'),
)
# By which the Garden's classification task normalises images of 0 to 255.
_MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32) * 255


def is_garden_vit(keys: Iterable[str]) -> bool:
  """Whether the variables of a TensorFlow checkpoint are of that model."""
  return any(_ENCODER.match(key) for key in keys)


def read_model(path: str, like: backbones.Classifier,
               normalized: bool = True) -> backbones.Classifier:
  """The plain classifier that a checkpoint of the Garden holds.

  The Garden's task normalises pixels by ImageNet's mean and deviation, ours
  brings them to [-1, 1]. What lies between goes into the patch kernel and bias,
  so that the same image gives the same logits.

  Args:
    path: of the checkpoint.
    like: the model that the weights are meant for.
    normalized: the checkpoint was trained on pixels so normalised; False leaves
      kernel and bias as they are.

  Raises:
    UserError: variables are missing or unknown, do not go together, or cannot
      be read.
  """
  reader = tf.train.load_checkpoint(path)
  keys = [key.removesuffix(_VALUE) for key in reader.get_variable_to_shape_map()
          if key.endswith(_VALUE) and '.OPTIMIZER_SLOT' not in key
          and not key.startswith('optimizer/')]
  names = _flax_names(path, keys)
  with tf_checkpoint.damage_told(path):
    arrays = {name: reader.get_tensor(key + _VALUE)
              for key, name in names.items()}
  kernel = arrays.get('embedding/kernel', np.zeros(0))
  if (normalized and kernel.shape[2:3] == (3,)
      and 'embedding/bias' in arrays):  # If not, build says so.
    shift = ((127.5 - _MEAN) / _DEVIATION)[:, np.newaxis]
    arrays['embedding/bias'] = (
        arrays['embedding/bias'] + (kernel * shift).sum((0, 1, 2)))
    arrays['embedding/kernel'] = (
        kernel * (127.5 / _DEVIATION)[:, np.newaxis])
  return flax_models.build(arrays, flax_names.SCENIC, like, path)


def _flax_names(path: str, keys: Iterable[str]) -> Dict[str, str]:
  """{key in the checkpoint: name in Flax}."""
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
          f'{path} holds {key}, which no plain vision transformer has (layer '
          'scale and batch normalisation are not offered).')
  return names


def _in_encoder(key: str, encoder: str) -> Optional[str]:
  if not key.startswith(encoder):
    return None
  name = key.removeprefix(encoder)
  for pattern, replacement in _RENAMED:
    name = re.sub(pattern, replacement, name)
  return None if name.startswith('_') or '/_' in name else f'Transformer/{name}'


def _beside_encoder(key: str, prefix: str, encoder: int) -> Optional[str]:
  """Patches come first, then the class token; dense layers come after."""
  is_inside = key.startswith(prefix)
  match = re.fullmatch(
      (re.escape(prefix) if is_inside else '(?:model/)?')
      + _LAYER + r'(kernel|bias|cls)', key)
  if not match:
    return None
  number, kind = int(match[1]), match[2]
  if kind == 'cls':
    return 'cls'
  if not is_inside:
    return f'{flax_names.SCENIC.head}/{kind}'
  return f'embedding/{kind}' if number < encoder else f'pre_logits/{kind}'
