"""Times several functions fairly, even on a shared machine."""

import os
import platform
import statistics
import time
from typing import Any, Callable, Dict, Hashable, Tuple

import tensorflow as tf

_WARM_UP = 2  # The first call traces and compiles, the second fills caches.


def interleave(functions: Dict[Hashable, Callable[[], Any]],
               rounds: int) -> Dict[Hashable, float]:
  """Returns the median time of each function in seconds.

  Every round runs every function once, so that a slow spell of the machine
  affects all of them.

  Args:
    functions: functions to time, by name; each must wait for its result.
    rounds: int > 0. Rounds after the warm-up.
  """
  for function in functions.values():
    for _ in range(_WARM_UP):
      function()
  seconds = {name: [] for name in functions}
  for _ in range(rounds):
    for name, function in functions.items():
      start = time.perf_counter()
      function()
      seconds[name].append(time.perf_counter() - start)
  return {name: statistics.median(times) for name, times in seconds.items()}


def one_matmul(macs: int) -> Tuple[Callable[[], Any], int]:
  """Returns a square float32 matrix multiplication with about `macs` MACs.

  Its time bounds that of a model with as many MACs from below.

  Returns:
    (function to time, its MACs).
  """
  size = max(64, round(macs**(1 / 3) / 64) * 64)
  a, b = tf.random.normal([2, size, size])

  @tf.function
  def corner():
    return tf.matmul(a, b)[0, 0]

  return lambda: corner().numpy(), size**3


def machine() -> str:
  """Returns 'processor, 2 cores, TensorFlow 2.20.0', with GPUs if any."""
  models = []
  if os.path.exists('/proc/cpuinfo'):
    with open('/proc/cpuinfo', encoding='utf-8') as file:
      models = [line.partition(':')[2].strip() for line in file
                if line.startswith('model name')]
  name = models[0] if models else platform.processor() or platform.machine()
  gpus = [tf.config.experimental.get_device_details(gpu)['device_name']
          for gpu in tf.config.list_physical_devices('GPU')]
  return ', '.join([
      name, f'{os.cpu_count()} cores', *gpus, f'TensorFlow {tf.__version__}'])
