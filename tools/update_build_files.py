"""Writes the BUILD files out of the Python files and what they import.

  python tools/update_build_files.py           writes those that differ
  python tools/update_build_files.py --check   only says which; exit code 1

A folder of tf_tokenlearner/ is one py_library. Where folders lie below it or
import each other, and outside of tf_tokenlearner/, every file is a target of
its own: a py_test where pytest would look for tests, a py_binary where a main
guard is, else a py_library. A file that a string of the code names is data, or
the whole folder that it is in if there is no code in there. A line
`# bazel-tags: manual` gives the target of a file this tag.
"""

import ast
import collections
import os
import pathlib
import re
import sys
import textwrap
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

CODE = ('tf_tokenlearner', 'export', 'benchmarks', 'tests', 'tools')
DATA = ('official_configs',)
BY_HAND = ('tools/build_defs',)
PYTEST_CONFIG = ('pytest.ini', 'pyproject.toml', 'setup.cfg')

# Every path is relative to the work tree, and every label a (folder, name).
Path = pathlib.PurePosixPath
Label = Tuple[Path, str]
ROOT = Path('.')


class BuildError(ValueError):
  """The files are such that no BUILD files can be written for them."""


class Source(NamedTuple):
  """What a Python file says about itself.

  Attributes:
    code: Python files of the project that it imports, starts or needs beside.
    data: other files, and folders, that it names.
    packages: what it imports from elsewhere.
    tags: for its target.
    is_program: it has a main guard.
  """
  code: Set[Path]
  data: Set[Path]
  packages: Set[str]
  tags: Set[str]
  is_program: bool


class Files:
  """The files there are, and how code speaks of them."""

  def __init__(self, root: pathlib.Path):
    self.root = root
    self.all = sorted(self._find())
    self.code = [path for path in self.all
                 if path.suffix == '.py' and path.parent != ROOT]
    self.folders = {folder for path in self.all for folder in path.parents}
    self.code_folders = {folder for path in self.code
                         for folder in path.parents}

  def _find(self) -> Iterator[Path]:
    for entry in self.root.iterdir():
      if entry.is_file() and entry.name != 'BUILD':
        yield Path(entry.name)
    for top in CODE + DATA:
      for folder, folders, names in os.walk(self.root / top):
        here = Path(pathlib.Path(folder).relative_to(self.root).as_posix())
        folders[:] = [name for name in folders if name[0] not in '._'
                      and str(here / name) not in BY_HAND]
        yield from (here / name for name in names
                    if name[0] != '.' and name != 'BUILD')

  def of_module(self, name: str) -> Optional[Path]:
    """The file of a.b.c."""
    path = Path(name.replace('.', '/'))
    for file in (path.with_suffix('.py'), path / '__init__.py'):
      if file in self.all:
        return file
    return None

  def of_string(self, text: str, near: Path) -> Optional[Path]:
    """The module, file or folder without code that a string may name."""
    if not re.fullmatch(r'\w[\w./-]*', text):
      return None
    parts = text.split('.')
    if parts[0] in CODE:  # As in python -m a.b, or setattr('a.b.c', ...).
      while len(parts) > 1:
        if self.of_module('.'.join(parts)):
          return self.of_module('.'.join(parts))
        parts.pop()
    for folder in near.parents:
      path = folder / text
      if path in self.all or path in self.folders - self.code_folders:
        return path
    return None

  def loaded_before(self, path: Path) -> Iterator[Path]:
    """What Python and pytest load ahead of this file, unasked."""
    package = path.parent
    if path.name == '__init__.py':
      package = package.parent
    beside = [package / '__init__.py']
    if is_test(path):
      beside += [folder / 'conftest.py' for folder in path.parents]
    return (file for file in beside if file in self.code)


def is_test(path: Path) -> bool:
  return path.parts[0] == 'tests' and path.name.startswith('test_')


def read_source(files: Files, path: Path) -> Source:
  """Parses one Python file."""
  text = (files.root / path).read_text()
  tree = ast.parse(text, str(path))
  code, packages = set(files.loaded_before(path)), set()
  for line, module, name in imports(tree, path):
    top = module.split('.')[0]
    if top not in CODE:
      packages.add(top)
      continue
    # a.b may be a module of package a, or something that module a holds.
    file = files.of_module(f'{module}.{name}') or files.of_module(module)
    if not file:
      raise BuildError(f'{path}:{line} imports {module}, which is no file.')
    code.add(file)
  named = {files.of_string(string, path) for string in strings(tree)} - {None}
  code |= named & set(files.code)
  if any(isinstance(node, ast.Attribute) and node.attr == '__path__'
         for node in ast.walk(tree)):  # It asks what is in a package.
    code |= {file for file in files.code if file.parent / '__init__.py' in code}
  return Source(
      code=code - {path},
      data=named - set(files.code),
      packages=packages - set(sys.stdlib_module_names),
      tags=set(re.findall(r'^# bazel-tags: (\S+)$', text, re.MULTILINE)),
      is_program=any(isinstance(node, ast.If)
                     and "'__main__'" in ast.unparse(node.test)
                     for node in tree.body))


