"""Uses a TensorFlow Hub module in a process without our package."""

import os
import subprocess
import sys
import tempfile
from typing import Dict

import numpy as np
import tensorflow as tf

_CONSUMER = os.path.join(
    os.path.dirname(os.path.abspath(__file__)), 'serving', 'hub_consumer.py')


def consume(module: str, inputs: np.ndarray) -> Dict[str, np.ndarray]:
  """Returns the results of hub_consumer, run with TensorFlow's packages only.

  Args:
    module: its folder.
    inputs: float32 [B, ...] in [0, 1].
  """
  parent, name = os.path.split(module)
  with tempfile.TemporaryDirectory() as scratch:
    paths = [os.path.join(scratch, file) for file in ('inputs.npy', 'out.npz')]
    np.save(paths[0], inputs)
    done = subprocess.run(
        [sys.executable, '-S', _CONSUMER, name, *paths], cwd=parent,
        env={'PYTHONPATH': os.path.dirname(os.path.dirname(tf.__file__)),
             'TF_CPP_MIN_LOG_LEVEL': '3'},
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(paths[1]) as arrays:
      return dict(arrays)
