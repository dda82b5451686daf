"""predict.py, run in separate processes as users do."""

import csv
import io
import os
import pathlib
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
PROGRAM = str(ROOT / 'tf_tokenlearner' / 'predict.py')


def run(*arguments, folder='/'):
  """Runs predict.py; returns (exit code, stdout, stderr)."""
  done = subprocess.run(
      [sys.executable, PROGRAM, *arguments], capture_output=True, text=True,
      check=False, cwd=folder)
  return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize('arguments, message', [
    (['a.png'], '--model must be given'),
    (['--model=m'], 'Expected images, videos or folders of them'),
    (['--model=m', '--top=0', 'a.png'], '--top must be at least 1, got 0'),
    (['--model=m', '--stream', '--batch_size=2', 'a.png'],
     '--batch_size does not go with --stream'),
    (['--model=m', '--format=tabel', 'a.png'],
     "Unknown --format 'tabel'. Known: table, "),
    (['--model=m', 'a.png'], 'There is no file or folder a.png.')])
def test_mistakes_are_one_line(arguments, message):
  code, out, err = run(*arguments)
  assert (code, out, err.count('\n')) == (2, '', 1)
  assert message in err


def test_process_prints_predictions_and_does_not_import_the_model_garden(
    image_export, tmp_path):
  """Runs as a module, on a file and in a folder with special characters."""
  folder = tmp_path / 'export [lr=0.1]*'
  shutil.copytree(image_export, folder)
  for name in ('a.png', 'c.png'):
    cv2.imwrite(str(tmp_path / name), np.zeros([9, 9, 3], np.uint8))
  odd = os.fsencode(tmp_path) + b'/\xff\xc3\xa9 [1].png'
  os.rename(tmp_path / 'c.png', odd)
  (tmp_path / 'b.png').write_bytes(b'')
  done = subprocess.run(
      [sys.executable, '-c', """if True:
          import atexit, runpy, sys
          atexit.register(lambda: print(
              [n for n in sys.modules if n.split('.')[0] == 'official'],
              file=sys.stderr))
          runpy.run_module('tf_tokenlearner.predict', run_name='__main__',
                           alter_sys=True)""",
       f'--model={folder}', '--format=csv', '--attention=maps', 'a.png',
       'b.png', odd], capture_output=True,
      cwd=tmp_path, check=False, env={**os.environ, 'PYTHONIOENCODING': 'ascii',
                                      'PYTHONPATH': str(ROOT)})
  assert (done.returncode, done.stderr) == (
      1, b'1 of 3 files could not be read:\n  b.png: empty file\n[]\n')
  good, bad, other = csv.DictReader(io.StringIO(done.stdout.decode('ascii')))
  assert (good['file'], good['error']) == ('a.png', '')
  assert 0 < float(good['probability_3']) < float(good['probability_1']) <= 1
  assert (bad['file'], bad['error'], bad['class_1']) == (
      'b.png', 'empty file', '')
  assert other['file'].endswith(' [1].png') and not other['error']
  assert sorted(os.listdir(os.fsencode(tmp_path / 'maps'))) == [
      b'a.png.png', b'\xff\xc3\xa9 [1].png.png']
