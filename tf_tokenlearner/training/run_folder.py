"""What the folder of a run holds, and what can be said of it."""

import os
from typing import Dict, List, Optional

import tensorflow as tf
from official.core import config_definitions as cfg
from official.core import train_utils

from tf_tokenlearner.checkpoints import tf_checkpoint
from tf_tokenlearner.configs import experiments
from tf_tokenlearner import errors
from tf_tokenlearner.training import trainer as trainer_lib


def latest_of_run(experiment: str, model_dir: str) -> Optional[str]:
  """The latest checkpoint of a run in this folder.

  Raises:
    UserError: the folder holds a run of another experiment, or checkpoints of
      something else.
  """
  latest = tf.train.latest_checkpoint(model_dir)
  if latest and not experiments.is_run(model_dir):
    raise errors.UserError(
        f'{model_dir} holds a checkpoint ({os.path.basename(latest)}) of '
        'something else. Choose another --model_dir.')
  if experiments.is_run(model_dir):
    theirs = experiments.load(model_dir).experiment
    if theirs != experiment:
      raise errors.UserError(
          f'{model_dir} is a run of {theirs}, not of {experiment}. Choose '
          'another --model_dir.')
  return latest


def find_checkpoint(params: cfg.ExperimentConfig, model_dir: str,
                    checkpoint: str = '') -> str:
  """A path as given, or a run's best checkpoint, or its latest.

  Raises:
    UserError: there is none.
  """
  if checkpoint:
    return tf_checkpoint.find(checkpoint)
  best = tf.train.latest_checkpoint(best_dir(params, model_dir))
  return best or tf_checkpoint.find(model_dir)


def is_averaged(path: str) -> bool:
  """Whether a checkpoint was written while averaged weights stood in."""
  return os.path.basename(path).startswith(train_utils.BEST_CHECKPOINT_NAME)


def best_dir(params: cfg.ExperimentConfig, model_dir: str) -> str:
  """Where the best checkpoint and its scores are kept."""
  return os.path.join(model_dir, params.trainer.best_checkpoint_export_subdir)


def scores_of(params: cfg.ExperimentConfig, model_dir: str,
              checkpoint: str) -> Dict[str, float]:
  """The scores of a run's best checkpoint; {} of any other."""
  best = best_dir(params, model_dir)
  latest = tf.train.latest_checkpoint(best)
  if not latest or os.path.abspath(latest) != os.path.abspath(checkpoint):
    return {}
  return dict(trainer_lib.read_best_scores(best) or {})


def say_best(params: cfg.ExperimentConfig, model_dir: str):
  """Prints the best score, step and checkpoint, or the latest checkpoint."""
  best = best_dir(params, model_dir)
  scores = trainer_lib.read_best_scores(best)
  if not scores:
    print(f'Checkpoint: {tf.train.latest_checkpoint(model_dir)}')
    return
  metric = params.trainer.best_checkpoint_eval_metric
  print(f'Best {metric} {scores[metric]:.4f} at step '
        f'{int(scores["best_ckpt_global_step"]):,}, kept in\n'
        f'{tf.train.latest_checkpoint(best)}')


def say_changes(params: cfg.ExperimentConfig, model_dir: str):
  """Prints in what a config differs from that of the run so far."""
  changed = _changes(params, model_dir)
  if changed:
    print('The config differs from that of the run so far:\n  '
          + '\n  '.join(changed))


def refuse_changes(params: cfg.ExperimentConfig, model_dir: str):
  """Raises UserError if a config differs from that of a finished run."""
  changed = _changes(params, model_dir)
  if changed:
    raise errors.UserError(
        f'{model_dir} is a finished run of another config; choose another '
        '--model_dir, or train it longer:\n  ' + '\n  '.join(changed))


def _changes(params: cfg.ExperimentConfig, model_dir: str) -> List[str]:
  if not experiments.is_run(model_dir):
    return []
  changed = experiments.changes(experiments.load(model_dir).params, params)
  if len(changed) > 10:
    changed[10:] = [f'... and {len(changed) - 10} more']
  return changed
