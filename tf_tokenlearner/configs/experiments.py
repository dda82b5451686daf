"""From flags to a checked config, and the config that a run saves.

A run folder holds params.yaml, the whole config with nothing left open, and
run.yaml, the name of the experiment and of the classes: what evaluation and
export read.
"""

import os
from typing import List, NamedTuple, Sequence, Tuple

import tensorflow as tf
import yaml
from official.core import config_definitions as cfg
from official.core import exp_factory
from official.core import task_factory
from official.modeling import hyperparams

import tf_tokenlearner
from tf_tokenlearner import errors
from tf_tokenlearner import files
from tf_tokenlearner import registry
from tf_tokenlearner.configs import optimization
from tf_tokenlearner.configs import overrides

_PARAMS = 'params.yaml'
_RUN = 'run.yaml'


class Run(NamedTuple):
  """What a run folder says of itself."""
  experiment: str
  params: cfg.ExperimentConfig
  label_names: Tuple[str, ...]


def parse(experiment: str,
          override_texts: Sequence[str] = ()) -> cfg.ExperimentConfig:
  """The config of an experiment with overrides, checked.

  Args:
    experiment: registered name.
    override_texts: applied in order; each a YAML file, YAML, JSON or
      'a.b=1,c=2'. Empty ones are skipped.

  Raises:
    UserError: an unknown name or key, or a value that cannot be.
  """
  if experiment not in registry.EXPERIMENTS:
    raise errors.unknown_name('experiment', experiment, registry.EXPERIMENTS)
  registry.register_all()
  params = exp_factory.get_exp_config(experiment)
  all_values = [overrides.read(text) for text in override_texts if text]
  for values in all_values:
    overrides.apply(params, values)
  for values in all_values:
    overrides.require_used(params, values)
  check(params)
  return params


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


def resolve(params: cfg.ExperimentConfig) -> Tuple[str, ...]:
  """Lets the data set fill in what the config leaves open.

  Returns:
    The names of the classes; () if the data have none.

  Raises:
    UserError: data that are not there or do not go with the config.
  """
  return task_factory.get_task_cls(type(params.task)).resolve(params.task)


def save(experiment: str, params: cfg.ExperimentConfig,
         label_names: Sequence[str], model_dir: str) -> None:
  """Writes what load reads."""
  tf.io.gfile.makedirs(model_dir)
  run = {'experiment': experiment,
         'tf_tokenlearner': tf_tokenlearner.__version__,
         'label_names': list(label_names)}
  with files.replacing(os.path.join(model_dir, _PARAMS)) as path:
    hyperparams.save_params_dict_to_yaml(params, path)
  with files.replacing(os.path.join(model_dir, _RUN)) as path:
    with tf.io.gfile.GFile(path, 'w') as file:
      yaml.safe_dump(run, file, sort_keys=False, allow_unicode=True)


def is_run(model_dir: str) -> bool:
  """Whether a run has saved its config here."""
  return tf.io.gfile.exists(os.path.join(model_dir, _RUN))


def load(model_dir: str, override_texts: Sequence[str] = ()) -> Run:
  """What a run saved, with overrides on top.

  Raises:
    UserError: model_dir is not the folder of a run of this project.
  """
  if not is_run(model_dir):
    raise errors.UserError(
        f'{model_dir} is not the folder of a training run: it has no {_RUN}.')
  run = overrides.read(os.path.join(model_dir, _RUN))
  try:
    experiment, label_names = run['experiment'], tuple(run['label_names'])
  except KeyError as error:
    raise errors.UserError(
        f'{os.path.join(model_dir, _RUN)} lacks {error}.') from error
  params = parse(
      experiment, [os.path.join(model_dir, _PARAMS), *override_texts])
  return Run(experiment, params, label_names)


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
    source_keys = task_factory.get_task_cls(type(new.task)).SOURCE_KEYS
    after.update({key: before.get(key) for key in (
        validation + source_key for source_key in source_keys)})
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
