"""Checked configs from experiments, run folders and overrides."""

import os
import pathlib
from typing import Any, List, Mapping, Sequence, Union

from official.core import config_definitions as cfg
from official.core import exp_factory

from tf_tokenlearner import errors
from tf_tokenlearner import run_folder
from tf_tokenlearner.configs import catalog
from tf_tokenlearner.configs import epochs
from tf_tokenlearner.configs import from_weights
from tf_tokenlearner.configs import image_classification
from tf_tokenlearner.configs import old_runs
from tf_tokenlearner.configs import optimization
from tf_tokenlearner.configs import overrides
from tf_tokenlearner.configs import video_classification

# Importing these modules registers their experiments.
_DEFINITIONS = (image_classification, video_classification)

Config = cfg.ExperimentConfig  # For modules that do not import the Garden.
# An override: a file, a text or values.
Override = Union[str, Mapping[str, Any]]


def parse(experiment: str,
          all_overrides: Sequence[Override] = (),
          folder: str = '') -> cfg.ExperimentConfig:
  """Returns the config of an experiment with overrides, checked.

  Local paths become absolute, so that a run can be used from another folder.

  Args:
    experiment: registered name.
    all_overrides: overrides in order; each a YAML file, YAML, JSON, 'a.b=1,c=2'
      or a dict. Empty ones are skipped.
    folder: run folder; a relative path that does not exist is searched in it
      and in its parent folders.

  Raises:
    UserError: an unknown name or key, or a value of the wrong type or range.
  """
  if experiment not in catalog.EXPERIMENTS:
    raise errors.unknown_name('experiment', experiment, catalog.EXPERIMENTS)
  params = exp_factory.get_exp_config(experiment)
  all_values = [
      overrides.read(override) if isinstance(override, str) else override
      for override in all_overrides if override]
  for values in all_values:
    overrides.apply(params, values)
    epochs.choose_length(params.trainer, values.get('trainer'))
  for values in all_values:
    overrides.require_used(params, values)
  stated = {key for values in all_values
            for key in run_folder.flatten(values)}
  from_weights.take_source(params, stated)
  _make_paths_absolute(params, folder)
  from_weights.complete(params, stated)
  check(params)
  return params


def complete(params: cfg.ExperimentConfig, num_examples: int,
             num_replicas: int = 1) -> None:
  """Completes a config as epochs.complete does, and checks it."""
  epochs.complete(params, num_examples, num_replicas)
  check(params)


def continue_run(params: cfg.ExperimentConfig, run: run_folder.Run) -> None:
  """Completes a config as the run did that it continues, and checks it."""
  if run.num_examples:
    epochs.continue_run(params, run.params, run.num_examples)
    check(params)


def of_run(run: run_folder.Run,
           all_overrides: Sequence[Override] = ()) -> cfg.ExperimentConfig:
  """Returns the config of a run with overrides, checked as parse does."""
  return parse(
      run.experiment,
      [run.params, old_runs.kept_dropout(run.params), *all_overrides],
      run.folder)


def for_training(experiment: str, model_dir: str,
                 all_overrides: Sequence[Override] = ()
                 ) -> cfg.ExperimentConfig:
  """Returns the config to train with in a folder, checked as parse does.

  The config is that of the experiment, even if the folder holds a run. Only the
  dropout of token scores is taken from the run; see old_runs.
  """
  kept = {}
  if run_folder.exists(model_dir):
    run = run_folder.load(model_dir)
    if run.experiment == experiment:
      kept = old_runs.kept_dropout(run.params)
  return parse(experiment, [kept, *all_overrides])


def load(model_dir: str,
         all_overrides: Sequence[Override] = ()) -> cfg.ExperimentConfig:
  """Returns the config of the run in a folder, as of_run does."""
  return of_run(run_folder.load(model_dir), all_overrides)


def _make_paths_absolute(params: cfg.ExperimentConfig, folder: str) -> None:
  task = params.task
  task.init_checkpoint = _absolute(task.init_checkpoint, folder)
  task.cache_dir = _absolute(task.cache_dir, folder)
  task.distillation.teacher = _absolute(task.distillation.teacher, folder)
  for data in (task.train_data, task.validation_data):
    data.tfds_data_dir = _absolute(data.tfds_data_dir, folder)
    data.files_dir = _absolute(data.files_dir, folder)
    if isinstance(data.input_path, str):
      data.input_path = ','.join(
          _absolute(path, folder) for path in data.input_path.split(','))
    if data.tfds_name.startswith(('./', '../', '~')) or os.path.exists(
        os.path.join(data.tfds_name, 'dataset_info.json')):
      data.tfds_name = _absolute(data.tfds_name, folder)


def _absolute(path: str, folder: str) -> str:
  """Returns a local path as an absolute one; see parse for folder."""
  path = os.path.expanduser(path)
  if not path or '://' in path or os.path.isabs(path):
    return path
  found = os.path.abspath(path)
  if folder and '://' not in folder:
    around = pathlib.Path(os.path.abspath(folder), 'it').parents
    candidates = [found, *(str(place / path) for place in around)]
    found = next(filter(os.path.exists, candidates), found)
  return found


