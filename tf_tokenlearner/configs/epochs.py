"""Steps, intervals and batch sizes that follow from the size of a data set."""

import math
from typing import Any, List

from official.core import config_definitions as cfg

from tf_tokenlearner import errors

# Exponents of the batch size in the learning rate, for
# trainer.learning_rate_scaling. linear: Goyal et al. 2017 (arXiv 1706.02677),
# for SGD. sqrt: Krizhevsky 2014 (arXiv 1404.5997); Malladi et al. 2022 (arXiv
# 2205.10287) derive it for Adam.
SCALING = {'none': 0., 'linear': 1., 'sqrt': .5}
_STEPS_PER_EPOCH = 40  # At least, with a fitted batch size.
_BATCH_SIZES = (8, 128)  # Smallest and largest fitted one.
_LOOPS_PER_EPOCH = 4
_INTERVALS = ('validation_interval', 'checkpoint_interval')


def choose_length(trainer: cfg.TrainerConfig, stated: Any) -> None:
  """Lets an override of epochs replace train_steps, and the reverse.

  Args:
    trainer: config to which the override was applied; changed.
    stated: keys and values of the override.
  """
  keys = ('epochs', 'train_steps')
  given = [key for key in keys if isinstance(stated, dict) and key in stated]
  if len(given) == 1:
    (other,) = set(keys) - set(given)
    setattr(trainer, other, None)


def check(trainer: cfg.TrainerConfig) -> None:
  """Refuses values of the trainer's options that this module reads.

  Raises:
    UserError: a value is unknown or out of range.
  """
  if trainer.learning_rate_scaling not in SCALING:
    raise errors.unknown_name('trainer.learning_rate_scaling',
                              trainer.learning_rate_scaling, SCALING)
  if trainer.train_steps is None and trainer.epochs is None:
    raise errors.UserError(
        'trainer.train_steps: expected a number of at least 1, got null. Set '
        'it, or trainer.epochs.')
  for key, holds, expected in (
      ('epochs', lambda x: x is None or x > 0, 'above 0'),
      ('warmup_epochs', lambda x: x >= 0, 'of at least 0'),
      ('learning_rate_batch_size', lambda x: x >= 1, 'of at least 1'),
      ('gradient_accumulation_steps', lambda x: x >= 1, 'of at least 1'),
      ('early_stopping',
       lambda x: x is None or x.patience >= 1, 'of at least 1')):
    value = getattr(trainer, key)
    if not holds(value):
      name = 'early_stopping.patience' if key == 'early_stopping' else key
      raise errors.UserError(
          f'trainer.{name}: expected a number {expected}, got '
          f'{getattr(value, "patience", value)}.')


def unknown(params: cfg.ExperimentConfig) -> List[str]:
  """Returns the keys that wait for the size of the training data."""
  trainer, task = params.trainer, params.task
  values = {f'trainer.{key}': getattr(trainer, key) for key in (
      'train_steps', 'steps_per_loop', 'summary_interval', *_INTERVALS)}
  for name in ('train_data', 'validation_data'):
    values[f'task.{name}.global_batch_size'] = (
        getattr(task, name).global_batch_size)
  return [key for key, value in values.items() if value is None]


def complete(params: cfg.ExperimentConfig, num_examples: int,
             num_replicas: int = 1) -> None:
  """Fills in what follows from the number of training examples.

  These are batch sizes, the number of steps, intervals and the length of the
  warm-up, where they are None. Completing a config again changes nothing.

  Args:
    params: config; changed.
    num_examples: training examples, > 0.
    num_replicas: replicas that share a batch.

  Raises:
    UserError: trainer.train_steps and trainer.epochs differ.
  """
  trainer, task = params.trainer, params.task
  if task.train_data.global_batch_size is None:
    task.train_data.global_batch_size = fitted_batch_size(
        num_examples, num_replicas * trainer.gradient_accumulation_steps)
  if task.validation_data.global_batch_size is None:
    task.validation_data.global_batch_size = task.train_data.global_batch_size
  epoch = max(1, round(num_examples / task.train_data.global_batch_size))
  if trainer.epochs is not None:
    steps = max(1, round(trainer.epochs * epoch))
    if trainer.train_steps not in (None, steps):
      raise errors.UserError(
          f'trainer.epochs={trainer.epochs:g} are {steps:,} steps, got '
          f'trainer.train_steps={trainer.train_steps:,}. Set one of them to '
          'null.')
    trainer.train_steps = steps
  interval = min(epoch, trainer.train_steps)
  for key in _INTERVALS:
    if getattr(trainer, key) is None:
      setattr(trainer, key, interval)
  if trainer.steps_per_loop is None:
    trainer.steps_per_loop = (
        trainer.summary_interval or max(1, interval // _LOOPS_PER_EPOCH))
  if trainer.summary_interval is None:
    trainer.summary_interval = trainer.steps_per_loop
  _complete_warmup(trainer, epoch)


def _complete_warmup(trainer: cfg.TrainerConfig, epoch: int) -> None:
  choice = trainer.optimizer_config.warmup
  warmup = choice.get()
  if warmup and warmup.warmup_steps is None:
    steps = min(round(trainer.warmup_epochs * epoch), trainer.train_steps - 1)
    warmup.warmup_steps = steps
    if not steps:
      choice.type = None


def fitted_batch_size(num_examples: int, divisor: int = 1) -> int:
  """Returns a batch size that leaves an epoch enough steps to learn in.

  Args:
    num_examples: training examples.
    divisor: number that must divide the batch size.
  """
  least, most = _BATCH_SIZES
  wanted = max(num_examples // _STEPS_PER_EPOCH, 1)
  size = min(max(2 ** int(math.log2(wanted)), least), most)
  return -(-size // divisor) * divisor


def continue_run(params: cfg.ExperimentConfig, saved: Any,
                 num_examples: int) -> None:
  """Completes the config of a run that has begun; its epochs keep their length.

  Args:
    params: config; changed.
    saved: config of the run so far, as plain data.
    num_examples: training examples when the run began.
  """
  for name in ('train_data', 'validation_data'):
    data = getattr(params.task, name)
    if data.global_batch_size is None:
      data.global_batch_size = saved['task'][name]['global_batch_size']
  complete(params, num_examples)


def learning_rate_factor(params: cfg.ExperimentConfig) -> float:
  """Returns the factor of the learning rate that the batch size causes."""
  trainer = params.trainer
  batch_size = params.task.train_data.global_batch_size
  return (batch_size / trainer.learning_rate_batch_size) ** SCALING[
      trainer.learning_rate_scaling]


def describe(params: cfg.ExperimentConfig, num_examples: int) -> str:
  """Returns the length of the training in one line."""
  trainer = params.trainer
  text = (f'{num_examples:,} training examples, batches of '
          f'{params.task.train_data.global_batch_size}: ')
  text += (f'{trainer.epochs:g} epochs are {trainer.train_steps:,} steps'
           if trainer.epochs else f'{trainer.train_steps:,} steps')
  factor = learning_rate_factor(params)
  if factor != 1:
    text += f'; the learning rate is scaled by {factor:.3g}'
  return text
