"""Local and remote files and folders, which appear whole or not at all.

A path is remote if it holds '://'. TensorFlow reads and writes remote files and
takes seconds to import, so it is imported when one of them, or any write, needs
it.
"""

import contextlib
import glob
import json
import os
import shutil
import tempfile
import time
from typing import Any, Iterator, List
import uuid

_STALE_SECONDS = 24 * 3600


def exists(path: str) -> bool:
  """Returns whether there is a file or folder at a path."""
  return _gfile().exists(path) if '://' in path else os.path.exists(path)


def is_folder(path: str) -> bool:
  """Returns whether there is a folder at a path."""
  return _gfile().isdir(path) if '://' in path else os.path.isdir(path)


def names(folder: str) -> List[str]:
  """Returns the sorted names of the files and folders in a folder.

  Raises:
    OSError: the folder cannot be read.
  """
  if '://' not in folder:
    return sorted(os.listdir(folder))
  return sorted(name.rstrip('/') for name in _gfile().listdir(folder))


def read_text(path: str) -> str:
  """Returns the text of a UTF-8 file.

  Raises:
    OSError: the file cannot be read.
    UnicodeDecodeError: it is not UTF-8.
  """
  if '://' not in path:
    with open(path, encoding='utf-8') as file:
      return file.read()
  import tensorflow as tf  # pylint: disable=g-import-not-at-top
  try:
    with tf.io.gfile.GFile(path) as file:
      return file.read()
  except tf.errors.OpError as error:
    raise OSError(error.message) from error


def _gfile() -> Any:
  import tensorflow as tf  # pylint: disable=g-import-not-at-top
  return tf.io.gfile


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
    _gfile().rename(os.fsencode(beside), os.fsencode(path), overwrite=True)
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


def state(path: str) -> List[Any]:
  """Returns name, bytes and time of change of a file."""
  known = _gfile().stat(path)
  return [os.path.basename(path), known.length, known.mtime_nsec]


def write_json(path: str, values: Any) -> None:
  """Writes a JSON file, which appears whole or not at all."""
  write_text(path, json.dumps(values, indent=2, ensure_ascii=False))


def write_text(path: str, text: str) -> None:
  """Writes a file in UTF-8, which appears whole or not at all.

  Bytes of file names that are no UTF-8 are written as they are.
  """
  with replacing(path) as beside:
    with _gfile().GFile(beside, 'wb') as file:
      file.write(text.encode('utf-8', 'surrogateescape'))


def _remove(path: str) -> None:
  """Removes a file or a folder, if it exists."""
  if '://' not in path:  # gfile accepts only names in UTF-8.
    if os.path.isdir(path):
      shutil.rmtree(path)
    elif os.path.lexists(path):
      os.remove(path)
  elif _gfile().isdir(path):
    _gfile().rmtree(path)
  elif _gfile().exists(path):
    _gfile().remove(path)


def remove_stale(path: str) -> None:
  """Removes folders that killed processes left of `replacing` a path.

  Only folders unchanged for a day are removed, as others may be in use.

  Args:
    path: as given to `replacing`.
  """
  folder, name = os.path.split(path.rstrip('/'))
  pattern = os.path.join(glob.escape(folder), f'.{glob.escape(name)}.*.partial')
  for beside in _gfile().glob(pattern):
    if time.time() - _gfile().stat(beside).mtime_nsec / 1e9 > _STALE_SECONDS:
      _gfile().rmtree(beside)


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
