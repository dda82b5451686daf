"""Tables of scores: files, and the terminal in 80 columns."""

import csv
import json

import numpy as np

from tf_tokenlearner.evaluation import class_scores
from tf_tokenlearner.evaluation import score_files


def scores_of(names, labels, best):
  probabilities = np.eye(len(names))[best] * .9 + .1 / len(names)
  return class_scores.compute(np.array(labels), probabilities).as_dict(names)


def rows(path):
  with open(path, encoding='utf-8', errors='surrogateescape') as file:
    return list(csv.reader(file))


def test_files(tmp_path):
  values = scores_of(['cat', 'dog, "big"'], [0, 0, 0, 1], [0, 0, 1, 1])
  folder = str(tmp_path / 'scores [1]*')
  score_files.write(folder, values, {'step': 7})
  with open(f'{folder}/scores.json', encoding='utf-8') as file:
    assert json.load(file) == {'step': 7, **values} == score_files.read(folder)
  assert rows(f'{folder}/classes.csv') == [
      ['name', 'precision', 'recall', 'f1', 'auc', 'examples'],
      ['cat', '1.000000', '0.666667', '0.800000', '0.833333', '3'],
      ['dog, "big"', '0.500000', '1.000000', '0.666667', '0.833333', '1']]
  assert rows(f'{folder}/confusion.csv') == [
      ['label \\ prediction', 'cat', 'dog, "big"'], ['cat', '2', '1'],
      ['dog, "big"', '0', '1']]
  assert score_files.read(str(tmp_path)) is None


def test_predictions_of_few_classes(tmp_path):
  score_files.write_predictions(
      str(tmp_path), ['a.png', '\udcff.png', 'not evaluated'], np.array([0, 1]),
      np.array([[.75, .25], [.5, .5]]), ['cat', 'dog'])
  assert rows(tmp_path / 'predictions.csv') == [
      ['file', 'label', 'prediction', 'correct', 'probability_cat',
       'probability_dog'],
      ['a.png', 'cat', 'cat', 'true', '0.750000', '0.250000'],
      ['\udcff.png', 'dog', 'cat', 'false', '0.500000', '0.500000']]


def test_predictions_of_many_classes_and_labels(tmp_path):
  """The five most likely classes; correct if exactly the labels are given."""
  names = [f'c{i}' for i in range(21)]
  labels, probabilities = np.zeros([2, 21]), np.full([2, 21], .01)
  labels[:, [3, 4]] = 1
  probabilities[:, 3], probabilities[0, 4], probabilities[1, 5] = .9, .8, .8
  score_files.write_predictions(
      str(tmp_path), ['a', 'b'], labels, probabilities, names, any_number=True)
  head, first, second = rows(tmp_path / 'predictions.csv')
  assert head[4:8] == ['class_1', 'probability_1', 'class_2', 'probability_2']
  assert len(head) == len(first) == 14
  assert first[:6] == ['a', 'c3;c4', 'c3;c4', 'true', 'c3', '0.900000']
  assert second[:4] == ['b', 'c3;c4', 'c3;c5', 'false']


def test_few_classes_are_all_shown():
  values = scores_of(['cat', 'dog', 'emu'], [0, 0, 0, 1], [0, 0, 1, 1])
  assert score_files.render(values).splitlines() == [
      'accuracy 0.7500, balanced 0.8333, macro F1 0.7333, AUC 0.8333 '
      '(4 examples)', '',
      'class  precision  recall      F1     AUC  examples',
      'cat        1.000   0.667   0.800   0.833         3',
      'dog        0.500   1.000   0.667   0.833         1',
      '1 without examples: emu', '',
      'Most frequent confusions:', '  1 of 3 cat predicted as dog']


def test_many_classes_with_long_names_fit_80_columns():
  """The ten lowest F1 and the five most frequent confusions."""
  names = ['class ' + 'x' * 90 + f' {i:02d}' for i in range(40)]
  labels = np.repeat(np.arange(30), 4)
  best = labels.copy()
  best[:44:4] = 35  # One of four, in the first 11 classes.
  best[8:11] = 3  # Three more of class 2.
  lines = score_files.render(scores_of(names, labels, best)).splitlines()
  assert max(map(len, lines)) == 79
  shown = [line[31:34] for line in lines if line.startswith('class x')]
  assert shown == [f' {i:02d}' for i in (2, 3, 0, 1, 4, 5, 6, 7, 8, 9)]
  assert lines[2].startswith('lowest F1 of 30 classes')
  assert '10 without examples: class x' in lines[13]
  start = lines.index('Most frequent confusions:') + 1
  assert lines[start] == (
      '  3 of 4 class xxxxxxx...xxxxx 02 predicted as '
      'class xxxxxxx...xxxxx 03')
  assert len(lines) == start + 5
