"""The commands and configurations of the pages fit the programs."""

import re
import subprocess
import sys

import pytest

from tests import goldens
from tests.docs import pages
from tf_tokenlearner.configs import catalog

ROOT = pages.ROOT
# Programs by name, as setup.py declares them; run without an installation.
_SCRIPTS = dict(re.findall(
    r"'(tokenlearner-\w+) = ([\w.]+):run'", (ROOT / 'setup.py').read_text()))
_BASH = pages.blocks('bash')
_YAML = pages.blocks('yaml')
# Programs that are not ours, and the lines of which are taken as they are.
_OTHERS = {'curl', 'docker', 'grep', 'saved_model_cli', 'tensorboard'}
_INDENTED = re.compile(r'^ {4}((?:make|pip|git) .*)$', re.MULTILINE)


def _program(words):
  """(command that answers --help, its arguments), or None of others."""
  words = [w for w in words if not re.fullmatch(r'[A-Z_]+=\S*', w)]
  if words[0] in _OTHERS or words[0] == 'make':
    return None
  if words[0] == 'tokenlearner-export':
    return (sys.executable, '-m', _SCRIPTS[words[0]], words[1]), words[2:]
  if words[0].startswith('tokenlearner-'):
    return (sys.executable, '-m', _SCRIPTS[words[0]]), words[1:]
  assert words[0] in ('python', '.venv/bin/python'), words
  if words[1:3] == ['-m', 'pytest'] or words[1] == 'garden_train.py':
    return None
  if words[1] == '-m':
    return (sys.executable, *words[1:3]), words[3:]
  return (sys.executable, str(ROOT / words[1])), words[2:]


_COMMANDS = [(block, words, _program(words)) for block in _BASH
             for words in pages.commands(block.text)]


@pytest.fixture(scope='module', name='helps')
def fixture_helps():
  """{program: its --help}."""
  running = {
      program[0]: subprocess.Popen(
          [*program[0], '--help'], stdout=subprocess.PIPE, text=True, cwd=ROOT)
      for _, _, program in _COMMANDS if program}
  return {key: process.communicate()[0] for key, process in running.items()}


@pytest.mark.parametrize(
    'block, program', [(block, program) for block, _, program in _COMMANDS
                       if program],
    ids=lambda value: value.id if isinstance(value, pages.Block) else '')
def test_flags_exist(block, program, helps):
  known = set(re.findall(r'^  --(?:\[no\])?(\w+)$', helps[program[0]],
                         re.MULTILINE))
  for word in program[1]:
    if word.startswith('--'):
      name = word[2:].split('=')[0]
      assert name in known or name.removeprefix('no') in known, (
          block.id, word)


def _value(words, flag):
  prefix = f'--{flag}='
  return [word[len(prefix):] for word in words if word.startswith(prefix)]


def _offline(text):
  """Puts small local weights in the place of public ones."""
  return text.replace(pages.PUBLIC_WEIGHTS, str(
      goldens.FOLDER / 'pretrained' / 'timm_hub_vit'))


@pytest.mark.parametrize(
    'block, words', [(block, words) for block, words, _ in _COMMANDS
                     if _value(words, 'experiment')],
    ids=lambda value: value.id if isinstance(value, pages.Block) else '')
def test_experiments_and_overrides(block, words):
  from tf_tokenlearner.configs import experiments
  experiment, = _value(words, 'experiment')
  assert experiment in catalog.EXPERIMENTS
  files = {b.options['file']: b.text for b in _YAML if b.page == block.page}
  # Pages refer to the small configuration of another page.
  files.setdefault('small.yaml', pages.block(
      'docs/own_pictures.md', 'small_images').text)
  overrides = [files.get(name, name) for name in _value(words, 'config_file')]
  overrides += map(_offline, _value(words, 'params_override'))
  experiments.parse(experiment, overrides)


@pytest.mark.parametrize('block', _YAML, ids=lambda block: block.id)
def test_configurations(block):
  from tf_tokenlearner.configs import experiments
  model = experiments.parse(
      block.options['experiment'], [_offline(block.text)]).task.model
  model.backbone.get().completed(tuple(model.input_size))


def test_small_configurations_are_as_the_comments_say():
  from tf_tokenlearner.configs import experiments
  for page, name, expected in (
      ('docs/own_pictures.md', 'small_images', (6, 3)),
      ('docs/own_videos.md', 'small_videos', (4, 2))):
    block = pages.block(page, name)
    model = experiments.parse(
        block.options['experiment'], [block.text]).task.model
    spec = model.backbone.get().completed(tuple(model.input_size))
    assert (spec.num_layers, spec.token_learner_location) == expected


def test_ablations():
  import yaml
  from tf_tokenlearner.configs import experiments
  text = (ROOT / 'docs' / 'research.md').read_text('utf-8')
  lines = re.findall(r'^\| `(\{token_learner.*\})` \|', text, re.MULTILINE)
  assert len(lines) == 10
  completed = []
  for line in lines:
    params = experiments.parse('tokenlearner_tfds', [yaml.safe_dump({
        'task': {'model': {'backbone': {
            'token_learner_vit': yaml.safe_load(line)}}}})])
    model = params.task.model
    completed.append(
        model.backbone.get().completed(tuple(model.input_size)))
  assert len({repr(spec) for spec in completed}) == 10


def test_make_targets_and_extras():
  targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(),
                       re.MULTILINE)
  text = '\n'.join(path.read_text('utf-8') for path in pages.PAGES)
  words = [line.split() for line in _INDENTED.findall(text)]
  words += [w for _, w, _ in _COMMANDS]
  made = {w[1] for w in words if w[0] == 'make'}
  made |= set(re.findall(r'`make ([\w-]+)`', text))
  assert {'train', 'test', 'docs'} <= made <= set(targets)
  extras = set(re.findall(r"^        '(\w+)': \[",
                          (ROOT / 'setup.py').read_text(), re.MULTILINE))
  for named in re.findall(r'tf_tokenlearner\[([\w,]+)\]', text):
    assert set(named.split(',')) <= extras
