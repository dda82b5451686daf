"""Files and folders that appear whole or not at all."""

import contextlib
import glob
import json
import os
import time
from typing import Any, Iterator
import uuid

import tensorflow as tf

_STALE_SECONDS = 24 * 3600


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


def write_json(path: str, values: Any) -> None:
  """Writes a JSON file, which appears whole or not at all."""
  with replacing(path) as beside:
    with tf.io.gfile.GFile(beside, 'w') as file:
      json.dump(values, file, indent=2, ensure_ascii=False)


def remove_stale(path: str) -> None:
  """Removes the folders that killed processes left of `replacing` a path.

  Only what has not been touched for a day: others may be at work.

  Args:
    path: as given to `replacing`.
  """
  folder, name = os.path.split(path.rstrip('/'))
  pattern = os.path.join(glob.escape(folder), f'.{glob.escape(name)}.*.partial')
  for beside in tf.io.gfile.glob(pattern):
    if time.time() - tf.io.gfile.stat(beside).mtime_nsec / 1e9 > _STALE_SECONDS:
      tf.io.gfile.rmtree(beside)
