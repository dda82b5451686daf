"""Steps, intervals and batch sizes follow from the number of examples."""

import math

import pytest

from tests import goldens
from tf_tokenlearner import errors
from tf_tokenlearner.configs import epochs
from tf_tokenlearner.configs import experiments

WEIGHTS = {'task': {'init_checkpoint': str(
    goldens.FOLDER / 'pretrained' / 'timm_hub_vit')}}


def parse(*texts):
  return experiments.parse('tokenlearner_finetune', [WEIGHTS, *texts])


def lengths(params):
  trainer = params.trainer
  return (trainer.train_steps, trainer.validation_interval,
          trainer.checkpoint_interval, trainer.summary_interval,
          trainer.steps_per_loop)


def test_lengths_of_the_recipe():
  params = parse('trainer: {epochs: 8, warmup_epochs: 0.5}')
  assert epochs.unknown(params) == [
      'trainer.train_steps', 'trainer.steps_per_loop',
      'trainer.summary_interval', 'trainer.validation_interval',
      'trainer.checkpoint_interval', 'task.train_data.global_batch_size',
      'task.validation_data.global_batch_size']
  experiments.complete(params, 1556)
  assert not epochs.unknown(params)
  assert params.task.train_data.global_batch_size == 32  # 1556 / 40 is 38.9.
  assert params.task.validation_data.global_batch_size == 32
  assert lengths(params) == (8 * 49, 49, 49, 12, 12)  # 1556 / 32 is 48.6.
  optimizer = params.trainer.optimizer_config
  assert optimizer.warmup.linear.warmup_steps == 24
  assert optimizer.learning_rate.cosine.decay_steps == 392
  assert epochs.learning_rate_factor(params) == math.sqrt(.5)
  assert epochs.describe(params, 1556) == (
      '1,556 training examples, batches of 32: 8 epochs are 392 steps; '
      'the learning rate is scaled by 0.707')
  before = params.as_dict()
  experiments.complete(params, 1556)
  assert params.as_dict() == before


def test_stated_values_are_kept():
  params = parse(
      'trainer: {epochs: 1.5, validation_interval: 7, summary_interval: 6, '
      'optimizer_config: {warmup: {linear: {warmup_steps: 3}}}}',
      'task: {train_data: {global_batch_size: 10}}')
  experiments.complete(params, 100)
  assert lengths(params) == (15, 7, 10, 6, 6)
  assert params.trainer.optimizer_config.warmup.linear.warmup_steps == 3


@pytest.mark.parametrize('num_examples, divisor, expected', [
    (30, 1, 8), (640, 1, 16), (639, 1, 8), (2000, 1, 32), (10**6, 1, 128),
    (2000, 3, 33), (2000, 8, 32)])
def test_fitted_batch_size(num_examples, divisor, expected):
  assert epochs.fitted_batch_size(num_examples, divisor) == expected


def test_a_short_run_has_no_warmup():
  params = parse('trainer: {epochs: 0.1}')
  experiments.complete(params, 20)
  assert params.trainer.train_steps == 1
  assert params.trainer.optimizer_config.warmup.type is None


@pytest.mark.parametrize('rule, factor', [
    ('none', 1), ('linear', 4), ('sqrt', 2)])
def test_learning_rate_follows_the_batch(rule, factor):
  params = parse(f'trainer.learning_rate_scaling={rule},'
                 'trainer.learning_rate_batch_size=16,'
                 'task.train_data.global_batch_size=64')
  assert epochs.learning_rate_factor(params) == factor


def test_the_later_of_epochs_and_train_steps_counts():
  trainer = parse('trainer.train_steps=7').trainer
  assert (trainer.epochs, trainer.train_steps) == (None, 7)
  trainer = parse('trainer.train_steps=7', 'trainer.epochs=3').trainer
  assert (trainer.epochs, trainer.train_steps) == (3, None)
  params = parse('trainer: {epochs: 3, train_steps: 7}')
  with pytest.raises(errors.UserError, match='=3 are 30 steps, got .*=7. Set'):
    experiments.complete(params, 80)


def test_a_run_goes_on_with_its_epochs():
  params = parse('trainer.epochs=2')
  experiments.complete(params, 320)
  assert params.task.train_data.global_batch_size == 8
  assert params.trainer.train_steps == 80
  longer = parse('trainer.epochs=3')
  epochs.continue_run(longer, params.as_dict(), 320)
  assert longer.trainer.train_steps == 120
  assert longer.task.train_data.global_batch_size == 8
  other = parse('trainer.epochs=2,task.train_data.global_batch_size=16')
  epochs.continue_run(other, params.as_dict(), 320)
  assert other.trainer.train_steps == 40


@pytest.mark.parametrize('override, message', [
    ('trainer.epochs=0', 'epochs: expected a number above 0, got 0'),
    ('trainer.epochs=null', 'train_steps: expected a number of at least 1'),
    ('trainer.warmup_epochs=-1', 'warmup_epochs: expected a number of at'),
    ('trainer.learning_rate_scaling=cubic', "'cubic'. Known: "),
    ('trainer.gradient_accumulation_steps=0', 'of at least 1, got 0'),
    ('trainer.early_stopping.patience=0', 'patience: expected a number of at'),
    ('trainer.optimizer_config.layer_decay=0', r'expected a number in (0, 1]'),
    ('{trainer: {optimizer_config: {optimizer: {type: rmsprop}}}}',
     'expected 1 with rmsprop, got 0.5'),
    ('task.freeze_below=half', "task.freeze_below 'half'. Known: auto"),
])
def test_invalid_values_are_refused(override, message):
  with pytest.raises(errors.UserError) as caught:
    parse(override)
  assert message in str(caught.value) and '\n' not in str(caught.value)
