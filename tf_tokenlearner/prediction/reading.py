"""Reads files ahead in threads, and hands them out in batches of one shape."""

import collections
from concurrent import futures
import os
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from tf_tokenlearner.prediction import examples

_MAX_WAITING_BYTES = 512 * 2**20  # Decoded, until a batch is full.

# Numbers of files, and what was read of them.
Batch = Tuple[List[int], List[examples.Example]]


def read_all(paths: Sequence[str], read: Callable[[str], examples.Example],
             ahead: int) -> Iterator[Any]:
  """Yields an example, or an UnreadableError, of each file in order.

  Args:
    paths: of the files.
    read: raises UnreadableError.
    ahead: so many are read, or being read, while the caller is busy.
  """
  def attempt(path):
    try:
      return read(path)
    except examples.UnreadableError as error:
      return error
    except MemoryError:
      raise
    except Exception as error:  # pylint: disable=broad-except
      # One odd file must not end the reading of all.
      text = ' '.join(str(error).split())
      return examples.UnreadableError(
          f'cannot be read ({type(error).__name__}: {text})')

  pool = futures.ThreadPoolExecutor(os.cpu_count())
  waiting = collections.deque()
  try:
    for path in paths:
      waiting.append(pool.submit(attempt, path))
      if len(waiting) > ahead:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()
  finally:
    pool.shutdown(cancel_futures=True)


class Batches:
  """Puts examples of one shape together.

  Args:
    batch_size: of a full batch.
  """

  def __init__(self, batch_size: int):
    self._batch_size = batch_size
    self._waiting: Dict[Any, Batch] = {}
    self._num_bytes = 0

  def add(self, number: int, example: examples.Example) -> Iterator[Batch]:
    """Takes an example; yields the batches that should not wait."""
    shape = tuple(getattr(example, 'shape', ()))
    numbers, members = self._waiting.setdefault(shape, ([], []))
    numbers.append(number)
    members.append(example)
    self._num_bytes += _size(example)
    if len(members) == self._batch_size:
      yield self._take(shape)
    elif self._num_bytes > _MAX_WAITING_BYTES:
      yield self._take(next(iter(self._waiting)))  # Waits longest.

  def rest(self) -> Iterator[Batch]:
    """Yields what never became full."""
    for shape in list(self._waiting):
      yield self._take(shape)

  def _take(self, shape) -> Batch:
    batch = self._waiting.pop(shape)
    self._num_bytes -= sum(map(_size, batch[1]))
    return batch


def _size(example: examples.Example) -> int:
  if isinstance(example, list):
    return sum(map(len, example))
  return example.shape.num_elements()
