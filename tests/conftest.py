"""Shared fixtures: tiny finished runs and exports, and quiet libraries."""

import gc
import os
import runpy
import shutil
import sys
import tempfile

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


# Files that take longest start first, so that no worker is idle at the end.
_LONGEST = (
    'test_end_to_end', 'test_notebooks', 'test_runner', 'test_saved_model',
    'test_exporter', 'test_blocks', 'test_bottleneck_transformer',
    'test_official_configs', 'test_hub_module', 'test_image_pipeline',
    'test_transformer_backbone', 'test_train', 'test_run', 'test_counts',
    'test_conversion', 'test_tflite_file', 'test_video_pipeline',
    'test_benchmarks', 'test_video_classification', 'test_wheel',
    'test_tflite_inputs', 'test_predict', 'test_garden_vit')


def pytest_configure(config):
  config.option.loadscopereorder = False  # Of xdist: most tests first.


def pytest_collection_modifyitems(items):
  rank = {name: i for i, name in enumerate(_LONGEST)}
  items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


def pytest_collection_finish():
  """Models are traced as written, which takes two thirds of the time.

  AutoGraph finds no loops or conditions on tensors in them. Programs that tests
  run in separate processes use AutoGraph, as those of users do.
  """
  if 'tensorflow' in sys.modules:
    from tensorflow.python.autograph.core import config
    as_written = tuple(config.DoNotConvert(f'tf_tokenlearner.{package}')
                       for package in ('backbones', 'layers'))
    config.CONVERSION_RULES = as_written + config.CONVERSION_RULES


@pytest.fixture(scope='session', name='session_folder')
def fixture_session_folder(tmp_path_factory):
  """Returns a folder that all workers of the session have in common."""
  parent = tmp_path_factory.getbasetemp()
  if 'PYTEST_XDIST_WORKER' in os.environ:
    parent = parent.parent
  folder = parent / 'session'
  folder.mkdir(exist_ok=True)
  return folder


@pytest.fixture(scope='session', name='make_once')
def fixture_make_once(session_folder):
  """Returns make_once(name, make), the path of a folder that make(path) fills.

  One worker makes it, and the others wait for it.
  """
  from tf_tokenlearner.data import file_lock

  def make_once(name, make):
    folder = session_folder / name
    with file_lock.alone(f'{folder}.lock', on_wait=lambda: None):
      if not folder.exists():
        try:
          make(str(folder))
        except BaseException:
          shutil.rmtree(folder, ignore_errors=True)
          raise
    return str(folder)

  return make_once


@pytest.fixture(scope='session', name='data_dir')
def fixture_data_dir(session_folder):
  """Returns the folder of prepared data sets."""
  folder = session_folder / 'tensorflow_datasets'
  folder.mkdir(exist_ok=True)
  return str(folder)


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


def _train(experiment, overrides, evaluate):
  from tf_tokenlearner.configs import experiments
  from tf_tokenlearner.training import runner
  return lambda folder: runner.train(
      experiment, experiments.parse(experiment, [overrides]), folder, evaluate)


@pytest.fixture(scope='session', name='finished_run')
def fixture_finished_run(make_once, tiny_digits):
  """Returns the folder of a run of four steps; tests must not change it."""
  return make_once('digits', _train('tokenlearner_digits', tiny_digits, True))


@pytest.fixture(scope='session', name='finished_video_run')
def fixture_finished_video_run(make_once, tiny_moving_digits):
  """Returns the folder of a run of clips; tests must not change it."""
  return make_once('moving_digits', _train(
      'tokenlearner_moving_digits', tiny_moving_digits, True))


@pytest.fixture(scope='session', name='stream_run')
def fixture_stream_run(make_once, tiny_moving_digits):
  """Returns the folder of a streaming run; tests must not change it."""
  text = tiny_moving_digits.replace(
      'token_learner_vivit:',
      'type: token_learner_vivit_factorized\n'
      '      token_learner_vivit_factorized:\n'
      '        temporal_num_layers: 1').replace(
          'train_steps: 4', 'train_steps: 2')
  return make_once('factorized', _train(
      'tokenlearner_moving_digits', text, False))


def _ask_in_process(client, *arguments):
  import numpy as np
  with tempfile.NamedTemporaryFile(suffix='.npz') as answers:
    runpy.run_path(client)['main'](*arguments, answers.name)
    with np.load(answers.name) as arrays:
      return dict(arrays)


@pytest.fixture(name='ask_in_process')
def fixture_ask_in_process(monkeypatch):
  """Verifies exports without a new process."""
  from tf_tokenlearner.serving import verification
  monkeypatch.setattr(verification, 'ask', _ask_in_process)


@pytest.fixture(scope='session', name='image_export')
def fixture_image_export(make_once, finished_run):
  """Returns the folder of a verified SavedModel of finished_run."""
  from tf_tokenlearner.serving import saved_model
  return make_once('exported_digits', lambda folder: saved_model.export(
      finished_run, folder, verify_examples=20))


@pytest.fixture(scope='session', name='video_export')
def fixture_video_export(make_once, finished_video_run):
  """Returns the folder of a verified SavedModel of finished_video_run."""
  from tf_tokenlearner.serving import saved_model
  from tf_tokenlearner.serving import verification

  def make(folder):
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(verification, 'ask', _ask_in_process)
      saved_model.export(finished_video_run, folder, verify_examples=20)

  return make_once('exported_moving_digits', make)


@pytest.fixture(scope='session', name='tflite_export')
def fixture_tflite_export(make_once, finished_run):
  """A TFLite export of finished_run, not verified, that looks like a file."""
  from tf_tokenlearner.serving import tflite_file
  return make_once('digits.tflite', lambda folder: tflite_file.export(
      finished_run, folder, verify=False))


@pytest.fixture(scope='session', name='stream_exports')
def fixture_stream_exports(make_once, stream_run):
  """{format: folder of an export of stream_run, not verified}."""
  from tf_tokenlearner.serving import streaming
  return {
      name: make_once(f'stream_{name}', lambda folder: streaming.export(
          stream_run, folder, export_format=name, verify=False))
      for name in streaming.EXPORT_FORMATS}


@pytest.fixture(name='run_copy')
def fixture_run_copy(finished_run, tmp_path):
  """A finished run that may be changed."""
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
