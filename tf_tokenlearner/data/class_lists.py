"""Compares the class names of data with those of a model.

A label is a position in a list of class names. Data with other classes, or
with the same ones in another order, would be scored as wrong or would train
the wrong outputs, without a word.
"""

from typing import NoReturn, Sequence, Tuple

from tf_tokenlearner import errors

_SHOWN = 10


def require_same(names: Sequence[str], model_names: Sequence[str],
                 data: str, label_map: str) -> None:
  """Refuses data whose classes are not exactly those of the model.

  Args:
    names: classes of the data, in the order of their labels.
    model_names: classes of the model, in the order of its outputs.
    data: the data in words, for the message.
    label_map: config key of the map, for the message.

  Raises:
    UserError: lists the differences.
  """
  if tuple(names) != tuple(model_names):
    _refuse(names, model_names, data, label_map, '')


def require_known(names: Sequence[str], model_names: Sequence[str],
                  data: str, label_map: str) -> Tuple[str, ...]:
  """Refuses data with classes that the model does not have.

  Args:
    names: classes of the data, as the model calls them.
    model_names: classes of the model.
    data: the data in words, for the message.
    label_map: config key of the map, for the message; '' if there is none.

  Returns:
    The classes of the model that the data lack.

  Raises:
    UserError: lists the differences.
  """
  if not set(names) <= set(model_names):
    _refuse(names, model_names, data, label_map, 'some of ')
  return tuple(name for name in model_names if name not in names)


def _refuse(names: Sequence[str], model_names: Sequence[str], data: str,
            label_map: str, expected: str) -> NoReturn:
  """Raises a UserError that lists the differences."""
  new = [name for name in names if name not in model_names]
  missing = [name for name in model_names if name not in names]
  differences = [
      f'{word} {shorten(which)}'
      for word, which in (('missing', missing), ('new', new)) if which]
  if not differences:
    label = next(i for i, pair in enumerate(zip(names, model_names))
                 if pair[0] != pair[1])
    differences = [
        f'label {label} is {names[label]!r} in the data and '
        f'{model_names[label]!r} in the model']
  # A class of the same name is suggested, if the data have no other.
  ours, theirs = (new[0], (missing or list(model_names))[0]) if new else (
      names[0], names[0])
  raise errors.UserError(
      f'{data}: expected {expected}the {len(model_names)} classes of the '
      f'model, got {len(names)} ({"; ".join(differences)}). Use data with the '
      'same classes' + (label_map and (
          f', or map them on purpose with {label_map}, such as '
          f'{{{_quoted(ours)}: {_quoted(theirs)}}}')) + '.')


def shorten(names: Sequence[str]) -> str:
  """Returns the first ten names, and how many more there are."""
  more = len(names) - _SHOWN
  return ', '.join(map(_quoted, names[:_SHOWN])) + (
      f' and {more:,} more' if more > 0 else '')


def describe(names: Sequence[str]) -> str:
  """Returns '3 classes: cat, dog, zebra', with the first ten names."""
  return f'{len(names):,} classes: {shorten(names)}'


def _quoted(name: str) -> str:
  """Returns a name, quoted if it would be misread otherwise."""
  return name if name.isprintable() and name.strip() == name else repr(name)
