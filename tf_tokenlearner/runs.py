"""Compares training runs: scores, cost, time, and the options that differ.

  python -m tf_tokenlearner.runs runs
  python -m tf_tokenlearner.runs runs/first runs/second --format=csv

Folders are searched for runs at any depth. Runs are sorted by their best score
on the validation data. Columns:

  at step      step at which the score was reached
  MACs         multiply-accumulates of one image or clip
  parameters   number of trained weights
  time         time of training, with evaluation, over all restarts

A star marks a run that has not finished. A dash marks an unknown value, such as
cost and time of a run of version 0.1.0.
"""

import collections
import csv
import dataclasses
import io
import json
import os
import shutil
import sys
from typing import Any, Dict, Iterable, Iterator, List, Sequence, Set, Tuple

from absl import flags

from tf_tokenlearner import cli
from tf_tokenlearner import errors
from tf_tokenlearner import files
from tf_tokenlearner import run_folder
from tf_tokenlearner import run_table

_SHOWN = 5  # Names in a message.


def main(arguments: Sequence[str]) -> None:
  folders = arguments[1:]
  if not folders:
    raise errors.UserError(
        'Expected folders with runs, got none. See --help.')
  runs = read(folders)
  metric = flags.FLAGS.metric or _common_metric(runs)
  known = {name for run in runs for name in run.scores}
  if flags.FLAGS.metric and metric not in known:
    raise errors.unknown_name('--metric', metric, known)
  runs = ranked(runs, metric)
  keys = differing(runs)
  if flags.FLAGS.format == 'json':
    print('\n'.join(json.dumps(_as_dict(run, keys)) for run in runs))
  elif flags.FLAGS.format == 'csv':
    print(_csv(runs, keys), end='')
  else:
    columns = shutil.get_terminal_size().columns
    print(run_table.render(runs, metric, keys, columns))


def read(folders: Sequence[str]) -> List[run_table.Summary]:
  """Returns the runs in folders; prints a line on folders that hold none.

  Raises:
    UserError: a folder does not exist, or no run can be read.
  """
  runs, skipped, seen = [], [], set()
  for folder in folders:
    if not files.is_folder(folder):
      raise errors.UserError(f'There is no folder {folder}.')
    for path, is_run in _search(folder, seen):
      is_inside = len(folders) == 1 and path != folder
      name = os.path.relpath(path, folder) if is_inside else path
      try:
        if is_run:
          runs.append(summarize(name, run_folder.load(path)))
        else:
          skipped.append(f'{name} (no run)')
      except (ValueError, LookupError, TypeError, OSError) as error:
        skipped.append(f'{name} ({_reason(error, path)})')
  others = ', '.join(skipped[:_SHOWN])
  if len(skipped) > _SHOWN:
    others += f' and {len(skipped) - _SHOWN} more'
  if not runs:
    raise errors.UserError(
        f'Expected folders with runs, found none to compare: {others}.')
  if skipped:
    print(f'Skipped: {others}.', file=sys.stderr)
  return runs


def _search(folder: str, seen: Set[str]) -> Iterator[Tuple[str, bool]]:
  """Yields (path, True) of runs and (path, False) of folders without any.

  Args:
    folder: a run, or a folder to search.
    seen: real paths that were searched already; changed.
  """
  real = folder if '://' in folder else os.path.realpath(folder)
  if real in seen:
    return
  seen.add(real)
  if run_folder.exists(folder):
    yield folder, True
    return
  try:
    names = files.names(folder)
  except OSError:
    names = []
  paths = [os.path.join(folder, name) for name in names
           if not name.startswith('.')]
  found = [item for path in paths if files.is_folder(path)
           for item in _search(path, seen)]
  if any(is_run for _, is_run in found):
    yield from found
  else:
    yield folder, False


