"""Checkpoints of the official code, Scenic: where the weights are in them."""

import os
import re
from typing import Any, Dict

import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import flax_msgpack
from tf_tokenlearner.checkpoints import orbax_folder

_PARTS = ('Transformer', 'SpatialTransformer')  # Either is in every model.


def read_scenic_checkpoint(path: str) -> Dict[str, Any]:
  """The weights in a checkpoint, for load_scenic.

  Args:
    path: a msgpack file, an Orbax folder, or a folder of either, of which the
      latest is read; local or remote, as tf.io.gfile understands it.

  Returns:
    Nested dict of arrays, named as the modules of the official code.

  Raises:
    UserError: nothing there, a damaged file, or no weights in it.
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


def is_scenic(folder: str) -> bool:
  """Whether a folder is an Orbax folder or holds numbered checkpoints."""
  return orbax_folder.is_orbax(folder) or bool(_steps(folder))


def find(path: str) -> str:
  """The checkpoint at a path, or the latest in a folder of them.

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
  return {int(match[1]): match[0].rstrip('/')
          for name in tf.io.gfile.listdir(folder)
          if (match := re.fullmatch(r'checkpoint_(\d+)/?', name))}


def _params(state: Dict[str, Any]) -> Any:
  if 'params' in state:
    return state['params']
  # As it was until the middle of 2023.
  target = state.get('optimizer', {})
  target = target.get('target', {}) if isinstance(target, dict) else {}
  if 'params' in target:
    return target['params']
  return target or state  # Or the weights alone.
