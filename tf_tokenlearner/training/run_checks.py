"""Compares a config with the run that is in its folder, and reports scores."""

import os
from typing import List, Optional

from official.core import config_definitions as cfg

from tf_tokenlearner import errors
from tf_tokenlearner import run_folder
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.evaluation import score_files


def open_run(params: cfg.ExperimentConfig, model_dir: str,
             experiment: str = '') -> run_folder.Run:
  """Returns the run in a folder; one without class names if none is saved.

  The Model Garden's own scripts save checkpoints without a run.yaml.
  """
  if run_folder.exists(model_dir):
    return run_folder.load(model_dir)
  return run_folder.Run(model_dir, experiment, params.as_dict(), ())


def latest_of_run(experiment: str, model_dir: str) -> Optional[str]:
  """Returns the latest checkpoint of a run, None before the first.

  Raises:
    UserError: the folder holds a run of another experiment, or checkpoints of
      something else.
  """
  latest = run_folder.latest_checkpoint(model_dir)
  is_run = run_folder.exists(model_dir)
  if latest and not is_run:
    raise errors.UserError(
        f'{model_dir} holds a checkpoint ({os.path.basename(latest)}) of '
        'something else. Choose another --model_dir.')
  if is_run:
    theirs = run_folder.load(model_dir).experiment
    if theirs != experiment:
      raise errors.UserError(
          f'{model_dir} is a run of {theirs}, not of {experiment}. Choose '
          'another --model_dir.')
  return latest


def report_best(run: run_folder.Run) -> None:
  """Prints the best checkpoint and its scores, or the latest checkpoint."""
  scores = run.best_scores()
  if not scores:
    print(f'Checkpoint: {run.latest_checkpoint()}')
    return
  metric = run.params['trainer']['best_checkpoint_eval_metric']
  print(f'Best {metric} {scores[metric]:.4f} at step '
        f'{int(scores["best_ckpt_global_step"]):,}, kept in\n'
        f'{run.best_checkpoint()}')
  by_class = score_files.read(run.scores_folder())
  if by_class and by_class['step'] == scores['best_ckpt_global_step']:
    print(f'\n{score_files.render(by_class)}\n\n'
          f'All scores by class are in\n{run.scores_folder()}')


def report_changes(params: cfg.ExperimentConfig, model_dir: str) -> None:
  """Prints how a config differs from that of the run so far."""
  changed = _changes(params, model_dir)
  if changed:
    print('The config differs from that of the run so far:\n  '
          + '\n  '.join(changed))


def refuse_changes(params: cfg.ExperimentConfig, model_dir: str) -> None:
  """Raises UserError if a config differs from that of a finished run."""
  changed = _changes(params, model_dir)
  if changed:
    raise errors.UserError(
        f'{model_dir} is a finished run of another config; choose another '
        '--model_dir, or train it longer:\n  ' + '\n  '.join(changed))


def _changes(params: cfg.ExperimentConfig, model_dir: str) -> List[str]:
  if not run_folder.exists(model_dir):
    return []
  before = experiments.of_run(run_folder.load(model_dir))
  changed = experiments.changes(before, params)
  if len(changed) > 10:
    changed[10:] = [f'... and {len(changed) - 10} more']
  return changed
