"""Training on cached features equals training on pixels; none are stale."""

import os

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tf_tokenlearner import errors
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import feature_files
from tf_tokenlearner.tasks import classification_task
from tf_tokenlearner.tasks import frozen_features
from tf_tokenlearner.training import experiment_runner
from tf_tokenlearner.training import feature_cache

_FROZEN = """
task:
  init_checkpoint: {}
  freeze_below: 1
  cache_dtype: float32
  train_data: {{tfds_split: 'train[:70]', shuffle_buffer_size: 70,
    global_batch_size: 8}}
  validation_data: {{tfds_split: 'test[:20]', global_batch_size: 8}}
"""
# A clip spans the whole video and shows whole frames: nothing is random.
_WHOLE_CLIPS = """
task:
  cache_features: true
  train_data: {temporal_stride: 5, min_image_size: 16}
  validation_data: {temporal_stride: 5, min_image_size: 16, num_test_clips: 2}
"""


def make_trainer(experiment, *texts):
  """A trainer with the weights that training starts from."""
  params = experiments.parse(experiment, texts)
  classification_task.complete(params.task)
  task = classification_task.make(params.task)
  tf_keras.utils.set_random_seed(params.task.train_data.seed)
  trainer = experiment_runner.build_trainer(
      task, params, train=True, evaluate=True)
  trainer.initialize()
  task.load_teacher(trainer.model)
  return trainer


@pytest.fixture(scope='module', name='digits')
def fixture_digits(tiny_digits, finished_run):
  """A trainer of digits, whose start and options tests restore."""
  trainer = make_trainer(
      'tokenlearner_digits', tiny_digits, _FROZEN.format(finished_run),
      f'task.distillation.teacher={finished_run}')
  kernel = trainer.task.teacher.head.kernel
  kernel.assign(tf.random.stateless_normal(kernel.shape, [1, 2]))
  return trainer


@pytest.fixture(name='trainer')
def fixture_trainer(digits):
  """The trainer of digits, on pixels."""
  variables = [*digits.model.variables, *digits.optimizer.variables()]
  before = [v.numpy() for v in variables]
  options = digits.task.task_config.as_dict()
  datasets = digits.train_dataset, digits.eval_dataset
  yield digits
  for variable, value in zip(variables, before):
    variable.assign(value)
  digits.task.task_config.override(options)
  digits.train_dataset, digits.eval_dataset = datasets


def use(trainer, folder, **changes):
  """Caches in a folder; returns what was said."""
  said = []
  trainer.task.task_config.override(changes)
  feature_cache.use(trainer, str(folder), True, said.append)
  return said


def losses(trainer, steps=3):
  """Losses of some steps and of an evaluation; the weights stay."""
  task, model = trainer.task, trainer.model
  variables = [*model.variables, *trainer.optimizer.variables()]
  before = [v.numpy() for v in variables]
  tf.random.set_seed(3)  # Of dropout.
  values = [task.train_step(inputs, model, trainer.optimizer)[task.loss]
            for inputs in trainer.train_dataset.take(steps)]
  values += [task.validation_step(inputs, model)[task.loss]
             for inputs in trainer.eval_dataset]
  changed = {id(v) for v, value in zip(variables, before)
             if not np.array_equal(v.numpy(), value)}
  assert not changed & set(map(id, model.backbone.lower_variables()))
  assert set(map(id, model.trainable_variables)) <= changed
  for variable, value in zip(variables, before):
    variable.assign(value)
  return np.array(values)


def test_training_equals_that_on_pixels(trainer, tmp_path):
  """With a teacher, whose logits are kept as well."""
  expected = losses(trainer)
  assert len(expected) == 6 and np.ptp(expected[:3]) > 1e-2
  said = use(trainer, tmp_path)
  assert said[0].startswith('Features of the frozen blocks are cached, as ')
  inputs, _ = trainer.train_dataset.element_spec
  assert inputs['tokens'].dtype == tf.float32
  found = losses(trainer)
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
  use(trainer, tmp_path, distillation=dict(weight=1e-9))
  assert np.abs(losses(trainer) - found)[:3].min() > 1e-3