def check(params: cfg.ExperimentConfig) -> None:
  """Completes the schedule and refuses values that fail later in the trainer.

  Raises:
    UserError: a value is unknown, out of range or contradicts another one.
  """
  _check_runtime(params.runtime)
  trainer = params.trainer
  for key in ('train_steps', 'steps_per_loop', 'summary_interval',
              'checkpoint_interval', 'validation_interval', 'max_to_keep'):
    value = getattr(trainer, key)
    if value is not None and value < 1:
      raise errors.UserError(f'trainer.{key} must be at least 1, got '
                             f'{getattr(trainer, key)}.')
  if trainer.validation_steps == 0 or trainer.validation_steps < -1:
    raise errors.UserError(
        'trainer.validation_steps must be above 0, or -1 for all examples, '
        f'got {trainer.validation_steps}.')
  epochs.check(trainer)
  if (trainer.summary_interval and trainer.steps_per_loop
      and trainer.summary_interval % trainer.steps_per_loop):
    raise errors.UserError(
        f'trainer.summary_interval={trainer.summary_interval} must be a '
        f'multiple of trainer.steps_per_loop={trainer.steps_per_loop}.')
  if trainer.best_checkpoint_metric_comp not in ('higher', 'lower'):
    raise errors.unknown_name(
        'trainer.best_checkpoint_metric_comp',
        trainer.best_checkpoint_metric_comp, ('higher', 'lower'))
  optimizer_config = trainer.optimizer_config
  if optimizer_config.learning_rate.type is None:
    raise errors.UserError(
        'trainer.optimizer_config.learning_rate.type must be given.')
  optimization.check_optimizer(
      optimizer_config, trainer.train_steps,
      params.runtime.mixed_precision_dtype)
  if (optimizer_config.ema and optimizer_config.ema.trainable_weights_only
      and params.task.model.backbone.type == 'token_learner_bottleneck'):
    raise errors.UserError(
        'trainer.optimizer_config.ema.trainable_weights_only must be false '
        'with token_learner_bottleneck: averaged weights need averaged '
        'statistics of batch normalisation.')
  warmup = optimizer_config.warmup.get()
  if (warmup and warmup.warmup_steps and trainer.train_steps
      and warmup.warmup_steps >= trainer.train_steps):
    raise errors.UserError(
        f'trainer.optimizer_config.warmup.{optimizer_config.warmup.type}.'
        f'warmup_steps={warmup.warmup_steps} must be below trainer.train_steps='
        f'{trainer.train_steps}, or the learning rate would never be reached. '
        'Set both.')
  schedule = optimizer_config.learning_rate.get()
  # By default the schedule ends with the training.
  if getattr(schedule, 'decay_steps', 0) is None:
    schedule.decay_steps = trainer.train_steps


def _check_runtime(runtime: cfg.RuntimeConfig):
  """Refuses runtime keys that this project's train.py does not read."""
  offered = {
      'distribution_strategy', 'enable_xla', 'tpu', 'num_gpus',
      'all_reduce_alg', 'num_packs', 'mixed_precision_dtype', 'loss_scale',
      'tpu_enable_xla_dynamic_padder'}
  for key, default in cfg.RuntimeConfig().as_dict().items():
    if key not in offered and getattr(runtime, key) != default:
      raise errors.UserError(
          f'runtime.{key} is not offered; leave it {default!r}. Several '
          'workers are described by the environment variable TF_CONFIG.')
  precisions = (None, 'float32', 'float16', 'bfloat16')
  if runtime.mixed_precision_dtype not in precisions:
    raise errors.unknown_name('runtime.mixed_precision_dtype',
                              runtime.mixed_precision_dtype, precisions[1:])


def use_data_service(params: cfg.ExperimentConfig, address: str) -> None:
  """Sets the config to read training data through a tf.data service.

  Evaluation does not use it, as each worker of the service would deliver every
  example once.
  """
  data = params.task.train_data
  data.enable_tf_data_service = True
  data.tf_data_service_address = address
  data.tf_data_service_job_name = 'tf_tokenlearner'


def changes(old: cfg.ExperimentConfig,
            new: cfg.ExperimentConfig) -> List[str]:
  """Returns 'key: before -> after' for each value in which two configs differ.

  Values that the new config leaves unset are not compared: the data determine
  them.
  """
  before, after = map(run_folder.flatten, (old.as_dict(), new.as_dict()))
  for key in ('model.num_classes', 'label_names', 'train_data.aug_rand_hflip',
              'validation_data.aug_rand_hflip'):
    if after.get(f'task.{key}') in (None, 0, []):
      after[f'task.{key}'] = before.get(f'task.{key}')
  validation = 'task.validation_data.'
  if not (after.get(validation + 'tfds_name', True)
          or after.get(validation + 'input_path', True)):
    # The task copies these keys from train_data later.
    after.update({key: before.get(key) for key in (
        validation + name for name in new.task.SOURCE_KEYS)})
  return [f'{key}: {before.get(key)} -> {after.get(key)}'
          for key in sorted(set(before) | set(after))
          if before.get(key) != after.get(key)]
