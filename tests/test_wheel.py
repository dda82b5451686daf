"""A wheel works in an environment without the clone."""

import os
import pathlib
import shutil
import site
import subprocess
import sys
import sysconfig
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SMOKE = ROOT / 'tests' / 'smoke.py'


@pytest.fixture(scope='module', name='wheel')
def fixture_wheel(tmp_path_factory):
  """Returns the path of a wheel built from a copy of the sources."""
  folder = tmp_path_factory.mktemp('wheel')
  sources = folder / 'sources'
  for name in ('tf_tokenlearner', 'official_configs'):
    shutil.copytree(ROOT / name, sources / name,
                    ignore=shutil.ignore_patterns('__pycache__'))
  for name in ('setup.py', 'MANIFEST.in', 'README.md', 'LICENSE'):
    shutil.copy(ROOT / name, sources)
  subprocess.run(
      [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps',
       '--no-index', '--no-build-isolation', '--wheel-dir', folder, sources],
      check=True)
  [path] = folder.glob('*.whl')
  return path


def test_wheel_contains_package_and_configs(wheel):
  names = set(zipfile.ZipFile(wheel).namelist())
  expected = {
      path.relative_to(ROOT).as_posix()
      for path in (ROOT / 'tf_tokenlearner').rglob('*.py')}
  expected |= {
      f'tf_tokenlearner/{path.relative_to(ROOT).as_posix()}'
      for path in (ROOT / 'official_configs').rglob('*.yaml')}
  assert len(expected) > 150
  assert {name for name in names if 'dist-info' not in name} == expected


def test_trains_exports_and_predicts_without_the_clone(wheel, tmp_path):
  """Runs tests/smoke.py with the wheel and the dependencies."""
  environment = tmp_path / 'environment'
  subprocess.run([sys.executable, '-m', 'venv', '--without-pip', environment],
                 check=True)
  python = environment / 'bin' / 'python'
  subprocess.run(
      [sys.executable, '-m', 'pip', '--python', python, 'install', '--quiet',
       '--no-deps', '--no-index', wheel], check=True)
  packages = pathlib.Path(sysconfig.get_path(
      'purelib', vars={'base': environment}))
  # The dependencies; .pth files in there, such as the clone's, are not read.
  (packages / 'dependencies.pth').write_text('\n'.join(site.getsitepackages()))
  done = subprocess.run(
      [python, SMOKE], cwd=tmp_path, text=True, capture_output=True,
      check=False,
      env={k: v for k, v in os.environ.items() if k != 'PYTHONPATH'})
  assert done.returncode == 0, done.stdout + done.stderr
  installed, *steps = done.stdout.splitlines()
  assert installed.endswith(f', {packages}/tf_tokenlearner/__init__.py')
  assert steps[-3:] == [
      '20 steps trained.', 'SavedModel exported.', 'Image predicted.']
