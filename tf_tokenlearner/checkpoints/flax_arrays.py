"""Puts the arrays of an official JAX checkpoint into a model of ours."""

import sys
from typing import Any, Dict, Iterable, List, Mapping, Tuple

import numpy as np
import tensorflow as tf

from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import flax_names


def load_scenic(
    model: backbones.Classifier, params: Mapping[str, Any]) -> None:
  """Loads the parameters of an official TokenLearner or ViViT model.

  All of them, into all of the model, and says how many; for a model that
  differs in its head, size or TokenLearner, see initialize.

  Args:
    model: the classifier of the same architecture, for images or clips.
    params: nested dict of arrays, as Flax gives it.

  Raises:
    UserError: arrays missing, left over or of another shape; all are listed,
      and the model is left as it was. Or there is no official model like this.
  """
  arrays = flatten(params)
  assign(flax_names.classifier_entries(model, flax_names.SCENIC), arrays)
  print(f'Loaded {len(arrays)} arrays into {len(model.variables)} variables: '
        'nothing stays fresh, nothing is left over.', file=sys.stderr)


def assign(entries: Iterable[flax_names.Entry],
           arrays: Mapping[str, np.ndarray],
           complaint: str = 'The checkpoint does not fit the model') -> None:
  """Gives every entry its arrays: all of them, and no other, or none.

  Args:
    entries: what goes where.
    arrays: flat, keys joined by '/'.
    complaint: what the error begins with.

  Raises:
    UserError: arrays missing, left over, of another shape or of other things
      than numbers; all are listed.
  """
  values, problems, used = [], [], set()
  for variable, sources, convert in entries:
    used.update(sources)
    absent = [source for source in sources if source not in arrays]
    if absent:
      problems += [f'missing: {source}' for source in absent]
      continue
    others = [source for source in sources
              if not _holds_numbers(arrays[source])]
    if others:
      problems += [f'no numbers: {source} holds {arrays[source].dtype}'
                   for source in others]
      continue
    received = [arrays[source].shape for source in sources]
    try:
      value = convert(*(arrays[source] for source in sources))
    except ValueError:
      value = None
    if value is None or value.shape != tuple(variable.shape):
      problems.append(f'other shape: {", ".join(sources)} {received} does not '
                      f'fit {variable.name} {tuple(variable.shape)}'
                      + _transposed(variable, received))
      continue
    values.append((variable, value))
  problems += [f'left over: {name}' for name in sorted(set(arrays) - used)]
  if problems:
    raise errors.UserError(f'{complaint}:{as_list(problems)}')
  for variable, value in values:
    variable.assign(value)


def as_list(problems: List[str], limit: int = 20) -> str:
  """One problem on the same line, several as lines of their own."""
  if len(problems) == 1:
    return f' {problems[0]}'
  if len(problems) > limit:
    problems = [*problems[:limit], f'... and {len(problems) - limit} more']
  return ''.join(f'\n  {problem}' for problem in problems)


def _holds_numbers(array: np.ndarray) -> bool:
  """Whether the values are real numbers; TensorFlow would cast others."""
  return (array.dtype.kind in 'fiub'
          or array.dtype == tf.bfloat16.as_numpy_dtype)


def _transposed(variable: tf.Variable, received: List[Tuple[int, ...]]) -> str:
  is_so = len(received) == 1 and received[0] == tuple(variable.shape)[::-1]
  return ', but its transpose does' if is_so else ''


def flatten(tree: Mapping[str, Any], prefix: str = '') -> Dict[str, np.ndarray]:
  """{'a': {'b': x}} -> {'a/b': x}.

  Raises:
    UserError: x is a list of lists of several lengths.
  """
  flat = {}
  for name, value in tree.items():
    if isinstance(value, Mapping):
      flat.update(flatten(value, f'{prefix}{name}/'))
      continue
    try:
      flat[f'{prefix}{name}'] = np.asarray(value)
    except ValueError as error:
      raise errors.UserError(f'{prefix}{name} is no array.') from error
  return flat
