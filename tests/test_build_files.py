"""The BUILD files tell the truth about the files and what they import.

The first half reads the BUILD files of this work tree without the help of the
program that writes them; the second half is about that program.
"""

# It reads the whole work tree, and Bazel shows a test only parts of that:
# bazel-tags: manual

import ast
import functools
import pathlib
import re
from typing import Dict, List, NamedTuple, Set

import pytest

import tf_tokenlearner
from tools import update_build_files

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ('tf_tokenlearner', 'export', 'benchmarks', 'tests', 'tools')
COMMAND = 'python tools/update_build_files.py'


class Target(NamedTuple):
  rule: str
  srcs: List[str]
  data: List[str]
  deps: List[str]


def python_files(root: pathlib.Path) -> List[pathlib.Path]:
  return sorted(path.relative_to(root) for folder in FOLDERS
                for path in (root / folder).rglob('*.py'))


def read_build_files(root: pathlib.Path) -> Dict[str, Target]:
  """Runs all BUILD files; returns the targets by label, '//folder:name'."""
  targets = {}
  for path in [root / 'BUILD'] + [
      path for folder in FOLDERS + ('official_configs',)
      for path in (root / folder).rglob('BUILD')
      if 'rules_python' not in path.parts]:  # Another repository for Bazel.
    folder = path.parent.relative_to(root).as_posix().replace('.', '')
    for label, target in read_build_file(path, folder):
      assert label not in targets, f'{path} has two targets {label}.'
      targets[label] = target
  return targets


def read_build_file(path: pathlib.Path, folder: str):
  """Returns [(label, Target)] of one BUILD file."""
  targets = []

  def full(label):
    if not label.startswith('//'):
      return f'//{folder}:{label.removeprefix(":")}'
    return label if ':' in label else f'{label}:{label.split("/")[-1]}'

  def add(rule, name, srcs=(), data=(), deps=(), **_):
    targets.append((full(name), Target(
        rule, *(list(map(full, labels)) for labels in (srcs, data, deps)))))

  def exports_files(names):
    for name in names:
      add('file', name, [name])

  words = {name: functools.partial(add, name) for name in (
      'filegroup', 'py_binary', 'py_library', 'py_test')}
  words.update({name: lambda *_, **__: None for name in ('load', 'package')})
  words['exports_files'] = exports_files
  exec(path.read_text(), words)  # pylint: disable=exec-used
  return targets


def file_of(label: str) -> str:
  return label.removeprefix('//').replace(':', '/').removeprefix('/')


def imported_files(root: pathlib.Path, path: pathlib.Path) -> Set[str]:
  """Files of the work tree that a file imports by name."""
  def files_of(module):
    place = module.replace('.', '/')
    return {file for file in (f'{place}.py', f'{place}/__init__.py')
            if file.split('/')[0] in FOLDERS and (root / file).exists()}

  found = set()
  for node in ast.walk(ast.parse((root / path).read_text())):
    names = []
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      package = path.parts[:-node.level] if node.level else ()
      module = '.'.join([*package, node.module or '']).strip('.')
      names = [f'{module}.{alias.name}' for alias in node.names]
      if not all(files_of(name) for name in names):
        names.append(module)
    for name in names:
      found |= files_of(name)
  return found


def faults(root: pathlib.Path) -> List[str]:
  """What is wrong with the BUILD files, one line each, with the remedy."""
  targets = read_build_files(root)
  owners = {}
  lines = []
  for label, target in targets.items():
    if target.rule != 'file':
      for src in target.srcs:
        owners.setdefault(file_of(src), []).append(label)
    for kind, files in [('srcs', target.srcs), ('data', target.data)]:
      lines += [f'{label}: {kind} names {file}, which does not exist.'
                for file in files if file not in targets
                and not (root / file_of(file)).is_file()]
    lines += [f'{label}: deps names {dep}, which is no target.'
              for dep in target.deps if dep not in targets]
  for path in python_files(root):
    own = owners.get(str(path), [])
    if len(own) != 1:
      lines.append(
          f'{path} is in {len(own)} targets, not in one. Put "{path.name}" '
          f'into one srcs of {path.parent}/BUILD.')
  if lines:
    return lines
  for label, target in targets.items():
    if target.rule.startswith('py_'):
      lines += wrong_deps(root, label, targets, owners)
  return lines


