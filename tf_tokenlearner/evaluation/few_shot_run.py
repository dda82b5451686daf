"""Few-shot evaluation of a run: prints a table and writes a file."""

import dataclasses
import math
import os
from typing import Callable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np
import tensorflow as tf

from tf_tokenlearner import backbones
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.configs import image_classification as config
from tf_tokenlearner.data import batching
from tf_tokenlearner.data import image_pipeline
from tf_tokenlearner.data import resizing as resizing_lib
from tf_tokenlearner.data import tfds_source
from tf_tokenlearner import errors
from tf_tokenlearner.evaluation import few_shot
from tf_tokenlearner import files
from tf_tokenlearner import progress
from tf_tokenlearner import quiet
from tf_tokenlearner.training import run_checks
from tf_tokenlearner.training import runner


class DataSet(NamedTuple):
  """A data set of labeled images with two splits.

  Attributes:
    name: name that the user gave.
    source: source of the examples.
    train: config that reads the images to draw from.
    test: config that reads the images to classify.
    resizing: how the images get the network's input size.
  """
  name: str
  source: tfds_source.ImageSource
  train: config.DataConfig
  test: config.DataConfig
  resizing: resizing_lib.Resizing = resizing_lib.Resizing()


def open_data_set(
    text: str, params: config.DataConfig,
    resizing: resizing_lib.Resizing = resizing_lib.Resizing()) -> DataSet:
  """Opens a TFDS data set and prepares it if necessary.

  Args:
    text: 'name' or 'name@train split@test split'. The default splits are
      'train' and 'test' or, without one, 'validation'.
    params: config of evaluation data; its source is replaced.
    resizing: how the images get the network's input size.

  Raises:
    UserError: the data set or a split does not exist, or its images have
      several labels.
  """
  name, *splits = text.split('@')
  if not name or len(splits) not in (0, 2) or not all(splits):
    raise errors.UserError(
        f'{text!r} is not a data set for few-shot evaluation. Give the name of '
        'a TFDS data set, or name@train@test with its two splits.')
  params = params.replace(
      tfds_name=name, input_path='', image_field_key='', label_field_key='',
      label_map='', cache=False)
  source = image_pipeline.open_source(params)
  if source.multi_label:
    raise errors.UserError(
        f'{name} has several labels per image; few-shot evaluation needs one.')
  if not splits:
    has_test = 'test' in source.builder.info.splits
    splits = ['train', 'test' if has_test else 'validation']
  for split in splits:
    source.num_examples(split)  # Refuses unknown splits.
  train, test = (params.replace(tfds_split=split) for split in splits)
  return DataSet(name, source, train, test, resizing)


def read_labels(data: DataSet) -> np.ndarray:
  """Returns the labels of all training images in reading order, int64 [n]."""
  labels = batching.read_source(data.train, data.source, None).map(
      lambda example: example['label']).batch(1024)
  labels = np.concatenate(list(labels.as_numpy_iterator()))
  if labels.min() < 0:
    raise _unlabelled(data, data.train)
  return labels


