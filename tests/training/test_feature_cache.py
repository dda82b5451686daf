"""Training on cached features equals training on pixels; none are stale."""

import os

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import feature_files
from tf_tokenlearner.tasks import classification_task
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
  validation_data: {temporal_stride: 5, min_image_size: 16}
"""
_AUGMENTED = 'task: {num_augmented_copies: 2, train_data: {aug_shift: 2}}'


@pytest.fixture(name='digits')
def fixture_digits(tiny_digits, finished_run):
  return ['tokenlearner_digits', tiny_digits, _FROZEN.format(finished_run)]


@pytest.fixture(name='clips')
def fixture_clips(tiny_moving_digits, stream_run):
  factorized = '''
task: {model: {backbone: {type: token_learner_vivit_factorized,
  token_learner_vivit_factorized: {temporal_num_layers: 1}}}}'''
  text = tiny_moving_digits.replace(
      'token_learner_vivit:', 'token_learner_vivit_factorized:')
  return ['tokenlearner_moving_digits', text, factorized,
          _FROZEN.format(stream_run), _WHOLE_CLIPS]


def make_trainer(experiment, *texts, limit=20.):
  """A trainer with the weights that training starts from."""
  params = experiments.parse(experiment, texts)
  params.task.cache_limit_gb = limit
  classification_task.complete(params.task)
  task = classification_task.make(params.task)
  trainer = experiment_runner.build_trainer(
      task, params, train=True, evaluate=True)
  trainer.initialize()
  return trainer


def use(trainer, folder, **changes):
  """Caches in a folder; returns what was said."""
  said = []
  trainer.task.task_config.override(changes)
  feature_cache.use(trainer, str(folder), True, said.append)
  return said


def losses(trainer, steps=3):
  """Losses of some steps and of an evaluation."""
  task, model = trainer.task, trainer.model
  tf.random.set_seed(3)
  values = [task.train_step(inputs, model, trainer.optimizer)[task.loss]
            for inputs in trainer.train_dataset.take(steps)]
  values += [task.validation_step(inputs, model)[task.loss]
             for inputs in trainer.eval_dataset]
  return np.array(values)


@pytest.mark.parametrize('kind', ['digits', 'clips'])
def test_equals_training_on_pixels(kind, request, tmp_path):
  texts = request.getfixturevalue(kind)
  plain, cached = make_trainer(*texts), make_trainer(*texts)
  start = [v.numpy() for v in cached.model.backbone.lower_variables()]
  said = use(cached, tmp_path)
  assert said[0].startswith('Features of the frozen blocks are cached, as ')
  assert cached.train_dataset.element_spec[0]['tokens'].dtype == tf.float32
  expected = losses(plain)
  assert len(expected) == 6 and np.ptp(expected[:3]) > 1e-3
  np.testing.assert_allclose(losses(cached), expected, rtol=0, atol=1e-5)
  for before, after in zip(start, cached.model.backbone.lower_variables()):
    np.testing.assert_array_equal(before, after.numpy())


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
    digits, tmp_path, calls, monkeypatch):
  trainer = make_trainer(*digits)
  use(trainer, tmp_path)
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


def test_interrupted_computation_continues(
    digits, tmp_path, calls, monkeypatch):
  """Each copy has its own draw, the same one whether interrupted or not."""
  monkeypatch.setattr(feature_files, '_SHARD_EXAMPLES', 30)
  trainer = make_trainer(*digits, _AUGMENTED)
  said = use(trainer, tmp_path / 'whole')
  assert '140 images x 16 x 16 float32 = 0.143 MB' in said[0]

  def tokens():
    batches = trainer.train_dataset.unbatch().take(140)
    return np.array([x['tokens'] for x, _ in batches])

  write = feature_files.FeatureFiles._write_shard

  def interrupted(self, start, records):
    if start >= 60:
      raise KeyboardInterrupt
    write(self, start, records)

  data = dict(shuffle_buffer_size=1)
  use(trainer, tmp_path / 'whole', train_data=data)
  expected = tokens()
  assert expected.std(axis=0).min() > 0
  assert np.abs(expected[:70] - expected[70:]).max() > .1
  monkeypatch.setattr(
      feature_files.FeatureFiles, '_write_shard', interrupted)
  with pytest.raises(KeyboardInterrupt):
    use(trainer, tmp_path / 'part', train_data=data)
  monkeypatch.setattr(feature_files.FeatureFiles, '_write_shard', write)
  calls.clear()
  use(trainer, tmp_path / 'part', train_data=data)
  assert sum(calls) == 140 - 60 + 20
  np.testing.assert_allclose(tokens(), expected, atol=1e-6)


def test_too_large_for_the_limit(digits, tmp_path):
  trainer = make_trainer(*digits, limit=5e-5)
  said = use(trainer, tmp_path)
  assert said == [
      'Features of the frozen blocks are not cached: 70 images x 16 x 16 '
      'float32 = 0.072 MB and 20 images x 16 x 16 float32 = 0.020 MB are more than '
      'task.cache_limit_gb=5e-05.']
  with pytest.raises(errors.UserError, match='=true: 70 images x 16 x 16'):
    use(trainer, tmp_path, cache_features=True)
  assert not list(tmp_path.rglob('*.tfrecord'))
