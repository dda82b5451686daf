"""Optimizers are named and configured in YAML, and checked before use."""

import dataclasses

import pytest
from official.modeling import hyperparams

from tf_tokenlearner import errors
from tf_tokenlearner.configs import optimization
from tf_tokenlearner.configs import trainer_config

_SCHEDULE = '{type: constant, constant: {learning_rate: 0.1}}'


def parse(text, **others):
  """Returns an OptimizationConfig from YAML."""
  fields = {'learning_rate': _SCHEDULE, **others, 'optimizer': text}
  return hyperparams.override_params_dict(
      optimization.OptimizationConfig(),
      '\n'.join(f'{key}: {value}' for key, value in fields.items()),
      is_strict=True)


def test_yogi_is_configured_in_yaml():
  trainer = hyperparams.override_params_dict(
      trainer_config.TrainerConfig(), """
      train_steps: 7
      optimizer_config:
        optimizer: {type: yogi, yogi: {beta2: 0.99, global_clipnorm: 1.0}}
      """, is_strict=True)
  optimization.check_optimizer(trainer.optimizer_config, trainer.train_steps)
  assert trainer.optimizer_config.optimizer.get().as_dict() == {
      'name': 'Yogi', 'beta1': 0.9, 'beta2': 0.99, 'epsilon': 1e-3,
      'l1_regularization_strength': 0.0, 'l2_regularization_strength': 0.0,
      'initial_accumulator_value': 1e-6, 'activation': 'sign',
      'clipnorm': None, 'clipvalue': None, 'global_clipnorm': 1.0}


@pytest.mark.parametrize('text', [
    '{type: yogi, yogi: {beta_2: 0.99}}', '{type: yogi, ogi: {beta2: 0.99}}'])
def test_unknown_keys_are_refused(text):
  with pytest.raises(KeyError, match='does not exist'):
    parse(text)


def test_every_optimizer_passes_the_check():
  known = [field.name for field in dataclasses.fields(
      optimization.OptimizerConfig)
           if field.name not in ('type', 'slide', 'adafactor')]
  assert set(optimization.ADDONS_OPTIMIZERS) < set(known)
  for name in known:
    optimization.check_optimizer(parse(f'{{type: {name}}}'))


def test_wrapper_takes_the_settings_of_the_wrapped_optimizer():
  text = """{type: lookahead, lookahead: {optimizer: adamw, sync_period: 3},
             adamw: {weight_decay_rate: 0.05}}"""
  config = parse(text).optimizer
  chosen = config.get()
  assert isinstance(chosen, optimization.LookaheadConfig)
  assert chosen.as_dict()['sync_period'] == 3
  inner = chosen.as_dict()['optimizer']
  assert inner['type'] == 'adamw'
  assert inner['adamw'] == config.adamw.as_dict()
  assert inner['adamw']['weight_decay_rate'] == 0.05
  assert config.lookahead.optimizer == 'adamw'  # get made a copy.


def test_saved_config_includes_the_wrapped_optimizer():
  config = parse('{type: swa, swa: {optimizer: yogi}, yogi: {beta1: 0.5}}')
  saved = config.as_dict()['optimizer']
  assert set(saved) == {'type', 'swa', 'yogi'}
  again = optimization.OptimizationConfig()
  again.override(config.as_dict(), is_strict=True)
  assert again.as_dict() == config.as_dict()
  assert again.optimizer.yogi.beta1 == 0.5


def test_saved_config_without_wrapper_equals_the_gardens():
  assert set(parse('{type: adamw}').as_dict()['optimizer']) == {'type', 'adamw'}
  assert optimization.OptimizerConfig().as_dict() == {'type': None}