def wrong_deps(root, label, targets, owners) -> List[str]:
  """Imports of a target without a dep, and deps without an import."""
  target = targets[label]
  lines, used = [], {label}
  text = ''
  for src in target.srcs:
    path = pathlib.Path(file_of(src))
    text += (root / path).read_text()
    for file in sorted(imported_files(root, path)):
      [owner] = owners[file]
      if owner not in target.deps + [label]:
        lines.append(f'{path} imports {file}. Put "{owner}" into deps of '
                     f'{label} in {path.parent}/BUILD.')
      used.add(owner)
    for folder in path.parents:  # Python and pytest load these by themselves.
      for name in ('__init__.py', 'conftest.py'):
        used.update(owners.get(str(folder / name), []))
  for dep in target.deps:
    named = any(re.search(rf'\b{re.escape(word)}\b', text)
                for file in map(file_of, targets[dep].srcs)
                for word in (file, file[:-3].replace('/', '.'),
                             pathlib.Path(file).name))
    listed = '.__path__' in text and targets[dep].srcs
    if dep not in used and not named and not listed:
      lines.append(f'{label} needs no {dep}. Take it out of its deps.')
  return lines


def test_build_files_are_right():
  wrong = faults(ROOT)
  assert not wrong, '\n'.join([f'Run `{COMMAND}`, or by hand:', *wrong])


def test_build_files_are_as_written():
  stale = update_build_files.out_of_date(ROOT)
  assert not stale, f'Run `{COMMAND}`: {", ".join(map(str, stale))} differ.'


def test_each_kind_of_target_is_there():
  targets = read_build_files(ROOT)
  for label, rule in [('//tf_tokenlearner:train', 'py_binary'),
                      ('//tf_tokenlearner/layers:layers', 'py_library'),
                      ('//tests/backbones:test_vit_golden', 'py_test')]:
    assert targets[label].rule == rule


def test_one_version():
  module = (ROOT / 'MODULE.bazel').read_text()
  assert f'version = "{tf_tokenlearner.__version__}",' in module


@pytest.fixture(name='tree')
def small_tree(tmp_path, monkeypatch):
  """A package, a program, a test with helper and data; and its BUILD files."""
  for name, text in {
      'tf_tokenlearner/__init__.py': '',
      'tf_tokenlearner/errors.py': 'import difflib',
      'tf_tokenlearner/train.py': (
          'from absl import app\n'
          'from tf_tokenlearner.layers import fuse\n'
          "if __name__ == '__main__':\n  app.run(fuse)\n"),
      'tf_tokenlearner/layers/__init__.py': (
          'from tf_tokenlearner.layers.fuse import Fuse'),
      'tf_tokenlearner/layers/fuse.py': (
          'import tensorflow as tf\nfrom .. import errors'),
      'tests/__init__.py': '',
      'tests/conftest.py': '',
      'tests/helper.py': "import numpy as np\nFOLDER = 'golden'",
      'tests/golden/a.npz': '',
      'tests/layers/test_fuse.py': (
          'import tf_tokenlearner.layers.fuse\nfrom tests import helper\n'
          "PROGRAM = ROOT / 'tf_tokenlearner' / 'train.py'\n"
          "NOTES = 'NOTES.md'\nMODULE = 'tf_tokenlearner.errors'"),
      'NOTES.md': '',
      'pytest.ini': '',
  }.items():
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
  monkeypatch.setenv('BUILD_WORKSPACE_DIRECTORY', str(tmp_path))
  assert update_build_files.main([]) == 0
  return tmp_path


def test_writes_rules(tree):
  assert (tree / 'tests/layers/BUILD').read_text() == '''\
# Written by tools/update_build_files.py; change the code, then run it.
load("//tools/build_defs:py.bzl", "py_test")

package(
    default_testonly = True,
    default_visibility = ["//tests:__subpackages__"],
)

py_test(
    name = "test_fuse",
    srcs = ["test_fuse.py"],
    data = ["//:NOTES.md"],
    deps = [
        "//tests:conftest",
        "//tests:helper",
        "//tf_tokenlearner:errors",
        "//tf_tokenlearner:train",
        "//tf_tokenlearner/layers",
    ],
)
'''
  assert (tree / 'tf_tokenlearner/layers/BUILD').read_text() == '''\
# Written by tools/update_build_files.py; change the code, then run it.
load("//tools/build_defs:py.bzl", "py_library")

package(default_visibility = ["//visibility:public"])

# From the interpreter: tensorflow.
py_library(
    name = "layers",
    srcs = [
        "__init__.py",
        "fuse.py",
    ],
    deps = [
        "//tf_tokenlearner",
        "//tf_tokenlearner:errors",
    ],
)
'''
  targets = read_build_files(tree)
  assert targets['//tf_tokenlearner:train'] == Target(
      'py_binary', ['//tf_tokenlearner:train.py'], [],
      ['//tf_tokenlearner:tf_tokenlearner', '//tf_tokenlearner/layers:layers'])
  assert targets['//tests:helper'].data == ['//tests/golden:golden']
  assert targets['//tests/golden:golden'].srcs == ['//tests/golden:a.npz']
  assert targets['//:pytest_config'].srcs == ['//:pytest.ini']
  assert targets['//:NOTES.md'].rule == 'file'
  assert not faults(tree)


