"""Maps the classes of data to those of a model, or refuses them."""

import dataclasses
import json
from typing import Callable, Dict, Mapping, Sequence, Tuple

from official.core import config_definitions as cfg
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.data import class_lists
from tf_tokenlearner.data import labelled_source


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


def check(name: str, data: cfg.DataConfig,
          source: labelled_source.LabelledSource,
          names: Tuple[str, ...]) -> Tuple[str, ...]:
  """Compares the classes of a source with a model's, () for a new model.

  Args:
    name: of the data in the task, such as 'train_data'.
    data: its config.
    source: that it names.
    names: classes of the model.

  Returns:
    The names of the model's classes.

  Raises:
    UserError: the classes differ and no label_map maps them, or the split is
      unknown.
  """
  source.num_examples(data.tfds_split)  # Refuses unknown splits.
  key = f'task.{name}.label_map'
  if data.label_map:
    label_map = parse_map(data.label_map, key)
    names = names or tuple(dict.fromkeys(
        renamed(source.label_names, label_map, key)))
    mapped(source, label_map, names, key)
  elif names:
    class_lists.require_same(source.label_names, names, f'task.{name}', key)
  return names or source.label_names


def match_by_name(data: cfg.DataConfig, source: labelled_source.LabelledSource,
                  names: Tuple[str, ...]) -> None:
  """Sets label_map so that classes are matched by name; prints which lack.

  Args:
    data: config of validation data; changed.
    source: that it names.
    names: classes of the model.

  Raises:
    UserError: the data have classes that the model does not have.
  """
  key = 'task.validation_data.label_map'
  label_map = parse_map(data.label_map, key)
  where = data.input_path or data.tfds_name
  missing = class_lists.require_known(
      renamed(source.label_names, label_map, key), names, where, key)
  if missing:
    print(f'{where} has no examples of {len(missing):,} of the {len(names):,} '
          f'classes: {class_lists.shorten(missing)}.')
  data.label_map = data.label_map or '{}'


def as_model(data: cfg.DataConfig, source: labelled_source.LabelledSource,
             names: Sequence[str]) -> labelled_source.LabelledSource:
  """Returns a source whose labels are the model's, as its label_map says.

  Args:
    data: config of the data.
    source: that it names.
    names: classes of the model; () takes those that the label_map gives.

  Raises:
    UserError: as `mapped`.
  """
  if not data.label_map:
    return source
  label_map = parse_map(data.label_map, 'label_map')
  names = names or tuple(dict.fromkeys(
      renamed(source.label_names, label_map, 'label_map')))
  return mapped(source, label_map, names, 'label_map')


def only_labelled(
    source: labelled_source.LabelledSource) -> labelled_source.LabelledSource:
  """Returns a source without the examples that have no label."""
  return _with_selection(source, labelled_source.only_labelled)


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