def summarize(name: str, run: run_folder.Run) -> run_table.Summary:
  """Returns what a run folder records.

  Raises:
    LookupError, TypeError: the config lacks keys of the trainer.
  """
  trainer, training = run.params['trainer'], run.training()
  scores = run.recorded_scores()
  best_step = scores.pop('best_ckpt_global_step', None)
  step = max(training.get('step', 0), run.last_step())
  return run_table.Summary(
      name=name, folder=run.folder,
      metric=trainer['best_checkpoint_eval_metric'],
      lower_is_better=trainer['best_checkpoint_metric_comp'] == 'lower',
      scores=scores, best_step=best_step, step=step,
      train_steps=trainer['train_steps'],
      is_finished=training.get('is_finished', step >= trainer['train_steps']),
      seconds=training.get('seconds'), macs=training.get('macs'),
      parameters=training.get('parameters'),
      options={'experiment': run.experiment, **run_folder.flatten(run.params)})


def _common_metric(runs: Sequence[run_table.Summary]) -> str:
  """Returns the metric that selects the best checkpoint in most runs."""
  return collections.Counter(run.metric for run in runs).most_common(1)[0][0]


def ranked(runs: Iterable[run_table.Summary],
           metric: str) -> List[run_table.Summary]:
  """Returns the runs, best first; runs without the score at the end."""
  runs = list(runs)
  lower = next((run.lower_is_better for run in runs if run.metric == metric),
               'loss' in metric)

  def rank(run):
    score = run.scores.get(metric)
    if score is None or score != score:  # NaN.
      return 1, 0., run.name
    return 0, score if lower else -score, run.name

  return sorted(runs, key=rank)


def differing(runs: Sequence[run_table.Summary]) -> List[str]:
  """Returns the keys of options that have two or more values.

  Runs of an experiment or version without the key do not count. Keys of the
  validation data are left out where they follow those of the training data.
  """
  def differs(key):
    values = {json.dumps(run.option(key), default=str)
              for run in runs if run.has_option(key)}
    return len(values) > 1

  def follows_training(key):
    twin = key.replace('task.validation_data.', 'task.train_data.')
    return twin != key and all(
        run.options.get(key) == run.options.get(twin) for run in runs)

  keys = dict.fromkeys(key for run in runs for key in run.options)
  return [key for key in keys if differs(key) and not follows_training(key)]


def _as_dict(run: run_table.Summary,
             keys: Sequence[str]) -> Dict[str, Any]:
  """Returns a summary with the given options only."""
  return {**dataclasses.asdict(run), 'options': {
      key: run.option(key) for key in keys if run.has_option(key)}}


def _csv(runs: Sequence[run_table.Summary], keys: Sequence[str]) -> str:
  """Returns a row for each run, with a column for each score and option."""
  rows = []
  for run in runs:
    row = _as_dict(run, keys)
    for group in ('scores', 'options'):
      row.update({f'{group}.{key}': value if isinstance(value, str)
                  else json.dumps(value, default=str)
                  for key, value in row.pop(group).items()})
    rows.append(row)
  text = io.StringIO()
  writer = csv.DictWriter(
      text, dict.fromkeys(head for row in rows for head in row),
      lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  return text.getvalue()


def _reason(error: Exception, folder: str) -> str:
  """Returns in one line why a run cannot be read."""
  text = ' '.join(str(error).split()).replace(os.path.join(folder, ''), '')
  if isinstance(error, (LookupError, TypeError)):
    return f'its config lacks {text}'
  return text.split(': ')[0].rstrip('.')


def run() -> None:
  """Runs the program with the flags of the command line, and exits."""
  flags.DEFINE_enum(
      'format', 'table', ['table', 'json', 'csv'], 'Output format: table, json '
      '(one object per line), csv.')
  flags.DEFINE_string(
      'metric', '', 'Score to sort by. The default is the one that selects the '
      'best checkpoint in most runs.')
  cli.run(main)


if __name__ == '__main__':
  run()
