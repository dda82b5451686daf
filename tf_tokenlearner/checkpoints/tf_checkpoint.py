"""Restores TensorFlow checkpoints strictly.

TensorFlow restores the variables that match and ignores the rest, so a model
restored in part scores like a bad one. Here any mismatch is an error that lists
the differences, and nothing is loaded.
"""

import contextlib
import dataclasses
import sys
from typing import Any, Dict, List, Tuple

import tensorflow as tf
import tf_keras

from tf_tokenlearner import errors
from tf_tokenlearner import run_folder


_VALUE = '/.ATTRIBUTES/VARIABLE_VALUE'


@dataclasses.dataclass
class Difference:
  """Differences between a checkpoint and a model.

  Attributes:
    missing: variables that the checkpoint lacks.
    extra: variables that the model lacks.
    other_shape: (variable, shape in the checkpoint, shape in the model).
  """
  missing: List[str] = dataclasses.field(default_factory=list)
  extra: List[str] = dataclasses.field(default_factory=list)
  other_shape: List[Tuple[str, list, list]] = dataclasses.field(
      default_factory=list)

  def __bool__(self):
    return bool(self.missing or self.extra or self.other_shape)

  def names(self) -> List[str]:
    """Returns the names of all variables that differ."""
    return (self.missing + self.extra
            + [name for name, _, _ in self.other_shape])

  def __str__(self):
    return errors.problem_list([
        *(f'missing in the checkpoint: {name}' for name in self.missing),
        *(f'extra in the checkpoint: {name}' for name in self.extra),
        *(f'other shape: {name}, {theirs} in the checkpoint, {ours} in the '
          'model' for name, theirs, ours in self.other_shape)])


def compare(path: str, module: tf_keras.Model, name: str) -> Difference:
  """Compares a module with its part of a checkpoint.

  Args:
    path: of a checkpoint.
    module: built model.
    name: of the module in the checkpoint, such as 'model'.

  Raises:
    UserError: path is not a readable checkpoint.
  """
  difference = Difference()
  visited = set()
  for key, shape in sorted(variables(path).items()):
    if not key.startswith(f'{name}/') or '.OPTIMIZER_SLOT' in key:
      continue
    variable = _find(module, key.removeprefix(f'{name}/').split('/'))
    if variable is None:
      difference.extra.append(key)
      continue
    visited.add(variable.ref())
    if list(variable.shape) != shape:
      difference.other_shape.append((key, shape, list(variable.shape)))
  difference.missing = [
      path for path, variable in _variable_paths(module, name)
      if variable.ref() not in visited]
  return difference


def require_fit(path: str, module: tf_keras.Model, name: str = 'model') -> None:
  """Raises a UserError that lists the variables that differ, if any."""
  difference = compare(path, module, name)
  if difference:
    raise errors.UserError(
        f'Checkpoint {path} does not fit the model. Give the config that it '
        f'was trained with, or another --model_dir. Differences:{difference}')


def load(model: tf_keras.Model, path: str, modules: str) -> None:
  """Loads a checkpoint of this project into a fresh model of the same class.

  Args:
    model: built classifier.
    path: of the checkpoint.
    modules: 'all', or 'backbone' to leave the head fresh.

  Raises:
    UserError: the checkpoint cannot be read or does not fit.
  """
  name, module = (('model', model) if modules == 'all'
                  else ('model/backbone', model.backbone))
  difference = compare(path, module, name)
  if difference:
    hint = ''
    if modules == 'all' and all('head' in key for key in difference.names()):
      hint = ('\nOnly the head differs: task.init_checkpoint_modules=backbone '
              'takes the rest.')
    raise errors.UserError(
        f'Checkpoint {path} does not fit the model:{difference}{hint}')
  root = (model if modules == 'all'
          else tf.train.Checkpoint(backbone=model.backbone))
  read(path, root)
  print(f'Initialised {len(module.variables)} variables of {name} from {path}.',
        file=sys.stderr)  # In training, stdout goes to a log.


def read(path: str, model: Any) -> None:
  """Restores a model, or parts of it, from 'model' in a checkpoint.

  Args:
    path: of a checkpoint that passed require_fit.
    model: trackable object.

  Raises:
    UserError: the values cannot be read.
  """
  with damage_reported(path):
    tf.train.Checkpoint(model=model).read(
        run_folder.readable(path)).expect_partial()


@contextlib.contextmanager
def damage_reported(path: str):
  """Converts TensorFlow's errors about a damaged checkpoint to a UserError.

  TensorFlow detects damage late, when it reads the values of the variables.
  """
  try:
    yield
  except (tf.errors.OpError, IndexError) as error:
    reason = str(getattr(error, 'message', error)).partition(' [Op:')[0]
    reason = reason.rpartition('}} ')[2]  # Without the name of the operation.
    raise errors.UserError(
        f'{path} cannot be read ({reason}). It is damaged: copy it again.'
    ) from error


def global_step(path: str) -> int:
  """Returns the training step at which a checkpoint was written.

  Raises:
    UserError: not a checkpoint of a training run.
  """
  key = 'global_step' + _VALUE
  try:
    return int(tf.train.load_checkpoint(
        run_folder.readable(path)).get_tensor(key))
  except (tf.errors.OpError, ValueError) as error:
    raise errors.UserError(
        f'{path} is not a checkpoint of a training run: it holds no '
        'global_step.') from error


def variables(path: str) -> Dict[str, List[int]]:
  """Returns {name: shape} of the variables in a checkpoint.

  Raises:
    UserError: path is not a readable checkpoint.
  """
  try:
    found = tf.train.load_checkpoint(
        run_folder.readable(path)).get_variable_to_shape_map()
  except (tf.errors.OpError, ValueError) as error:
    raise errors.UserError(
        f'{path} cannot be read as a checkpoint: {error}') from error
  return {key[:-len(_VALUE)]: shape for key, shape in found.items()
          if key.endswith(_VALUE)}


def _variable_paths(
    module: tf_keras.Model, name: str) -> List[Tuple[str, tf.Variable]]:
  """Returns each variable once, with its shortest path of attribute names."""
  ours = {variable.ref() for variable in module.variables}
  found, seen, queue = [], set(), [(name, module)]
  for path, node in queue:  # The loop appends to the queue.
    if id(node) in seen:
      continue
    seen.add(id(node))
    if isinstance(node, tf.Variable):
      if node.ref() in ours:
        found.append((path, node))
      continue
    queue += [(f'{path}/{key}', child) for key, child
              in tf.train.TrackableView.children(node).items()]
  return found


def _find(root: Any, names: List[str]):
  """Returns the variable at a path of attribute names, or None."""
  node = root
  for name in names:
    node = tf.train.TrackableView.children(node).get(name)
    if node is None:
      return None
  return node if hasattr(node, 'shape') and hasattr(node, 'ref') else None
