"""Counts what a long preparation has done."""

from typing import Callable

from tf_tokenlearner import status_line


class Progress:
  """'Checking images: 100 of 1,000', on a line of its own while it lasts.

  Args:
    what: is being done, 'Checking images'.
    total: how many there are.
    announce: takes plain lines; not called on a terminal.
  """

  def __init__(self, what: str, total: int, announce: Callable[[str], None]):
    self._what, self._total = what, total
    self._line = status_line.StatusLine(announce=announce)
    self._done = 0

  def advance(self, count: int = 1) -> None:
    """`count` more are done."""
    self._done += count
    self._line.show(f'{self._what}: {self._done:,} of {self._total:,}')

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *unused_error) -> None:
    self._line.clear()
