"""Reads .npz files of untrusted origin, as arrays of numbers only.

np.load trusts the file: it runs code for arrays of objects and allocates the
size that a header claims. Here every header is read first and compared with the
bytes that exist.
"""

import math
from typing import Dict, NamedTuple, Tuple
import zipfile
import zlib

import numpy as np
import tensorflow as tf

from tf_tokenlearner.checkpoints import checked_sizes
from tf_tokenlearner import errors

# Errors of zipfile and NumPy about files that were cut off or altered.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError,
           ValueError, tf.errors.OpError)
_HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0,
                   (2, 0): np.lib.format.read_array_header_2_0}


class _Member(NamedTuple):
  """An array in the file that is not read yet."""
  name: str
  shape: Tuple[int, ...]
  dtype: np.dtype


def is_npz(path: str) -> bool:
  """Returns whether a file starts like a zip archive."""
  with tf.io.gfile.GFile(path, 'rb') as file:
    return file.read(4) == b'PK\x03\x04'


def read(path: str) -> Dict[str, np.ndarray]:
  """Returns {name: array} of a .npz file.

  Args:
    path: local or remote, as tf.io.gfile understands it.

  Raises:
    UserError: the file does not exist, was cut off or altered, or holds
      anything but arrays of numbers of the sizes they claim.
  """
  if not tf.io.gfile.exists(path):
    raise errors.UserError(f'There is no file {path}.')
  try:
    with tf.io.gfile.GFile(path, 'rb') as file:
      with zipfile.ZipFile(file) as archive:
        members = [_check(path, archive, info) for info in archive.infolist()]
        # The archive's directory can be as wrong as the arrays' headers.
        checked_sizes.require_possible(
            path, sum(info.file_size for info in archive.infolist()),
            file.size())
        return {member.name: _read(archive, member) for member in members}
  except errors.UserError:
    raise
  except _DAMAGE as error:
    raise errors.UserError(
        f'{path} is not a complete .npz file ({error}). It may have been cut '
        'off: copy it again.') from error


def _check(path: str, archive: zipfile.ZipFile,
           info: zipfile.ZipInfo) -> _Member:
  """Returns a member; refuses anything but numbers of the size they claim."""
  name = info.filename.removesuffix('.npy')
  if name == info.filename:
    raise errors.UserError(
        f'{path} holds {info.filename}, which is not an array; expected a .npz '
        'file as np.savez writes it.')
  with archive.open(info) as file:
    version = np.lib.format.read_magic(file)
    if version not in _HEADER_READERS:
      raise errors.UserError(
          f'{path}: {name} has a header of version {version}; expected an '
          'array of numbers, in version 1 or 2.')
    shape, _, dtype = _HEADER_READERS[version](file)
    header_size = file.tell()
  if dtype.hasobject:
    raise errors.UserError(
        f'{path}: {name} is an array of Python objects, which may run code '
        'when read. Only arrays of numbers are read.')
  if dtype.kind not in 'fiub':
    raise errors.UserError(
        f'{path}: {name} holds {dtype}; only arrays of numbers are read.')
  claimed = math.prod(shape) * dtype.itemsize
  if claimed != info.file_size - header_size:
    raise errors.UserError(
        f'{path}: {name} claims to be {dtype} {list(shape)}, {claimed:,} '
        f'bytes, but {info.file_size - header_size:,} bytes are there.')
  return _Member(name, shape, dtype)


def _read(archive: zipfile.ZipFile, member: _Member) -> np.ndarray:
  with archive.open(f'{member.name}.npy') as file:
    return np.lib.format.read_array(file, allow_pickle=False)
