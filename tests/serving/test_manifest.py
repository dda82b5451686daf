"""Exports are complete or absent; other folders are not touched."""

import json
import os
import pathlib

import pytest
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.serving import manifest


@pytest.fixture(name='origin')
def fixture_origin(tmp_path):
  """Facts of an export whose checkpoint is a text file."""
  run = tmp_path / 'runs' / 'run'
  run.mkdir(parents=True)
  def make(weights='a', export_format='saved_model', **options):
    (run / 'ckpt-1.index').write_text(weights)
    return manifest.origin(
        str(run), str(run / 'ckpt-1'), export_format, **options)
  return make


@pytest.fixture(name='place')
def fixture_place(tmp_path):
  """An empty folder."""
  (tmp_path / 'exported').mkdir()
  return tmp_path / 'exported'


def write(path, facts, verified=True):
  with manifest.writing(path, {**facts, 'input': 'é', 'verified': verified}):
    pass


def test_existing_export_is_recognized(place, origin, capsys):
  path = str(place / 'out')
  assert not manifest.is_present(origin(batch_size=1), path, True)
  write(path, origin(batch_size=1))
  for verify in (True, False):
    assert manifest.is_present(origin(batch_size=1), path, verify)
    assert capsys.readouterr().out == (
        f'Exported already: {path} holds ckpt-1.\n')
  with open(os.path.join(path, 'origin.json'), encoding='utf-8') as file:
    text = file.read()
  facts = json.loads(text)
  assert (facts['kind'], facts['input']) == ('saved_model', 'é')
  assert (facts['model_dir'], facts['checkpoint']) == ('run', 'ckpt-1')
  assert str(place.parent) not in text
  for other, message in (
      (origin(batch_size=2), 'batch_size 1, not 2. Remove'),
      (origin(export_format='tflite'), 'kind saved_model, not tflite. Remove'),
      (origin('trained anew', batch_size=1), 'weights .*, not .* Remove')):
    with pytest.raises(errors.UserError, match=(
        'holds another export of this run: ' + message)):
      manifest.is_present(other, path, True)


def test_unverified_export_does_not_count_as_verified(place, origin):
  path = str(place / 'out')
  write(path, origin(), verified=False)
  assert manifest.is_present(origin(), path, False)
  with pytest.raises(errors.UserError, match='but it was kept unverified'):
    manifest.is_present(origin(), path, True)


def test_empty_folder_may_be_written(place, origin):
  path = str(place / 'out')
  os.mkdir(path)
  manifest.refuse_foreign('run', path)
  assert not manifest.is_present(origin(), path, True)
  write(path, origin())
  assert manifest.is_present(origin(), path, True)


@pytest.mark.parametrize('name', ['saved_model.pb', 'model.tflite'])
def test_incomplete_exports_are_named(tmp_path, origin, name):
  folder = tmp_path / 'half'
  folder.mkdir()
  (folder / name).write_text('')
  for refuse in (lambda: manifest.refuse_foreign('run', str(folder)),
                 lambda: manifest.is_present(origin(), str(folder), True)):
    with pytest.raises(errors.UserError, match=(
        f'holds an incomplete export: it has {name} but no origin.json. '
        'Remove it, or choose another --export_dir')):
      refuse()


@pytest.mark.parametrize('content', [
    'no json', '{"place": "/x"}', '[]', '"x"'])
def test_folder_that_is_no_export_is_refused(tmp_path, origin, content):
  (tmp_path / 'origin.json').write_text(content)
  for refuse in (lambda: manifest.refuse_foreign('run', str(tmp_path)),
                 lambda: manifest.is_present(
                     origin(), str(tmp_path), True)):
    with pytest.raises(errors.UserError, match='exists already and is no exp'):
      refuse()


@pytest.mark.parametrize('error', [
    OSError(28, 'No space left on device'),
    tf.errors.ResourceExhaustedError(
        None, None, 'BESIDE/a; No space left on device [Op:SaveV2]\nat')])
def test_full_disk_leaves_no_files(place, origin, error):
  with pytest.raises(errors.UserError, match=(
      'out cannot be written: No space left on device. Choose')) as caught:
    with manifest.writing(str(place / 'out'), origin()) as beside:
      manifest.write_labels(beside, ['a'])
      if isinstance(error, tf.errors.OpError):
        error._message = error.message.replace('BESIDE', beside)
      raise error
  assert '\n' not in str(caught.value)
  assert not os.listdir(place)


@pytest.mark.parametrize('error', [
    FileNotFoundError(2, 'No such file', '/elsewhere/inputs.npy'),
    tf.errors.InvalidArgumentError(None, None, 'Matrix size-incompatible')])
def test_other_errors_are_raised_unchanged(place, origin, error):
  with pytest.raises(type(error)):
    with manifest.writing(str(place / 'out'), origin()):
      raise error
  assert not os.listdir(place)


def test_unwritable_path_is_refused(place, origin):
  (place / 'file').write_text('')
  with pytest.raises(errors.UserError, match='out cannot be written'):
    write(str(place / 'file' / 'out'), origin())


def test_interrupt_leaves_no_files(place, origin):
  with pytest.raises(KeyboardInterrupt):
    with manifest.writing(str(place / 'out'), origin()) as beside:
      assert os.path.basename(beside).startswith('.out.')
      raise KeyboardInterrupt
  assert not os.listdir(place)


def test_scratch_folder_is_removed_and_reports_full_disks(monkeypatch):
  with pytest.raises(errors.UserError, match=(
      'for temporary files, cannot be written: No space left on device. Set')):
    with manifest.scratch() as folder:
      raise OSError(28, 'No space left on device')
  assert not os.path.exists(folder)
  with pytest.raises(tf.errors.InvalidArgumentError):
    with manifest.scratch():
      raise tf.errors.InvalidArgumentError(None, None, 'Matrix')
  monkeypatch.setattr(manifest.tempfile, 'tempdir', '/nowhere')
  with pytest.raises(errors.UserError, match=(
      '^/nowhere, for temporary files, cannot be written: No such file')):
    with manifest.scratch():
      pass


def test_labels_file_has_one_line_per_class(tmp_path):
  path = manifest.write_labels(str(tmp_path), ['cat', 'é'])
  with open(path, encoding='utf-8') as file:
    assert file.read() == 'cat\né\n'


def test_line_breaks_in_names_do_not_shift_classes(place, origin):
  """labels.txt keeps one line per class; predict gets the names unchanged."""
  names = ('a\nb', 'c\u2028d', 'e')
  path = str(place / 'out')
  with manifest.writing(path, {**origin(), 'label_names': names}) as folder:
    manifest.write_labels(folder, names)
  with open(os.path.join(path, 'labels.txt'), encoding='utf-8') as file:
    assert file.read() == 'a b\nc d\ne\n'
  assert manifest.read_labels(path) == names


def test_labels_of_version_0_1_0_are_read():
  folder = pathlib.Path(__file__).parents[1] / 'golden' / 'export_before'
  assert manifest.read_labels(str(folder)) == tuple('0123456789')
