"""tokenlearner-export, run in separate processes as users do."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def run(*command):
  """Runs Python; returns (exit code, stdout, stderr)."""
  done = subprocess.run(
      [sys.executable, *command], capture_output=True, text=True, check=False,
      cwd=ROOT)
  return done.returncode, done.stdout, done.stderr


def export(*arguments):
  return run('-m', 'tf_tokenlearner.export', *arguments)


def test_help_lists_the_subcommands_without_tensorflow():
  code, out, log = run(
      '-X', 'importtime', '-m', 'tf_tokenlearner.export', '--help')
  assert code == 0 and 'absl' in log
  assert 'tensorflow' not in log and 'official' not in log
  for name in ('saved_model', 'tflite', 'tfhub', 'streaming'):
    assert f'\n  {name}\n      Exports a run' in out
  assert 'Flags:' not in out


@pytest.mark.parametrize('name, flags, others', [
    ('saved_model', ['precision', '[no]jit_compile', 'batch_size'],
     ['quantize']),
    ('tflite', ['quantize', 'batch_size'], ['precision']),
    ('tfhub', ['form'], ['batch_size']),
    ('streaming', ['format', 'quantize'], ['batch_size'])])
def test_help_of_a_subcommand_lists_its_flags(name, flags, others):
  code, out, err = export(name, '--help')
  assert (code, err) == (0, '')
  assert f'\n  tokenlearner-export {name} ' in out
  shared = ['checkpoint', 'export_dir', 'model_dir', '[no]verify',
            'verify_examples']
  for flag in flags + shared:
    assert f'\n  --{flag}\n' in out
  for flag in others:
    assert f'--{flag}' not in out
  assert run(f'export/export_{name}.py', '--help') == (0, out, '')
  assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize('arguments, message', [
    ([], 'export.py: Expected a subcommand, got nothing. Start with one of '
     'saved_model, tflite, tfhub, streaming; see --help.'),
    (['--model_dir=x', 'tflite'],
     'export.py: Expected a subcommand, got --model_dir=x. Start with one of '
     'saved_model, tflite, tfhub, streaming; see --help.'),
    (['tflight'], "export.py: Unknown subcommand 'tflight'. Known: tflite, "),
    (['tflite', '--model_dir=x'],
     'export.py tflite: --export_dir must be given; see --help.'),
    (['tfhub', '--quantise=int8'],
     "export.py tfhub: Unknown command line flag 'quantise'"),
    (['tflite', '--model_dir=x', '--export_dir=y', 'now'],
     'export.py tflite: Not understood: now.')])
def test_mistakes_are_one_line(arguments, message):
  code, out, err = export(*arguments)
  assert (code, out, err.count('\n')) == (2, '', 1)
  assert err.startswith(message)


def test_scripts_print_their_own_name():
  assert run('export/export_tflite.py') == (
      2, '', 'export_tflite.py: --model_dir, --export_dir must be given; see '
      '--help.\n')
