"""A .npz file is read as numbers, or refused for what is wrong with it."""

import io
import struct
import zipfile

import numpy as np
import pytest

from tests import goldens
from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import npz_file

GOLDEN = goldens.FOLDER / 'augreg_vit_ti_like.npz'


def write(path, **members):
  """A .npz file whose members are bytes as given."""
  with zipfile.ZipFile(path, 'w') as archive:
    for name, data in members.items():
      archive.writestr(f'{name}.npy', data)
  return str(path)


def as_npy(array):
  file = io.BytesIO()
  np.lib.format.write_array(file, np.asarray(array))
  return file.getvalue()


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_reads_what_numpy_writes(tmp_path, save):
  path = str(tmp_path / 'arrays')  # A name says nothing.
  arrays = {'a/b': np.arange(6.).reshape(2, 3), 'c': np.int8(3),
            'd': np.asfortranarray(np.arange(6).reshape(3, 2)),
            'e': np.zeros([0, 4], np.float16), 'f': np.array([True])}
  with open(path, 'wb') as file:
    save(file, **arrays)
  assert npz_file.is_npz(path)
  read = npz_file.read(path)
  assert list(read) == list(arrays)
  for name, array in arrays.items():
    np.testing.assert_array_equal(read[name], array)
    assert read[name].dtype == array.dtype


def test_golden_is_read_whole():
  read = npz_file.read(str(GOLDEN))
  assert len(read) == 58
  with np.load(GOLDEN) as expected:
    for name in expected:
      np.testing.assert_array_equal(read[name], expected[name])


@pytest.mark.parametrize('share', [0.2, 0.99])
def test_cut_off(tmp_path, share):
  path = tmp_path / 'cut.npz'
  data = GOLDEN.read_bytes()
  path.write_bytes(data[:int(share * len(data))])
  with pytest.raises(errors.UserError, match='is not a complete .npz file .*cut'
                     ' off: copy it again'):
    npz_file.read(str(path))


def test_a_flipped_bit_is_noticed(tmp_path):
  path = tmp_path / 'altered.npz'
  data = bytearray(GOLDEN.read_bytes())
  data[5000] ^= 1
  path.write_bytes(data)
  with pytest.raises(errors.UserError, match='is not a complete .npz file'):
    npz_file.read(str(path))


def test_objects_are_never_unpickled(tmp_path):
  opened = []

  class Tell:
    def __reduce__(self):
      return opened.append, (1,)

  path = str(tmp_path / 'objects.npz')
  np.savez(path, **{'head/bias': np.array([Tell()], dtype=object)})
  opened.clear()  # Pickling has called it once.
  with pytest.raises(errors.UserError, match='head/bias is an array of Python '
                     'objects, which may run code'):
    npz_file.read(path)
  assert not opened


def test_claimed_size_is_compared_before_room_is_made(tmp_path):
  file = io.BytesIO()
  np.lib.format.write_array_header_1_0(file, {
      'descr': '<f4', 'fortran_order': False, 'shape': (3, 999999999999)})
  path = write(tmp_path / 'large.npz', kernel=file.getvalue() + bytes(48))
  with pytest.raises(errors.UserError, match=r'kernel claims to be float32 '
                     r'\[3, 999999999999\], 11,999,999,999,988 bytes, but 48 '
                     'bytes are there'):
    npz_file.read(path)


def test_claim_of_the_list_of_members_is_no_proof(tmp_path):
  """Zip entry and header agree on a wrong size."""
  size = 3 * 2**30
  file = io.BytesIO()
  np.lib.format.write_array_header_1_0(file, {
      'descr': '<u1', 'fortran_order': False, 'shape': (size,)})
  path = write(tmp_path / 'large.npz', kernel=file.getvalue())
  data = bytearray((tmp_path / 'large.npz').read_bytes())
  claimed = size + len(file.getvalue())
  struct.pack_into('<I', data, data.index(b'PK\x01\x02') + 24, claimed)
  (tmp_path / 'large.npz').write_bytes(data)
  with pytest.raises(errors.UserError, match=f'claims to hold {claimed:,} '
                     'bytes of arrays, which cannot come from the '):
    npz_file.read(path)


@pytest.mark.parametrize('member, message', [
    (as_npy(np.array(['text'])), 'kernel holds <U4; only arrays of numbers'),
    (as_npy(np.zeros(2, [('a', 'f4')])), 'only arrays of numbers are read'),
    (as_npy(np.zeros(2)).replace(b'\x93NUMPY\x01', b'\x93NUMPY\x03'),
     r'kernel has a header of version \(3, 0\)'),
    (b'no array at all', 'is not a complete .npz file'),
])
def test_members_that_are_no_numbers(tmp_path, member, message):
  path = write(tmp_path / 'x.npz', kernel=member)
  with pytest.raises(errors.UserError, match=message):
    npz_file.read(path)


def test_other_zip_files_and_none(tmp_path):
  path = str(tmp_path / 'x.zip')
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('notes.txt', 'hello')
  with pytest.raises(errors.UserError, match='notes.txt, which is not an arr'):
    npz_file.read(path)
  with pytest.raises(errors.UserError, match='There is no file'):
    npz_file.read(str(tmp_path / 'nowhere.npz'))