def test_clips_equal_pixels(tiny_moving_digits, stream_run, tmp_path):
  text = tiny_moving_digits.replace(
      'token_learner_vivit:', 'type: token_learner_vivit_factorized\n'
      '      token_learner_vivit_factorized:\n'
      '        temporal_num_layers: 1')
  trainer = make_trainer('tokenlearner_moving_digits', text,
                         _FROZEN.format(stream_run), _WHOLE_CLIPS)
  datasets = lambda: (trainer.train_dataset, trainer.eval_dataset)
  pixels = [next(iter(dataset)) for dataset in datasets()]
  use(trainer, tmp_path)
  features = [next(iter(dataset)) for dataset in datasets()]
  assert features[0][0]['tokens'].shape == (8, 8, 16)
  assert features[1][0]['tokens'].shape == (8, 2, 8, 16)
  (clips, labels), (tokens, same) = pixels[0], features[0]
  np.testing.assert_array_equal(labels, same)
  tokens, upper = frozen_features.route(tokens, trainer.model)
  np.testing.assert_allclose(
      upper(tokens, training=False), trainer.model(clips), atol=1e-5)
  np.testing.assert_allclose(*(
      trainer.task.validation_step(batch, trainer.model)[trainer.task.loss]
      for batch in (pixels[1], features[1])), atol=1e-5)


@pytest.fixture(name='calls')
def fixture_calls(monkeypatch):
  """Counts the examples whose features are computed."""
  counts = []
  compute = feature_cache._compute

  def counted(*args):
    for batch in compute(*args):
      counts.append(len(batch[0]))
      yield batch

  monkeypatch.setattr(feature_cache, '_compute', counted)
  return counts


def test_other_weights_or_data_are_computed_anew(
    trainer, tmp_path, calls, monkeypatch):
  use(trainer, tmp_path)
  # A restart may give other names to models.
  monkeypatch.setattr(trainer.task.teacher.backbone, '_name', 'teacher_2')
  use(trainer, tmp_path)
  assert sum(calls) == 70 + 20
  first, before = calls.copy(), set(os.listdir(tmp_path / 'features'))

  trainer.model.head.bias.assign_add(tf.ones([10]))  # Not frozen.
  use(trainer, tmp_path)
  assert calls == first

  kernel = trainer.model.backbone.lower_variables()[0]
  kernel[0, 0, 0, 0].assign(kernel[0, 0, 0, 0] + 1e-6)
  said = use(trainer, tmp_path)
  assert calls == 2 * first
  assert sum('Removed cached features of other weights' in line
             for line in said) == 2
  assert not before & set(os.listdir(tmp_path / 'features'))

  state = feature_cache.batching.files.state
  monkeypatch.setattr(feature_cache.batching.files, 'state',
                      lambda path: [*state(path)[:2], 'later'])
  use(trainer, tmp_path)
  assert calls == 3 * first
  shared = str(tmp_path / 'shared')
  use(trainer, tmp_path, cache_dir=shared)
  use(trainer, tmp_path, cache_dir=shared, cache_dtype='float16')
  assert len(os.listdir(shared)) == 4
  use(trainer, tmp_path, cache_dir=shared, resize='stretch')
  assert len(os.listdir(shared)) == 6


def test_interrupted_computation_continues(
    trainer, tmp_path, calls, monkeypatch):
  """Each copy has its own draw, the same one whether interrupted or not."""
  monkeypatch.setattr(feature_files, '_SHARD_EXAMPLES', 30)
  data = dict(aug_shift=2, shuffle_buffer_size=1)
  said = use(trainer, tmp_path / 'whole', num_augmented_copies=2,
             train_data=data)
  assert '140 images x 16 x 16 float32 = 0.143 MB' in said[0]

  def tokens():
    batches = trainer.train_dataset.unbatch().take(140)
    return np.array([x['tokens'] for x, _ in batches])

  write = feature_files.FeatureFiles._write_shard

  def interrupted(self, start, records):
    if start >= 60:
      raise KeyboardInterrupt
    write(self, start, records)

  expected = tokens()
  assert expected.std(axis=0).min() > 0
  assert np.abs(expected[:70] - expected[70:]).max() > .1
  monkeypatch.setattr(
      feature_files.FeatureFiles, '_write_shard', interrupted)
  with pytest.raises(KeyboardInterrupt):
    use(trainer, tmp_path / 'part')
  monkeypatch.setattr(feature_files.FeatureFiles, '_write_shard', write)
  calls.clear()
  use(trainer, tmp_path / 'part')
  assert sum(calls) == 140 - 60 + 20
  np.testing.assert_allclose(tokens(), expected, atol=1e-6)


def test_too_large_for_the_limit(trainer, tmp_path):
  said = use(trainer, tmp_path, cache_limit_gb=5e-5)
  assert said == [
      'Features of the frozen blocks are not cached: 70 images x 16 x 16 '
      'float32 = 0.072 MB and 20 images x 16 x 16 float32 = 0.020 MB are more '
      'than task.cache_limit_gb=5e-05.']
  with pytest.raises(errors.UserError, match='=true: 70 images x 16 x 16'):
    use(trainer, tmp_path, cache_features=True)
  assert not list(tmp_path.rglob('*.tfrecord'))
