"""The folder of an export, complete or absent, and its manifest.

The manifest, origin.json, records the run, weights and options of an export, so
that an equal export is recognized and no other folder is changed.
Its keys `kind` (the export format) and `preprocessing` (the view) are those of
version 0.1.0.
"""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from typing import Any, Dict, Iterable, Iterator, Mapping, Tuple

import tensorflow as tf

import tf_tokenlearner
from tf_tokenlearner import errors
from tf_tokenlearner import files


_ORIGIN = 'origin.json'
_LABELS = 'labels.txt'
TFLITE_FILE = 'model.tflite'
# A folder with one of these and no manifest is part of an export.
_PARTS = frozenset({
    'saved_model.pb', 'variables', 'assets', TFLITE_FILE, _LABELS})
# TensorFlow's file systems turn the system's error numbers into these.
_ERROR_NUMBERS = {
    tf.errors.ResourceExhaustedError: errno.ENOSPC,
    tf.errors.PermissionDeniedError: errno.EACCES,
    tf.errors.NotFoundError: errno.ENOENT,
    tf.errors.FailedPreconditionError: errno.ENOTDIR,
}


def origin(model_dir: str, checkpoint: str, export_format: str,
           **options: Any) -> Dict[str, Any]:
  """Returns the facts that two equal exports share, without local paths.

  Args:
    model_dir: folder of the run.
    checkpoint: its path. Its content counts, not its name: a run that is
      trained anew has checkpoints of the same names.
    export_format: such as 'saved_model' or 'streaming_tflite'.
    **options: that change what is written.
  """
  return {
      'model_dir': os.path.basename(os.path.abspath(model_dir)),
      'place': _digest(os.path.abspath(model_dir).encode()),
      'checkpoint': os.path.basename(checkpoint),
      'weights': _weights_digest(checkpoint), 'kind': export_format, **options}


def is_present(wanted: Mapping[str, Any], export_dir: str,
               verify: bool) -> bool:
  """Returns whether a folder holds the wanted export; if so, prints that.

  Args:
    wanted: as `origin` returns it.
    export_dir: the folder; one that is empty counts as absent.
    verify: whether the export must have been verified.

  Raises:
    UserError: the folder holds something else.
  """
  if _is_free(export_dir):
    return False
  present = _require_own(wanted['model_dir'], wanted['place'], export_dir)
  keys = ['kind'] if present.get('kind') != wanted['kind'] else wanted
  differences = [
      f'{key} {present.get(key)}, not {wanted[key]}'
      for key in keys if present.get(key) != wanted[key]]
  if differences:
    raise errors.UserError(
        f'{export_dir} holds another export of this run: '
        f'{"; ".join(differences)}. Remove it, or choose another --export_dir.')
  if verify and not present.get('verified'):
    raise errors.UserError(
        f'{export_dir} holds this export, but it was kept unverified. Remove '
        'it to export and verify it again.')
  print(f'Exported already: {export_dir} holds {wanted["checkpoint"]}.')
  return True


def refuse_foreign(model_dir: str, export_dir: str) -> None:
  """Raises UserError if a folder holds no export of a run and is not empty."""
  if not _is_free(export_dir):
    _require_own(
        model_dir, _digest(os.path.abspath(model_dir).encode()), export_dir)


def _is_free(export_dir: str) -> bool:
  if not tf.io.gfile.exists(export_dir):
    return True
  return tf.io.gfile.isdir(export_dir) and not tf.io.gfile.listdir(export_dir)


def _require_own(model_dir: str, place: str, export_dir: str) -> Dict[str, Any]:
  """Returns the manifest of an export of a run, else raises UserError."""
  present = read_origin(export_dir)
  if present.get('place') == place:
    return present
  is_folder = tf.io.gfile.isdir(export_dir)
  names = {name.rstrip('/') for name in tf.io.gfile.listdir(
      export_dir)} if is_folder else set()
  if _ORIGIN not in names and names & _PARTS:
    raise errors.UserError(
        f'{export_dir} holds an incomplete export: it has '
        f'{", ".join(sorted(names & _PARTS))} but no {_ORIGIN}. Remove it, or '
        'choose another --export_dir.')
  raise errors.UserError(
      f'{export_dir} exists already and is no export of {model_dir}. Choose '
      'another --export_dir or remove it first.')


