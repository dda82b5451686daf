"""Counts what a long preparation has done."""

import shutil
import sys
import time
from typing import Callable, Optional, TextIO


_TERMINAL_SECONDS, _PLAIN_SECONDS = 0.1, 10.  # Between two lines at least.


class StatusLine:
  """Tells how far something long has come.

  Args:
    stream: where the line goes; stderr by default.
    announce: takes plain lines if stream is no terminal; by default they go to
      the stream.
  """

  def __init__(self, stream: Optional[TextIO] = None,
               announce: Optional[Callable[[str], None]] = None):
    self._stream = stream or sys.stderr
    self._announce = announce or self._write_plain
    self._is_terminal = self._stream.isatty()
    self._last_time = (
        float('-inf') if self._is_terminal else time.monotonic())
    self._is_open = False

  def show(self, text: str, force: bool = False) -> None:
    """Replaces the line, unless the last one is too fresh.

    Args:
      text: cut to the width of the terminal.
      force: show it however fresh the last one is.
    """
    now = time.monotonic()
    wait = _TERMINAL_SECONDS if self._is_terminal else _PLAIN_SECONDS
    if not force and now - self._last_time < wait:
      return
    self._last_time = now
    if self._is_terminal:
      columns = shutil.get_terminal_size().columns
      self._stream.write(f'\r\x1b[K{text[:columns - 1]}')
      self._stream.flush()
      self._is_open = True
    else:
      self._announce(text)

  def note(self, text: str) -> None:
    """A line that stays."""
    self.clear()
    self._write_plain(text)

  def clear(self) -> None:
    """Leaves the terminal with an empty line to write on."""
    if self._is_open:
      self._stream.write('\r\x1b[K')
      self._stream.flush()
      self._is_open = False

  def _write_plain(self, text: str) -> None:
    self._stream.write(text + '\n')
    self._stream.flush()


def duration(seconds: float) -> str:
  """0:07, 12:30 or 3:05:00."""
  minutes, seconds = divmod(int(seconds + 0.5), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours}:{minutes:02d}:{seconds:02d}'
  return f'{minutes}:{seconds:02d}'


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
    self._line = StatusLine(announce=announce)
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
    return f', {duration(seconds)} left'

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *unused_error) -> None:
    self.clear()
