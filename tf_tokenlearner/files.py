"""Files and folders that appear whole or not at all."""

import contextlib
import os
import uuid
from typing import Iterator

import tensorflow as tf


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
  """Yields a path beside `path`; renames it to `path` when all went well.

  Serves for a file or a folder. Whatever the block wrote is removed if it
  fails, and a killed process leaves only a name that starts with a dot.

  Args:
    path: local or remote, as tf.io.gfile understands it; must not be a folder
      that exists.
  """
  folder, name = os.path.split(path.rstrip('/'))
  beside = os.path.join(folder, f'.{name}.{uuid.uuid4().hex[:8]}.partial')
  try:
    yield beside
    tf.io.gfile.rename(beside, path, overwrite=True)
  except BaseException:
    if tf.io.gfile.isdir(beside):
      tf.io.gfile.rmtree(beside)
    elif tf.io.gfile.exists(beside):
      tf.io.gfile.remove(beside)
    raise