def _weights_digest(checkpoint: str) -> str:
  """Returns a digest of a checkpoint's index, which has all checksums."""
  with tf.io.gfile.GFile(checkpoint + '.index', 'rb') as file:
    return _digest(file.read())


def _digest(data: bytes) -> str:
  return hashlib.sha256(data).hexdigest()[:16]


@contextlib.contextmanager
def writing(export_dir: str, facts: Mapping[str, Any]) -> Iterator[str]:
  """Yields a folder that becomes export_dir on success and vanishes otherwise.

  Args:
    export_dir: absent, or an empty folder.
    facts: of the manifest; read when the block ends.

  Raises:
    UserError: export_dir cannot be written.
  """
  of_others = None
  try:
    files.remove_stale(export_dir)
    with files.replacing(export_dir) as beside:
      tf.io.gfile.makedirs(beside)
      try:
        yield beside
      except (OSError, tf.errors.OpError) as error:
        of_others = None if _is_about(beside, error) else error
        raise
      with tf.io.gfile.GFile(os.path.join(beside, _ORIGIN), 'w') as file:
        json.dump({**facts, 'tf_tokenlearner': tf_tokenlearner.__version__},
                  file, indent=2, ensure_ascii=False)
  except (OSError, tf.errors.OpError) as error:
    if error is of_others:
      raise
    raise errors.UserError(
        f'{export_dir} cannot be written: {_reason(error)}. Choose another '
        '--export_dir.') from error


@contextlib.contextmanager
def scratch() -> Iterator[str]:
  """Yields a temporary folder.

  Raises:
    UserError: the folder cannot be written.
  """
  folder = tempfile.gettempdir()
  try:
    with tempfile.TemporaryDirectory() as folder:
      yield folder
  except (OSError, tf.errors.OpError) as error:
    if not _is_about(folder, error):
      raise
    raise errors.UserError(
        f'{tempfile.gettempdir()}, for temporary files, cannot be written: '
        f'{_reason(error)}. Set TMPDIR to another folder.') from error


def _is_about(folder: str, error: Exception) -> bool:
  """Returns whether an error is about a file in a folder."""
  if isinstance(error, OSError):  # An error of an open file names none.
    return error.filename is None or str(error.filename).startswith(folder)
  return folder in error.message


def _reason(error: Exception) -> str:
  if isinstance(error, OSError):
    return error.strerror or str(error)
  number = _ERROR_NUMBERS.get(type(error))
  return os.strerror(number) if number else type(error).__name__


def write_labels(folder: str, names: Iterable[str]) -> str:
  """Writes labels.txt, one class name per line; returns its path.

  A line break inside a name becomes a space, so that line i is class i.
  """
  path = os.path.join(folder, _LABELS)
  with tf.io.gfile.GFile(path, 'w') as file:
    file.write(''.join(f'{line}\n' for line in label_lines(names)))
  return path


def label_lines(names: Iterable[str]) -> Tuple[str, ...]:
  """Returns class names in which a space replaces every line break."""
  return tuple(' '.join(name.splitlines()) for name in names)


def read_origin(folder: str) -> Dict[str, Any]:
  """Returns the facts of a manifest; {} if there is none."""
  path = os.path.join(folder, _ORIGIN)
  if not tf.io.gfile.exists(path):
    return {}
  try:
    with tf.io.gfile.GFile(path) as file:
      facts = json.load(file)
  except ValueError:  # Somebody else's file of this name.
    return {}
  return facts if isinstance(facts, dict) else {}


def read_labels(folder: str) -> Tuple[str, ...]:
  """Returns the class names of an export with a manifest.

  Exports of version 0.1.0 keep them in labels.txt only.
  """
  names = read_origin(folder).get('label_names')
  if names:
    return tuple(names)
  with tf.io.gfile.GFile(os.path.join(folder, _LABELS)) as file:
    return tuple(file.read().split('\n')[:-1])
