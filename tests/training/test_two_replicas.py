"""Two replicas train as one run, and count every validation example once."""

import json
import subprocess
import sys

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
experiment_runner.make_strategy = (
    lambda params: tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1']))
params = experiments.parse(experiment, overrides)
runner.train(experiment, params, folder, evaluate=True)
'''

MANY_LABELS = """
task:
  model: {{input_size: [4, 16, 16, 3]}}
  losses: {{loss: sigmoid}}
  train_data: {{tfds_name: {0}, tfds_data_dir: '', global_batch_size: 4}}
  validation_data: {{tfds_split: test, num_test_clips: 2, global_batch_size: 4}}
trainer: {{best_checkpoint_eval_metric: mean_average_precision}}
"""


@pytest.fixture(name='overrides')
def fixture_overrides(tiny_digits, tiny_moving_digits, many_labels):
  """{case: (experiment, overrides, best metric)}."""
  return {
      # 360 examples in batches of 2 x 50: at the end one replica gets none.
      'images': ('tokenlearner_digits', [
          tiny_digits, 'trainer: {best_checkpoint_eval_metric: auc}'], 'auc'),
      # 7 videos in batches of 2 x 2, two views of each.
      'many labels': (
          'tokenlearner_moving_digits',
          [tiny_moving_digits, MANY_LABELS.format(many_labels)],
          'mean_average_precision'),
  }


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
