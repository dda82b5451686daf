"""What the README shows is true."""

import pathlib
import re

import pytest
import tf_keras

from tf_tokenlearner.configs import catalog
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import video_pipeline

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / 'README.md').read_text()


def blocks(language):
  return re.findall(rf'```{language}\n(.*?)```', TEXT, re.DOTALL)


def test_layer_in_five_lines():
  names = {}
  exec(blocks('python')[1], names)  # pylint: disable=exec-used
  assert isinstance(names['model'], tf_keras.Model)
  assert names['model'].output_shape == (None, 8, 768)


def test_small_config(tmp_path):
  path = tmp_path / 'small.yaml'
  path.write_text(blocks('yaml')[0])
  params = experiments.parse('tokenlearner_image_folder', [str(path)])
  model = params.task.model
  spec = model.backbone.get().completed(tuple(model.input_size))
  assert (spec.num_layers, spec.token_learner_location) == (6, 3)
  assert params.trainer.train_steps == 500


def test_small_video_config(tmp_path):
  path = tmp_path / 'small.yaml'
  path.write_text(blocks('yaml')[1])
  params = experiments.parse('tokenlearner_video_folder', [str(path)])
  model = params.task.model
  spec = model.backbone.get().completed(tuple(model.input_size))
  assert spec.num_frames(model.input_size) == 8
  assert (spec.num_layers, spec.token_learner_location) == (4, 2)
  for name in ('train_data', 'validation_data'):
    video_pipeline.check_options(
        name, getattr(params.task, name), model.input_size)


def test_experiments_exist():
  named = set(re.findall(r'--experiment=(\w+)', TEXT))
  assert named and named <= set(catalog.EXPERIMENTS)


@pytest.mark.parametrize('link', sorted(set(
    re.findall(r'\]\((?!http)([^)#]+)\)',
               re.sub(r'```.*?```', '', TEXT, flags=re.DOTALL)))))
def test_links_lead_somewhere(link):
  assert (ROOT / link).exists()
