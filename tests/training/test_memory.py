"""Memory that runs out is one line with what helps."""

import pytest
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.training import memory


def fail(params, message):
  with memory.advice(params):
    raise tf.errors.ResourceExhaustedError(None, None, message)


def test_advice_names_the_options():
  params = experiments.parse('tokenlearner_digits', [
      'trainer.gradient_accumulation_steps=2,task.init_checkpoint=run'])
  with pytest.raises(errors.UserError) as caught:
    fail(params, 'OOM when allocating tensor with shape[64,12,197,197]\n ...')
  assert str(caught.value) == (
      'The device is out of memory: raise trainer.gradient_accumulation_steps '
      '(now 2), which changes no result, lower '
      'task.train_data.global_batch_size (now 64), lower '
      'task.validation_data.global_batch_size (now 64), set '
      'runtime.mixed_precision_dtype=bfloat16, or set task.freeze_below=auto. '
      'The same command then continues from the last checkpoint.')


def test_a_full_disk_is_another_matter():
  with pytest.raises(tf.errors.ResourceExhaustedError):
    fail(experiments.parse('tokenlearner_digits'), '; No space left on device')
