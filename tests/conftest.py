"""Shared fixtures: tiny finished runs and exports, and quiet libraries."""

import gc
import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')

# Graphs are made of many small objects that stay: the collector's full passes
# over them cost a third of the suite's time.
gc.set_threshold(50_000, 20, 1_000)

# pylint: disable=g-import-not-at-top
import pytest

TINY_DIGITS = """
task:
  model:
    backbone:
      token_learner_vit:
        variant: Ti/2
        patch_size: [2, 2]
        num_layers: 2
        hidden_size: 16
        mlp_dim: 32
        num_heads: 2
        token_learner_location: 1
        num_tokens: 3
  train_data: {global_batch_size: 32, seed: 1}
  validation_data: {global_batch_size: 100}
trainer:
  train_steps: 4
  steps_per_loop: 2
  summary_interval: 2
  checkpoint_interval: 2
  validation_interval: 2
  optimizer_config: {warmup: {linear: {warmup_steps: 1}}}
runtime: {distribution_strategy: one_device}
"""

TINY_MOVING_DIGITS = """
task:
  model:
    input_size: [4, 16, 16, 1]
    backbone:
      token_learner_vivit:
        variant: Ti/8x2
        num_layers: 2
        hidden_size: 16
        mlp_dim: 32
        num_heads: 2
        token_learner_location: 1
        num_tokens: 3
  train_data: {
    global_batch_size: 16, seed: 1, temporal_stride: 2, min_image_size: 18,
    shuffle_buffer_size: 64}
  validation_data: {
    tfds_split: 'test[:50]', global_batch_size: 16, temporal_stride: 2,
    min_image_size: 18}
trainer:
  train_steps: 4
  steps_per_loop: 2
  summary_interval: 2
  checkpoint_interval: 2
  validation_interval: 2
  optimizer_config: {warmup: {linear: {warmup_steps: 1}}}
runtime: {distribution_strategy: one_device}
"""


@pytest.fixture(scope='session', name='data_dir')
def fixture_data_dir(tmp_path_factory):
  """Returns the folder of prepared data sets."""
  return str(tmp_path_factory.mktemp('tensorflow_datasets'))


@pytest.fixture(scope='session', name='tiny_digits')
def fixture_tiny_digits(data_dir):
  """Returns overrides that make tokenlearner_digits train in seconds."""
  return TINY_DIGITS.replace(
      'train_data: {', f'train_data: {{tfds_data_dir: {data_dir}, ')


@pytest.fixture(scope='session', name='tiny_moving_digits')
def fixture_tiny_moving_digits(data_dir):
  """Returns overrides with which tokenlearner_moving_digits takes seconds."""
  return TINY_MOVING_DIGITS.replace(
      'train_data: {', f'train_data: {{tfds_data_dir: {data_dir}, ')


@pytest.fixture(scope='session', name='many_labels')
def fixture_many_labels(tmp_path_factory):
  """Returns the folder of a set of 12 and 7 videos with several labels."""
  from tests.data import many_labels
  builder = many_labels.ManyLabels(
      data_dir=str(tmp_path_factory.mktemp('many_labels')))
  builder.download_and_prepare()
  return builder.data_dir


@pytest.fixture(scope='session', name='real_labels')
def fixture_real_labels(tmp_path_factory):
  """Returns the folder of a set like imagenet2012_real, with ten classes."""
  from tests.data import real_labels
  builder = real_labels.RealLabels(
      data_dir=str(tmp_path_factory.mktemp('real_labels')))
  builder.download_and_prepare()
  return builder.data_dir


def _train(experiment, overrides, evaluate, model_dir):
  from tf_tokenlearner.configs import experiments
  from tf_tokenlearner.training import runner
  runner.train(experiment, experiments.parse(experiment, [overrides]),
               str(model_dir), evaluate)
  return str(model_dir)


