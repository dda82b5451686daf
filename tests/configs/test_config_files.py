"""Official configs are found by name, local files by path."""

import pytest

from tf_tokenlearner import errors
from tf_tokenlearner.configs import config_files
from tf_tokenlearner.configs import overrides


@pytest.mark.parametrize('text', [
    'image/tokenlearner_b16', 'image/tokenlearner_b16.yaml',
    'official_configs/image/tokenlearner_b16.yaml'])
def test_official_configs_are_found_by_name(text, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert config_files.find(text) == str(
      config_files.folder() / 'image' / 'tokenlearner_b16.yaml')
  backbone = overrides.read(text)['task']['model']['backbone']
  assert backbone['token_learner_vit']['token_learner'] == {'version': 'v1.0'}


def test_local_files_take_precedence(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  path = tmp_path / 'image' / 'vit_b16.yaml'
  path.parent.mkdir()
  path.write_text('trainer: {train_steps: 3}')
  assert overrides.read('image/vit_b16.yaml') == {'trainer': {'train_steps': 3}}
  assert 'task' in overrides.read('image/vit_b16')


@pytest.mark.parametrize('text', [
    'image/tokenlearner_b61', 'image/tokenlearner_b61.yaml',
    'images/tokenlearner_b16'])
def test_unknown_names_print_the_nearest(text):
  with pytest.raises(errors.UserError, match=(
      rf"^Unknown config file '{text}'. Nearest of the \d+ known: "
      r'.*image/tokenlearner_b16\b')):
    overrides.read(text)


def test_keys_and_values_name_no_file():
  for text in ('', 'trainer.train_steps=3', 'runs', 'name=/some/folder.x'):
    assert config_files.find(text) is None
  # Opening it says why it cannot be read.
  assert config_files.find('/none/mine.yaml') == '/none/mine.yaml'
