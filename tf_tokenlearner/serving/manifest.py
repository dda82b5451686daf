"""The folder of an export: whose it is, and that it is whole or not there."""

import contextlib
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


def origin(model_dir: str, checkpoint: str, kind: str,
           **options: Any) -> Dict[str, Any]:
  """What makes two exports the same; names no place of this machine.

  Args:
    model_dir: folder of the run.
    checkpoint: its path. What it holds counts, not its name: a run that is
      trained anew has checkpoints of the same names.
    kind: of export, such as 'saved_model'.
    **options: that change what is written.
  """
  return {
      'model_dir': os.path.basename(os.path.abspath(model_dir)),
      'place': _digest(os.path.abspath(model_dir).encode()),
      'checkpoint': os.path.basename(checkpoint),
      'weights': _weights_digest(checkpoint), 'kind': kind, **options}


def is_there(wanted: Mapping[str, Any], export_dir: str, verify: bool) -> bool:
  """Whether a folder holds the wanted export; says so if it does.

  Args:
    wanted: as origin gives it.
    export_dir: where it should be.
    verify: it must have been verified.

  Raises:
    UserError: something else is there.
  """
  if not tf.io.gfile.exists(export_dir):
    return False
  present = read_origin(export_dir)
  if present.get('place') != wanted['place']:
    raise _foreign(wanted['model_dir'], export_dir)
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
        f'{export_dir} holds this export, kept unseen with --noverify. Remove '
        'it, to have it verified.')
  print(f'Exported already: {export_dir} holds {wanted["checkpoint"]}.')
  return True


def refuse_foreign(model_dir: str, export_dir: str) -> None:
  """Raises UserError if something else than an export of this run is there."""
  if not tf.io.gfile.exists(export_dir):
    return
  place = _digest(os.path.abspath(model_dir).encode())
  if read_origin(export_dir).get('place') != place:
    raise _foreign(model_dir, export_dir)


def _foreign(model_dir: str, export_dir: str) -> errors.UserError:
  return errors.UserError(
      f'{export_dir} exists already and is no export of {model_dir}. Choose '
      'another --export_dir or remove it first.')


def _weights_digest(checkpoint: str) -> str:
  """Of the index of a checkpoint, which has a checksum of every weight."""
  with tf.io.gfile.GFile(checkpoint + '.index', 'rb') as file:
    return _digest(file.read())


def _digest(data: bytes) -> str:
  return hashlib.sha256(data).hexdigest()[:16]


@contextlib.contextmanager
def writing(export_dir: str, facts: Mapping[str, Any],
            verified: bool) -> Iterator[str]:
  """Yields a folder that becomes export_dir if all goes well, or vanishes.

  Args:
    export_dir: must not exist.
    facts: go to origin.json; is_there compares some of them.
    verified: what is written is verified before the block ends.

  Raises:
    UserError: it cannot be written.
  """
  of_others = None
  try:
    files.remove_stale(export_dir)
    with files.replacing(export_dir) as beside:
      tf.io.gfile.makedirs(beside)
      try:
        yield beside
      except (OSError, tf.errors.OpError) as error:
        of_others = None if _is_of(beside, error) else error
        raise
      with tf.io.gfile.GFile(os.path.join(beside, _ORIGIN), 'w') as file:
        json.dump(
            {**facts, 'verified': verified,
             'tf_tokenlearner': tf_tokenlearner.__version__}, file,
            indent=2, ensure_ascii=False)
  except (OSError, tf.errors.OpError) as error:
    if error is of_others:
      raise
    raise errors.UserError(
        f'{export_dir} cannot be written: {_reason(error)}') from error


@contextlib.contextmanager
def scratch() -> Iterator[str]:
  """Yields a folder that vanishes.

  Raises:
    UserError: it cannot be written.
  """
  folder = tempfile.gettempdir()
  try:
    with tempfile.TemporaryDirectory() as folder:
      yield folder
  except (OSError, tf.errors.OpError) as error:
    if not _is_of(folder, error):
      raise
    raise errors.UserError(
        f'{tempfile.gettempdir()}, for temporary files, cannot be written: '
        f'{_reason(error)}; TMPDIR chooses another.') from error


def _is_of(folder: str, error: Exception) -> bool:
  """Whether something in a folder could not be written."""
  if isinstance(error, OSError):  # Of an open file it does not say which.
    return error.filename is None or str(error.filename).startswith(folder)
  return folder in error.message


def write_labels(folder: str, names: Iterable[str]) -> str:
  """Writes the names of the classes, a line each; returns the path."""
  path = os.path.join(folder, _LABELS)
  with tf.io.gfile.GFile(path, 'w') as file:
    file.write(''.join(f'{name}\n' for name in names))
  return path


def read_origin(folder: str) -> Dict[str, Any]:
  """What `writing` noted of an export; nothing if there is none."""
  path = os.path.join(folder, _ORIGIN)
  if not tf.io.gfile.exists(path):
    return {}
  try:
    with tf.io.gfile.GFile(path) as file:
      facts = json.load(file)
  except ValueError:  # Somebody else's.
    return {}
  return facts if isinstance(facts, dict) else {}


def read_labels(folder: str) -> Tuple[str, ...]:
  """What write_labels wrote."""
  with tf.io.gfile.GFile(os.path.join(folder, _LABELS)) as file:
    return tuple(file.read().split('\n')[:-1])


def _reason(error: Exception) -> str:
  """What the system said, without the names of partial files and of nodes."""
  if isinstance(error, OSError):
    return error.strerror or str(error)
  # PATH; REASON [Op:NAME]
  line = (error.message.splitlines() or [type(error).__name__])[0]
  return line.split('; ')[-1].split(' [Op:')[0].strip("'")