def test_check_names_what_differs(tree, capsys):
  assert update_build_files.main(['--check']) == 0
  (tree / 'tf_tokenlearner/layers/learn.py').write_text('')
  (tree / 'tests/golden/a.npz').unlink()
  capsys.readouterr()
  assert update_build_files.main(['--check']) == 1
  assert capsys.readouterr().out.splitlines() == [
      'tests/BUILD is out of date',
      'tests/golden/BUILD is out of date',
      'tf_tokenlearner/layers/BUILD is out of date']
  assert update_build_files.main([]) == 0
  assert capsys.readouterr().out.splitlines() == [
      'wrote tests/BUILD', 'removed tests/golden/BUILD',
      'wrote tf_tokenlearner/layers/BUILD']
  assert update_build_files.main(['--check']) == 0


@pytest.mark.parametrize('build, old, new, fault', [
    ('tests/layers', '        "//tests:helper",\n', '',
     'tests/layers/test_fuse.py imports tests/helper.py. Put "//tests:helper" '
     'into deps of //tests/layers:test_fuse in tests/layers/BUILD.'),
    ('tf_tokenlearner', 'srcs = ["errors.py"]', 'srcs = []',
     'tf_tokenlearner/errors.py is in 0 targets, not in one. Put "errors.py" '
     'into one srcs of tf_tokenlearner/BUILD.'),
    ('tf_tokenlearner/layers', '"fuse.py",', '"fuse.py", "gone.py",',
     '//tf_tokenlearner/layers:layers: srcs names //tf_tokenlearner/layers:'
     'gone.py, which does not exist.'),
    ('tests', '"//tests/golden"', '"//tests/gold"',
     '//tests:helper: data names //tests/gold:gold, which does not exist.'),
    ('tests/layers', '"//tests:helper"', '"//tests:help"',
     '//tests/layers:test_fuse: deps names //tests:help, which is no target.'),
    ('tf_tokenlearner/layers', 'deps = [', 'deps = ["//tests:helper",',
     '//tf_tokenlearner/layers:layers needs no //tests:helper. Take it out of '
     'its deps.'),
])
def test_each_fault_is_found(tree, build, old, new, fault):
  path = tree / build / 'BUILD'
  assert old in path.read_text()
  path.write_text(path.read_text().replace(old, new))
  assert faults(tree) == [fault]


def test_a_program_that_its_library_starts_stays_in_it(tree):
  layers = tree / 'tf_tokenlearner/layers'
  main = "if __name__ == '__main__':\n  pass\n"
  (layers / 'alone.py').write_text(main)
  (layers / 'started.py').write_text(main)
  (layers / 'starts.py').write_text("PROGRAM = 'started.py'")
  assert update_build_files.main([]) == 0
  targets = read_build_files(tree)
  assert targets['//tf_tokenlearner/layers:alone'].rule == 'py_binary'
  assert [file_of(src).split('/')[-1] for src in targets[
      '//tf_tokenlearner/layers:layers'].srcs] == [
          '__init__.py', 'fuse.py', 'started.py', 'starts.py']


def test_folders_that_import_each_other_are_split(tree):
  for name, text in [('a/one', ''),
                     ('a/two', 'from tf_tokenlearner.b import c'),
                     ('b/c', 'from tf_tokenlearner.a import one')]:
    path = tree / f'tf_tokenlearner/{name}.py'
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
  assert update_build_files.main([]) == 0
  targets = read_build_files(tree)
  assert targets['//tf_tokenlearner/a:two'].deps == ['//tf_tokenlearner/b:c']
  assert targets['//tf_tokenlearner/b:c'].deps == ['//tf_tokenlearner/a:one']
  assert '//tf_tokenlearner/layers:fuse' not in targets
  assert not faults(tree)


@pytest.mark.parametrize('file, text, message', [
    ('tf_tokenlearner/errors.py', 'from tf_tokenlearner import layers',
     'These import each other in a circle: tf_tokenlearner/errors.py needs '
     'tf_tokenlearner/layers/__init__.py; tf_tokenlearner/layers/__init__.py '
     'needs tf_tokenlearner/layers/fuse.py; tf_tokenlearner/layers/fuse.py '
     'needs tf_tokenlearner/errors.py.'),
    ('tf_tokenlearner/errors.py', '\nimport tf_tokenlearner.none',
     'tf_tokenlearner/errors.py:2 imports tf_tokenlearner.none, which is no '
     'file.'),
    ('tf_tokenlearner/errors.py', 'import', "invalid syntax"),
])
def test_refuses(tree, capsys, file, text, message):
  (tree / file).write_text(text)
  capsys.readouterr()
  assert update_build_files.main([]) == 2
  out, err = capsys.readouterr()
  assert not out
  assert err.startswith('update_build_files.py: ') and message in err


def test_unknown_argument_shows_the_help(capsys):
  assert update_build_files.main(['--chek']) == 2
  assert '--check   only says which' in capsys.readouterr().out
