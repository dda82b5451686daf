"""Status lines and counters, on a terminal and in a log."""

import io
import time

import pytest

from tf_tokenlearner import progress


@pytest.fixture(name='clock')
def fixture_clock(monkeypatch):
  now = [100.]
  monkeypatch.setattr(time, 'monotonic', lambda: now[0])
  return now


def make(is_terminal, **kwargs):
  stream = io.StringIO()
  stream.isatty = lambda: is_terminal
  return stream, progress.StatusLine(stream, **kwargs)


def test_terminal_shows_one_line(clock, monkeypatch):
  monkeypatch.setenv('COLUMNS', '10')
  stream, line = make(is_terminal=True)
  line.show('longer than the terminal')
  line.show('too soon')
  clock[0] += 1
  line.show('b')
  line.note('stays')
  line.clear()
  assert stream.getvalue() == (
      '\r\x1b[Klonger th\r\x1b[Kb\r\x1b[Kstays\n')


def test_log_gets_a_line_every_ten_seconds(clock):
  stream, line = make(is_terminal=False)
  line.show('too soon')
  line.show('now', force=True)
  clock[0] += 11
  line.show('again')
  line.note('stays')
  line.clear()
  assert stream.getvalue() == 'now\nagain\nstays\n'


def test_announce_receives_the_lines(clock):
  announced = []
  stream, line = make(is_terminal=False, announce=announced.append)
  clock[0] += 11
  line.show('a')
  assert announced == ['a'] and not stream.getvalue()


@pytest.mark.parametrize('seconds, text', [
    (0, '0:00'), (7.4, '0:07'), (59.6, '1:00'), (750, '12:30'),
    (11100, '3:05:00')])
def test_duration(seconds, text):
  assert progress.duration(seconds) == text


def count_to_nine_hundred(monkeypatch, clock, is_terminal):
  """Advances by 100 of 1,000 items every three seconds."""
  stream, lines = io.StringIO(), []
  stream.isatty = lambda: is_terminal
  monkeypatch.setattr(progress.sys, 'stderr', stream)
  with progress.Progress('Checking images', 1000, lines.append) as counter:
    for _ in range(9):
      clock[0] += 3
      counter.advance(100)
  return stream.getvalue(), lines


def test_counter_in_a_log(monkeypatch, clock):
  assert count_to_nine_hundred(monkeypatch, clock, is_terminal=False) == (
      '', ['Checking images: 400 of 1,000, 0:18 left',
           'Checking images: 800 of 1,000, 0:06 left'])


def test_counter_on_a_terminal(monkeypatch, clock):
  written, lines = count_to_nine_hundred(monkeypatch, clock, is_terminal=True)
  assert not lines and '\n' not in written
  parts = written.split('\r\x1b[K')
  assert parts[1] == 'Checking images: 100 of 1,000'
  assert parts[9] == 'Checking images: 900 of 1,000, 0:03 left'
  assert parts[10:] == ['']  # The line is cleared at the end.


def test_time_left(clock):
  """The estimate excludes the first item and starts after five seconds."""
  lines = []
  with progress.Progress('Decoding', 1000, lines.append, done=500) as counter:
    for seconds in (4, 11, 22, 1500):
      clock[0] = 100 + seconds
      counter.advance(50)
    clock[0] = 3100
    counter.advance(300)
  assert lines == [
      'Decoding: 600 of 1,000, 0:56 left', 'Decoding: 650 of 1,000, 1:03 left',
      'Decoding: 700 of 1,000, 49:52 left', 'Decoding: 1,000 of 1,000']
