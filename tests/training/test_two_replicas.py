"""Two replicas train as one run, and count every validation example once."""

import json
import subprocess
import sys

import numpy as np
import pytest

_PROGRAM = '''
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices('CPU')[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tf_tokenlearner import run_folder
from tf_tokenlearner.tasks import classification_task
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.training import experiment_runner
from tf_tokenlearner.training import runner
experiment, folder, *overrides = sys.argv[1:]
strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
experiment_runner.make_strategy = lambda params: strategy
params = experiments.parse(experiment, overrides)
runner.train(experiment, params, folder, evaluate=True)
if params.trainer.gradient_accumulation_steps > 1:
  params = experiments.parse(experiment, overrides[:-1])
  runner.train(experiment, params, folder + '_whole', evaluate=False)
'''

MANY_LABELS = """
task:
  model: {{input_size: [4, 16, 16, 3]}}
  losses: {{loss: sigmoid}}
  class_weights: balanced
  train_data: {{tfds_name: {0}, tfds_data_dir: '', global_batch_size: 4}}
  validation_data: {{tfds_split: test, num_test_clips: 2, global_batch_size: 4}}
trainer: {{best_checkpoint_eval_metric: mean_average_precision}}
"""

CACHED = '''
task: {{init_checkpoint: {}, freeze_below: 1, cache_dtype: float32}}
'''


# Free of chance, and of what the Garden does to each replica's gradients.
EXACT = """
task:
  model: {backbone: {token_learner_vit: {dropout_rate: 0.}}}
  train_data: {deterministic: true}
trainer:
  optimizer_config: {
    layer_decay: 0.75, optimizer: {adamw: {
      gradient_clip_norm: 0., epsilon: 0.01}}}
"""
PARTS = 'trainer: {gradient_accumulation_steps: 2}'


@pytest.fixture(name='overrides')
def fixture_overrides(
    tiny_digits, finished_run, tiny_moving_digits, many_labels):
  """{case: (experiment, overrides, best metric)}."""
  return {
      # 360 examples in batches of 2 x 50: at the end one replica gets none.
      # They train on cached features; one replica scores pixels.
      'images': ('tokenlearner_digits', [
          tiny_digits, 'trainer: {best_checkpoint_eval_metric: auc}', EXACT,
          'task: {class_weights: balanced}', CACHED.format(finished_run),
          PARTS], 'auc'),
      # 7 videos in batches of 2 x 2, two views of each.
      'many labels': (
          'tokenlearner_moving_digits',
          [tiny_moving_digits, MANY_LABELS.format(many_labels)],
          'mean_average_precision'),
  }


def head_kernel(folder):
  from tf_tokenlearner import run_folder
  import tensorflow as tf
  return tf.train.load_checkpoint(
      run_folder.latest_checkpoint(folder)).get_tensor(
          'model/head/kernel/.ATTRIBUTES/VARIABLE_VALUE')


@pytest.mark.parametrize('case', ['images', 'many labels'])
def test_scores_equal_those_of_one_replica(case, overrides, tmp_path):
  from tf_tokenlearner import run_folder
  from tf_tokenlearner.configs import experiments
  from tf_tokenlearner.evaluation import score_files
  from tf_tokenlearner.tasks import classification_task
  from tf_tokenlearner.training import runner
  experiment, texts, metric = overrides[case]
  files = []
  for i, text in enumerate(texts):
    files.append(tmp_path / f'{i}.yaml')
    files[-1].write_text(text)
  # Prepared here: what is said while preparing would be lost.
  classification_task.complete(
      experiments.parse(experiment, map(str, files)).task)
  program = tmp_path / 'two_replicas.py'
  program.write_text(_PROGRAM)
  folder = str(tmp_path / 'run')
  done = subprocess.run(
      [sys.executable, str(program), experiment, folder, *map(str, files)],
      capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr[-3000:]
  with open(f'{folder}/best_ckpt/info.json') as file:
    theirs = json.load(file)
  run = run_folder.load(folder)
  params = experiments.of_run(run)
  params.task.train_data.deterministic = False  # For good in this process.
  scores, predictions = runner.evaluate_predictions(
      params, run, run.find_checkpoint())
  by_class = predictions.by_class.as_dict(run.label_names)
  assert by_class['confusion'] == score_files.read(
      run.scores_folder())['confusion']
  assert by_class['examples'] == (360 if case == 'images' else 7)
  assert by_class[metric] == pytest.approx(theirs[metric], abs=1e-6)
  assert scores[metric] == pytest.approx(theirs[metric], abs=1e-6)
  assert scores['validation_loss'] == pytest.approx(
      theirs['validation_loss'], rel=1e-5)
  if case == 'images':  # Batches in parts teach what whole ones do.
    kernel = head_kernel(folder)
    assert np.abs(kernel).max() > 1e-4
    np.testing.assert_allclose(
        head_kernel(f'{folder}_whole'), kernel, atol=1e-6)
