"""Exit codes, messages and help of command-line programs."""

import os
import signal
import subprocess
import sys

from absl import flags
import pytest

from tf_tokenlearner import cli
from tf_tokenlearner import errors


@pytest.fixture(name='interruptible')
def fixture_interruptible():
  """Undoes that a shell has its background jobs ignore Ctrl-C."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


@pytest.fixture(name='run')
def fixture_run(monkeypatch, capsys):
  """Returns a function that runs main: (exit code, stdout, stderr)."""
  def run(main, *arguments, describe=None):
    values = flags.FlagValues()
    owner = dict(flag_values=values, module_name='__main__')
    flags.DEFINE_string('colour', '', 'A colour.', **owner)
    flags.DEFINE_enum('size', None, ['small', 'large'], 'A size.', **owner)
    flags.DEFINE_bool('loud', True, 'Whether it says what it does.', **owner)
    flags.DEFINE_integer(
        'times', 7, 'How often it does what it does, one time after the other '
        'and never two at once. Default: 7.', **owner)
    monkeypatch.setattr(cli.flags, 'FLAGS', values)
    monkeypatch.setattr(sys, 'argv', ['program.py', *arguments])
    monkeypatch.setattr(cli.gc, 'freeze', lambda: None)
    with pytest.raises(SystemExit) as caught:
      cli.run(main, describe)
    code = caught.value.code
    return (0 if code is None else code, *capsys.readouterr())
  return run


def test_success_returns_the_exit_code(run):
  assert run(lambda arguments: print('done'))[:2] == (0, 'done\n')
  assert run(lambda arguments: 3)[0] == 3


def test_user_error_is_one_line(run):
  def main(arguments):
    raise errors.UserError('this is wrong, do that')
  code, out, err = run(main)
  assert (code, out) == (2, '')
  assert err.count('\n') == 1
  assert err.endswith(': this is wrong, do that\n')


@pytest.mark.parametrize('argument, message', [
    ('--color=red', "Unknown command line flag 'color'. Did you mean: colour"),
    ('--size=huge', 'value should be one of <small|large>')])
def test_invalid_flags_are_one_line(run, argument, message):
  code, _, err = run(lambda arguments: None, argument)
  assert code == 2 and err.count('\n') == 1
  assert message in err


def test_extra_arguments_and_missing_flags_are_refused(run):
  code, _, err = run(cli.refuse_arguments, 'train', 'now')
  assert code == 2 and 'Not understood: train now.' in err
  code, _, err = run(lambda arguments: cli.require('colour', 'size'),
                     '--size=small')
  assert code == 2 and '--colour must be given' in err and '--size' not in err


def test_help_lists_flags_and_descriptions(run, monkeypatch):
  monkeypatch.setattr(sys.modules[__name__], '__doc__', 'What it does.')
  code, out, _ = run(lambda arguments: None, '--help', describe=lambda: 'More.')
  assert code == 0
  assert out.startswith('What it does.') and out.endswith('More.\n')
  assert '  --colour\n      A colour.\n' in out
  assert ('  --[no]loud\n      Whether it says what it does (default: true).\n'
          in out)
  # Texts are folded, and a default that a text states is not repeated.
  assert '  --times\n      How often' in out and out.count('efault: 7') == 1
  assert max(map(len, out.splitlines())) < 80


def test_interrupt_ends_with_code_130(run, interruptible):
  def main(arguments):
    signal.raise_signal(signal.SIGINT)
  code, _, err = run(main)
  assert (code, err) == (130, '\nInterrupted. Stopping ...\n')


def test_interrupt_is_announced_while_compiled_code_runs(interruptible):
  """This hash takes hours, and Python cannot interrupt it."""
  program = subprocess.Popen(
      [sys.executable, '-c', """if True:
          import hashlib
          from tf_tokenlearner import cli
          def main(arguments):
            print('started', flush=True)
            hashlib.pbkdf2_hmac('md5', b'', b'', 2**31 - 1)
            hashlib.pbkdf2_hmac('md5', b'', b'', 2**31 - 1)
          cli.run(main)"""],
      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
  try:
    assert program.stdout.readline() == 'started\n'
    program.send_signal(signal.SIGINT)
    assert program.stderr.readline() == '\n'
    assert program.stderr.readline() == 'Interrupted. Stopping ...\n'
    assert program.poll() is None
  finally:
    program.kill()
    program.communicate()


def test_characters_that_the_terminal_lacks_are_escaped():
  done = subprocess.run(
      [sys.executable, '-c', 'from tf_tokenlearner import cli\n'
       "cli.run(lambda arguments: print('caf\\u00e9'))"],
      env={**os.environ, 'PYTHONIOENCODING': 'ascii'}, capture_output=True,
      text=True, check=True)
  assert done.stdout == 'caf\\xe9\n'
