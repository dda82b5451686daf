"""tensorflow-addons' optimizers train, average, resume and go with the rest."""

import importlib.util
import json
import pathlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.core import base_task
from official.modeling.optimization import optimizer_factory

from tf_tokenlearner import errors
from tf_tokenlearner.configs import optimization
from tf_tokenlearner.training import addons_optimizers

needs_addons = pytest.mark.skipif(
    not importlib.util.find_spec('tensorflow_addons'),
    reason='tensorflow-addons has wheels up to Python 3.11')
every_optimizer = pytest.mark.parametrize(
    'name', optimization.ADDONS_OPTIMIZERS)
INPUTS = np.random.RandomState(0).randn(16, 4).astype(np.float32)
LABELS = (INPUTS @ np.random.RandomState(1).randn(4, 3)).argmax(-1)


def make_optimizer(name, settings=None, **others):
  """By way of the Garden's task, as in training; learning rate 0.1."""
  config = optimization.OptimizationConfig()
  config.override({
      'optimizer': {'type': name, **(settings or {})},
      'learning_rate': {'type': 'constant', 'constant': {'learning_rate': 0.1}},
      **others}, is_strict=True)
  optimization.check_optimizer(config)
  if name in optimization.ADDONS_OPTIMIZERS:
    addons_optimizers.register(name)
  return base_task.Task.create_optimizer(config)


def step(name, gradients, settings=None, scaled=False):
  """The weight [1, -1] after a step along each gradient, and the optimizer."""
  weight = tf.Variable([1., -1.])
  optimizer = make_optimizer(name, settings)
  if scaled:
    optimizer = tf_keras.mixed_precision.LossScaleOptimizer(optimizer)
  for gradient in gradients:
    optimizer.apply_gradients([(tf.constant(gradient), weight)])
  return weight.numpy(), optimizer


def make_model():
  tf_keras.utils.set_random_seed(0)
  model = tf_keras.Sequential([
      tf_keras.layers.Dense(6, activation='tanh'), tf_keras.layers.Dense(3)])
  model.build([None, 4])
  return model


def train(model, optimizer, steps, wrap=lambda function: function):
  """Losses before each step."""

  @wrap
  def train_step():
    with tf.GradientTape() as tape:
      loss = tf.reduce_mean(tf_keras.losses.sparse_categorical_crossentropy(
          LABELS, model(INPUTS), from_logits=True))
    variables = model.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
    return loss

  return [float(train_step()) for _ in range(steps)]


def flat(variables):
  return np.concatenate([variable.numpy().ravel() for variable in variables])


@needs_addons
@every_optimizer
def test_trains_with_warm_up_and_cosine(name):
  optimizer = make_optimizer(
      name, learning_rate={'type': 'cosine', 'cosine': {
          'initial_learning_rate': 0.1, 'decay_steps': 20}},
      warmup={'type': 'linear', 'linear': {'warmup_steps': 4}})
  losses = train(make_model(), optimizer, 16, wrap=tf.function)
  assert losses[-1] < 0.97 * losses[0]
  assert int(optimizer.iterations) == 16
  # The Garden's trainer asks for the rate in this way.
  np.testing.assert_allclose(
      optimizer.learning_rate(optimizer.iterations),
      0.05 * (1 + np.cos(np.pi * 16 / 20)), rtol=1e-5)


@needs_addons
@every_optimizer
def test_resumes(name, tmp_path):
  """Three steps, a checkpoint and three more are six steps, to the bit."""
  settings = {'lookahead': {'lookahead': {'sync_period': 2}},
              'swa': {'swa': {'average_period': 2}}}.get(name)
  new = lambda: tf.train.Checkpoint(
      model=make_model(), optimizer=make_optimizer(name, settings))
  whole, half = new(), new()
  train(whole.model, whole.optimizer, 6)
  train(half.model, half.optimizer, 3)
  path = half.write(str(tmp_path / 'half'))
  for slots_exist in (False, True):
    rest = new()
    if slots_exist:
      rest.optimizer._create_all_weights(rest.model.trainable_variables)
    status = rest.read(path)
    train(rest.model, rest.optimizer, 3)
    status.assert_consumed()
    np.testing.assert_array_equal(
        flat(rest.model.variables), flat(whole.model.variables))
    # Sorted, for the step counter comes late when it is restored.
    np.testing.assert_array_equal(
        np.sort(flat(rest.optimizer.weights)),
        np.sort(flat(whole.optimizer.weights)))


@needs_addons
@every_optimizer
def test_clips(name):
  """Clipped to a tenth is a step along a tenth; a wrapper's inner clips too."""
  tenth, _ = step(name, [[0.3, 0.4]])
  least, _ = step(name, [[0.3, 0.3]])
  inner = optimization.OptimizerConfig({'type': name}).wrapped()
  for clips in (name, *inner):
    for clip, expected in [({'clipnorm': 0.5}, tenth),
                           ({'global_clipnorm': 0.5}, tenth),
                           ({'clipvalue': 0.3}, least)]:
      weight, _ = step(name, [[3., 4.]], {clips: clip})
      np.testing.assert_allclose(weight, expected, 1e-6)


