"""Advice when a model needs more memory than the device has."""

import contextlib
from typing import Iterator

from official.core import config_definitions as cfg
import tensorflow as tf

from tf_tokenlearner import errors


@contextlib.contextmanager
def advice(params: cfg.ExperimentConfig) -> Iterator[None]:
  """Reports memory that runs out in training in one line, with what helps.

  Raises:
    UserError: instead of TensorFlow's error of many lines.
  """
  try:
    yield
  except tf.errors.ResourceExhaustedError as error:
    if 'No space left' in str(error):  # Of a disk.
      raise
    raise errors.UserError(
        f'The device is out of memory: {_advice(params)}. The same command '
        'then continues from the last checkpoint.') from error


def _advice(params: cfg.ExperimentConfig) -> str:
  trainer, task = params.trainer, params.task
  size, parts = (
      task.train_data.global_batch_size, trainer.gradient_accumulation_steps)
  options = [
      f'raise trainer.gradient_accumulation_steps (now {parts}), which changes '
      'no result',
      f'lower task.train_data.global_batch_size (now {size})']
  if task.validation_data.global_batch_size > size // parts:
    options.append('lower task.validation_data.global_batch_size (now '
                   f'{task.validation_data.global_batch_size})')
  if params.runtime.mixed_precision_dtype in (None, 'float32'):
    options.append('set runtime.mixed_precision_dtype=bfloat16')
  if task.init_checkpoint and not task.freeze_below:
    options.append('set task.freeze_below=auto')
  return f'{", ".join(options[:-1])}, or {options[-1]}'
