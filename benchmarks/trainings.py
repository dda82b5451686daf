"""Trainings whose results are stored, so that none runs twice.

Shared by benchmarks/study.py and benchmarks/insertion.py: flags, the file with
one JSON line per training, and the training itself.
"""

import json
import os
import shutil
import statistics
import subprocess
from typing import Any, Dict, Iterable, List, Optional, Sequence

from absl import flags

from tf_tokenlearner import run_folder
from tf_tokenlearner import errors


# pylint: disable=g-import-not-at-top
# Functions import TensorFlow and the Garden, which take seconds to load.


def define_flags(values: flags.FlagValues, *, work_dir: str,
                 results: str) -> None:
  """Defines the flags of a training benchmark, with its defaults."""
  owner = dict(flag_values=values, module_name='__main__')
  for name, default, what in (
      ('experiment', 'tokenlearner_fashion_mnist', 'Data set and recipe.'),
      ('data_dir', '', 'Folder of the prepared data set; the default is that '
       'of TFDS.'),
      ('work_dir', work_dir, 'Folder for the run folders.'),
      ('results', results, 'File of results, one JSON line per training.')):
    flags.DEFINE_string(name, default, what, **owner)
  flags.DEFINE_list(
      'seeds', '0,1,2', 'Every model is trained once per seed.', **owner)


def seeds(given: Sequence[str]) -> List[int]:
  """Returns the value of --seeds as numbers.

  Raises:
    UserError: a seed is not an integer, or none is given.
  """
  try:
    numbers = [int(text) for text in given]
  except ValueError:
    numbers = []
  if not numbers:
    raise errors.UserError(
        '--seeds must be whole numbers, such as 0,1,2; got '
        f'{",".join(given)!r}.')
  return numbers


class Results:
  """Stored results of trainings, one per line of a file.

  Args:
    path: path of the file; the file and its folder need not exist.

  Raises:
    UserError: a line is not a result.
  """

  def __init__(self, path: str):
    self._path = path
    self._results = []
    if os.path.exists(path):
      with open(path, encoding='utf-8') as file:
        self._results = [self._parse(i, line) for i, line in enumerate(file)]

  def _parse(self, i: int, line: str) -> Dict[str, Any]:
    try:
      result = json.loads(line)
    except ValueError:
      result = {}
    if not (isinstance(result, dict)
            and {'name', 'seed', 'config'} <= set(result)):
      raise errors.UserError(
          f'{self._path}, line {i + 1}, is not the result of a training. '
          'Remove the line; the training will be repeated.')
    return result

  def find(self, name: str, seed: int,
           config: Dict[str, Any]) -> Optional[Dict[str, Any]]:
    """Returns the result with this name, seed and config, or None."""
    return next((result for result in self._results if (
        result['name'], result['seed'], result['config']) == (
            name, seed, config)), None)

  def add(self, result: Dict[str, Any]) -> Dict[str, Any]:
    """Adds a result; a killed process leaves the old file or the new one."""
    self._results.append(result)
    os.makedirs(os.path.dirname(self._path) or '.', exist_ok=True)
    beside = f'{self._path}.partial'
    with open(beside, 'w', encoding='utf-8') as file:
      for line in self._results:
        file.write(json.dumps(line) + '\n')
    os.replace(beside, self._path)
    return result


def config(values: flags.FlagValues, *, vit: Dict[str, Any], seed: int,
           steps: int, learning_rate: float) -> Dict[str, Any]:
  """Returns the overrides of the experiment for one training.

  The test data are evaluated once, after the last step, so no choice depends on
  them.

  Args:
    values: flags, among them batch_size.
    vit: options of token_learner_vit.
    seed: seed of weights, order of examples and augmentation.
    steps: steps of training; a tenth of them is warm-up.
    learning_rate: peak of the cosine schedule.
  """
  return {
      'task': {
          'model': {'backbone': {'token_learner_vit': vit}},
          'train_data': {
              'global_batch_size': values.batch_size, 'seed': seed,
              # A few passes over the data do not overfit.
              'aug_shift': 0}},
      'trainer': {
          'train_steps': steps, 'checkpoint_interval': steps,
          'validation_interval': steps, 'steps_per_loop': min(steps, 50),
          'summary_interval': min(steps, 50),
          'optimizer_config': {
              'learning_rate': {
                  'cosine': {'initial_learning_rate': learning_rate}},
              'warmup': {'linear': {'warmup_steps': max(steps // 10, 1)}}}}}


def parse(values: flags.FlagValues,
          overrides: Dict[str, Any]) -> Any:
  """Returns the Garden's ExperimentConfig, with --data_dir filled in."""
  from tf_tokenlearner.configs import experiments
  return experiments.parse(values.experiment, [
      json.dumps(overrides), json.dumps({'task': {'train_data': {
          'tfds_data_dir': os.path.expanduser(values.data_dir)}}})])


def train(values: flags.FlagValues, overrides: Dict[str, Any],
          folder: str) -> Dict[str, Any]:
  """Trains in a fresh folder and scores the last checkpoint.

  Args:
    values: flags, among them experiment and data_dir.
    overrides: overrides that `config` returns, possibly extended.
    folder: run folder; its contents are removed first.

  Returns:
    {'accuracy': on the validation data, 'seconds': of training, 'parameters':
    number, 'macs': per example, 'commit': git commit, 'machine': description}.
  """
  import tf_keras
  from benchmarks import timing
  from tf_tokenlearner.training import runner

  if os.path.exists(folder):  # Left by an interrupted training.
    shutil.rmtree(folder)
  tf_keras.backend.clear_session()  # Frees the graphs of earlier trainings.
  params = parse(values, overrides)
  runner.train(values.experiment, params, folder, evaluate=False)
  accuracy = runner.evaluate(
      params, folder, run_folder.latest_checkpoint(folder))['accuracy']
  training = run_folder.load(folder).training()
  return {'accuracy': float(accuracy),
          **{key: training[key] for key in ('seconds', 'parameters', 'macs')},
          'commit': commit(), 'machine': timing.machine()}


def commit() -> str:
  """Returns the commit of the code that runs, as git describes it."""
  done = subprocess.run(
      ['git', 'describe', '--always', '--dirty'], text=True, check=False,
      capture_output=True, cwd=os.path.dirname(os.path.abspath(__file__)))
  return done.stdout.strip() or 'unknown'


def spread(numbers: Iterable[float], scale: float = 1.,
           digits: int = 4) -> str:
  """Returns 'mean ± standard deviation', or the number if there is one."""
  numbers = [scale * number for number in numbers]
  text = f'{statistics.mean(numbers):.{digits}f}'
  if numbers[1:]:
    text += f' ± {statistics.stdev(numbers):.{digits}f}'
  return text


def provenance(rows: Iterable[Dict[str, Any]]) -> str:
  """Returns 'Seeds 0, 1; commit abc; machine.' for results."""
  rows = list(rows)
  listed = lambda key: ', '.join(sorted({str(row[key]) for row in rows}))
  return (f'Seeds {listed("seed")}; commit {listed("commit")}; '
          f'{listed("machine")}.')