@needs_addons
@every_optimizer
def test_loss_scaling_skips_what_overflows(name):
  weight, optimizer = step(
      name, [[np.inf, 1.], [3., 4.], [1., 2.]], scaled=True)
  assert np.isfinite(weight).all() and (weight != [1., -1.]).all()
  assert int(optimizer.iterations) == 3


@needs_addons
@pytest.mark.parametrize('name, key', [
    ('lookahead', 'slow_step_size'), ('rectified_adam', 'weight_decay'),
    ('novograd', 'weight_decay'), ('yogi', 'epsilon'),
    ('lamb_addons', 'weight_decay')])
def test_a_whole_number_is_a_number(name, key):
  """A YAML has 1 for 1.0."""
  whole, _ = step(name, [[3., 4.]], {name: {key: 1}})
  decimal, _ = step(name, [[3., 4.]], {name: {key: 1.0}})
  np.testing.assert_array_equal(whole, decimal)


@needs_addons
@pytest.mark.parametrize('name', ['adamw', 'lars', 'rmsprop', 'yogi'])
@pytest.mark.parametrize('wrapper', ['lookahead', 'swa'])
def test_wrapped_steps_are_the_optimizer_s_own(wrapper, name):
  """Until Lookahead looks back; with adamw's clipping and weight decay."""
  settings = {'adamw': {'weight_decay_rate': 0.1, 'gradient_clip_norm': 0.2},
              'lookahead': {'optimizer': name, 'sync_period': 100},
              'swa': {'optimizer': name}}
  plain, wrapped = make_model(), make_model()
  losses = train(plain, make_optimizer(name, settings), 4)
  assert train(wrapped, make_optimizer(wrapper, settings), 4) == losses
  np.testing.assert_array_equal(flat(wrapped.variables), flat(plain.variables))


@needs_addons
@pytest.mark.parametrize('name', ['adamw', 'yogi'])
@pytest.mark.parametrize('wrapper', ['lookahead', 'swa'])
def test_wrapped_steps_along_sparse_gradients(wrapper, name):
  def after(name, settings=None):
    table = tf.Variable([[1., 2.], [3., 4.]])
    gradient = tf.IndexedSlices([[1., -1.]], [1], [2, 2])
    make_optimizer(name, settings).apply_gradients([(gradient, table)])
    return table.numpy()
  np.testing.assert_array_equal(
      after(wrapper, {wrapper: {'optimizer': name}}), after(name))


@needs_addons
def test_lookahead_by_hand():
  """Each step goes 0.1; every second time, back half of the way since."""
  weight, _ = step('lookahead', [[1., 1.]] * 5, {
      'lookahead': {'optimizer': 'sgd', 'sync_period': 2}})
  np.testing.assert_allclose(weight, [1 - 0.3, -1 - 0.3], 1e-6)


@needs_addons
def test_lookahead_starts_at_the_weights_of_the_first_step():
  """Not at those it was built on, before a checkpoint was loaded."""
  weight = tf.Variable([5., 5.])
  optimizer = make_optimizer(
      'lookahead', {'lookahead': {'optimizer': 'sgd', 'sync_period': 1}})
  optimizer._create_all_weights([weight])
  weight.assign([1., -1.])
  optimizer.apply_gradients([(tf.ones([2]), weight)])
  np.testing.assert_allclose(weight, [1 - 0.05, -1 - 0.05], 1e-6)


@needs_addons
def test_lamb_is_the_garden_s():
  gradients = [[3., 4.], [-1., 2.]]
  addons, _ = step(
      'lamb_addons', gradients, {'lamb_addons': {'weight_decay': 0.1}})
  garden, _ = step('lamb', gradients, {'lamb': {'weight_decay_rate': 0.1}})
  np.testing.assert_array_equal(addons, garden)


@needs_addons
@pytest.mark.parametrize('name', ['lookahead', 'yogi'])
def test_goes_with_ema(name):
  """The Garden's average follows, and its trainer can log the learning rate."""
  model = make_model()
  optimizer = make_optimizer(
      name, ema={'average_decay': 0.5, 'dynamic_decay': False})
  optimizer.shadow_copy(model)
  average = 0
  for _ in range(2):
    train(model, optimizer, 1)
    average = 0.5 * average + 0.5 * flat(model.trainable_variables)
  averages = [optimizer.get_slot(v, 'average')
              for v in model.trainable_variables]
  np.testing.assert_allclose(flat(averages), average, atol=1e-6)
  assert float(optimizer.learning_rate) == pytest.approx(0.1)


