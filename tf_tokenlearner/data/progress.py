"""Counts what a long preparation has done."""

import time
from typing import Callable

from tf_tokenlearner import status_line

# Before, a guess at the time left would jump about.
_SECONDS_TO_GUESS = 5.


class Progress:
  """'Checking images: 100 of 1,000, 2:30 left', on a line of its own.

  Args:
    what: is being done, 'Checking images'.
    total: how many there are.
    announce: takes plain lines; not called on a terminal.
    done: how many of them are done before this begins.
  """

  def __init__(self, what: str, total: int, announce: Callable[[str], None],
               done: int = 0):
    self._what, self._total = what, total
    self._line = status_line.StatusLine(announce=announce)
    self._done = done
    # Since when, and from where: the first of all may be slow to start with.
    self._start, self._done_at_start = None, done

  def advance(self, count: int = 1) -> None:
    """`count` more are done."""
    self._done += count
    if self._start is None:
      self._start, self._done_at_start = time.monotonic(), self._done
    self._line.show(f'{self._what}: {self._done:,} of {self._total:,}'
                    + self._time_left())

  def clear(self) -> None:
    """Leaves the terminal with an empty line, until more is done."""
    self._line.clear()

  def _time_left(self) -> str:
    elapsed = time.monotonic() - self._start
    done, left = self._done - self._done_at_start, self._total - self._done
    if elapsed < _SECONDS_TO_GUESS or not done or not left:
      return ''
    seconds = elapsed / done * left
    return f', {status_line.duration(seconds)} left'

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *unused_error) -> None:
    self.clear()
