"""Runs pytest on the files that test_package of py.bzl names.

Bazel starts it in the runfiles of the test, a folder with nothing in it but
what the BUILD file lists.
"""

import os
import sys

try:
  import pytest
except ImportError:
  sys.exit(f'pytest is missing in {sys.executable}. Bazel takes '
           '.venv/bin/python of the project, or the interpreter that '
           'TF_TOKENLEARNER_PYTHON names.')


def bazel_arguments():
  """Returns Bazel's environment variables as arguments of pytest."""
  arguments = ['--rootdir=.', '--confcutdir=.', '-p', 'no:cacheprovider']
  if 'TEST_TMPDIR' in os.environ:
    # A folder inside: pytest empties the one that it is given.
    arguments += ['--basetemp', os.environ['TEST_TMPDIR'] + '/pytest']
  if 'XML_OUTPUT_FILE' in os.environ:
    arguments += ['--junitxml', os.environ['XML_OUTPUT_FILE']]
  if 'TESTBRIDGE_TEST_ONLY' in os.environ:  # bazel test --test_filter=...
    arguments += ['-k', os.environ['TESTBRIDGE_TEST_ONLY']]
  return arguments


if __name__ == '__main__':
  if 'TEST_TMPDIR' in os.environ:
    # In the sandbox no other home can be written, and Matplotlib complains.
    os.environ['HOME'] = os.environ['TEST_TMPDIR']
  sys.exit(pytest.main(bazel_arguments() + sys.argv[1:]))
