"""A run's folder tells which model its checkpoints are of."""

import dataclasses

import numpy as np
import pytest
import yaml

from tests.checkpoints import tiny_checkpoints
from tf_tokenlearner import run_folder
from tf_tokenlearner import backbones
from tf_tokenlearner.checkpoints import run_model
from tf_tokenlearner.configs import classification as config
from tf_tokenlearner import errors

PARAMS = tiny_checkpoints.PARAMS
save = tiny_checkpoints.write_run


def test_model_of_a_run(tmp_path):
  model = tiny_checkpoints.classifier()
  model.head.bias.assign([1., 2., 3., 4., 5.])
  path = save(tmp_path / 'run', model)
  best = tmp_path / 'run' / 'best_ckpt'
  best.mkdir()
  for place in (path, str(tmp_path / 'run'), str(best), f'{best}/best_ckpt-1'):
    run = run_model.describe(place)
    assert run.backbone_class is backbones.VisionTransformer
    assert run.spec['patch_size'] == [4, 4] and run.num_classes == 5
  restored = run_model.read_model(path, run)
  for ours, theirs in zip(restored.get_weights(), model.get_weights()):
    np.testing.assert_array_equal(ours, theirs)


def test_no_run(tmp_path):
  assert run_model.describe(str(tmp_path / 'ckpt-1')) is None


@pytest.mark.parametrize('params', [
    'task: {}', 'model: 3', PARAMS.replace('_vit', '_vot')])
def test_configs_that_cannot_be_read(tmp_path, params):
  path = save(tmp_path, tiny_checkpoints.classifier(), params)
  with pytest.raises(errors.UserError, match='params.yaml of .* does not '
                     'describe a model of this project') as caught:
    run_model.describe(path)
  assert '\n' not in str(caught.value)


def test_options_of_another_version(tmp_path):
  path = save(tmp_path, tiny_checkpoints.classifier(),
              PARAMS.replace('variant:', 'nonsense: 3, variant:'))
  with pytest.raises(errors.UserError, match='nonsense'):
    run_model.read_model(path, run_model.describe(path))


def test_every_backbone_of_the_configs_is_known():
  known = set()
  for kind in (config.Backbone, config.VideoBackbone):
    known |= {field.name for field in dataclasses.fields(kind)}
  known -= {'type', 'from_pretrained'}
  assert known == set(backbones.BY_NAME)


def test_what_a_run_saves_is_read(finished_run, finished_video_run):
  for folder in (finished_run, finished_video_run):
    with open(f'{folder}/params.yaml') as file:
      model = yaml.safe_load(file)['task']['model']
    run = run_model.describe(folder)
    run_model.read_model(run_folder.latest_checkpoint(folder), run)
    assert list(run.input_size) == model['input_size']
