"""Bazel without a network, and pytest below it."""

import pathlib
import runpy
import shutil
import subprocess
import sys

import pytest

TOOLS = pathlib.Path(__file__).parents[2] / 'tools'
REPOSITORIES = ('rules/cc', 'rules/java', 'rules/proto', 'tools/platforms',
                'tools/skylib')


@pytest.fixture(name='offline')
def run_offline(tmp_path):
  """Runs tools/bazel_offline.sh with a Bazel that only shows its arguments."""
  share, programs = tmp_path / 'share', tmp_path / 'programs'
  for folder in [*(share / name for name in REPOSITORIES), programs]:
    folder.mkdir(parents=True)
  (share / 'rules/cc/a.bzl').write_text(
      'load("x.bzl", "find", "use_cpp_toolchain")\n'
      'toolchains = use_cpp_toolchain()\n')
  for name in ('bash', 'cp', 'dirname', 'grep', 'mkdir', 'rm', 'sed', 'xargs'):
    (programs / name).symlink_to(shutil.which(name))
  (programs / 'bazel').write_text(
      '#!/bin/bash\necho "$*"\necho -Xverify:none >&2\nexit 3\n')
  (programs / 'bazel').chmod(0o755)

  def run(*arguments):
    return subprocess.run(
        [TOOLS / 'bazel_offline.sh', *arguments], text=True, check=False,
        capture_output=True, env={
            'PATH': str(programs), 'BAZEL_SHARE': str(share),
            'TF_TOKENLEARNER_BAZEL_CACHE': str(tmp_path / 'cache')})
  return tmp_path, run


def test_offline_overrides_what_bazel_would_fetch(offline):
  tmp_path, run = offline
  for _ in range(2):  # The second run finds what the first has left.
    done = run('build', '//...')
    assert (done.returncode, done.stderr) == (3, '')
  words = done.stdout.split()
  assert words[:3] == [
      '--batch', f'--output_user_root={tmp_path}/cache/out', 'build']
  assert words[-1] == '//...'
  folders = dict(word.split('=')[1:] for word in words
                 if word.startswith('--override_repository'))
  assert sorted(folders) == [
      'bazel_skylib', 'platforms', 'remote_coverage_tools', 'rules_cc',
      'rules_java', 'rules_proto']
  assert all(pathlib.Path(folder).is_dir() for folder in folders.values())
  assert (pathlib.Path(folders['rules_cc']) / 'a.bzl').read_text() == (
      'load("x.bzl", "find")\n'
      'toolchains = ["@bazel_tools//tools/cpp:toolchain_type"]\n')


def test_offline_tests_two_packages(offline):
  words = offline[1]().stdout.split()
  assert words[2] == 'test'
  assert words[-2:] == ['//tests/layers/...', '//tests/configs/...']


def test_offline_names_what_is_missing(offline):
  tmp_path, run = offline
  (tmp_path / 'share/tools/skylib').rmdir()
  done = run()
  assert done.returncode == 2
  assert done.stderr == (
      f'bazel_offline.sh: no {tmp_path}/share/tools/skylib; '
      'apt-get install bazel-skylib\n')
  (tmp_path / 'programs/bazel').unlink()
  done = run()
  assert done.returncode == 2
  assert done.stderr == (
      'bazel_offline.sh: no bazel; apt-get install bazel-bootstrap\n')


@pytest.fixture(name='pytest_main')
def load_pytest_main():
  return lambda: runpy.run_path(
      str(TOOLS / 'build_defs/pytest_main.py'), run_name='pytest_main')


def test_bazel_hands_its_wishes_to_pytest(pytest_main, monkeypatch):
  for name in ('TEST_TMPDIR', 'XML_OUTPUT_FILE', 'TESTBRIDGE_TEST_ONLY'):
    monkeypatch.delenv(name, raising=False)
  plain = ['--rootdir=.', '--confcutdir=.', '-p', 'no:cacheprovider']
  arguments = pytest_main()['bazel_arguments']
  assert arguments() == plain
  monkeypatch.setenv('TEST_TMPDIR', '/t')
  monkeypatch.setenv('XML_OUTPUT_FILE', '/x.xml')
  monkeypatch.setenv('TESTBRIDGE_TEST_ONLY', 'one or two')
  assert arguments() == plain + [
      '--basetemp', '/t/pytest', '--junitxml', '/x.xml', '-k', 'one or two']


def test_says_where_pytest_is_missing(pytest_main, monkeypatch):
  monkeypatch.setitem(sys.modules, 'pytest', None)
  with pytest.raises(SystemExit, match=(
      'pytest is missing in .*TF_TOKENLEARNER_PYTHON names')):
    pytest_main()
