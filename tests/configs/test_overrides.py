"""Overrides are checked key by key and value by value."""

import dataclasses
from typing import List, Optional, Tuple, Union

from official.modeling import hyperparams
import pytest

from tf_tokenlearner import errors
from tf_tokenlearner.configs import overrides


@dataclasses.dataclass
class Inner(hyperparams.Config):
  rate: float = 0.1
  sizes: List[int] = dataclasses.field(default_factory=lambda: [1, 2])


@dataclasses.dataclass
class Choice(hyperparams.OneOfConfig):
  type: Optional[str] = 'first'
  first: Inner = dataclasses.field(default_factory=Inner)
  second: Inner = dataclasses.field(default_factory=Inner)


@dataclasses.dataclass
class Outer(hyperparams.Config):
  steps: int = 1
  name: str = ''
  is_on: bool = False
  place: Optional[Union[int, List[int]]] = None
  area: Optional[Tuple[float, float]] = None
  choice: Choice = dataclasses.field(default_factory=Choice)
  extra: Optional[Inner] = None


def apply(text):
  config = Outer()
  overrides.apply(config, overrides.read(text))
  return config


def test_yaml_json_and_assignments_are_equivalent(tmp_path):
  path = tmp_path / 'a.yaml'
  path.write_text('steps: 7\nchoice:\n  first:\n    rate: 1e-3\n')
  for text in (str(path), 'steps=7,choice.first.rate=1e-3',
               '{"steps": 7, "choice": {"first": {"rate": 0.001}}}'):
    config = apply(text)
    assert config.steps == 7
    assert config.choice.first.rate == 1e-3


@pytest.mark.parametrize('text, key, value', [
    ('place=3', 'place', 3),
    ('place=[1, 2]', 'place', [1, 2]),
    ('place=null', 'place', None),
    ('is_on=true', 'is_on', True),
    ('area=[0.1, 1]', 'area', [0.1, 1]),
    ('name=/some/folder', 'name', '/some/folder'),
])
def test_values_of_the_right_type_are_applied(text, key, value):
  assert getattr(apply(text), key) == value


def test_optional_section_appears():
  assert apply('extra.rate=1').extra.rate == 1


@pytest.mark.parametrize('text, message', [
    ('step=1', "Unknown config key 'step'. Known: steps,"),
    ('choice.first.rates=1', "key 'choice.first.rates'. Known: "
                             'choice.first.rate'),
    ('extra.rates=1', "Unknown config key 'extra.rates'"),
    ('choice.type=third', "Unknown choice.type 'third'. Known: "),
    ('steps=abc', "steps: expected a whole number, got 'abc'"),
    ('steps=1.5', 'steps: expected a whole number, got 1.5'),
    ('steps=true', 'steps: expected a whole number, got True'),
    ('is_on=1', 'is_on: expected true or false, got 1'),
    ('name=5', 'name: expected text, got 5'),
    ('place=[1, a]', 'place: expected a whole number or a list of whole '
                     'numbers, such as [1, 2] or null'),
    ('choice.first.rate=fast', 'choice.first.rate: expected a number'),
    ('choice=5', 'choice: expected keys and values, got 5'),
    ('steps.x=5', 'steps: expected a whole number, got keys x'),
    ('just words', 'must give keys and values'),
    ('a: [', 'is not YAML'),
    ('missing.yaml', 'Config file missing.yaml cannot be read'),
])
def test_invalid_overrides_are_refused(text, message):
  with pytest.raises(errors.UserError) as caught:
    apply(text)
  assert message in str(caught.value)
  assert '\n' not in str(caught.value)


def test_options_of_other_types_are_refused():
  from tf_tokenlearner.configs import experiments
  with pytest.raises(errors.UserError, match=(
      'optimizer.yogi is set, but trainer.optimizer_config.optimizer.type is '
      'adamw: set trainer.optimizer_config.optimizer.adamw instead')):
    experiments.parse(
        'tokenlearner_digits',
        ['trainer: {optimizer_config: {optimizer: {yogi: {beta1: 0.8}}}}'])


@pytest.mark.parametrize('text, expected', [
    ('name=/x/sweep [lr=1e-3],steps=2', '/x/sweep [lr=1e-3]'),
    ("name=it's,steps=2", "it's"),
    ('name=/x #1,steps=2', '/x #1'),
    ('name=/x: y,steps=2', '/x: y'),
    ('name=/a, b,steps=2', '/a, b'),
    ("name='/a, b=c',steps=2", '/a, b=c'),
    ('name="[x",steps=2', '[x')])
def test_values_with_special_characters(text, expected):
  config = apply(text)
  assert (config.name, config.steps) == (expected, 2)


def test_duplicate_keys_are_refused_with_both_lines():
  with pytest.raises(errors.UserError, match="'steps' is in line 1 and "
                     'again in line 3'):
    overrides.read('steps: 1\nname: x\nsteps: 2\n')


@pytest.mark.parametrize('text', [
    '{label_map: {on: 007, 1e3: 0x1f}}',
    'label_map.on=007,label_map.1e3=0x1f',
    'label_map={on: 007, 1e3: 0x1f}'])
def test_class_names_are_text(text):
  assert overrides.read(text) == {'label_map': {'on': '007', '1e3': '0x1f'}}


@pytest.mark.parametrize('text', [
    '{class_weights: {on: 2, 007: .5}}',
    'class_weights.on=2,class_weights.007=0.5',
    'class_weights={on: 2, 007: .5}'])
def test_class_weights_are_numbers_of_names(text):
  assert overrides.read(text) == {'class_weights': {'on': 2, '007': .5}}


def test_label_map_of_one_assignment():
  """The error about other classes suggests this form."""
  from tf_tokenlearner.configs import experiments
  params = experiments.parse('tokenlearner_image_folder', [
      'task.validation_data.label_map={zebra: cat, on: "a, b=c"},'
      'trainer.train_steps=600'])
  assert params.task.validation_data.label_map == (
      '{"on": "a, b=c", "zebra": "cat"}')
  assert params.trainer.train_steps == 600
  params = experiments.parse('tokenlearner_image_folder', [
      'task.train_data.label_map={zebra: cat}', 'task.train_data.label_map={}'])
  assert params.task.train_data.label_map == ''


def test_files_are_utf8_or_utf16(tmp_path):
  path = tmp_path / 'a.yaml'
  path.write_bytes('name: Häuser'.encode('utf-16'))
  assert apply(str(path)).name == 'Häuser'
  path.write_bytes('name: Häuser'.encode('latin-1'))
  with pytest.raises(errors.UserError, match='Save the file as UTF-8'):
    apply(str(path))
