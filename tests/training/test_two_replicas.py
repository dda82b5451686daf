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
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.training import run_folder
from tf_tokenlearner.training import runner
overrides, folder = sys.argv[1:]
runner._make_strategy = lambda params: tf.distribute.MirroredStrategy(
    ['CPU:0', 'CPU:1'])
params = experiments.parse('tokenlearner_digits', [overrides])
runner.train('tokenlearner_digits', params, folder, evaluate=True)
'''


@pytest.fixture(name='folder')
def fixture_folder(tmp_path, tiny_digits):
  program = tmp_path / 'two_replicas.py'
  program.write_text(_PROGRAM)
  overrides = tmp_path / 'tiny.yaml'
  overrides.write_text(tiny_digits)
  folder = tmp_path / 'run'
  done = subprocess.run(
      [sys.executable, str(program), str(overrides), str(folder)],
      capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr[-3000:]
  return str(folder)


def test_scores_equal_those_of_one_replica(folder):
  """360 examples in batches of 2 x 50: at the end one replica gets none."""
  from tf_tokenlearner.configs import experiments
  from tf_tokenlearner.training import run_folder
  from tf_tokenlearner.training import runner
  with open(f'{folder}/best_ckpt/info.json') as file:
    theirs = json.load(file)
  params = experiments.load(folder).params
  scores = runner.evaluate(
      params, folder, run_folder.find_checkpoint(params, folder))
  assert scores['accuracy'] == pytest.approx(theirs['accuracy'], abs=1e-6)
  assert scores['validation_loss'] == pytest.approx(
      theirs['validation_loss'], rel=1e-5)