def imports(tree: ast.Module, path: Path) -> Iterator[Tuple[int, str, str]]:
  """Yields (line, module, name taken from it or '')."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      yield from ((node.lineno, alias.name, '') for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      package = path.parts[:-node.level] if node.level else ()
      module = '.'.join(package + ((node.module,) if node.module else ()))
      yield from ((node.lineno, module, alias.name) for alias in node.names)


def strings(tree: ast.Module) -> Iterator[str]:
  """Yields the strings of the code, and 'a/b' of ROOT / 'a' / 'b'."""
  docstrings = {id(node.value) for node in ast.walk(tree)
                if isinstance(node, ast.Expr)}
  for node in ast.walk(tree):
    if id(node) not in docstrings:
      yield joined(node).rstrip('/')


def joined(node: ast.AST) -> str:
  """The strings at the end of a chain of slashes; a string is one of them."""
  if isinstance(node, ast.Constant) and isinstance(node.value, str):
    return node.value
  if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
    return f'{joined(node.left)}/{joined(node.right)}'.lstrip('/')
  return ''


class Targets:
  """Which files make a target together, and which targets it needs."""

  def __init__(self, files: Files):
    self.files = files
    self.sources = {path: read_source(files, path) for path in files.code}
    parents = {folder.parent for folder in files.code_folders}
    self.libraries = {
        folder for folder in files.code_folders - parents
        if folder.parts[0] == 'tf_tokenlearner'}
    self._make()
    while circle := self._circle():
      together = {label[0] for label, _ in circle} & self.libraries
      if not together:
        raise BuildError('These import each other in a circle: ' + '; '.join(
            text for _, text in circle) + '.')
      self.libraries -= together
      self._make()

  def _make(self):
    self.members = collections.defaultdict(list)
    for path in self.files.code:
      self.members[self.label(path)].append(path)

  def label(self, path: Path) -> Label:
    """The target or file that stands for a path in a BUILD file."""
    if path in self.sources:
      in_library = path.name == '__init__.py' or (
          path.parent in self.libraries and not self._is_binary(path))
      return path.parent, path.parent.name if in_library else path.stem
    with_targets = self.files.code_folders | {ROOT}
    if path.parent in with_targets and path in self.files.all:
      return path.parent, path.name
    while path.parent not in with_targets:
      path = path.parent
    return path, path.name

  def _is_binary(self, path: Path) -> bool:
    """Whether a file is a program, and not one that its own library starts."""
    started = path.parent in self.libraries and any(
        path in source.code for other, source in self.sources.items()
        if other.parent == path.parent)
    return self.sources[path].is_program and not started

  def _circle(self) -> List[Tuple[Label, str]]:
    """Targets that need each other, [(label, 'file needs file')], or []."""
    done = set()

    def visit(label, way):
      labels = [step for step, _ in way]
      if label in labels:
        return way[labels.index(label):]
      for path in self.members[label] if label not in done else []:
        for need in sorted(self.sources[path].code):
          if self.label(need) != label:
            step = label, f'{path} needs {need}'
            if circle := visit(self.label(need), way + [step]):
              return circle
      done.add(label)
      return []

    for label in list(self.members):
      if circle := visit(label, []):
        return circle
    return []

  def rule(self, label: Label) -> str:
    first = self.members[label][0]
    if self._is_binary(first):
      return 'py_binary'
    return 'py_test' if is_test(first) else 'py_library'

  def text(self, label: Label) -> str:
    """The target as it stands in its BUILD file."""
    folder, name = label
    paths = self.members[label]
    union = lambda part: set().union(
        *(getattr(self.sources[path], part) for path in paths))
    labels = lambda part: write_labels(
        {self.label(path) for path in union(part)} - {label}, folder)
    packages = ', '.join(sorted(union('packages')))
    return write_rule(
        self.rule(label),
        f'From the interpreter: {packages}.' if packages else '',
        name=name, srcs=[str(path.relative_to(folder)) for path in paths],
        data=labels('data'), tags=sorted(union('tags')), deps=labels('code'))


def write_build_files(files: Files) -> Dict[Path, str]:
  """The text of every BUILD file, by path."""
  targets = Targets(files)
  texts = collections.defaultdict(str)
  for label in sorted(targets.members):
    texts[label[0]] += targets.text(label)
  exported = collections.defaultdict(set)
  for path, source in targets.sources.items():
    for named in source.data:
      folder, name = targets.label(named)
      if folder not in files.code_folders | {ROOT}:
        texts[folder] = write_rule(
            'filegroup', name=name, srcs=[str(file.relative_to(
                folder)) for file in files.all if folder in file.parents])
      elif folder != path.parent:
        exported[folder].add(name)
  texts[ROOT] = write_rule(
      'filegroup', name='pytest_config',
      srcs=[name for name in PYTEST_CONFIG if Path(name) in files.all])
  for folder, names in exported.items():
    listed = write_list(sorted(names), '')
    texts[folder] = f'\nexports_files({listed})\n' + texts[folder]
  return {folder / 'BUILD': write_header(folder, text) + text
          for folder, text in sorted(texts.items())}


def write_header(folder: Path, text: str) -> str:
  """The comment, load and package of a BUILD file with this text."""
  header = ('# Written by tools/update_build_files.py; change the code, then '
            'run it.\n')
  rules = [f'"{rule}"' for rule in ('py_binary', 'py_library', 'py_test')
           if f'\n{rule}(' in text]
  if rules:
    header += f'load("//tools/build_defs:py.bzl", {", ".join(rules)})\n'
  if str(folder).startswith('tests'):
    return header + ('\npackage(\n    default_testonly = True,\n    '
                     'default_visibility = ["//tests:__subpackages__"],\n)\n')
  visibility = ('//visibility:public' if folder.parts[:1] == CODE[:1]
                else '//:__subpackages__')
  return header + f'\npackage(default_visibility = ["{visibility}"])\n'


def write_rule(rule: str, comment: str = '', **attributes) -> str:
  """A rule with those of the attributes that are not empty."""
  if comment:
    comment = textwrap.fill(
        comment, 80, initial_indent='# ', subsequent_indent='# ') + '\n'
  lines = [f'    {key} = ' + (f'"{value}"' if isinstance(value, str)
                              else write_list(value, '    ')) + ',\n'
           for key, value in attributes.items() if value]
  return f'\n{comment}{rule}(\n{"".join(lines)})\n'


def write_list(values: List[str], indent: str) -> str:
  if len(values) == 1:
    return f'["{values[0]}"]'
  lines = ''.join(f'{indent}    "{value}",\n' for value in values)
  return f'[\n{lines}{indent}]'


def write_labels(labels: Set[Label], here: Path) -> List[str]:
  """Labels as a BUILD file of this folder has them, in buildifier's order."""
  texts = []
  for folder, name in labels:
    package = '' if folder == here else '//' + '/'.join(folder.parts)
    texts.append(package if package and folder.name == name
                 else f'{package}:{name}')
  return sorted(texts, key=lambda text: (text[0] != ':', text.split(':')))


