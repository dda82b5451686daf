"""Runs of version 0.1.0 keep the dropout of token scores."""

import pathlib
import shutil

import pytest

from tf_tokenlearner import run_folder
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.configs import old_runs

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
V11 = {'version': 'v1.1'}
V10 = {'version': 'v1.0'}


def rate_of(params):
  return params.task.model.backbone.get().token_learner.dropout_rate


@pytest.mark.parametrize('options, expected', [
    (dict(token_learner=V11, dropout_rate=.3), .3),
    (dict(token_learner=V11, dropout_rate=0.), None),
    (dict(token_learner={**V11, 'dropout_rate': .2}, dropout_rate=.3), .2),
    (dict(token_learner={**V11, 'dropout_rate': 0.}, dropout_rate=.3), None),
    (dict(token_learner=V10, dropout_rate=.3), None),
    (dict(token_learner=V10, dropout_rate=.3, use_token_fuser=True), .3),
    (dict(token_learner=V10, dropout_rate=.3, use_token_fuser=True,
          fuser='unpooling'), None),
    (dict(token_learner=V11, dropout_rate=.3, tokenizer='grid_pooling'), None),
    (dict(module='joint_mhsa'), None),
])
def test_overrides_of_old_configs(options, expected):
  params = {'task': {'model': {'backbone': {'type': 'net', 'net': options}}}}
  kept = {'task': {'model': {'backbone': {
      'net': {'token_learner': {'dropout_rate': expected}}}}}}
  assert old_runs.kept_dropout(params) == (kept if expected else {})


def test_old_run_keeps_its_dropout(tmp_path):
  """Holds in evaluation and in repeated continuation, unless the key is set."""
  folder = str(tmp_path / 'run')
  shutil.copytree(GOLDEN / 'run_before', folder)
  run = run_folder.load(folder)
  assert rate_of(experiments.of_run(run)) == .1
  params = experiments.for_training(run.experiment, folder)
  assert rate_of(params) == .1
  run_folder.save(run_folder.Run(
      folder, run.experiment, params.as_dict(), run.label_names))
  assert rate_of(experiments.for_training(run.experiment, folder)) == .1
  key = f'task.model.backbone.{params.task.model.backbone.type}.token_learner'
  assert rate_of(experiments.for_training(
      run.experiment, folder, [f'{key}.dropout_rate=0'])) == 0


def test_new_run_keeps_token_scores(tmp_path):
  params = experiments.for_training(
      'tokenlearner_digits', str(tmp_path / 'none'))
  assert params.task.model.backbone.get().dropout_rate > 0
  assert rate_of(params) == 0
