"""Writes the scores of an evaluation: JSON and CSV files, and a short table."""

import csv
import io
import json
import os
from typing import Any, Dict, Iterable, Mapping, Optional, Sequence

import numpy as np
import tensorflow as tf

from tf_tokenlearner.evaluation import class_scores
from tf_tokenlearner import files

SCORES = 'scores.json'
CLASSES = 'classes.csv'
CONFUSION = 'confusion.csv'
PREDICTIONS = 'predictions.csv'

_MANY_CLASSES = 20  # More are shortened on the terminal and in predictions.csv.
_WORST = 10  # Classes shown of many.
_TOP = 5  # Predictions listed per file, and confusions on the terminal.
_NAME_WIDTH = 34  # Fits a table into 80 columns.
_HEADS = {'precision': 11, 'recall': 8, 'f1': 8, 'auc': 8, 'examples': 10}


def write(folder: str, values: Mapping[str, Any],
          about: Optional[Mapping[str, Any]] = None) -> None:
  """Writes scores.json, classes.csv and confusion.csv; each appears whole.

  Args:
    folder: created if missing.
    values: result of ClassScores.as_dict.
    about: further values for scores.json, such as the checkpoint.
  """
  tf.io.gfile.makedirs(folder)
  files.write_text(os.path.join(folder, CLASSES), _csv(
      [list(values['classes'][0]), *(
          map(_cell, row.values()) for row in values['classes'])]))
  names = [row['name'] for row in values['classes']]
  if values['confusion'] is not None:
    files.write_text(os.path.join(folder, CONFUSION), _csv(
        [['label \\ prediction', *names], *(
            [name, *row] for name, row in zip(names, values['confusion']))]))
  files.write_text(os.path.join(folder, SCORES),
                   _json({**(about or {}), **values}))


def read(folder: str) -> Optional[Dict[str, Any]]:
  """Returns the content of scores.json in a folder; None without one."""
  path = os.path.join(folder, SCORES)
  if not tf.io.gfile.exists(path):
    return None
  with tf.io.gfile.GFile(path) as file:
    return json.load(file)


def write_predictions(
    folder: str, names: Sequence[str], labels: np.ndarray,
    probabilities: np.ndarray, label_names: Sequence[str],
    any_number: bool = False) -> None:
  """Writes predictions.csv, a row for each example; it appears whole.

  Columns: file, label, prediction, correct (true or false), and the probability
  of each class (probability_NAME). With more than 20 classes the five most
  likely ones instead (class_1, probability_1, ...). Several labels are
  separated by semicolons; they are correct if all of them are predicted and no
  other, or, of a model of one label, if one of them is predicted.

  Args:
    folder: exists.
    names: file names of the examples, N of them or more.
    labels: int [N], or [N, C] of zeros and ones.
    probabilities: float [N, C].
    label_names: names of the C classes.
    any_number: as in class_scores.compute.
  """
  predicted = class_scores.decide(probabilities, any_number)
  targets = (labels[:, np.newaxis] == np.arange(len(label_names))
             if labels.ndim == 1 else labels > 0)
  correct = ((targets == predicted).all(axis=-1) if any_number
             else (targets & predicted).any(axis=-1))
  joined = lambda chosen: ';'.join(
      label_names[i] for i in np.flatnonzero(chosen))
  is_short = len(label_names) > _MANY_CLASSES
  heads = ([f'{key}_{i}' for i in range(1, _TOP + 1)
            for key in ('class', 'probability')] if is_short
           else [f'probability_{name}' for name in label_names])

  def cells(values):
    if not is_short:
      return [f'{value:.6f}' for value in values]
    order = np.argsort(-values, kind='stable')[:_TOP]
    return [cell for i in order for cell in (
        label_names[i], f'{values[i]:.6f}')]

  files.write_text(os.path.join(folder, PREDICTIONS), _csv([
      ['file', 'label', 'prediction', 'correct', *heads],
      *([name, joined(targets[i]), joined(predicted[i]),
         str(bool(correct[i])).lower(), *cells(probabilities[i])]
        for i, name in zip(range(len(labels)), names))]))


def render(values: Mapping[str, Any]) -> str:
  """Returns scores as a table of at most 80 columns.

  Of more than 20 classes, those with the lowest F1 are shown.

  Args:
    values: result of ClassScores.as_dict, or of `read`.
  """
  overall = [
      f'{word} {values[key]:.4f}' for key, word in (
          ('accuracy', 'accuracy'), ('balanced_accuracy', 'balanced'),
          ('mean_average_precision', 'mAP'), ('macro_f1', 'macro F1'),
          ('auc', 'AUC')) if values.get(key) is not None]
  lines = [f'{", ".join(overall)} ({values["examples"]:,} examples)', '']
  rows = [row for row in values['classes'] if row['examples']]
  empty = [row['name'] for row in values['classes'] if not row['examples']]
  title = 'class'
  if len(rows) > _MANY_CLASSES:
    title = f'lowest F1 of {len(rows):,} classes'
    rows = sorted(rows, key=lambda row: row['f1'])[:_WORST]
  width = min(_NAME_WIDTH, max(map(len, [title, *(r['name'] for r in rows)])))
  lines.append(title.ljust(width) + ''.join(
      {'f1': 'F1', 'auc': 'AUC'}.get(key, key).rjust(columns)
      for key, columns in _HEADS.items()))
  lines += [
      _cut(row['name'], width).ljust(width) + ''.join(
          _number(row[key]).rjust(columns) for key, columns in _HEADS.items())
      for row in rows]
  if empty:
    text = f'{len(empty):,} without examples: {", ".join(empty)}'
    lines.append(text if len(text) < 80 else text[:76] + '...')
  found = (class_scores.confusions(values, _TOP)
           if values['confusion'] is not None else [])
  if found:
    lines += ['', 'Most frequent confusions:']
    lines += [f'  {count:,} of {total:,} {_cut(label, 24)} predicted as '
              f'{_cut(prediction, 24)}'
              for count, total, label, prediction in found]
  return '\n'.join(lines)


def _json(values: Mapping[str, Any]) -> str:
  """Returns JSON with a line for each value and for each item of a list."""
  def text(value):
    if not isinstance(value, list):
      return json.dumps(value, ensure_ascii=False)
    return '[\n    ' + ',\n    '.join(
        json.dumps(item, ensure_ascii=False) for item in value) + '\n  ]'

  return '{\n  ' + ',\n  '.join(
      f'{json.dumps(key)}: {text(value)}'
      for key, value in values.items()) + '\n}\n'


def _csv(rows: Iterable[Iterable[Any]]) -> str:
  text = io.StringIO()
  csv.writer(text, lineterminator='\n').writerows(rows)
  return text.getvalue()


def _cell(value: Any) -> Any:
  return f'{value:.6f}' if isinstance(value, float) else value


def _number(value: Any) -> str:
  """Returns a count, or a score with three digits; - for None."""
  if value is None:
    return '-'
  return f'{value:.3f}' if isinstance(value, float) else f'{value:,}'


def _cut(name: str, width: int) -> str:
  """Shortens a text in its middle: names often differ at their end."""
  if len(name) <= width:
    return name
  end = width // 3
  return f'{name[:width - 3 - end]}...{name[-end:]}'
