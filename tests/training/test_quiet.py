"""Output of libraries is suppressed only inside the block."""

import os
import sys

from absl import logging

from tf_tokenlearner import quiet


def test_compiled_code_is_not_heard(capfd):
  with quiet.native_output():
    os.write(1, b'out')
    os.write(2, b'error')
    print('python')
  print('after')
  os.write(2, b'behind')
  sys.stdout.flush()
  out, err = capfd.readouterr()
  assert out.endswith('after\n') and 'out' not in out.replace('after', '')
  assert err == 'behind'


def test_warnings_are_not_heard():
  before = logging.get_verbosity()
  with quiet.errors_only():
    assert logging.get_verbosity() == logging.ERROR
  assert logging.get_verbosity() == before
