"""Compares the classes of data with those of a model, and maps them.

A label is a position in a list of class names. Data with other classes, or
with the same ones in another order, would be scored as wrong or would train
the wrong outputs, without a word.
"""

import dataclasses
import json
from typing import Callable, Dict, Mapping, Sequence, Tuple

import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.data import labelled_source

_SHOWN = 10


def parse_map(text: str, key: str) -> Dict[str, str]:
  """Returns a label_map as a dict.

  Args:
    text: JSON, as configs.overrides writes it; '' is {}.
    key: of the config, for the message.

  Raises:
    UserError: text is not a JSON object of texts.
  """
  try:
    values = json.loads(text or '{}')
  except ValueError:
    values = None
  if not isinstance(values, dict) or not all(
      isinstance(name, str) for name in values.values()):
    raise errors.UserError(
        f'{key}: expected class names of the data and of the model, such as '
        f'{{zebra: cat}}, got {text!r}.')
  return values


def renamed(names: Sequence[str], label_map: Mapping[str, str],
            key: str) -> Tuple[str, ...]:
  """Returns the model's names of the data's classes.

  Args:
    names: classes of the data.
    label_map: {name in the data: name of the model's class}.
    key: of the label_map, for the message.

  Raises:
    UserError: label_map names a class that the data do not have.
  """
  for name in label_map:
    if name not in names:
      raise errors.unknown_name(f'class in {key}', name, names)
  return tuple(label_map.get(name, name) for name in names)


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
  if tuple(names) == tuple(model_names):
    return
  new = [name for name in names if name not in model_names]
  missing = [name for name in model_names if name not in names]
  differences = [
      f'{word} {_shorten(which)}'
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
      f'{data}: expected the {len(model_names)} classes of the model, got '
      f'{len(names)} ({"; ".join(differences)}). Use data with the same '
      f'classes, or map them on purpose with {label_map}, such as '
      f'{{{_quoted(ours)}: {_quoted(theirs)}}}.')


def mapped(source: labelled_source.LabelledSource, label_map: Mapping[str, str],
           model_names: Sequence[str], key: str
           ) -> labelled_source.LabelledSource:
  """Returns a source that gives labels of the model.

  Args:
    source: of the data.
    label_map: {name in the data: name of the model's class}; the names of the
      other classes are the same in both.
    model_names: classes of the model, in the order of its outputs.
    key: of the label_map, for the message.

  Raises:
    UserError: a class of the data is none of the model's, or label_map names
      a class that the data do not have.
  """
  names = renamed(source.label_names, label_map, key)
  for name in names:
    if name not in model_names:
      raise errors.unknown_name(f'class of the model in {key}', name,
                                model_names)
  positions = {name: i for i, name in enumerate(model_names)}
  table = tf.constant([positions[name] for name in names], tf.int64)

  source = _with_selection(source, lambda dataset: dataset.map(
      lambda example: {
          **example, 'label': _look_up(table, example['label'])}))
  return dataclasses.replace(
      source, num_classes=len(model_names), label_names=tuple(model_names))


def only_labelled(
    source: labelled_source.LabelledSource) -> labelled_source.LabelledSource:
  """Returns a source without the examples that have no label."""
  return _with_selection(source, labelled_source.only_labelled)


def describe(names: Sequence[str]) -> str:
  """Returns '3 classes: cat, dog, zebra', with the first ten names."""
  return f'{len(names):,} classes: {_shorten(names)}'


def _with_selection(
    source: labelled_source.LabelledSource,
    select: Callable[[tf.data.Dataset], tf.data.Dataset]
) -> labelled_source.LabelledSource:
  """Returns a source with one more `select`, after that which it has."""
  before = source.select
  return dataclasses.replace(source, select=(
      (lambda dataset: select(before(dataset))) if before else select))


def _look_up(table: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
  """Maps labels; those below 0, of examples without a label, stay."""
  known = tf.gather(table, tf.maximum(tf.cast(labels, tf.int64), 0))
  return tf.where(labels < 0, labels, tf.cast(known, labels.dtype))


def _shorten(names: Sequence[str]) -> str:
  more = len(names) - _SHOWN
  return ', '.join(map(_quoted, names[:_SHOWN])) + (
      f' and {more:,} more' if more > 0 else '')


def _quoted(name: str) -> str:
  """Returns a name, quoted if it would be misread otherwise."""
  return name if name.isprintable() and name.strip() == name else repr(name)