def out_of_date(root: pathlib.Path) -> Dict[Path, Optional[str]]:
  """What each BUILD file that differs should hold; None: it should not be."""
  wanted = write_build_files(Files(root))
  found = {Path(path.relative_to(root).as_posix()): path.read_text()
           for top in CODE + DATA + ('BUILD',)
           for path in [root / top, *(root / top).rglob('BUILD')]
           if path.name == 'BUILD' and path.is_file()}
  return {path: wanted.get(path) for path in sorted({*found, *wanted})
          if found.get(path) != wanted.get(path)
          and not str(path).startswith(BY_HAND)}


def main(arguments: List[str]) -> int:
  """Writes or checks; returns the exit code."""
  if arguments not in ([], ['--check']):
    print(__doc__)
    return 2
  # `bazel run` starts programs elsewhere and says where the work tree is.
  root = pathlib.Path(os.environ.get(
      'BUILD_WORKSPACE_DIRECTORY', pathlib.Path(__file__).parents[1]))
  try:
    changes = out_of_date(root)
  except (BuildError, SyntaxError) as error:
    print(f'update_build_files.py: {error}', file=sys.stderr)
    return 2
  for path, text in changes.items():
    if arguments:
      print(f'{path} is out of date')
    elif text is None:
      (root / path).unlink()
      print(f'removed {path}')
    else:
      (root / path).write_text(text)
      print(f'wrote {path}')
  return 1 if arguments and changes else 0


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
