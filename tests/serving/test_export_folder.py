"""An export is whole or not there, and nobody else's is touched."""

import json
import os

import pytest
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.serving import export_folder


def origin(**options):
  return export_folder.origin('run', 'run/ckpt-1', 'saved_model', **options)


def write(path, **options):
  with export_folder.writing(path, {**origin(**options), 'input': 'é'}):
    pass


def test_the_same_export_is_recognised(tmp_path):
  path = str(tmp_path / 'out')
  assert not export_folder.is_there(origin(batch_size=1), path)
  write(path, batch_size=1)
  assert export_folder.is_there(origin(batch_size=1), path)
  with open(os.path.join(path, 'origin.json'), encoding='utf-8') as file:
    facts = json.load(file)
  assert (facts['kind'], facts['input']) == ('saved_model', 'é')
  assert facts['checkpoint'] == os.path.abspath('run/ckpt-1')
  with pytest.raises(errors.UserError, match=(
      'holds another export of this run: batch_size 1, not 2. Remove')):
    export_folder.is_there(origin(batch_size=2), path)
  with pytest.raises(errors.UserError, match=(
      'of this run: kind saved_model, not tflite. Remove')):
    export_folder.is_there(
        export_folder.origin('run', 'run/ckpt-2', 'tflite'), path)


@pytest.mark.parametrize('content', [None, 'no json', '{"model_dir": "/x"}'])
def test_what_is_not_ours_is_refused(tmp_path, content):
  if content:
    (tmp_path / 'origin.json').write_text(content)
  for refuse in (lambda: export_folder.refuse_foreign('run', str(tmp_path)),
                 lambda: export_folder.is_there(origin(), str(tmp_path))):
    with pytest.raises(errors.UserError, match='exists already and is no exp'):
      refuse()


@pytest.mark.parametrize('error', [
    OSError(28, 'No space left on device'),
    tf.errors.ResourceExhaustedError(
        None, None, 'out.partial/a; No space left on device [Op:SaveV2]\nat')])
def test_a_full_disk_leaves_nothing(tmp_path, error):
  with pytest.raises(errors.UserError, match=(
      'out cannot be written: No space left on device$')) as caught:
    with export_folder.writing(str(tmp_path / 'out'), origin()) as beside:
      export_folder.write_labels(beside, ['a'])
      raise error
  assert '\n' not in str(caught.value)
  assert not os.listdir(tmp_path)


def test_a_place_that_cannot_be(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(errors.UserError, match='cannot be written'):
    write(str(tmp_path / 'file' / 'out'))


def test_an_interrupt_leaves_nothing(tmp_path):
  with pytest.raises(KeyboardInterrupt):
    with export_folder.writing(str(tmp_path / 'out'), origin()) as beside:
      assert os.path.basename(beside).startswith('.out.')
      raise KeyboardInterrupt
  assert not os.listdir(tmp_path)


def test_labels_are_lines(tmp_path):
  path = export_folder.write_labels(str(tmp_path), ['cat', 'é'])
  with open(path, encoding='utf-8') as file:
    assert file.read() == 'cat\né\n'
