"""Reads Orbax folders with TensorStore, without Orbax."""

import contextlib
import json
import math
import os
from typing import Any, Dict, Tuple
import urllib.parse

import numpy as np
import tensorflow as tf

from tf_tokenlearner.checkpoints import checked_sizes
from tf_tokenlearner import errors

_METADATA = '_METADATA'


def is_orbax(path: str) -> bool:
  """Returns whether a folder looks like one of Orbax."""
  return any(tf.io.gfile.exists(os.path.join(path, name))
             for name in (_METADATA, 'manifest.ocdbt'))


def read(path: str, top: str) -> Dict[str, Any]:
  """Returns the nested dict of arrays under a key of the saved tree.

  Args:
    path: folder of one step.
    top: the key, such as 'params'; {} is returned if it does not exist.

  Raises:
    UserError: TensorStore is not installed, or the folder was not written by
      Orbax, is incomplete, or claims more bytes than it can hold.
  """
  try:
    import tensorstore  # pylint: disable=g-import-not-at-top
  except ImportError as error:
    raise errors.UserError(
        f'{path} was written by Orbax; reading it needs TensorStore: pip '
        'install \'tf_tokenlearner[orbax]\'.') from error
  metadata = _read_metadata(path)
  stores = {}
  for names in metadata['keys']:
    if names[0] != top:
      continue
    with _array_named(path, names):
      store = stores[names] = tensorstore.open(
          _spec(path, '.'.join(names), metadata), open=True).result()
    if store.dtype.numpy_dtype.kind not in 'fiubV':  # V is bfloat16.
      raise errors.UserError(
          f'{path}: {"/".join(names)} holds {store.dtype.name}; only arrays '
          'of numbers are read.')
  # TensorStore allocates whatever an array claims, and aborts the program if
  # that fails.
  checked_sizes.require_possible(
      path, sum(math.prod(store.shape) * store.dtype.numpy_dtype.itemsize
                for store in stores.values()), _num_bytes(path))
  tree = {}
  for names, store in stores.items():
    branch = tree
    for name in names[1:-1]:
      branch = branch.setdefault(name, {})
    with _array_named(path, names):
      branch[names[-1]] = np.asarray(store.read().result())
  return tree


@contextlib.contextmanager
def _array_named(path: str, names: Tuple[str, ...]):
  """Converts errors of TensorStore to a UserError that names the array."""
  try:
    yield
  except (ValueError, OSError) as error:
    reason = str(error).partition(' [')[0]
    raise errors.UserError(
        f'{path}: {"/".join(names)} cannot be read ({reason}). The folder '
        'may be incomplete: copy it again.') from error


def _num_bytes(folder: str) -> int:
  """Returns the size of all files in a folder."""
  return sum(tf.io.gfile.stat(os.path.join(place, name)).length
             for place, _, names in tf.io.gfile.walk(folder) for name in names)


def _read_metadata(path: str) -> Dict[str, Any]:
  """Returns the keys of every leaf, and how the arrays are stored."""
  file_name = os.path.join(path, _METADATA)
  try:
    with tf.io.gfile.GFile(file_name) as file:
      values = json.load(file)
    keys = [_names(leaf) for leaf in values['tree_metadata'].values()]
    return {'keys': keys, 'is_one_database': bool(values['use_ocdbt']),
            'driver': 'zarr3' if values.get('use_zarr3') else 'zarr',
            # Otherwise zeros were not written, and missing chunks are zero.
            'is_whole': bool(
                values.get('store_array_data_equal_to_fill_value'))}
  except (tf.errors.OpError, ValueError, LookupError, TypeError,
          AttributeError) as error:
    raise errors.UserError(
        f'{file_name} does not list what Orbax saved ({error}). The folder may '
        'be incomplete, or written by Orbax before 2024.') from error


def _names(leaf: Dict[str, Any]) -> Tuple[str, ...]:
  """Returns the path of a leaf in the tree."""
  names = tuple(str(key['key']) for key in leaf['key_metadata'])
  if any('/' in name or '..' in name for name in names):
    raise ValueError(f'{names} would lie outside of the folder')
  return names


def _spec(path: str, name: str, metadata: Dict[str, Any]) -> Dict[str, Any]:
  """Returns TensorStore's specification of an array."""
  url = path if '://' in path else 'file://' + urllib.parse.quote(
      os.path.abspath(path))
  store = (
      {'driver': 'ocdbt', 'base': f'{url}/', 'path': f'{name}/'}
      if metadata['is_one_database'] else f'{url}/{name}/')
  return {'driver': metadata['driver'], 'kvstore': store,
          'fill_missing_data_reads': not metadata['is_whole']}
