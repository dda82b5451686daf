"""One line that tells how far a long preparation has come."""

import sys
import time
from typing import Callable

_TERMINAL_SECONDS, _PLAIN_SECONDS = 0.1, 10.


class Progress:
  """Counts up; rewrites one line on a terminal, else says a line at times.

  Args:
    what: is being done, 'Checking images'.
    total: how many there are.
    announce: takes plain lines; not called on a terminal.
  """

  def __init__(self, what: str, total: int, announce: Callable[[str], None]):
    self._what, self._total, self._announce = what, total, announce
    self._is_terminal = sys.stderr.isatty()
    self._done = 0
    self._last_time = time.monotonic()

  def advance(self, count: int = 1) -> None:
    """`count` more are done."""
    self._done += count
    now = time.monotonic()
    if now - self._last_time >= (
        _TERMINAL_SECONDS if self._is_terminal else _PLAIN_SECONDS):
      self._last_time = now
      line = f'{self._what}: {self._done:,} of {self._total:,}'
      if self._is_terminal:
        sys.stderr.write(f'\r\x1b[K{line}')
        sys.stderr.flush()
      else:
        self._announce(line)

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *unused_error) -> None:
    if self._is_terminal:  # What is said next begins on an empty line.
      sys.stderr.write('\r\x1b[K')
      sys.stderr.flush()
