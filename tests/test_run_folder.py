"""The folder of a run: config, class names, lock."""

import json
import subprocess
import sys

import pytest

from tf_tokenlearner import errors
from tf_tokenlearner import run_folder

NAMES = ('1e3', '2e1', 'null', 'on', '007', '0x1f', '12:30', '1_000', '.5',
         '2024-01-01', '~', 'cat: dog', '# x')
PARAMS = {'trainer': {'best_checkpoint_export_subdir': 'best_ckpt'},
          'task': {'label_names': list(NAMES), 'rate': 1e-7}}


def test_class_names_remain_text(tmp_path):
  folder = str(tmp_path / 'run')
  run_folder.save(run_folder.Run(folder, 'it', PARAMS, NAMES))
  run = run_folder.load(folder)
  assert run.label_names == NAMES
  assert run.params == PARAMS


def test_unquoted_names_of_old_runs_are_text(tmp_path):
  (tmp_path / 'params.yaml').write_text(json.dumps(PARAMS))
  (tmp_path / 'run.yaml').write_text(
      'experiment: it\nlabel_names: [1e3, 007, on]')
  assert run_folder.load(str(tmp_path)).label_names == ('1e3', '007', 'on')


def test_second_training_in_a_folder_is_refused(tmp_path):
  folder = str(tmp_path / 'run')
  other = subprocess.Popen(
      [sys.executable, '-c', 'import sys\n'
       'from tf_tokenlearner import run_folder\n'
       f'with run_folder.training_lock({folder!r}):\n'
       '  print("in", flush=True)\n  sys.stdin.read()'],
      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
  try:
    assert other.stdout.readline() == 'in\n'
    with pytest.raises(errors.UserError, match=f'process {other.pid} on '):
      with run_folder.training_lock(folder):
        pass
  finally:
    other.kill()
    other.communicate()
  with run_folder.training_lock(folder):  # The lock ended with the process.
    pass
  assert not (tmp_path / 'run' / '.training.lock').exists()
