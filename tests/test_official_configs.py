"""Every YAML in official_configs loads, builds, trains and has a header."""

import contextlib
import functools
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
import yaml
from official.core import task_factory
from official.vision.modeling.backbones import factory

from tests import layer_checks
from tests import shrunk_configs
from tf_tokenlearner.analysis import cost
from tf_tokenlearner.configs import experiments

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted((ROOT / 'official_configs').rglob('*.yaml'))
# Models are built twice as fast where AutoGraph does not look for loops.
as_written = tf.autograph.experimental.do_not_convert
HEADER = ('# Data: ', '# Command: ', '# Expected: ', '# Limit: ')


def header(path):
  return path.read_text().splitlines()[:5]


def experiment_of(path):
  """Returns the experiment in the command of the header."""
  words = header(path)[2].split()
  assert f'--config_file={path.relative_to(ROOT)}' in words
  return next(word.removeprefix('--experiment=') for word in words
              if word.startswith('--experiment='))


@functools.cache
def parse(path):
  """Returns the parsed config, which callers must not change."""
  return experiments.parse(experiment_of(path), [str(path)])


@contextlib.contextmanager
def precision(dtype):
  """Sets the mixed-precision policy of the config."""
  policy = f'mixed_{dtype}' if dtype else 'float32'
  tf_keras.mixed_precision.set_global_policy(policy)
  try:
    yield
  finally:
    tf_keras.mixed_precision.set_global_policy('float32')


_DONE = set()


def is_new(what, *configs):
  """Returns whether an equal config has not been tested yet."""
  keys = {f'{what} {config.as_dict()}' for config in configs}
  is_old = keys <= _DONE
  _DONE.update(keys)
  return not is_old


def test_official_configs_are_found():
  assert len(FILES) >= 93


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_header_has_five_facts(path):
  lines = header(path)
  assert lines[0].startswith('# ')
  for line, start in zip(lines[1:], HEADER):
    assert line.startswith(start)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_only_differences_are_written(path):
  """Every value of a file differs from that of the experiment."""
  written = set(_keys(yaml.safe_load(path.read_text())))
  changed = {line.split(':')[0] for line in experiments.changes(
      experiments.parse(experiment_of(path)), parse(path))}
  if 'trainer.train_steps' in changed:  # Which the schedule follows.
    changed = {key for key in changed if not key.endswith('.decay_steps')}
  if 'task.model.backbone.type' in changed:  # Another one has other options.
    changed &= written | {'task.model.backbone.type'}
  assert changed == written


@pytest.fixture(name='run_eagerly')
def fixture_run_eagerly():
  """Runs functions eagerly, as two steps are faster without a graph."""
  tf.config.run_functions_eagerly(True)
  yield
  tf.config.run_functions_eagerly(False)


@pytest.mark.filterwarnings('ignore:.*set_learning_phase')
@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_builds_at_full_size(path):
  """Shapes and counts of parameters are right, in a graph without weights.

  One block is built for each run of equal blocks.
  """
  params = shrunk_configs.shallow(parse(path))
  model_config = params.task.model
  if not is_new('build', model_config):
    return
  with tf.Graph().as_default():
    tf_keras.backend.set_learning_phase(0)  # Open, it would double the graph.
    backbone = as_written(factory.build_backbone)(
        tf_keras.layers.InputSpec(shape=[None, *model_config.input_size]),
        model_config.backbone, norm_activation_config=None)
    counted = sum(
        weight.shape.num_elements() for weight in backbone.trainable_weights)
  assert counted == cost.classifier_cost(
      model_config.backbone.get(), model_config.input_size, 0).parameters


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_trains_two_steps_when_small(path, run_eagerly):
  """Uses the task, the loss and the optimizer of the file."""
  full = parse(path).task
  task_factory.get_task_cls(type(full)).check_options(full)
  params = shrunk_configs.tiny(parse(path))
  optimizer_config = params.trainer.optimizer_config
  if not is_new('train', params.task.model, params.task.losses,
                optimizer_config, params.runtime):
    return
  tf_keras.utils.set_random_seed(1)
  task = task_factory.get_task(params.task)
  with precision(params.runtime.mixed_precision_dtype):
    model = as_written(task.build_model)()
  layer_checks.draw_weights(model.head)  # At zero it would hold back the rest.
  optimizer = task.create_optimizer(optimizer_config, params.runtime)
  metrics = task.build_metrics()
  inputs = tf.constant(np.random.default_rng(1).uniform(
      -1, 1, [4, *params.task.model.input_size]), tf.float32)
  labels = tf.constant([0, 1, 2, 5])
  before = [weight.numpy() for weight in model.trainable_weights]
  for _ in range(2):
    logs = task.train_step((inputs, labels), model, optimizer, metrics)
    assert np.isfinite(logs['loss'])
  assert int(optimizer.iterations) == 2
  moved = [np.any(weight != old) for weight, old in zip(
      model.trainable_weights, before)]
  assert sum(moved) > .7 * len(moved)  # Some wait for others that start at 0.


def _keys(values, prefix=''):
  for key, value in values.items():
    if isinstance(value, dict):
      yield from _keys(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}'
