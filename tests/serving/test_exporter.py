"""Exporters in common: odd class names and paths, refusals, samples."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow_hub as hub

from tf_tokenlearner import errors
from tf_tokenlearner import files
from tf_tokenlearner import run_folder
from tf_tokenlearner.prediction import predictors
from tf_tokenlearner.serving import hub_module
from tf_tokenlearner.serving import saved_model
from tf_tokenlearner.serving import servable
from tf_tokenlearner.serving import streaming
from tf_tokenlearner.serving import tflite_file
from tf_tokenlearner.serving import verification

NAMES = ('1e3', 'null', 'on', '007', '0x1f', '12:30', '1_000', '.5',
         '2024-01-01', 'two\nlines')


@pytest.fixture(scope='module', name='odd_names')
def fixture_odd_names(finished_run, tmp_path_factory):
  """A run whose class names look like numbers, and its checkpoint."""
  folder = str(tmp_path_factory.mktemp('runs') / 'sweep [lr=1e-3]*')
  run, checkpoint = servable.find(finished_run)
  run_folder.save(run_folder.Run(
      folder, run.experiment, run.params, NAMES))
  return folder, checkpoint


def test_saved_model_keeps_odd_class_names_and_paths(
    odd_names, tmp_path, ask_in_process):
  """Class names stay strings, and paths are not taken for patterns."""
  folder, checkpoint = odd_names
  out = str(tmp_path / 'out [x]?')
  saved_model.export(folder, out, checkpoint, verify_examples=0)
  assert predictors.Export(out).load().label_names == NAMES


def test_tflite_file_keeps_odd_class_names_and_paths(odd_names, tmp_path):
  folder, checkpoint = odd_names
  out = tmp_path / 'tflite [x]*'
  # The names are not those of the evaluation data, on which it would be tried.
  tflite_file.export(folder, str(out), checkpoint, verify=False)
  assert predictors.Export(str(out)).load().label_names == NAMES


def test_hub_module_keeps_odd_class_names_and_paths(odd_names, tmp_path):
  folder, checkpoint = odd_names
  out = tmp_path / 'hub [x]*'
  hub_module.export(folder, str(out), checkpoint, verify=False)
  written = (*NAMES[:-1], 'two lines')
  assert tuple((out / 'labels.txt').read_text().splitlines()) == written
  card = ' '.join((out / 'README.md').read_text().split())
  assert ', 10: ' + ', '.join(f'`{name}`' for name in written) in card
  with files.without_wildcards(str(out)) as path:
    assert hub.load(path)(np.zeros([1, 8, 8, 3], np.float32)).shape == [1, 10]


@pytest.mark.parametrize('export_format', streaming.EXPORT_FORMATS)
def test_streaming_export_keeps_odd_class_names_and_paths(
    stream_run, tmp_path, export_format):
  run, checkpoint = servable.find(stream_run)
  folder, out = str(tmp_path / 'sweep [lr=1e-3]*'), str(tmp_path / 'out [x]?')
  names = NAMES[-8:]
  run_folder.save(run_folder.Run(folder, run.experiment, run.params, names))
  streaming.export(
      folder, out, checkpoint, export_format=export_format, verify=False)
  assert predictors.Export(out).load().label_names == names


def test_export_that_fails_verification_can_be_kept(
    finished_run, tmp_path, monkeypatch, capsys):
  def ask(*arguments):
    del arguments
    return {'signature': 'serving_default', 'label_names': list('0123456789'),
            'logits': np.ones([5, 10]), 'probabilities': np.zeros([5, 10])}
  monkeypatch.setattr(verification, 'ask', ask)
  monkeypatch.setattr(tflite_file, 'make', lambda *arguments: b'')
  out = tmp_path / 'out'
  options = dict(verify_examples=5)
  with pytest.raises(errors.UserError, match=(
      r'logits of the reloaded export differs by \d\.\d{3}e.*Nothing was kept; '
      '--keep_unverified keeps such an export')):
    tflite_file.export(finished_run, str(out), **options)
  assert not out.exists()
  tflite_file.export(finished_run, str(out), keep_unverified=True, **options)
  assert 'Kept, but unverified: logits of the' in ' '.join(
      capsys.readouterr().out.split())
  assert not json.loads((out / 'origin.json').read_text())['verified']
  with pytest.raises(errors.UserError, match='it was kept unverified'):
    tflite_file.export(finished_run, str(out), **options)


def test_verification_on_the_whole_split_gives_the_run_accuracy(
    finished_run, tflite_export, tmp_path, monkeypatch, capsys):
  """Training, evaluation and export report the same accuracy."""
  data = pathlib.Path(tflite_export, 'model.tflite').read_bytes()
  monkeypatch.setattr(tflite_file, 'make', lambda *arguments: data)
  score = run_folder.load(finished_run).best_scores()['accuracy']
  tflite_file.export(
      finished_run, str(tmp_path / 'out'), verify_examples=1000)
  assert json.loads((tmp_path / 'out' / 'origin.json').read_text())['verified']
  out = ' '.join(capsys.readouterr().out.split())
  assert 'all 360 evaluation examples' in out
  assert f'accuracy {score:.4f} (checkpoint {score:.4f}' in out
