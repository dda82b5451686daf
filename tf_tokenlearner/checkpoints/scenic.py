"""Reads checkpoints of the official code, Scenic, and their model."""

import os
import re
import sys
from typing import Any, Dict, Mapping

import tensorflow as tf

from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import flax_msgpack
from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner.checkpoints import orbax_folder

_SOURCE = 'checkpoint of Scenic'
_PARTS = ('Transformer', 'SpatialTransformer')  # Each model has one of them.


def matches(path: str) -> bool:
  """Returns whether a path may be a checkpoint of Scenic.

  A folder must hold numbered checkpoints or one of Orbax. Files of Scenic have
  no signature, so every file may be one.
  """
  if tf.io.gfile.isdir(path):
    return orbax_folder.is_orbax(path) or bool(_steps(path))
  return tf.io.gfile.exists(path)


def read(path: str) -> flax_names.Weights:
  """Reads a checkpoint; see read_scenic_checkpoint."""
  path = find(path)
  return flax_names.Weights(
      path, _SOURCE, flax_names.flatten(read_scenic_checkpoint(path)))


def load_scenic(
    model: backbones.Classifier, params: Mapping[str, Any]) -> None:
  """Loads the parameters of an official TokenLearner or ViViT model.

  All parameters are loaded into all variables. For a model of another head,
  size or TokenLearner, see initialize.

  Args:
    model: a classifier of the same architecture, for images or clips.
    params: nested dict of arrays, as Flax has it.

  Raises:
    UserError: arrays are missing, left over or of another shape; the message
      lists them and the model stays as it was. Or the official code has no such
      model.
  """
  arrays = flax_names.flatten(params)
  flax_names.assign(flax_names.classifier_entries(model), arrays)
  print(f'Loaded {len(arrays)} arrays into {len(model.variables)} variables: '
        'nothing stays fresh, nothing is left over.', file=sys.stderr)


def read_scenic_checkpoint(path: str) -> Dict[str, Any]:
  """Reads the weights of a checkpoint, for load_scenic.

  Args:
    path: a msgpack file, an Orbax folder, or a folder of either, whose latest
      checkpoint is read; local or remote, as tf.io.gfile understands it.

  Returns:
    Nested dict of arrays, named as the modules of the official code.

  Raises:
    UserError: there is no checkpoint, it is damaged, or holds no weights.
  """
  path = find(path)
  if tf.io.gfile.isdir(path):
    state = {'params': orbax_folder.read(path, 'params')}
  else:
    state = flax_msgpack.read(path)
  params = _params(state)
  if not isinstance(params, dict) or not set(_PARTS) & set(params):
    found = params or state
    names = (', '.join(found) if isinstance(found, dict)
             else type(found).__name__)
    raise errors.UserError(
        f'{path} holds no weights of a TokenLearner or ViViT model: expected '
        f'{" or ".join(_PARTS)} among them, found {names or "nothing"}.')
  return params


def find(path: str) -> str:
  """Returns the checkpoint at a path, or the latest one in a folder.

  Raises:
    UserError: there is none.
  """
  if not tf.io.gfile.exists(path):
    raise errors.UserError(f'There is no checkpoint at {path}.')
  if not tf.io.gfile.isdir(path) or orbax_folder.is_orbax(path):
    return path
  steps = _steps(path)
  if not steps:
    raise errors.UserError(
        f'{path} holds no checkpoint of Scenic: expected files or folders '
        'named checkpoint_STEP.')
  return os.path.join(path, steps[max(steps)])


def _steps(folder: str) -> Dict[int, str]:
  """Returns {step: name} of the checkpoints in a folder."""
  return {int(match[1]): match[0].rstrip('/')
          for name in tf.io.gfile.listdir(folder)
          if (match := re.fullmatch(r'checkpoint_(\d+)/?', name))}


def _params(state: Dict[str, Any]) -> Any:
  """Returns the weights in a training state."""
  if 'params' in state:
    return state['params']
  # The layout of Scenic until the middle of 2023.
  target = state.get('optimizer', {})
  target = target.get('target', {}) if isinstance(target, dict) else {}
  if 'params' in target:
    return target['params']
  return target or state  # The latter if the file holds nothing else.