@needs_addons
@pytest.mark.parametrize('scaled', [False, True])
def test_swa_is_evaluated_by_its_average(scaled):
  """The mean of every second model from step 1 on, and then back again."""
  model = make_model()
  optimizer = make_optimizer('swa', {
      'swa': {'start_averaging': 1, 'average_period': 2}})
  if scaled:
    optimizer = tf_keras.mixed_precision.LossScaleOptimizer(
        optimizer, dynamic=False, initial_scale=1)
  weights = []
  for _ in range(6):
    for _ in range(2):
      swapped = addons_optimizers.swap_averages(optimizer, model)
      assert swapped == (len(weights) > 1)  # There is no average at first.
    train(model, optimizer, 1)
    weights.append(flat(model.trainable_variables))
  logits = model(INPUTS).numpy()
  assert addons_optimizers.swap_averages(optimizer, model)
  np.testing.assert_allclose(
      flat(model.trainable_variables), np.mean(weights[1::2], axis=0),
      atol=1e-6)
  assert np.abs(model(INPUTS).numpy() - logits).max() > 1e-3
  assert addons_optimizers.swap_averages(optimizer, model)
  np.testing.assert_array_equal(model(INPUTS), logits)


@needs_addons
def test_swa_leaves_out_what_overflows_and_what_is_frozen():
  model = make_model()
  optimizer = tf_keras.mixed_precision.LossScaleOptimizer(
      make_optimizer('swa', {'swa': {'average_period': 1}}))
  kernel, bias = model.layers[1].weights
  for gradient in (np.inf, 1.):
    optimizer.apply_gradients([
        (tf.fill(kernel.shape, gradient), kernel), (tf.zeros([3]), bias)])
  weights = flat(model.weights)
  assert addons_optimizers.swap_averages(optimizer, model)
  np.testing.assert_allclose(flat(model.weights), weights, 1e-6)


def test_other_optimizers_have_no_averages():
  for optimizer in (make_optimizer('adamw'), None):
    assert not addons_optimizers.swap_averages(optimizer, make_model())


_FRESH_PROCESS = """
import json
import tensorflow as tf
cpu = tf.config.list_physical_devices('CPU')[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.training import test_addons_optimizers
test_addons_optimizers.check_import()
print(json.dumps(test_addons_optimizers.train_in_replicas(['cpu:0', 'cpu:1'])))
"""


def check_import():
  """The import is quiet, bound to tf_keras, and changes no other module."""
  before = dict(sys.modules)
  assert 'tensorflow_addons' not in before
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    addons = addons_optimizers.import_addons()
  yogi = addons.optimizers.yogi
  assert yogi.tf.keras is tf_keras
  assert issubclass(yogi.Yogi, tf_keras.optimizers.legacy.Optimizer)
  after = {name: module for name, module in sys.modules.items()
           if name.split('.')[0] not in ('tensorflow_addons', 'typeguard')}
  assert after == before


def train_in_replicas(devices):
  """{optimizer: its weights after 3 steps, and SWA's average of them}."""
  strategy = tf.distribute.MirroredStrategy(devices)
  share = tf.constant([1., 3.]) * 2 / len(devices)
  weights = {}
  for name in optimization.ADDONS_OPTIMIZERS:
    with strategy.scope():
      model = tf_keras.Sequential([tf_keras.layers.Dense(
          1, use_bias=False, kernel_initializer='ones')])
      model.build([None, 2])
      optimizer = make_optimizer(name, {
          'lookahead': {'sync_period': 2}, 'swa': {'average_period': 2}})

    @tf.function
    def train_step():
      kernel, = model.trainable_variables
      optimizer.apply_gradients([(kernel * share[:, tf.newaxis], kernel)])

    for _ in range(3):
      strategy.run(train_step)
    kernel, = model.trainable_variables
    with strategy.scope():
      weights[name] = [copy.numpy().tolist() for copy in kernel.values]
      if addons_optimizers.swap_averages(optimizer, model):
        weights['average'] = [copy.numpy().tolist() for copy in kernel.values]
  return weights


@needs_addons
def test_two_replicas_are_one():
  """A fresh process: in this one devices are set up and modules imported."""
  fresh = subprocess.run(
      [sys.executable, '-c', _FRESH_PROCESS], text=True, capture_output=True,
      cwd=pathlib.Path(__file__).parents[2])
  assert not fresh.returncode, fresh.stderr
  two = json.loads(fresh.stdout)
  one = train_in_replicas(['cpu:0'])
  assert set(two) == {*optimization.ADDONS_OPTIMIZERS, 'average'}
  for name, (first, second) in two.items():
    assert first == second
    np.testing.assert_allclose(first, one[name][0], 1e-6, err_msg=name)


@needs_addons
def test_registering_twice_is_registering_once():
  addons_optimizers.register('yogi')
  before = dict(optimizer_factory.LEGACY_OPTIMIZERS_CLS)
  addons_optimizers.register('yogi')
  addons_optimizers.register('swa')
  assert optimizer_factory.LEGACY_OPTIMIZERS_CLS == before
  assert set(optimization.ADDONS_OPTIMIZERS) < set(before)


def test_without_the_package(monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorflow_addons', None)
  monkeypatch.delitem(
      optimizer_factory.LEGACY_OPTIMIZERS_CLS, 'yogi', raising=False)
  with pytest.raises(errors.UserError) as raised:
    make_optimizer('yogi')
  message = str(raised.value)
  assert message.startswith(
      "optimizer 'yogi' comes from tensorflow-addons, which cannot be imported")
  assert "pip install 'tf_tokenlearner[addons]'" in message
  assert f'this is {sys.version_info[0]}.{sys.version_info[1]}' in message
  assert '\n' not in message
