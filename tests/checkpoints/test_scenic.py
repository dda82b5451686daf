"""Checkpoints of the official code, in each of its formats."""

import importlib.util
import json
import shutil
import sys

import msgpack
import numpy as np
import pytest

from tests import goldens
from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner.checkpoints import orbax_folder
from tf_tokenlearner.checkpoints import scenic
from tf_tokenlearner import errors

MSGPACK = goldens.FOLDER / 'scenic_checkpoint_msgpack'
OLD_MSGPACK = goldens.FOLDER / 'scenic_checkpoint_msgpack_optimizer_target'
ORBAX = goldens.FOLDER / 'scenic_checkpoint_orbax'
needs_tensorstore = pytest.mark.skipif(
    importlib.util.find_spec('tensorstore') is None,
    reason='TensorStore (the extra orbax) is not installed')


def check(params):
  expected = goldens.read('vit_token_learner_v11').params
  flat = flax_names.flatten(params)
  assert set(flat) == set(expected)
  for name, value in flat.items():
    np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize('folder', [
    MSGPACK, OLD_MSGPACK, pytest.param(ORBAX, marks=needs_tensorstore)])
def test_golden(folder):
  for path in (folder, folder / 'checkpoint_1234'):
    check(scenic.read_scenic_checkpoint(str(path)))


def pack(path, tree):
  path.write_bytes(msgpack.packb(tree))
  return str(path)


WEIGHTS = {'Transformer': {'x': 1}}


@pytest.mark.parametrize('tree', [
    WEIGHTS, {'params': WEIGHTS}, {'optimizer': {'target': WEIGHTS}},
    {'optimizer': {'target': {'params': WEIGHTS}}}])
def test_every_place_of_the_weights(tmp_path, tree):
  assert scenic.read_scenic_checkpoint(pack(tmp_path / 'x', tree)) == WEIGHTS


@pytest.mark.parametrize('tree, found', [
    ({'params': {'backbone': {}}}, 'backbone'), ({'a': 1, 'b': 2}, 'a, b'),
    ({}, 'nothing'), ({'params': 3}, 'int')])
def test_no_weights_in_it(tmp_path, tree, found):
  with pytest.raises(errors.UserError, match='holds no weights of a '
                     f'TokenLearner or ViViT model.*found {found}'):
    scenic.read_scenic_checkpoint(pack(tmp_path / 'x', tree))


def test_the_latest_of_a_folder(tmp_path):
  for step in (9, 100, 20):
    pack(tmp_path / f'checkpoint_{step}', {'params': {'Transformer': step}})
  (tmp_path / 'checkpoint_1000.tmp').write_text('')
  assert scenic.find(str(tmp_path)).endswith('/checkpoint_100')
  assert scenic.read_scenic_checkpoint(str(tmp_path)) == {'Transformer': 100}


def test_nothing_there(tmp_path):
  with pytest.raises(errors.UserError, match='holds no checkpoint of Scenic'):
    scenic.find(str(tmp_path))
  with pytest.raises(errors.UserError, match='There is no checkpoint at'):
    scenic.find(str(tmp_path / 'nowhere'))


def copy(tmp_path):
  folder = tmp_path / 'checkpoint_1234'
  shutil.copytree(ORBAX / 'checkpoint_1234', folder)
  return folder


@needs_tensorstore
def test_orbax_folder_that_is_not_whole(tmp_path):
  folder = copy(tmp_path)
  data = next(path for path in folder.rglob('*')
              if path.is_file() and path.stat().st_size > 200000)
  data.write_bytes(data.read_bytes()[:1000])
  with pytest.raises(errors.UserError, match=r'cannot be read \(OUT_OF_RANGE.*'
                     'may be incomplete: copy it again'):
    scenic.read_scenic_checkpoint(str(folder))
  data.unlink()
  with pytest.raises(errors.UserError, match='cannot be read'):
    scenic.read_scenic_checkpoint(str(folder))


@needs_tensorstore
@pytest.mark.parametrize('text', [
    '{', '{}', '[]', '{"tree_metadata": 3}',
    '{"tree_metadata": {"x": {"key_metadata": [{"key": "params"}, '
    '{"key": "../elsewhere"}]}}, "use_ocdbt": true}'])
def test_orbax_without_its_list(tmp_path, text):
  folder = copy(tmp_path)
  (folder / '_METADATA').write_text(text)
  with pytest.raises(errors.UserError, match='does not list what Orbax saved'):
    scenic.read_scenic_checkpoint(str(folder))


@needs_tensorstore
def test_orbax_of_other_things(tmp_path):
  assert orbax_folder.read(str(ORBAX / 'checkpoint_1234'), 'nothing') == {}
  folder = copy(tmp_path)
  (folder / '_METADATA').unlink()
  with pytest.raises(errors.UserError, match='does not list what Orbax saved'):
    scenic.read_scenic_checkpoint(str(folder))


@needs_tensorstore
@pytest.mark.parametrize('driver', ['zarr', 'zarr3'])
def test_orbax_with_a_folder_for_each_array(tmp_path, driver):
  """Orbax writes it so without its database format (OCDBT)."""
  import tensorstore
  values = np.arange(6, dtype=np.float32).reshape(2, 3)
  array = tensorstore.open(
      {'driver': driver, 'kvstore': f'file://{tmp_path}/params.Transformer.x/'},
      create=True, dtype=tensorstore.float32, shape=[2, 3]).result()
  array.write(values).result()
  key = {'key_metadata': [{'key': name} for name in (
      'params', 'Transformer', 'x')]}
  (tmp_path / '_METADATA').write_text(json.dumps({
      'tree_metadata': {'any': key}, 'use_ocdbt': False,
      'use_zarr3': driver == 'zarr3',
      'store_array_data_equal_to_fill_value': True}))
  params = scenic.read_scenic_checkpoint(str(tmp_path))
  np.testing.assert_array_equal(params['Transformer']['x'], values)
  chunk = tmp_path / 'params.Transformer.x' / (
      '0.0' if driver == 'zarr' else 'c/0/0')
  chunk.unlink()  # Would be read as zeros.
  with pytest.raises(errors.UserError, match='Transformer/x cannot be read'):
    scenic.read_scenic_checkpoint(str(tmp_path))


@needs_tensorstore
@pytest.mark.parametrize('is_whole', [True, False])
def test_orbax_that_claims_more_than_it_holds(tmp_path, is_whole):
  """To make room for it would end the program."""
  import tensorstore
  tensorstore.open(
      {'driver': 'zarr',
       'kvstore': f'file://{tmp_path}/params.Transformer.x/'},
      create=True, dtype=tensorstore.float32, shape=[10**6, 10**6],
      chunk_layout=tensorstore.ChunkLayout(chunk_shape=[10, 10])).result()
  key = {'key_metadata': [{'key': name} for name in (
      'params', 'Transformer', 'x')]}
  (tmp_path / '_METADATA').write_text(json.dumps({
      'tree_metadata': {'any': key}, 'use_ocdbt': False,
      'store_array_data_equal_to_fill_value': is_whole}))
  with pytest.raises(errors.UserError, match='claims to hold 4,000,000,000,000 '
                     'bytes of arrays'):
    scenic.read_scenic_checkpoint(str(tmp_path))


def test_orbax_without_tensorstore(monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorstore', None)
  with pytest.raises(errors.UserError, match=r'tf_tokenlearner\[orbax\]'):
    scenic.read_scenic_checkpoint(str(ORBAX))
