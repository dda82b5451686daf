"""Checkpoints of training in folders of any name."""

import os

import pytest
import tensorflow as tf

from tf_tokenlearner import run_folder
from tf_tokenlearner.training import trainer


@pytest.mark.parametrize('name', ['sweep [lr=1e-3]', 'a*b', 'a?b'])
def test_folder_names_may_hold_wildcards(tmp_path, name):
  folder = str(tmp_path / name)
  variable = tf.Variable(1.)
  manager = trainer.CheckpointManager(
      tf.train.Checkpoint(x=variable), folder, max_to_keep=2)
  for number in range(4):
    variable.assign(number)
    manager.save()
  kept = {file for file in os.listdir(folder) if file.endswith('.index')}
  assert kept == {'ckpt-3.index', 'ckpt-4.index'}
  assert run_folder.latest_checkpoint(folder) == f'{folder}/ckpt-4'
  variable.assign(9.)
  again = trainer.CheckpointManager(
      tf.train.Checkpoint(x=variable), folder, max_to_keep=2)
  assert again.restore_or_initialize() == f'{folder}/ckpt-4'
  assert variable.numpy() == 3.
