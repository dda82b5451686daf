"""Files and folders that appear whole or not at all."""

import contextlib
import glob
import json
import os
import shutil
import tempfile
import time
from typing import Any, Iterator
import uuid

import tensorflow as tf

_STALE_SECONDS = 24 * 3600


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
  """Yields a temporary path next to `path`, renamed to `path` on success.

  Works for files and folders. If the block fails, what it wrote is removed; a
  killed process leaves only a name that starts with a dot.

  Args:
    path: local or remote, as tf.io.gfile understands it; must not be a folder
      that exists.
  """
  folder, name = os.path.split(path.rstrip('/'))
  beside = os.path.join(folder, f'.{name}.{uuid.uuid4().hex[:8]}.partial')
  try:
    yield beside
    # Bytes, since file names need not be UTF-8.
    tf.io.gfile.rename(os.fsencode(beside), os.fsencode(path), overwrite=True)
  except BaseException:
    _remove(beside)
    raise


def is_writable(folder: str) -> bool:
  """Returns whether a folder is writable; True for a remote one."""
  if '://' in folder:
    return True
  try:
    with tempfile.TemporaryFile(dir=folder):
      return True
  except OSError:
    return False


def write_json(path: str, values: Any) -> None:
  """Writes a JSON file, which appears whole or not at all."""
  with replacing(path) as beside:
    with tf.io.gfile.GFile(beside, 'w') as file:
      json.dump(values, file, indent=2, ensure_ascii=False)


def _remove(path: str) -> None:
  """Removes a file or a folder, if it exists."""
  if '://' not in path:  # gfile accepts only names in UTF-8.
    if os.path.isdir(path):
      shutil.rmtree(path)
    elif os.path.lexists(path):
      os.remove(path)
  elif tf.io.gfile.isdir(path):
    tf.io.gfile.rmtree(path)
  elif tf.io.gfile.exists(path):
    tf.io.gfile.remove(path)


def remove_stale(path: str) -> None:
  """Removes folders that killed processes left of `replacing` a path.

  Only folders unchanged for a day are removed, as others may be in use.

  Args:
    path: as given to `replacing`.
  """
  folder, name = os.path.split(path.rstrip('/'))
  pattern = os.path.join(glob.escape(folder), f'.{glob.escape(name)}.*.partial')
  for beside in tf.io.gfile.glob(pattern):
    if time.time() - tf.io.gfile.stat(beside).mtime_nsec / 1e9 > _STALE_SECONDS:
      tf.io.gfile.rmtree(beside)


@contextlib.contextmanager
def without_wildcards(path: str) -> Iterator[str]:
  """Yields a path to the same file or folder without `*`, `?`, `[` and `]`.

  TensorFlow expands these characters when it reads checkpoints, so it does not
  find the variables of a SavedModel in a folder such as 'sweep [lr=0.1]'.

  Args:
    path: a path that exists. A remote one is yielded as it is.
  """
  if glob.escape(path) == path or '://' in path:
    yield path
    return
  with tempfile.TemporaryDirectory() as folder:
    link = os.path.join(folder, 'link')
    os.symlink(os.path.abspath(path), link)
    yield link
