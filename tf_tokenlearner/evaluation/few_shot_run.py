"""Few-shot evaluation of a run: a table on the screen, a file in its folder."""

import json
import math
import os
from typing import Iterator, List, NamedTuple, Sequence

import numpy as np
import tensorflow as tf
from official.core import config_definitions as cfg

from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner import files
from tf_tokenlearner import status_line
from tf_tokenlearner.configs import image_classification as config
from tf_tokenlearner.evaluation import few_shot
from tf_tokenlearner.evaluation import few_shot_data
from tf_tokenlearner.training import quiet
from tf_tokenlearner.training import run_folder
from tf_tokenlearner.training import runner

RESULTS = 'few_shot.json'
_NAME_WIDTH = 24  # Of a data set, in the table.
_LEGEND = f"""\
own l2: from the drawn images alone, each recognised by what the others tell.
shared l2: one for all data sets, of the best mean rank on their test images,
as in the official code. {RESULTS} holds the accuracy with each l2."""


class Trial(NamedTuple):
  """One data set and number of shots.

  Attributes:
    data_set: its name.
    train_split: of the images that were learned from.
    test_split: of those that were classified.
    shots: images a class; all where there are fewer.
    num_train: images drawn.
    num_test: images classified.
    sweep: what came out, by l2.
  """
  data_set: str
  train_split: str
  test_split: str
  shots: int
  num_train: int
  num_test: int
  sweep: few_shot.Sweep


class Score(NamedTuple):
  """A trial with l2 chosen.

  Attributes:
    trial: what was tried.
    l2: what the drawn images speak for.
    accuracy: with it, on the test images.
    shared_l2: what is best for all data sets together.
    shared_accuracy: with that.
  """
  trial: Trial
  l2: float
  accuracy: float
  shared_l2: float
  shared_accuracy: float


def evaluate(params: cfg.ExperimentConfig, model_dir: str,
             data_sets: Sequence[str], shots: Sequence[int], seed: int = 0,
             checkpoint: str = '') -> List[Score]:
  """Scores the features of a run's model; prints the scores and writes them.

  Images are read as in the run's evaluation, and the weights are those that
  evaluation uses, in float32, on one device.

  Args:
    params: the config of the run.
    model_dir: the folder of the run, which gets the file RESULTS.
    data_sets: each as few_shot_data.open_data_set takes it.
    shots: numbers of training images a class.
    seed: of which images are drawn.
    checkpoint: path, '' for the run's best or else its latest.

  Returns:
    A score for each number of shots and data set, in this order.

  Raises:
    UserError: no run of images, no such data set, or too few shots.
  """
  if not isinstance(params.task, config.ImageClassificationTask):
    raise errors.UserError(
        f'Few-shot evaluation is for images; {model_dir} is a run of clips.')
  if not shots or min(shots) < 2:
    raise errors.UserError(
        'Few-shot evaluation wants 2 shots or more, as l2 is chosen by leaving '
        f'images out; received {", ".join(map(str, shots)) or "none"}.')
  path = run_folder.find_checkpoint(params, model_dir, checkpoint)
  # All of them, before hours are spent on the first.
  opened = [few_shot_data.open_data_set(text, params.task.validation_data)
            for text in data_sets]
  with quiet.logging_to(model_dir, 'few_shot.log'):
    model = runner.load_model(params, path)
    trials = [list(_try(model, data, sorted(set(shots)), seed))
              for data in opened]
  scores = [score for of_equal_shots in zip(*trials)
            for score in _choose(of_equal_shots)]
  print(f'Few-shot evaluation, seed {seed}, of\n{path}\n\n{render(scores)}')
  with files.replacing(os.path.join(model_dir, RESULTS)) as results:
    with tf.io.gfile.GFile(results, 'w') as file:
      json.dump(_to_json(scores, path, seed), file, indent=2)
  return scores


def _try(model: backbones.Classifier, data: few_shot_data.DataSet,
         shots: Sequence[int], seed: int) -> Iterator[Trial]:
  """Tries all numbers of shots on one data set."""
  line = status_line.StatusLine()
  line.show(f'{data.name}: reading the labels ...', force=True)
  all_labels = few_shot_data.read_labels(data)
  num_classes = data.source.num_classes
  draw = lambda k: few_shot.draw(all_labels, num_classes, k, seed)
  extractor = few_shot_data.Extractor(
      model, lambda count: line.show(f'{data.name}: {count:,} images'))
  indices = draw(max(shots))
  features, labels = extractor.train(data, indices)
  test_features, test_labels = extractor.test(data)
  counts = np.bincount(all_labels, minlength=num_classes)
  for k in shots:
    if (counts < k).any():
      line.note(
          f'{data.name}: {(counts < k).sum():,} of {num_classes:,} classes '
          f'have fewer than {k} training images (the rarest {counts.min()}); all of '
          'theirs are taken.')
    line.show(f'{data.name}: regression of {k} shots ...', force=True)
    drawn = np.isin(indices, draw(k))
    yield Trial(
        data.name, data.train.tfds_split, data.test.tfds_split, k,
        int(drawn.sum()), len(test_labels),
        few_shot.sweep(features[drawn], labels[drawn], test_features,
                       test_labels, num_classes))
  line.clear()


def _choose(trials: Sequence[Trial]) -> Iterator[Score]:
  """Chooses l2 for trials of equal shots."""
  shared = few_shot.best_for_all([trial.sweep for trial in trials])
  for trial in trials:
    own, accuracies = trial.sweep.chosen, trial.sweep.accuracies
    yield Score(trial, few_shot.L2S[own], accuracies[own],
                few_shot.L2S[shared], accuracies[shared])


def render(scores: Sequence[Score]) -> str:
  """The table, with means where there are several data sets."""
  def row(name, shots, images, *rest):
    if len(name) > _NAME_WIDTH:  # The end of a path says more.
      name = '...' + name[3 - _NAME_WIDTH:]
    columns = zip(map(str, (shots, images, *rest)), (6, 9, 10, 8, 10, 11))
    return f'{name:<{_NAME_WIDTH}}' + ''.join(
        text.rjust(width) for text, width in columns)

  power = lambda l2: f'2^{round(math.log2(l2))}'
  heads = row('data set', 'shots', 'images', 'accuracy', 'own l2', 'accuracy',
              'shared l2')
  lines = [heads, '-' * len(heads)]
  for shots in dict.fromkeys(score.trial.shots for score in scores):
    alike = [score for score in scores if score.trial.shots == shots]
    lines += [
        row(score.trial.data_set, shots, f'{score.trial.num_train:,}',
            f'{score.accuracy:.4f}', power(score.l2),
            f'{score.shared_accuracy:.4f}', power(score.shared_l2))
        for score in alike]
    if len(alike) > 1:
      mean = lambda values: f'{np.mean(list(values)):.4f}'
      lines.append(row(
          f'mean of {len(alike)}', shots, '',
          mean(score.accuracy for score in alike), '',
          mean(score.shared_accuracy for score in alike),
          power(alike[0].shared_l2)))
  return '\n'.join([*lines, '', _LEGEND])


def _to_json(scores: Sequence[Score], checkpoint: str, seed: int) -> dict:
  def flat(score):
    values = {**score.trial._asdict(), **score._asdict(),
              'accuracies': score.trial.sweep.accuracies}
    return {key: value for key, value in values.items()
            if key not in ('trial', 'sweep')}

  return {'checkpoint': os.path.abspath(checkpoint), 'seed': seed,
          'l2s': few_shot.L2S, 'scores': list(map(flat, scores))}
