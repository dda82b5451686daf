"""Runs TFLite files with LiteRT on all cores, as an application would."""

import os
from typing import Callable, Dict

from ai_edge_litert import interpreter
import numpy as np


def runner(data: bytes, signature: str = 'serving_default'
           ) -> Callable[..., Dict[str, np.ndarray]]:
  """Returns a function {input name: array} -> {output name: array}."""
  return interpreter.Interpreter(
      model_content=data,
      num_threads=os.cpu_count()).get_signature_runner(signature)
