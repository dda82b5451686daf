"""Reads .npz files as numbers and nothing else.

np.load believes what a file says of itself: it runs code for arrays of objects
and makes room for whatever size a header claims. Here every header is read
first and compared with the bytes that are there.
"""

import math
from typing import Dict, NamedTuple, Tuple
import zipfile
import zlib

import numpy as np
import tensorflow as tf

from tf_tokenlearner.checkpoints import checked_sizes
from tf_tokenlearner import errors

# What zipfile and NumPy raise for files that were cut off or altered.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError,
           ValueError, tf.errors.OpError)
_HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0,
                   (2, 0): np.lib.format.read_array_header_2_0}


class _Member(NamedTuple):
  """One array in the file, not read yet."""
  name: str
  shape: Tuple[int, ...]
  dtype: np.dtype


def is_npz(path: str) -> bool:
  """Whether a file begins as a zip archive does."""
  with tf.io.gfile.GFile(path, 'rb') as file:
    return file.read(4) == b'PK\x03\x04'


def read(path: str) -> Dict[str, np.ndarray]:
  """The arrays of a .npz file by their names.

  Args:
    path: local or remote, as tf.io.gfile understands it.

  Raises:
    UserError: no such file, one that was cut off or altered, or anything in it
      that is not an array of numbers of the size it claims.
  """
  if not tf.io.gfile.exists(path):
    raise errors.UserError(f'There is no file {path}.')
  try:
    with tf.io.gfile.GFile(path, 'rb') as file:
      with zipfile.ZipFile(file) as archive:
        members = [_check(path, archive, info) for info in archive.infolist()]
        # The list of the members can lie as well as the arrays' headers can.
        checked_sizes.require_possible(
            path, sum(info.file_size for info in archive.infolist()),
            file.size())
        return {member.name: _read(archive, member) for member in members}
  except errors.UserError:
    raise
  except _DAMAGE as error:
    raise errors.UserError(
        f'{path} is no complete .npz file ({error}). It may have been cut off: '
        'copy it again.') from error


def _check(path: str, archive: zipfile.ZipFile,
           info: zipfile.ZipInfo) -> _Member:
  """Refuses what is no array of numbers of the size that it claims."""
  name = info.filename.removesuffix('.npy')
  if name == info.filename:
    raise errors.UserError(
        f'{path} holds {info.filename}, which is no array; expected a .npz '
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
