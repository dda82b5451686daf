"""Reads Flax's msgpack files without Flax.

An array is an extension of type 1 that holds (shape, dtype name, raw bytes); a
NumPy scalar is the same of type 3. Arrays above a gigabyte come in chunks.
Source: flax/serialization.py.
"""

import math
from typing import Any, Dict

import msgpack
import numpy as np
import tensorflow as tf

from tf_tokenlearner import errors

_ARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_DTYPES = {
    'bfloat16': tf.bfloat16.as_numpy_dtype,
    **{name: np.dtype(name) for name in (
        'float16', 'float32', 'float64', 'bool', 'int8', 'int16', 'int32',
        'int64', 'uint8', 'uint16', 'uint32', 'uint64')}}
_CHUNKED = '__msgpack_chunked_array__'


def read(path: str) -> Dict[str, Any]:
  """Returns the nested dict in a file; leaves are arrays and plain values.

  Args:
    path: local or remote, as tf.io.gfile understands it.

  Raises:
    UserError: the file does not exist, was cut off or altered, or holds arrays
      of anything but numbers or of other sizes than they claim.
  """
  if not tf.io.gfile.exists(path):
    raise errors.UserError(f'There is no file {path}.')
  with tf.io.gfile.GFile(path, 'rb') as file:
    data = file.read()
  try:
    # msgpack refuses objects that claim to be larger than the file.
    tree = msgpack.unpackb(
        data, ext_hook=_unpack_extension, raw=False, strict_map_key=True)
  except errors.UserError as error:
    raise errors.UserError(f'{path}: {error}') from error
  except (ValueError, TypeError, UnicodeDecodeError,
          msgpack.exceptions.UnpackException) as error:
    raise errors.UserError(
        f'{path} is not a complete msgpack file '
        f'({error or "it nests too deep"}). It may have been cut off: copy it '
        'again.') from error
  if not isinstance(tree, dict):
    raise errors.UserError(
        f'{path} is not a checkpoint of Flax: expected keys and values, found '
        f'{type(tree).__name__}.')
  try:
    return _join_chunks(tree)
  except RecursionError as error:
    raise errors.UserError(
        f'{path} is not a checkpoint of Flax: it nests too deep.') from error
  except (errors.UserError, KeyError, TypeError, ValueError) as error:
    raise errors.UserError(
        f'{path}: the chunks of an array do not fit together ({error}).'
    ) from error


def _unpack_extension(code: int, data: bytes) -> Any:
  if code == _COMPLEX:  # Weights are real.
    return None
  if code not in (_ARRAY, _SCALAR):
    raise errors.UserError(
        f'Unknown msgpack extension {code}; Flax writes 1 to 3.')
  array = _unpack_array(data)
  return array[()] if code == _SCALAR else array


def _unpack_array(data: bytes) -> np.ndarray:
  unpacked = msgpack.unpackb(data, raw=True)
  if not isinstance(unpacked, list) or len(unpacked) != 3:
    raise errors.UserError('An array is not (shape, dtype, bytes).')
  shape, name, buffer = unpacked
  dtype = _DTYPES.get(name.decode(errors='replace')
                      if isinstance(name, bytes) else name)
  if dtype is None:
    raise errors.UserError(
        f'An array holds {name!r}; only arrays of numbers are read.')
  dtype = np.dtype(dtype)
  shape = _whole_numbers(shape)
  if math.prod(shape) * dtype.itemsize != len(buffer):
    raise errors.UserError(
        f'An array claims to be {dtype} {list(shape)}, '
        f'{math.prod(shape) * dtype.itemsize:,} bytes, but {len(buffer):,} '
        'bytes are there.')
  return np.frombuffer(buffer, dtype).reshape(shape)


def _whole_numbers(shape: Any) -> tuple:
  if not isinstance(shape, list) or not all(
      isinstance(size, int) and size >= 0 for size in shape):
    raise errors.UserError(f'An array has the shape {shape!r}.')
  return tuple(shape)


def _join_chunks(tree: Any) -> Any:
  if not isinstance(tree, dict):
    return tree
  if _CHUNKED not in tree:
    return {name: _join_chunks(value) for name, value in tree.items()}
  in_order = lambda parts: [parts[str(i)] for i in range(len(parts))]
  # reshape refuses chunks of another total size.
  return np.concatenate(in_order(tree['chunks'])).reshape(
      _whole_numbers(in_order(tree['shape'])))
