"""Runs TFLite files as an application would, by LiteRT on all cores."""

import os
from typing import Callable, Dict

from ai_edge_litert import interpreter
import numpy as np


def runner(data: bytes, signature: str = 'serving_default'
           ) -> Callable[..., Dict[str, np.ndarray]]:
  """What one signature of a file gives for its inputs, all by name."""
  return interpreter.Interpreter(
      model_content=data,
      num_threads=os.cpu_count()).get_signature_runner(signature)
