"""Progress of long work: one line that is rewritten, or few lines in a log.

tqdm is not used: where stderr is no terminal, it writes a line per update or
nothing, and cannot hand its lines to a function such as TFDS's logger.
"""

import shutil
import sys
import time
from typing import Callable, Optional, TextIO


# Minimum time between two lines, on a terminal and elsewhere.
_TERMINAL_SECONDS, _PLAIN_SECONDS = 0.1, 10.
# The time left is not shown earlier: the first estimates vary too much.
_SECONDS_TO_ESTIMATE = 5.


class StatusLine:
  """A line on a terminal that replaces itself; elsewhere a line now and then.

  Args:
    stream: where the line goes; stderr by default.
    announce: receives the lines if stream is no terminal; by default they go to
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
    """Replaces the line, unless it was replaced a moment ago.

    Args:
      text: the new line; a terminal shows as much as fits its width.
      force: replaces the line in any case.
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
    """Writes a line that stays."""
    self.clear()
    self._write_plain(text)

  def clear(self) -> None:
    """Clears the line, so that others can write to the terminal."""
    if self._is_open:
      self._stream.write('\r\x1b[K')
      self._stream.flush()
      self._is_open = False

  def _write_plain(self, text: str) -> None:
    self._stream.write(text + '\n')
    self._stream.flush()


class Progress(StatusLine):
  """A status line that counts: 'Checking images: 100 of 1,000, 2:30 left'.

  Args:
    task: description of the work, 'Checking images'.
    total: number of items.
    announce: receives the lines if stderr is no terminal.
    done: number of items that are done already.
  """

  def __init__(self, task: str, total: int, announce: Callable[[str], None],
               done: int = 0):
    super().__init__(announce=announce)
    self._task, self._total, self._done = task, total, done
    # Speed is measured from the end of the first item, which includes start-up.
    self._start, self._done_at_start = None, done

  def advance(self, count: int = 1) -> None:
    """Counts `count` more items as done."""
    self._done += count
    if self._start is None:
      self._start, self._done_at_start = time.monotonic(), self._done
    self.show(f'{self._task}: {self._done:,} of {self._total:,}'
              + self._time_left())

  def _time_left(self) -> str:
    elapsed = time.monotonic() - self._start
    done, left = self._done - self._done_at_start, self._total - self._done
    if elapsed < _SECONDS_TO_ESTIMATE or not done or not left:
      return ''
    seconds = elapsed / done * left
    return f', {duration(seconds)} left'

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *unused_error) -> None:
    self.clear()


def duration(seconds: float) -> str:
  """Formats a duration as 0:07, 12:30 or 3:05:00."""
  minutes, seconds = divmod(int(seconds + 0.5), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f'{hours}:{minutes:02d}:{seconds:02d}'
  return f'{minutes}:{seconds:02d}'
