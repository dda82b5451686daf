"""Imports point one way, and the Model Garden stays where it is needed.

The graph is drawn from the source: imports at module level and inside
functions, names that a package loads lazily, and strings that name a module,
such as those of `python -m`.
"""

import ast
import collections
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = 'tf_tokenlearner'

# From the ground up. A module may import its own floor and those below it.
# The most specific entry holds for a module; names are relative to PACKAGE.
FLOORS = (
    ('errors', 'files', 'lazy', 'quiet', 'progress'),
    ('cli', 'run_folder'),
    ('layers',),
    ('backbones',),
    ('checkpoints',),
    ('data.views', 'data.resizing', 'data.pixel_ops', 'data.image_files',
     'data.image_decoding', 'data.orientation', 'data.file_types',
     'data.clip_sampling'),
    ('configs',),
    ('data',),
    ('evaluation.class_scores', 'evaluation.score_files'),
    ('tasks',),
    ('registry', 'analysis'),
    ('training',),
    ('serving',),
    ('evaluation',),
    ('prediction',),
    ('train', 'predict', 'export', 'runs', 'run_table'),
)

# Modules and packages that may import `official`. The two pipelines and what
# they share read the Garden's config classes.
GARDEN = (
    'configs', 'tasks', 'training', 'data.augmentation', 'data.batching',
    'data.image_pipeline', 'data.video_pipeline')


def _modules():
  """{dotted name without PACKAGE: path}; the package itself is ''."""
  found = {}
  for path in (ROOT / PACKAGE).rglob('*.py'):
    parts = path.relative_to(ROOT / PACKAGE).with_suffix('').parts
    if 'clients' in parts:  # Examples for other machines, not of the package.
      continue
    found['.'.join(parts).removesuffix('__init__').rstrip('.')] = path
  return found


MODULES = _modules()


def _named(module, tree):
  """Yields every dotted name that a module's source refers to."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{module}: a relative import'
      yield from (f'{node.module}.{alias.name}' for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
      if re.fullmatch(rf'({PACKAGE}|official)(\.\w+)+', node.value):
        yield node.value
    elif isinstance(node, ast.Call) and ast.unparse(node.func) == 'lazy.attach':
      yield from (f'{PACKAGE}.{module}.{key.value}'
                  for key in node.args[1].keys)


def _graph():
  """{module: the modules of PACKAGE that it imports}, and users of Garden."""
  imports, garden = collections.defaultdict(set), set()
  for module, path in MODULES.items():
    tree = ast.parse(path.read_text(encoding='utf-8'))
    for name in _named(module, tree):
      if name.split('.')[0] == 'official':
        garden.add(module)
      if not name.startswith(f'{PACKAGE}.'):
        continue
      name = name.removeprefix(f'{PACKAGE}.')
      while name not in MODULES:
        name = name.rpartition('.')[0]
      # The package itself is a list of public names and the version: anyone
      # may read the version, and its names are for users only.
      if '' not in (name, module) and name != module:
        imports[module].add(name)
  return dict(imports), garden


IMPORTS, GARDEN_USERS = _graph()


def _within(module, names):
  """Returns the most specific of the names that holds for the module."""
  fitting = [n for n in names if f'{module}.'.startswith(f'{n}.')]
  return max(fitting, key=len, default=None)


def _floor(module):
  name = _within(module, [name for floor in FLOORS for name in floor])
  assert name is not None, f'{module} has no place in FLOORS'
  return next(i for i, floor in enumerate(FLOORS) if name in floor)


def test_reads_every_kind_of_import():
  assert 'layers.shapes' in IMPORTS['layers.blocks']
  assert 'configs.experiments' in IMPORTS['analysis.cost']  # In a function.
  assert 'data.video_worker' in IMPORTS['data.decoded_videos']  # A string.
  assert 'backbones.specs' in IMPORTS['backbones']  # A lazy name.
  assert 'tasks.classification_task' in GARDEN_USERS


def test_imports_point_down():
  backwards = {
      (module, other) for module, others in IMPORTS.items()
      for other in others if _floor(other) > _floor(module)}
  assert not backwards


def test_no_cycles():
  done, path = set(), []

  def visit(module):
    if module in path:
      pytest.fail(f'cycle: {" -> ".join(path[path.index(module):] + [module])}')
    if module in done:
      return
    path.append(module)
    for other in sorted(IMPORTS.get(module, ())):
      visit(other)
    done.add(path.pop())

  for module in sorted(MODULES):
    visit(module)


def test_garden_stays_where_it_is_needed():
  assert not {module for module in GARDEN_USERS if not _within(module, GARDEN)}


def _loaded(statement):
  """Returns the modules that a statement loads in a fresh interpreter."""
  script = f'import sys\n{statement}\nprint(*sorted(sys.modules))'
  run = subprocess.run(
      [sys.executable, '-c', script], text=True, capture_output=True,
      check=True, cwd=ROOT)
  return set(run.stdout.split())


@pytest.mark.parametrize('module', [
    PACKAGE, f'{PACKAGE}.backbones.specs', f'{PACKAGE}.checkpoints',
    f'{PACKAGE}.backbones.bottleneck_spec', f'{PACKAGE}.cli',
    f'{PACKAGE}.registry', f'{PACKAGE}.runs', 'benchmarks.study',
    'benchmarks.insertion'])
def test_light_modules_load_no_tensorflow(module):
  loaded = _loaded(f'import {module}')
  assert not loaded & {'tensorflow', 'tf_keras', 'official'}


def test_garden_is_not_loaded_by_libraries():
  loaded = _loaded(f'from {PACKAGE} import layers, backbones, checkpoints\n'
                   'backbones.Classifier, checkpoints.load_scenic')
  assert 'tensorflow' in loaded and 'official' not in loaded
