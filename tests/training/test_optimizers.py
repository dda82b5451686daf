"""Learning rates for each variable, in numbers."""

import numpy as np
import pytest
import tensorflow as tf

from tests import goldens
from tf_tokenlearner import errors
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.tasks import classification_task
from tf_tokenlearner.training import optimizers

WEIGHTS = {'task': {'init_checkpoint': str(
    goldens.FOLDER / 'pretrained' / 'hf_dinov2_registers'),
                    'model': {'num_classes': 2}}}
RATE, DECAY, WEIGHT_DECAY = .01, .5, .1


@pytest.fixture(scope='module', name='model')
def fixture_model():
  """A DINOv2 of three blocks, TokenLearner before block 1, nothing frozen."""
  params = parse()
  return classification_task.make(params.task).build_model()


def parse(*texts, learning_rate='{type: constant, constant: {learning_rate: '
          f'{RATE}}}}}'):
  return experiments.parse('tokenlearner_finetune', [WEIGHTS, f'''
    task: {{freeze_below: 0}}
    trainer:
      train_steps: 10
      learning_rate_scaling: linear
      learning_rate_batch_size: 8
      optimizer_config:
        layer_decay: {DECAY}
        learning_rate: {learning_rate}
        warmup: {{type: null}}
        optimizer: {{adamw: {{weight_decay_rate: {WEIGHT_DECAY}}}}}
    ''', 'task.train_data.global_batch_size=16', *texts])


def factors_by_name(model):
  """{variable's name: factor} for one variable of each kind."""
  factors = optimizers.rate_factors(model, DECAY)
  encoder = model.backbone.encoder
  block = lambda i: encoder.stages[i].mlp.hidden.kernel
  return {name: factors[variable._unique_id] for name, variable in {
      'patches': model.backbone.patch_embedding.projection.kernel,
      'registers': model.backbone.registers.embedding,
      'block 0': block(0), 'block 1': block(2), 'block 2': block(3),
      'TokenLearner': encoder.stages[1].trainable_variables[0],
      'norm': encoder.norm.gamma, 'head': model.head.kernel}.items()}


def test_factors_by_depth(model):
  assert factors_by_name(model) == {
      'patches': .0625, 'registers': .0625, 'block 0': .125, 'block 1': .25,
      'block 2': .5, 'TokenLearner': 1., 'norm': 1., 'head': 1.}


def test_what_weight_decay_leaves_alone(model):
  optimizer = optimizers.create(None, parse('trainer.optimizer_config.ema=null'
                                            ), model)
  decayed = [v for v in model.trainable_variables
             if optimizer._do_use_weight_decay(v.name)]
  assert {v.name.split('/')[-1] for v in decayed} == {'kernel:0'}
  assert len(decayed) == sum('kernel' in v.name
                             for v in model.trainable_variables)


@pytest.mark.parametrize('averaging', ['null', '{average_decay: 0.9}'])
def test_adamw_equals_numpy(model, averaging):
  params = parse(f'{{trainer: {{optimizer_config: {{ema: {averaging}}}}}}}')
  optimizer = optimizers.create(None, params, model)
  if averaging != 'null':
    optimizer.shadow_copy(model)
  factors = optimizers.rate_factors(model, DECAY)
  variables = model.trainable_variables
  expected = [v.numpy() for v in variables]
  gradients = [1e-3 * np.sin(np.arange(x.size)).reshape(x.shape) for x in
               expected]
  m = v = 0
  for step in (1, 2):
    optimizer.apply_gradients([
        (tf.constant(g, tf.float32), variable)
        for g, variable in zip(gradients, variables)])
    m, v = .9 * m + .1, .999 * v + .001  # Times gradient, and its square.
    for i, (variable, g) in enumerate(zip(variables, gradients)):
      rate = 2 * RATE * factors[variable._unique_id]  # Batches of 16, not 8.
      x = expected[i]
      if 'kernel:' in variable.name:
        x = x - rate * WEIGHT_DECAY * x
      adam = (m * g / (1 - .9 ** step)) / (
          np.sqrt(v * g * g / (1 - .999 ** step))
          + 1e-7 / np.sqrt(1 - .999 ** step))
      expected[i] = x - rate * adam
  for variable, value in zip(variables, expected):
    np.testing.assert_allclose(variable, value, atol=2e-6)


def test_scaled_schedule(model):
  params = parse('trainer.optimizer_config.ema=null',
                 learning_rate='{type: cosine}')
  rate = optimizers.create(None, params, model).learning_rate
  np.testing.assert_allclose(
      [rate(step) for step in (0, 5, 10)], [2e-3, 1e-3, 0], atol=1e-9)


def test_blocks_are_needed():
  params = experiments.parse('tokenlearner_avid')
  backbone = type('Other', (), {'backbone': None})
  with pytest.raises(errors.UserError, match='expected 1 for this backbone'):
    optimizers.rate_factors(backbone, .5)
  assert params.trainer.optimizer_config.layer_decay == 1
