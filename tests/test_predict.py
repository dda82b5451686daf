"""predict.py as a person runs it: in processes of its own."""

import csv
import io
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

PROGRAM = str(
    pathlib.Path(__file__).parents[1] / 'tf_tokenlearner' / 'predict.py')


def run(*arguments, folder='/'):
  """(exit code, stdout, stderr) of predict.py."""
  done = subprocess.run(
      [sys.executable, PROGRAM, *arguments], capture_output=True, text=True,
      check=False, cwd=folder)
  return done.returncode, done.stdout, done.stderr


def test_answers_and_nothing_else_on_stdout(image_export, tmp_path):
  cv2.imwrite(str(tmp_path / 'a.png'), np.zeros([9, 9, 3], np.uint8))
  (tmp_path / 'b.png').write_bytes(b'')
  code, out, err = run(
      f'--model={image_export}', '--format=csv', '--attention=maps', 'a.png',
      'b.png', folder=tmp_path)
  assert code == 1
  assert err == '1 of 2 files could not be answered:\n  b.png: empty file\n'
  good, bad = csv.DictReader(io.StringIO(out))
  assert (good['file'], good['error']) == ('a.png', '')
  assert 0 < float(good['probability_3']) < float(good['probability_1']) <= 1
  assert (bad['file'], bad['error'], bad['class_1']) == (
      'b.png', 'empty file', '')
  assert (tmp_path / 'maps' / 'a.png.png').exists()


@pytest.mark.parametrize('arguments, message', [
    (['a.png'], '--model must be given'),
    (['--model=m'], 'Which files?'),
    (['--model=m', '--top=0', 'a.png'], '--top must be at least 1, received 0'),
    (['--model=m', '--stream', '--batch_size=2', 'a.png'],
     '--batch_size does not go with --stream'),
    (['--model=m', '--format=tabel', 'a.png'],
     "Unknown --format 'tabel'. Known: table, "),
    (['--model=m', 'a.png'], 'There is no file or folder a.png.')])
def test_mistakes_are_one_line(arguments, message):
  code, out, err = run(*arguments)
  assert (code, out, err.count('\n')) == (2, '', 1)
  assert message in err
