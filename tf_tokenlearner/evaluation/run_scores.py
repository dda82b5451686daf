"""Scores a run on its validation data or on other data, class by class."""

import itertools
import os
import re
from typing import Any, Dict, Sequence

import numpy as np

from tf_tokenlearner.checkpoints import tf_checkpoint
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import batching
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner.data import video_pipeline
from tf_tokenlearner.evaluation import score_files
from tf_tokenlearner import files
from tf_tokenlearner import quiet
from tf_tokenlearner import run_folder
from tf_tokenlearner.tasks import classification_task
from tf_tokenlearner.training import run_checks
from tf_tokenlearner.training import runner


# Keys that are for files of a folder, or for features of one data set.
_OF_SOURCE = (
    'fps', 'stored_short_side', 'files_dir', 'validation_fraction',
    'max_unreadable_fraction', 'image_field_key', 'video_field_key',
    'label_field_key', 'label_map')


def on_data(params: experiments.Config, data: str) -> Dict[str, Any]:
  """Returns overrides that evaluate on other data.

  Args:
    params: config of the run.
    data: a folder of class folders or another path that input_path takes; or
      a TFDS data set, its name or folder, with @SPLIT for one of its splits.
  """
  current = params.task.validation_data
  default = type(current)()
  values = {key: getattr(default, key) for key in _OF_SOURCE
            if hasattr(default, key)}
  if os.path.exists(data) and not labelled_source.is_prepared(data):
    values.update(input_path=data, tfds_name='', tfds_split='all',
                  validation_fraction=1.)
    if hasattr(current, 'fps'):  # Motion must keep its speed.
      values['fps'] = video_pipeline.stored_fps(current) or default.fps
      values['stored_short_side'] = current.stored_short_side
  else:
    name, _, split = data.partition('@')
    values.update(input_path='', tfds_name=name, tfds_split=split or 'all')
  return {'task': {'validation_data': values}}


def evaluate(params: experiments.Config, model_dir: str, checkpoint: str = '',
             data: str = '') -> Dict[str, float]:
  """Scores a checkpoint; prints and writes scores by class and predictions.

  They go to a new folder scores/NAME-STEP of the run, or replace those of the
  same data and checkpoint. A run that cannot be written keeps none.

  Args:
    params: config of the run, with the overrides of on_data.
    model_dir: folder of the run.
    checkpoint: path; '' for the run's best checkpoint or else its latest.
    data: as in on_data; '' for the validation data of the run.

  Returns:
    The scores that training logs.

  Raises:
    UserError: there is no checkpoint, it does not fit, or the data have other
      classes than the run. Classes may be missing in other data.
  """
  run = run_checks.open_run(params, model_dir)
  path = run.find_checkpoint(checkpoint)
  scores, predictions = runner.evaluate_predictions(
      params, run, path, by_name=bool(data))
  names = run.names_of(params.task.model.num_classes)
  values = predictions.by_class.as_dict(names)
  print(f'\n{score_files.render(values)}\n')
  if not files.is_writable(model_dir):
    print(f'{model_dir} cannot be written; the scores were not saved.')
    return scores
  validation = params.task.validation_data
  about = {
      'checkpoint': os.path.abspath(path),
      'step': tf_checkpoint.global_step(path),
      'data': str(validation.input_path or validation.tfds_name),
      'split': validation.tfds_split}
  folder = choose_folder(run, about, data)
  score_files.write(folder, values, about)
  score_files.write_predictions(
      folder, _file_names(params, predictions.labels), predictions.labels,
      predictions.probabilities, names, predictions.any_number)
  print(f'Scores and predictions ({score_files.PREDICTIONS}) are in\n{folder}')
  return scores


def choose_folder(run: run_folder.Run, about: Dict[str, Any],
                   data: str) -> str:
  """Returns a folder that is new or has scores of the same evaluation."""
  name = os.path.basename(data.rstrip('/')) if data else 'validation'
  name = re.sub(r'[^\w.@-]', '_', name) + f'-{about["step"]}'
  for i in itertools.count(1):
    folder = run.scores_folder(name if i == 1 else f'{name}-{i}')
    before = score_files.read(folder)
    if not before or about.items() <= before.items():
      return folder


def _file_names(params: experiments.Config,
                labels: np.ndarray) -> Sequence[str]:
  """Returns the files of the evaluated examples; '' where not known."""
  data = params.task.validation_data
  source = classification_task.make(params.task).open(data)
  unknown = [''] * len(labels)
  if source is None:  # TFRecord files have no names.
    return unknown
  with quiet.errors_only():  # TFDS warns about its own calls.
    names, read = batching.read_files(data, source)
  if not all(map(_same, read, labels)):
    return unknown  # Several workers evaluate in another order.
  place = data.files_dir or str(data.input_path)
  if os.path.isfile(place):  # A CSV file.
    place = os.path.dirname(place)
  return [os.path.join(place, name) for name in names]


def _same(stored: np.ndarray, label: np.ndarray) -> bool:
  """Returns whether stored labels are those of an evaluated example."""
  if not np.ndim(label):
    return int(stored) == int(label)
  return set(np.atleast_1d(stored).tolist()) == set(
      np.flatnonzero(label).tolist())
