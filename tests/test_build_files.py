"""The BUILD files cover every folder of code."""

import pathlib
import re

from tests import test_import_order
import tf_tokenlearner

ROOT = pathlib.Path(__file__).parents[1]


def packages_of_py_bzl():
  text = (ROOT / 'tools/build_defs/py.bzl').read_text()
  return re.findall(
      '"(.+)"', re.search(r'PACKAGES = \[(.+?)\]', text, re.DOTALL)[1])


def code_folders(parent):
  return sorted({path.parent for path in (ROOT / parent).glob('*/*.py')})


def test_py_bzl_lists_every_package_in_the_order_of_imports():
  packages = packages_of_py_bzl()
  assert sorted(packages) == sorted(
      {path.name for path in code_folders('tf_tokenlearner')})
  floors = [name for floor in test_import_order.FLOORS for name in floor]
  assert packages == [name for name in floors if name in packages]


def test_every_folder_of_code_has_a_build_file():
  folders = [ROOT / name for name in (
      'tf_tokenlearner', 'export', 'benchmarks', 'tests')]
  folders += code_folders('tf_tokenlearner') + code_folders('tests')
  missing = [str(folder) for folder in folders
             if not (folder / 'BUILD').exists()]
  assert len(folders) > 20 and not missing, (
      f'Copy a BUILD file of a sibling to {", ".join(missing)}.')


def test_nested_build_files_hide_no_sources():
  """A nested BUILD file would remove its files from the outer glob."""
  deep = [path for folder in code_folders('tf_tokenlearner')
          + code_folders('tests') for path in folder.glob('*/**/BUILD')]
  assert not deep


def test_versions_agree():
  module = (ROOT / 'MODULE.bazel').read_text()
  assert f'version = "{tf_tokenlearner.__version__}",' in module
