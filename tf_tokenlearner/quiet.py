"""Redirects the output of libraries, so that the terminal shows only ours."""

import contextlib
import logging
import os
import sys
from typing import Iterator

from absl import logging as absl_logging
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner import files


@contextlib.contextmanager
def logging_to(model_dir: str, name: str,
               optional: bool = False) -> Iterator[None]:
  """Sends all logging and everything printed to stdout to model_dir/name.

  Orbit prints every loop, the Model Garden the whole config. Errors still reach
  stderr. A remote model_dir gets no file: remote files cannot be appended to.

  Args:
    model_dir: run folder.
    name: name of the file.
    optional: continues without a file if it cannot be written.

  Raises:
    UserError: the file cannot be written.
  """
  path = os.path.join(model_dir, name)
  if '://' in model_dir or optional and not files.is_writable(model_dir):
    path = os.devnull
  try:
    if path != os.devnull:
      os.makedirs(model_dir, exist_ok=True)
    opened = open(path, 'a', encoding='utf-8')
  except OSError as error:
    raise errors.UserError(
        f'{model_dir} cannot be written: {error.strerror}. Give another '
        '--model_dir.') from error
  with opened as file:
    to_file = logging.StreamHandler(file)
    to_file.setFormatter(logging.Formatter(
        '%(asctime)s %(levelname).1s %(name)s] %(message)s'))
    to_terminal = logging.StreamHandler(sys.stderr)
    to_terminal.setLevel(logging.ERROR)
    loggers = [logging.getLogger(), tf.get_logger()]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    verbosity = absl_logging.get_verbosity()
    loggers[0].handlers = [to_file, to_terminal]
    loggers[1].handlers = []
    absl_logging.set_verbosity(absl_logging.INFO)
    try:
      with contextlib.redirect_stdout(file):
        yield
    finally:
      absl_logging.set_verbosity(verbosity)
      for logger, handlers, level in before:
        logger.handlers = handlers
        logger.setLevel(level)


@contextlib.contextmanager
def errors_only() -> Iterator[None]:
  """Suppresses what libraries log below the level of errors."""
  verbosity, level = absl_logging.get_verbosity(), tf.get_logger().level
  absl_logging.set_verbosity(absl_logging.ERROR)
  tf.get_logger().setLevel(logging.ERROR)
  try:
    yield
  finally:
    absl_logging.set_verbosity(verbosity)
    tf.get_logger().setLevel(level)


@contextlib.contextmanager
def native_output() -> Iterator[None]:
  """Suppresses what compiled code prints to stdout and stderr."""
  sys.stdout.flush()
  sys.stderr.flush()
  kept = [os.dup(descriptor) for descriptor in (1, 2)]
  with open(os.devnull, 'wb') as nothing:
    for descriptor in (1, 2):
      os.dup2(nothing.fileno(), descriptor)
  try:
    yield
  finally:
    sys.stdout.flush()
    sys.stderr.flush()
    for descriptor, copy in zip((1, 2), kept):
      os.dup2(copy, descriptor)
      os.close(copy)