@pytest.mark.parametrize('text, message', [
    ('{type: yogy}', "optimizer.type 'yogy'.*known: yogi"),
    ('{type: null}', 'Unknown optimizer.type None'),
    ('{type: slide}', "'slide' is an empty placeholder.*Use adamw or lamb"),
    ('{type: adafactor}', "'adafactor' is an empty.*Use adafactor_keras"),
    ('{type: swa, swa: {optimizer: adam_w}}',
     "optimizer.swa.optimizer 'adam_w'.*known: adamw"),
    ('{type: lookahead, lookahead: {optimizer: swa}}',
     "Unknown optimizer.lookahead.optimizer 'swa'"),
    ('{type: lookahead, lookahead: {sync_period: 0}}',
     'lookahead.sync_period must be at least 1, got 0'),
    ('{type: lookahead, lookahead: {slow_step_size: 1.5}}',
     r'slow_step_size must be in \(0, 1\], got 1.5'),
    ('{type: swa, swa: {start_averaging: -1}}',
     'start_averaging must be at least 0, got -1'),
    ('{type: swa, swa: {average_period: 1.5}}',
     'optimizer.swa.average_period must be of type int, got 1.5'),
    ('{type: yogi, yogi: {beta1: high}}',
     "optimizer.yogi.beta1 must be of type float, got 'high'"),
    ('{type: yogi, yogi: {beta1: true}}', 'must be of type float'),
    ('{type: novograd, novograd: {amsgrad: 1}}', 'must be of type bool'),
    ('{type: yogi, yogi: {beta2: 1}}', r'must be in \[0, 1\), got 1'),
    ('{type: yogi, yogi: {epsilon: 0}}', 'epsilon must be above 0'),
    ('{type: yogi, yogi: {activation: tan}}',
     "Unknown optimizer.yogi.activation 'tan'. Known: tanh, sign"),
    ('{type: swa, swa: {optimizer: yogi}, yogi: {beta1: 2}}',
     'optimizer.yogi.beta1 must be in'),
    ('{type: rectified_adam, rectified_adam: {sma_threshold: 3}}',
     'sma_threshold must be at least 4, got 3'),
    ('{type: rectified_adam, rectified_adam: {warmup_proportion: 2}}',
     r'warmup_proportion must be in \[0, 1\]'),
])
def test_invalid_optimizers_are_refused(text, message):
  with pytest.raises(errors.UserError, match=message):
    optimization.check_optimizer(parse(text))


def test_second_warmup_is_refused():
  text = '{type: rectified_adam, rectified_adam: {total_steps: 10}}'
  optimization.check_optimizer(parse(text))
  for others in ({'warmup': '{type: linear}'},
                 {'learning_rate': '{type: cosine}'}):
    with pytest.raises(errors.UserError, match='a second time'):
      optimization.check_optimizer(parse(text, **others))


@pytest.mark.parametrize('name, dtype, message', [
    ('swa', None, 'both average the weights'),
    ('adamw_experimental', None, "'adamw_experimental'. Use adamw, or ema"),
    ('adafactor_keras', None, "'adafactor_keras'. Use adamw, or ema"),
    ('adamw', 'float16', 'float16.*Use bfloat16'),
])
def test_ema_refuses_unsupported_options(name, dtype, message):
  config = parse(f'{{type: {name}}}', ema='{average_decay: 0.9}')
  with pytest.raises(errors.UserError, match=message):
    optimization.check_optimizer(config, mixed_precision_dtype=dtype)
  optimization.check_optimizer(parse('{type: yogi}', ema='{}'))


def step_cosine(boundaries, values):
  return parse('{type: adamw}', learning_rate=f"""
    {{type: step_cosine_with_offset, step_cosine_with_offset: {{
      boundaries: {boundaries}, values: {values}}}}}""")


def test_step_cosine_must_last_until_the_end_of_training():
  config = step_cosine([0, 10], [0.1, 0.0])
  for train_steps in (None, 10):
    optimization.check_optimizer(config, train_steps)
  with pytest.raises(errors.UserError, match='from step 10, .* is 11'):
    optimization.check_optimizer(config, train_steps=11)


@pytest.mark.parametrize('boundaries, values', [
    ([0, 10], [0.1]), ([5, 10], [0.1, 0.0]), ('null', 'null')])
def test_step_cosine_must_begin_at_step_zero(boundaries, values):
  with pytest.raises(errors.UserError, match='the first boundary 0; got'):
    optimization.check_optimizer(step_cosine(boundaries, values))
