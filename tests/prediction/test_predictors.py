"""Exports are found and called in batches of suitable size."""

import json
import os
import shutil
import types

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.prediction import examples
from tf_tokenlearner.prediction import predictors

IMAGE = tf.constant(np.arange(12 * 9 * 3).reshape(12, 9, 3), tf.uint8)
FACTS = {'kind': 'tflite', 'preprocessing': {
    'inputs': 'images', 'input_size': [8, 8, 1], 'center_crop_fraction': 1.}}


def write_origin(folder, facts):
  (folder / 'origin.json').write_text(json.dumps(facts))
  return str(folder)


def test_the_named_file_is_loaded(tflite_export, tmp_path, monkeypatch):
  folder = tmp_path / 'x'
  shutil.copytree(tflite_export, folder)
  (folder / 'model.tflite').rename(folder / 'other.tflite')
  (folder / 'model.tflite').write_bytes(b'torn')
  expected, = predictors.Export(tflite_export).load().probabilities([IMAGE], 1)
  monkeypatch.chdir(folder)
  for path in (str(folder / 'other.tflite'), 'other.tflite'):
    export = predictors.Export(path)
    assert export.folder == (os.path.dirname(path) or '.')
    found, = export.load().probabilities([IMAGE], 1)
    np.testing.assert_array_equal(found, expected)
  with pytest.raises(errors.UserError, match='^model.tflite cannot be loaded:'):
    predictors.Export('model.tflite').load()
  with pytest.raises(errors.UserError, match=f'^{folder} cannot be loaded: '):
    predictors.Export(str(folder)).load()


def test_file_of_a_saved_model_is_refused(image_export):
  path = os.path.join(image_export, 'saved_model.pb')
  with pytest.raises(errors.UserError, match=(
      f'^{path} is part of an export of the format saved_model. Give ')
  ):
    predictors.Export(path)


def test_messages_name_the_folder(tmp_path, monkeypatch):
  (tmp_path / 'a.tflite').write_bytes(b'')
  monkeypatch.chdir(tmp_path)
  with pytest.raises(errors.UserError, match='^[.] has no origin.json'):
    predictors.Export('a.tflite')


@pytest.mark.parametrize('change', [
    {'kind': ['tflite']}, {'preprocessing': []}, {'preprocessing': {}},
    {'preprocessing': {**FACTS['preprocessing'], 'inputs': 'sounds'}},
    {'preprocessing': {**FACTS['preprocessing'], 'inputs': ['images']}},
    {'preprocessing': {**FACTS['preprocessing'], 'newer': 1}},
    {'preprocessing': {**FACTS['preprocessing'], 'input_size': 8}},
    {'batch_size': 'any'}, {'batch_size': None}])
def test_manifest_of_another_version_is_refused(tmp_path, change):
  predictors.Export(write_origin(tmp_path, FACTS))
  with pytest.raises(errors.UserError, match=(
      '/origin.json was written by another version. Export again.$')):
    predictors.Export(write_origin(tmp_path, {**FACTS, **change}))


class Sizes(predictors.Predictor):
  """Returns the first number of each example and records batch sizes."""

  def __init__(self, batch_size, is_compiled):
    super().__init__(types.SimpleNamespace(
        view=None, batch_size=batch_size, is_compiled=is_compiled))
    self.seen = []

  def _probabilities(self, examples):
    self.seen.append(len(examples))
    return [np.ravel(example)[:1] for example in examples]

  def require_attention_maps(self):
    pass

  def attention_maps(self, examples, batch_size):
    return []


@pytest.mark.parametrize('batch_size, is_compiled, count, seen', [
    (0, False, 3, [3]), (2, False, 3, [2, 2]), (2, True, 3, [2, 2]),
    (0, True, 3, [4]), (0, True, 4, [4]), (0, True, 1, [4])])
def test_last_batch_is_padded(batch_size, is_compiled, count, seen):
  """A model compiled per batch size sees one size."""
  predictor = Sizes(batch_size, is_compiled)
  found = predictor.probabilities(
      [tf.fill([2, 2, 3], i) for i in range(count)], 4)
  assert np.ravel(found).tolist() == list(range(count))
  assert predictor.seen == seen


def test_manifest_states_whether_the_export_is_compiled(tmp_path):
  for is_compiled in (False, True):
    folder = write_origin(tmp_path, {**FACTS, 'jit_compile': is_compiled})
    assert predictors.Export(folder).is_compiled == is_compiled
  assert not predictors.Export(write_origin(tmp_path, FACTS)).is_compiled


def test_clips_refused_by_the_export_give_a_reason(video_export):
  """The other clips are answered, also if there are none."""
  frame = tf.io.encode_jpeg(np.full([24, 32, 3], 99, np.uint8)).numpy()
  length = len(predictors.Export(video_export).view.window(9))
  good, empty, text = ([data] * length for data in (frame, b'', b'text'))
  reasons = {'empty': 'refused by the export: empty', 'text': (
      'refused by the export: content is no JPEG, PNG, GIF or WebP')}
  predictor = predictors.Export(video_export).load()
  alone, = predictor.probabilities([good], 4)
  first, second, third = predictor.probabilities([empty, good, text], 4)
  np.testing.assert_allclose(second, alone, rtol=0, atol=1e-6)
  assert [str(first), str(third)] == list(reasons.values())
  for batch_size in (0, 1, 2, 3, 5):
    predictor._batch_size = batch_size  # pylint: disable=protected-access
    found = predictor.probabilities([empty, text, empty], 4)
    assert all(isinstance(reason, examples.UnreadableError) for reason in found)
    assert list(map(str, found)) == [
        reasons['empty'], reasons['text'], reasons['empty']]


def test_errors_of_the_export_become_reasons(video_export):
  predictor = predictors.Export(video_export).load()

  def fail(image_bytes):
    raise tf.errors.InvalidArgumentError(None, None, 'odd\nframes')

  # pylint: disable-next=protected-access
  predictor._signatures = {'image_bytes': fail}
  found, = predictor.probabilities([[b'']], 1)
  assert str(found) == 'refused by the export: odd frames'


def test_run_folder_is_refused(tmp_path):
  (tmp_path / 'run.yaml').write_text('')
  with pytest.raises(errors.UserError, match='is a run, not an export. Export'):
    predictors.Export(str(tmp_path))