class Extractor:
  """Computes features (pre_logits) of images and returns them with labels.

  Args:
    model: classifier that computes the features.
    report: called with the number of images done so far.
  """

  def __init__(self, model: backbones.Classifier,
               report: Callable[[int], None] = lambda count: None):
    self._input_size = model.backbone.input_size
    self._report = report
    self._features = tf.function(
        lambda images: model.backbone(images, training=False)['pre_logits'],
        input_signature=[tf.TensorSpec([None, *self._input_size])])

  def test(self, data: DataSet) -> Tuple[np.ndarray, np.ndarray]:
    """Returns features [m, C] and labels int32 [m] of all test images."""
    return self._extract(data, data.test, data.source)

  def train(self, data: DataSet,
            indices: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Returns features [n, C] and labels int32 [n] of some training images.

    Args:
      data: data set.
      indices: int [n], ascending positions in the order of read_labels.
    """
    is_drawn = np.zeros(data.source.num_examples(data.train.tfds_split), bool)
    is_drawn[indices] = True
    def only_drawn(dataset):
      numbered = dataset.enumerate()
      numbered = numbered.filter(lambda i, _: tf.constant(is_drawn)[i])
      return numbered.map(lambda _, example: example)

    return self._extract(
        data, data.train, dataclasses.replace(data.source, select=only_drawn))

  def _extract(self, data: DataSet, params: config.DataConfig,
               source: tfds_source.ImageSource
               ) -> Tuple[np.ndarray, np.ndarray]:
    features, labels, count = [], [], 0
    try:
      for images, its_labels in image_pipeline.build_dataset(
          params, source, self._input_size, source.num_classes,
          multi_label=False, resizing=data.resizing):
        features.append(self._features(images).numpy())
        labels.append(its_labels.numpy())
        count += len(its_labels)
        self._report(count)
    except tf.errors.InvalidArgumentError as error:
      if 'A label is not in' not in str(error):
        raise
      raise _unlabelled(data, params) from error
    return np.concatenate(features), np.concatenate(labels)


def _unlabelled(data: DataSet, params: config.DataConfig) -> errors.UserError:
  return errors.UserError(
      f'Split {params.tfds_split!r} of {data.name} has images without a label. '
      f'Its splits are: {", ".join(data.source.builder.info.splits)}; choose '
      f'with {data.name}@train@test.')


RESULTS = 'few_shot.json'
_NAME_WIDTH = 24  # Of a data set, in the table.
_LEGEND = f"""\
own l2: the best leave-one-out accuracy on the drawn images alone.
shared l2: one for all data sets, the best mean rank on their test images, as
in the official code. {RESULTS} holds the accuracy with each l2."""


class Trial(NamedTuple):
  """One data set and number of shots.

  Attributes:
    data_set: name of the data set.
    train_split: split of the drawn images.
    test_split: split of the classified images.
    shots: images per class; classes with fewer give all of theirs.
    num_train: number of drawn images.
    num_test: number of classified images.
    sweep: scores of every l2.
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
    trial: the trial.
    l2: l2 chosen on the drawn images.
    accuracy: test accuracy with l2.
    shared_l2: l2 chosen on all data sets.
    shared_accuracy: test accuracy with shared_l2.
  """
  trial: Trial
  l2: float
  accuracy: float
  shared_l2: float
  shared_accuracy: float


def evaluate(params: experiments.Config, model_dir: str,
             data_sets: Sequence[str], shots: Sequence[int], seed: int = 0,
             checkpoint: str = '') -> List[Score]:
  """Scores the features of a run's model; prints the scores and writes them.

  Images are read as in the run's evaluation, with the weights that evaluation
  uses, in float32, on one device.

  Args:
    params: config of the run.
    model_dir: run folder; the file RESULTS is written there.
    data_sets: data sets as open_data_set takes them.
    shots: numbers of training images per class.
    seed: seed of the draw.
    checkpoint: path; '' for the run's best checkpoint or, without one, its
      latest.

  Returns:
    Scores by number of shots, then by data set.

  Raises:
    UserError: the run is not of images, a data set is unknown, or there are too
      few shots.
  """
  if not isinstance(params.task, config.ImageClassificationTask):
    raise errors.UserError(
        f'Few-shot evaluation is for images; {model_dir} is a run of clips.')
  if not shots or min(shots) < 2:
    raise errors.UserError(
        'Few-shot evaluation needs at least 2 shots to choose l2 by leaving '
        f'images out; got {", ".join(map(str, shots)) or "none"}.')
  path = run_checks.open_run(params, model_dir).find_checkpoint(checkpoint)
  # Opens all of them first, so that errors do not come after hours.
  opened = [open_data_set(text, params.task.validation_data,
                          resizing_lib.of_task(params.task))
            for text in data_sets]
  with quiet.logging_to(model_dir, 'few_shot.log', optional=True):
    model = runner.load_model(params, path)
    trials = [list(_try(model, data, sorted(set(shots)), seed))
              for data in opened]
  scores = [score for of_equal_shots in zip(*trials)
            for score in _choose(of_equal_shots)]
  print(f'Few-shot evaluation, seed {seed}, of\n{path}\n\n{render(scores)}')
  if files.is_writable(model_dir):
    files.write_json(
        os.path.join(model_dir, RESULTS), _to_json(scores, path, seed))
  else:
    print(f'{model_dir} cannot be written; {RESULTS} was not saved.')
  return scores


def _try(model: backbones.Classifier, data: DataSet,
         shots: Sequence[int], seed: int) -> Iterator[Trial]:
  """Yields a trial for each number of shots on one data set."""
  line = progress.StatusLine()
  line.show(f'{data.name}: reading the labels ...', force=True)
  all_labels = read_labels(data)
  num_classes = data.source.num_classes
  draw = lambda k: few_shot.draw(all_labels, num_classes, k, seed)
  extractor = Extractor(
      model, lambda count: line.show(f'{data.name}: {count:,} images'))
  indices = draw(max(shots))
  features, labels = extractor.train(data, indices)
  test_features, test_labels = extractor.test(data)
  counts = np.bincount(all_labels, minlength=num_classes)
  for k in shots:
    if (counts < k).any():
      line.note(
          f'{data.name}: {(counts < k).sum():,} of {num_classes:,} classes '
          f'have fewer than {k} training images (the rarest {counts.min()}), '
          'which are all used.')
    line.show(f'{data.name}: regression of {k} shots ...', force=True)
    drawn = np.isin(indices, draw(k))
    yield Trial(
        data.name, data.train.tfds_split, data.test.tfds_split, k,
        int(drawn.sum()), len(test_labels),
        few_shot.sweep(features[drawn], labels[drawn], test_features,
                       test_labels, num_classes))
  line.clear()


def _choose(trials: Sequence[Trial]) -> Iterator[Score]:
  """Yields scores of trials with equal shots."""
  shared = few_shot.best_for_all([trial.sweep for trial in trials])
  for trial in trials:
    own, accuracies = trial.sweep.chosen, trial.sweep.accuracies
    yield Score(trial, few_shot.L2S[own], accuracies[own],
                few_shot.L2S[shared], accuracies[shared])


def render(scores: Sequence[Score]) -> str:
  """Returns the table, with means if there are several data sets."""
  def row(name, shots, images, *rest):
    if len(name) > _NAME_WIDTH:  # The end of a path is more specific.
      name = '...' + name[3 - _NAME_WIDTH:]
    columns = zip(map(str, (shots, images, *rest)), (6, 9, 10, 8, 10, 11))
    return f'{name:<{_NAME_WIDTH}}' + ''.join(
        text.rjust(width) for text, width in columns)

  power = lambda l2: f'2^{round(math.log2(l2))}'
  heads = row('data set', 'shots', 'images', 'accuracy', 'own l2', 'accuracy',
              'shared l2')
  lines = [heads, '-' * len(heads)]
  for shots in dict.fromkeys(score.trial.shots for score in scores):
    rows = [score for score in scores if score.trial.shots == shots]
    lines += [
        row(score.trial.data_set, shots, f'{score.trial.num_train:,}',
            f'{score.accuracy:.4f}', power(score.l2),
            f'{score.shared_accuracy:.4f}', power(score.shared_l2))
        for score in rows]
    if len(rows) > 1:
      mean = lambda values: f'{np.mean(list(values)):.4f}'
      lines.append(row(
          f'mean of {len(rows)}', shots, '',
          mean(score.accuracy for score in rows), '',
          mean(score.shared_accuracy for score in rows),
          power(rows[0].shared_l2)))
  return '\n'.join([*lines, '', _LEGEND])


def _to_json(scores: Sequence[Score], checkpoint: str, seed: int) -> dict:
  def flat(score):
    values = {**score.trial._asdict(), **score._asdict(),
              'accuracies': score.trial.sweep.accuracies}
    return {key: value for key, value in values.items()
            if key not in ('trial', 'sweep')}

  return {'checkpoint': os.path.abspath(checkpoint), 'seed': seed,
          'l2s': few_shot.L2S, 'scores': list(map(flat, scores))}
