"""Flax's msgpack files are read without Flax, and checked."""

import msgpack
import numpy as np
import pytest
import tensorflow as tf

from tests import goldens
from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import flax_msgpack

GOLDEN = goldens.FOLDER / 'scenic_checkpoint_msgpack' / 'checkpoint_1234'


def packed(shape, dtype, data, code=1):
  """An array as flax.serialization packs it."""
  return msgpack.ExtType(code, msgpack.packb((shape, dtype, data)))


def write(path, tree):
  path.write_bytes(msgpack.packb(tree))
  return str(path)


def as_array(array, code=1):
  array = np.asarray(array)
  return packed(array.shape, array.dtype.name, array.tobytes(), code)


def test_golden():
  tree = flax_msgpack.read(str(GOLDEN))
  assert set(tree) == {'opt_state', 'params', 'global_step', 'model_state',
                       'rng', 'metadata'}
  assert tree['global_step'] == 1234
  expected = goldens.read('vit_token_learner_v11').params
  np.testing.assert_array_equal(
      tree['params']['embedding']['kernel'], expected['embedding/kernel'])


def test_every_kind_of_leaf(tmp_path):
  halves = tf.constant([1.5, -2.], tf.bfloat16).numpy()
  tree = flax_msgpack.read(write(tmp_path / 'x', {
      'a': as_array(np.arange(6, dtype=np.int16).reshape(2, 3)),
      'b': {'c': as_array(np.float32(.5), code=3), 'd': 'text', 'e': None},
      'f': packed([2], 'bfloat16', halves.tobytes()),
      'g': msgpack.ExtType(2, msgpack.packb((1., 2.))),
      'h': as_array(np.zeros([0, 3]))}))
  np.testing.assert_array_equal(tree['a'], [[0, 1, 2], [3, 4, 5]])
  assert tree['b'] == {'c': np.float32(.5), 'd': 'text', 'e': None}
  np.testing.assert_array_equal(tree['f'].astype(np.float32), [1.5, -2.])
  assert tree['g'] is None  # A complex number.
  assert tree['h'].shape == (0, 3)


def test_large_arrays_come_in_pieces(tmp_path):
  whole = np.arange(14.).reshape(2, 7)
  pieces = {str(i): as_array(whole.ravel()[i:i + 1]) for i in range(14)}
  chunked = {'__msgpack_chunked_array__': True, 'shape': {'0': 2, '1': 7},
             'chunks': pieces}
  tree = flax_msgpack.read(write(tmp_path / 'x', {'a': {'b': chunked}}))
  np.testing.assert_array_equal(tree['a']['b'], whole)
  del pieces['3']
  with pytest.raises(errors.UserError, match='the chunks of an array do not '
                     'fit together'):
    flax_msgpack.read(write(tmp_path / 'y', {'a': chunked}))


@pytest.mark.parametrize('leaf, message', [
    (packed([2, 10**12], 'float32', b'12345678'),
     r'claims to be float32 \[2, 1000000000000\], 8,000,000,000,000 bytes, but '
     '8 bytes are there'),
    (packed([1], 'object', b'12345678'), "holds b'object'; only arrays of "),
    (packed([-1], 'float32', b'1234'), r'has the shape \[-1\]'),
    (msgpack.ExtType(1, msgpack.packb([1])), r'is not \(shape, dtype, bytes\)'),
    (msgpack.ExtType(7, b''), 'Unknown msgpack extension 7'),
])
def test_leaves_that_are_no_numbers(tmp_path, leaf, message):
  with pytest.raises(errors.UserError, match=message):
    flax_msgpack.read(write(tmp_path / 'x', {'params': leaf}))


@pytest.mark.parametrize('share', [0.3, 0.999])
def test_cut_off(tmp_path, share):
  data = GOLDEN.read_bytes()
  (tmp_path / 'x').write_bytes(data[:int(share * len(data))])
  with pytest.raises(errors.UserError, match='is not a complete msgpack file'):
    flax_msgpack.read(str(tmp_path / 'x'))


def test_nested_too_deep(tmp_path):
  (tmp_path / 'x').write_bytes(b'\x81\xa1a' * 1000 + b'\x01')
  with pytest.raises(errors.UserError, match='it nests too deep'):
    flax_msgpack.read(str(tmp_path / 'x'))


def test_other_files_and_none(tmp_path):
  (tmp_path / 'x').write_bytes(b'\x81' * 5000)  # Dicts as keys of dicts.
  with pytest.raises(errors.UserError, match='is not a complete msgpack file'):
    flax_msgpack.read(str(tmp_path / 'x'))
  with pytest.raises(errors.UserError, match='expected keys and values, found '
                     'list'):
    flax_msgpack.read(write(tmp_path / 'x', [1, 2]))
  with pytest.raises(errors.UserError, match='There is no file'):
    flax_msgpack.read(str(tmp_path / 'nowhere'))
