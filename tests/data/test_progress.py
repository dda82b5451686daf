"""The line that tells how far a preparation has come."""

import io

from tf_tokenlearner import progress


class Clock:
  """Goes on by three seconds each time it is asked."""
  now = 0.

  def monotonic(self):
    self.now += 3.
    return self.now


def count_to_nine(monkeypatch, is_terminal):
  stream, lines = io.StringIO(), []
  stream.isatty = lambda: is_terminal
  monkeypatch.setattr(progress.sys, 'stderr', stream)
  monkeypatch.setattr(progress, 'time', Clock())
  with progress.Progress('Checking images', 1000, lines.append) as counter:
    for _ in range(9):
      counter.advance(100)
  return stream.getvalue(), lines


def test_plain_lines_now_and_then(monkeypatch):
  assert count_to_nine(monkeypatch, is_terminal=False) == (
      '', ['Checking images: 400 of 1,000', 'Checking images: 800 of 1,000'])


def test_one_line_on_a_terminal(monkeypatch):
  written, lines = count_to_nine(monkeypatch, is_terminal=True)
  assert not lines and '\n' not in written
  parts = written.split('\r\x1b[K')
  assert parts[1] == 'Checking images: 100 of 1,000'
  assert parts[9] == 'Checking images: 900 of 1,000'
  assert parts[10:] == ['']  # It is gone when all is done.


def test_time_left(monkeypatch):
  """By what was done since the first; said once it can be guessed."""
  now, lines = [0.], []
  monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
  with progress.Progress('Decoding', 1000, lines.append, done=500) as counter:
    for seconds in (4, 11, 22, 1500):
      now[0] = seconds
      counter.advance(50)
    now[0] = 3000
    counter.advance(300)
  assert lines == [
      'Decoding: 600 of 1,000, 0:56 left', 'Decoding: 650 of 1,000, 1:03 left',
      'Decoding: 700 of 1,000, 49:52 left', 'Decoding: 1,000 of 1,000']
