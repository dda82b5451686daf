"""From flags to a checked config."""

from typing import Any, List, Mapping, Sequence, Union

from official.core import config_definitions as cfg
from official.core import exp_factory

from tf_tokenlearner import errors
from tf_tokenlearner import run_folder
from tf_tokenlearner.configs import catalog
from tf_tokenlearner.configs import image_classification  # Registers.
from tf_tokenlearner.configs import optimization
from tf_tokenlearner.configs import overrides
from tf_tokenlearner.configs import video_classification  # Registers.

Config = cfg.ExperimentConfig  # For modules that do not import the Garden.
# An override: a file, a text or values.
Override = Union[str, Mapping[str, Any]]


def parse(experiment: str,
          all_overrides: Sequence[Override] = ()) -> cfg.ExperimentConfig:
  """Returns the config of an experiment with overrides, checked.

  Args:
    experiment: registered name.
    all_overrides: applied in order; each a YAML file, YAML, JSON, 'a.b=1,c=2'
      or a dict. Empty ones are skipped.

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
  for values in all_values:
    overrides.require_used(params, values)
  check(params)
  return params


def of_run(run: run_folder.Run,
           all_overrides: Sequence[Override] = ()) -> cfg.ExperimentConfig:
  """Returns the config of a run with overrides, checked as parse does."""
  return parse(run.experiment, [run.params, *all_overrides])


def load(model_dir: str,
         all_overrides: Sequence[Override] = ()) -> cfg.ExperimentConfig:
  """Returns the config of the run in a folder, as of_run does."""
  return of_run(run_folder.load(model_dir), all_overrides)


def check(params: cfg.ExperimentConfig) -> None:
  """Completes the schedule and refuses what the trainer would trip over later.

  Raises:
    UserError: says which key, what was expected and what came.
  """
  _check_runtime(params.runtime)
  trainer = params.trainer
  for key in ('train_steps', 'steps_per_loop', 'summary_interval',
              'checkpoint_interval', 'validation_interval', 'max_to_keep'):
    if getattr(trainer, key) < 1:
      raise errors.UserError(f'trainer.{key} must be at least 1, received '
                             f'{getattr(trainer, key)}.')
  if trainer.validation_steps == 0 or trainer.validation_steps < -1:
    raise errors.UserError(
        'trainer.validation_steps must be above 0, or -1 for all examples, '
        f'received {trainer.validation_steps}.')
  if trainer.summary_interval % trainer.steps_per_loop:
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
  if warmup and warmup.warmup_steps >= trainer.train_steps:
    raise errors.UserError(
        f'trainer.optimizer_config.warmup.{optimizer_config.warmup.type}.'
        f'warmup_steps={warmup.warmup_steps} must be below trainer.train_steps='
        f'{trainer.train_steps}, or the learning rate would never be reached: '
        'set both.')
  schedule = optimizer_config.learning_rate.get()
  # The end of the schedule is the end of training, unless said otherwise.
  if getattr(schedule, 'decay_steps', 0) is None:
    schedule.decay_steps = trainer.train_steps


def _check_runtime(runtime: cfg.RuntimeConfig):
  """Refuses what the Garden's own train.py reads, if at all, and ours does not.

  Several workers are described by TF_CONFIG, as tf.distribute reads it.
  """
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
  """Lets a tf.data service do the input of training.

  Evaluation reads by itself: each worker of the service would give it every
  example once.
  """
  data = params.task.train_data
  data.enable_tf_data_service = True
  data.tf_data_service_address = address
  data.tf_data_service_job_name = 'tf_tokenlearner'


def changes(old: cfg.ExperimentConfig,
            new: cfg.ExperimentConfig) -> List[str]:
  """'key: before -> after' for every value in which two configs differ.

  What the new one leaves open, for the data to fill in, is no difference.
  """
  before, after = _flatten(old.as_dict()), _flatten(new.as_dict())
  if not after.get('task.model.num_classes', True):
    after['task.model.num_classes'] = before.get('task.model.num_classes')
  validation = 'task.validation_data.'
  if not (after.get(validation + 'tfds_name', True)
          or after.get(validation + 'input_path', True)):
    # As the task does, when it has seen the data.
    after.update({key: before.get(key) for key in (
        validation + name for name in new.task.SOURCE_KEYS)})
  return [f'{key}: {before.get(key)} -> {after.get(key)}'
          for key in sorted(set(before) | set(after))
          if before.get(key) != after.get(key)]


def _flatten(values, prefix: str = '') -> dict:
  flat = {}
  for key, value in values.items():
    if isinstance(value, dict):
      flat.update(_flatten(value, f'{prefix}{key}.'))
    else:
      flat[f'{prefix}{key}'] = (
          list(value) if isinstance(value, tuple) else value)
  return flat