@pytest.fixture(scope='session', name='finished_run')
def fixture_finished_run(tmp_path_factory, tiny_digits):
  """Returns the folder of a run of four steps; tests must not change it."""
  return _train('tokenlearner_digits', tiny_digits, True,
                tmp_path_factory.mktemp('runs') / 'digits')


@pytest.fixture(scope='session', name='finished_video_run')
def fixture_finished_video_run(tmp_path_factory, tiny_moving_digits):
  """Returns the folder of a run of clips; tests must not change it."""
  return _train('tokenlearner_moving_digits', tiny_moving_digits, True,
                tmp_path_factory.mktemp('runs') / 'moving_digits')


@pytest.fixture(scope='session', name='stream_run')
def fixture_stream_run(tmp_path_factory, tiny_moving_digits):
  """Returns the folder of a streaming run; tests must not change it."""
  text = tiny_moving_digits.replace(
      'token_learner_vivit:',
      'type: token_learner_vivit_factorized\n'
      '      token_learner_vivit_factorized:\n'
      '        temporal_num_layers: 1').replace(
          'train_steps: 4', 'train_steps: 2')
  return _train('tokenlearner_moving_digits', text, False,
                tmp_path_factory.mktemp('runs') / 'factorized')


@pytest.fixture(scope='session', name='image_export')
def fixture_image_export(tmp_path_factory, finished_run):
  """Returns the folder of a verified SavedModel of finished_run."""
  from tf_tokenlearner.serving import saved_model
  folder = str(tmp_path_factory.mktemp('exported') / 'digits')
  saved_model.export(finished_run, folder, verify_examples=20)
  return folder


@pytest.fixture(scope='session', name='video_export')
def fixture_video_export(tmp_path_factory, finished_video_run):
  """Returns the folder of a verified SavedModel of finished_video_run."""
  from tf_tokenlearner.serving import saved_model
  folder = str(tmp_path_factory.mktemp('exported') / 'moving_digits')
  saved_model.export(finished_video_run, folder, verify_examples=20)
  return folder


@pytest.fixture(scope='session', name='tflite_export')
def fixture_tflite_export(tmp_path_factory, finished_run):
  """A TFLite export of finished_run, not verified, that looks like a file."""
  from tf_tokenlearner.serving import tflite_file
  folder = str(tmp_path_factory.mktemp('exported') / 'digits.tflite')
  tflite_file.export(finished_run, folder, verify=False)
  return folder


@pytest.fixture(scope='session', name='stream_exports')
def fixture_stream_exports(tmp_path_factory, stream_run):
  """{format: folder of an export of stream_run, not verified}."""
  from tf_tokenlearner.serving import streaming
  parent = tmp_path_factory.mktemp('exported')
  folders = {}
  for name in streaming.EXPORT_FORMATS:
    folders[name] = str(parent / f'stream_{name}')
    streaming.export(
        stream_run, folders[name], export_format=name, verify=False)
  return folders


@pytest.fixture(name='run_copy')
def fixture_run_copy(finished_run, tmp_path):
  """A finished run that may be changed."""
  import shutil  # pylint: disable=g-import-not-at-top
  folder = str(tmp_path / 'run')
  shutil.copytree(finished_run, folder)
  for state in ('checkpoint', 'best_ckpt/checkpoint'):
    path = os.path.join(folder, state)
    with open(path) as file:
      text = file.read()
    with open(path, 'w') as file:
      file.write(text.replace(finished_run, folder))
  return folder


@pytest.fixture
def read_only(monkeypatch):
  """Returns read_only(folder), which reports it as not writable.

  At the end of the test nothing in the folder may have changed. The file system
  itself cannot refuse: tests may run as root.
  """
  # pylint: disable=g-import-not-at-top
  from tf_tokenlearner import files
  before = {}

  def contents(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*')}

  def set_read_only(folder):
    before[folder] = contents(folder)
    is_writable = files.is_writable
    monkeypatch.setattr(
        files, 'is_writable',
        lambda path: str(path) != str(folder) and is_writable(path))

  yield set_read_only
  assert before and all(
      contents(folder) == expected for folder, expected in before.items())
