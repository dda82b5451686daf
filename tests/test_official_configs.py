"""Every YAML in official_configs loads, makes sense and says what it is."""

import pathlib
import re

import pytest
import yaml

from tf_tokenlearner.analysis import cost
from tf_tokenlearner.configs import experiments

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted((ROOT / 'official_configs').rglob('*.yaml'))
HEADER = ('# Data: ', '# Command: ', '# Expected: ', '# Limit: ')
# Where the paper's figure and its model do not agree, by its own tables.
PAPER_IS_OFF = {'vit_b32': 19.8, 'tokenlearner_l16_16at12': 178.1,
                'vivit_h16x2_kinetics400': 8316}


def header(path):
  return path.read_text().splitlines()[:5]


def experiment_of(path):
  """What the command in the header names."""
  words = header(path)[2].split()
  assert f'--config_file={path.relative_to(ROOT)}' in words
  return next(word.removeprefix('--experiment=') for word in words
              if word.startswith('--experiment='))


def parse(path):
  return experiments.parse(experiment_of(path), [str(path)])


def test_there_are_some():
  assert len(FILES) >= 24


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_header_has_five_facts(path):
  lines = header(path)
  assert lines[0].startswith('# ')
  for line, start in zip(lines[1:], HEADER):
    assert line.startswith(start)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_config_costs_what_the_paper_says(path):
  model = parse(path).task.model
  gmacs = cost.classifier_cost(
      model.backbone.get(), model.input_size, 1000).macs / 1e9
  figure = re.search(r' at ([\d.]+) ', header(path)[3])
  if figure is None:
    return
  paper = float(figure.group(1))
  off = abs(gmacs / paper - 1)
  if path.stem in PAPER_IS_OFF:
    assert off > .015
  else:
    assert off < .015, (gmacs, paper)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_only_differences_are_written(path):
  """Every value in the file is one that the experiment does not have anyway."""
  written = set(_keys(yaml.safe_load(path.read_text())))
  changed = {line.split(':')[0] for line in experiments.changes(
      experiments.parse(experiment_of(path)), parse(path))}
  if 'trainer.train_steps' in changed:  # Which the schedule follows.
    changed = {key for key in changed if not key.endswith('.decay_steps')}
  if 'task.model.backbone.type' in changed:  # Another one has other options.
    changed &= written | {'task.model.backbone.type'}
  assert changed == written


def _keys(values, prefix=''):
  for key, value in values.items():
    if isinstance(value, dict):
      yield from _keys(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}'
