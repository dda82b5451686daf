"""Reads the arrays of tests/golden, computed with the official JAX code."""

import json
import pathlib
from typing import Any, Dict, NamedTuple

import numpy as np

FOLDER = pathlib.Path(__file__).parent / 'golden'
TOLERANCE = dict(atol=1e-5, rtol=0)


class Golden(NamedTuple):
  """One file: kwargs of the official class, its inputs, weights and outputs."""
  config: Dict[str, Any]
  inputs: Dict[str, np.ndarray]
  params: Dict[str, np.ndarray]
  outputs: Dict[str, np.ndarray]

  @property
  def kwargs(self) -> Dict[str, Any]:
    return self.config['kwargs']


def read(name: str) -> Golden:
  """Returns a golden file by name, keys without their prefix."""
  with np.load(FOLDER / f'{name}.npz', allow_pickle=False) as arrays:
    part = lambda prefix: {
        key.removeprefix(prefix): arrays[key] for key in arrays
        if key.startswith(prefix)}
    config = json.loads(str(arrays['config'])) if 'config' in arrays else {}
    return Golden(config, part('input/'), part('params/'), part('output/'))
