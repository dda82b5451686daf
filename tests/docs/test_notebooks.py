"""The notebooks run, and are stored without output."""

import re

import nbformat
from nbclient import client
import pytest

from tests.docs import pages

_FOLDER = pages.ROOT / 'docs' / 'notebooks'


def execute(name, folder, environment, monkeypatch, steps):
  """Returns the notebook, trained for `steps`, and its results as text."""
  monkeypatch.setenv('PATH', environment['PATH'])
  notebook = nbformat.read(_FOLDER / name, as_version=4)
  config, = (cell for cell in notebook.cells
             if cell.source.startswith('%%writefile'))
  config.source, count = re.subn(
      r'(train_steps|validation_interval): \d+', rf'\1: {steps}', config.source)
  assert count == 2
  notebook.cells.append(nbformat.v4.new_code_cell(
      'print("RESULT", globals().get("accuracy"), '
      'len(globals().get("history", [])))'))
  client.NotebookClient(
      notebook, timeout=600, kernel_name='python3',
      resources={'metadata': {'path': str(folder)}}).execute()
  text = notebook.cells[-1].outputs[0].text.split()
  return notebook, text[1:]


def test_image_folder_to_tflite(tmp_path, environment, monkeypatch):
  notebook, (accuracy, _) = execute(
      'image_folder_to_tflite.ipynb', tmp_path, environment, monkeypatch, 100)
  said = ''.join(output.text for cell in notebook.cells
                 for output in cell.get('outputs', ()) if 'text' in output)
  assert '1797 images' in said and 'LiteRT' in said
  assert float(accuracy) > 0.5  # 0.1 is chance.


def test_video_stream(tmp_path, data_dir, environment, monkeypatch):
  (tmp_path / 'prepared').symlink_to(data_dir)
  _, (_, steps) = execute(
      'video_stream.ipynb', tmp_path, environment, monkeypatch, 12)
  assert steps == '32'


@pytest.mark.parametrize(
    'path', sorted(_FOLDER.glob('*.ipynb')), ids=lambda path: path.stem)
def test_stored_without_output(path):
  notebook = nbformat.read(path, as_version=4)
  for cell in notebook.cells:
    if cell.cell_type == 'code':
      assert not cell.outputs and cell.execution_count is None
