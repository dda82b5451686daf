"""An export is whole or not there, and nobody else's is touched."""

import json
import os

import pytest
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.serving import manifest


@pytest.fixture(name='origin')
def fixture_origin(tmp_path):
  """Facts of an export of a run, the weights of which are a text."""
  run = tmp_path / 'runs' / 'run'
  run.mkdir(parents=True)
  def make(weights='a', kind='saved_model', **options):
    (run / 'ckpt-1.index').write_text(weights)
    return manifest.origin(
        str(run), str(run / 'ckpt-1'), kind, **options)
  return make


@pytest.fixture(name='place')
def fixture_place(tmp_path):
  """An empty folder."""
  (tmp_path / 'exported').mkdir()
  return tmp_path / 'exported'


def write(path, facts, verified=True):
  with manifest.writing(path, {**facts, 'input': 'é'}, verified):
    pass


def test_the_same_export_is_recognised(place, origin, capsys):
  path = str(place / 'out')
  assert not manifest.is_there(origin(batch_size=1), path, True)
  write(path, origin(batch_size=1))
  for verify in (True, False):
    assert manifest.is_there(origin(batch_size=1), path, verify)
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
      (origin(kind='tflite'), 'kind saved_model, not tflite. Remove'),
      (origin('trained anew', batch_size=1), 'weights .*, not .* Remove')):
    with pytest.raises(errors.UserError, match=(
        'holds another export of this run: ' + message)):
      manifest.is_there(other, path, True)


def test_what_nobody_has_seen_is_not_taken_for_verified(place, origin):
  path = str(place / 'out')
  write(path, origin(), verified=False)
  assert manifest.is_there(origin(), path, False)
  with pytest.raises(errors.UserError, match='kept unseen with --noverify'):
    manifest.is_there(origin(), path, True)


@pytest.mark.parametrize('content', [
    None, 'no json', '{"place": "/x"}', '[]', '"x"'])
def test_what_is_not_ours_is_refused(tmp_path, origin, content):
  if content:
    (tmp_path / 'origin.json').write_text(content)
  for refuse in (lambda: manifest.refuse_foreign('run', str(tmp_path)),
                 lambda: manifest.is_there(
                     origin(), str(tmp_path), True)):
    with pytest.raises(errors.UserError, match='exists already and is no exp'):
      refuse()


@pytest.mark.parametrize('error', [
    OSError(28, 'No space left on device'),
    tf.errors.ResourceExhaustedError(
        None, None, 'BESIDE/a; No space left on device [Op:SaveV2]\nat')])
def test_a_full_disk_leaves_nothing(place, origin, error):
  with pytest.raises(errors.UserError, match=(
      'out cannot be written: No space left on device$')) as caught:
    with manifest.writing(
        str(place / 'out'), origin(), True) as beside:
      manifest.write_labels(beside, ['a'])
      if isinstance(error, tf.errors.OpError):
        error._message = error.message.replace('BESIDE', beside)
      raise error
  assert '\n' not in str(caught.value)
  assert not os.listdir(place)


@pytest.mark.parametrize('error', [
    FileNotFoundError(2, 'No such file', '/elsewhere/inputs.npy'),
    tf.errors.InvalidArgumentError(None, None, 'Matrix size-incompatible')])
def test_what_else_goes_wrong_is_not_called_writing(place, origin, error):
  with pytest.raises(type(error)):
    with manifest.writing(str(place / 'out'), origin(), True):
      raise error
  assert not os.listdir(place)


def test_a_place_that_cannot_be(place, origin):
  (place / 'file').write_text('')
  with pytest.raises(errors.UserError, match='out cannot be written'):
    write(str(place / 'file' / 'out'), origin())


def test_an_interrupt_leaves_nothing(place, origin):
  with pytest.raises(KeyboardInterrupt):
    with manifest.writing(
        str(place / 'out'), origin(), True) as beside:
      assert os.path.basename(beside).startswith('.out.')
      raise KeyboardInterrupt
  assert not os.listdir(place)


def test_temporary_files(monkeypatch):
  with pytest.raises(errors.UserError, match=(
      'for temporary files, cannot be written: No space left on device; TMPD')):
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


def test_labels_are_lines(tmp_path):
  path = manifest.write_labels(str(tmp_path), ['cat', 'é'])
  with open(path, encoding='utf-8') as file:
    assert file.read() == 'cat\né\n'
