"""Runs the documented command on the pictures of benchmarks/pretrained.py."""

import glob
import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any, Dict, List

from tf_tokenlearner import errors

EXPERIMENT = 'tokenlearner_finetune'


def run(folder: str, weights: str, pictures: str,
        parts: Dict[str, List[str]]) -> Dict[str, Any]:
  """Trains in a new process as a user would, and scores other pictures.

  Args:
    folder: folder of the run and of the class folders; its contents are removed
      first.
    weights: folder of the pretrained weights.
    pictures: folder with one folder per class.
    parts: files within pictures to 'train' on and to 'test'.

  Returns:
    Scores on the test pictures; seconds of the training command, from its start
    to its end, with packing the pictures and the pass through the frozen half.

  Raises:
    UserError: a command failed.
  """
  shutil.rmtree(folder, ignore_errors=True)
  for part, names in parts.items():
    for name in names:
      target = os.path.join(folder, part, name)
      os.makedirs(os.path.dirname(target), exist_ok=True)
      shutil.copy(os.path.join(pictures, name), target)
  model_dir = os.path.join(folder, 'run')
  start = time.monotonic()
  _call(f'--experiment={EXPERIMENT}', '--mode=train_and_eval',
        f'--model_dir={model_dir}', '--params_override=' + ','.join([
            f'task.train_data.input_path={os.path.join(folder, "train")}',
            f'task.train_data.tfds_data_dir={os.path.join(folder, "packed")}',
            f'task.init_checkpoint={weights}']))
  seconds = time.monotonic() - start
  _call('--mode=eval', f'--model_dir={model_dir}',
        f'--data={os.path.join(folder, "test")}')
  path, = glob.glob(os.path.join(model_dir, 'scores', 'test-*', 'scores.json'))
  with open(path, encoding='utf-8') as file:
    scores = json.load(file)
  return {**{key: scores[key] for key in (
      'accuracy', 'balanced_accuracy', 'auc')},
          'step': scores['step'], 'seconds': round(seconds, 1)}


def _call(*arguments: str) -> None:
  root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
  path = os.pathsep.join(filter(None, [root, os.environ.get('PYTHONPATH')]))
  done = subprocess.run(
      [sys.executable, '-m', 'tf_tokenlearner.train', *arguments],
      check=False, env={**os.environ, 'PYTHONPATH': path},
      stdout=sys.stderr)
  if done.returncode:
    raise errors.UserError(
        f'tokenlearner-train {" ".join(arguments)} ended with code '
        f'{done.returncode}; its message is above.')
