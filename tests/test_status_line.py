"""The line, on a terminal and in a log."""

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


def test_terminal(clock, monkeypatch):
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


def test_log(clock):
  stream, line = make(is_terminal=False)
  line.show('too soon')
  line.show('now', force=True)
  clock[0] += 11
  line.show('again')
  line.note('stays')
  line.clear()
  assert stream.getvalue() == 'now\nagain\nstays\n'


def test_plain_lines_may_go_elsewhere(clock):
  said = []
  stream, line = make(is_terminal=False, announce=said.append)
  clock[0] += 11
  line.show('a')
  assert said == ['a'] and not stream.getvalue()


@pytest.mark.parametrize('seconds, text', [
    (0, '0:00'), (7.4, '0:07'), (59.6, '1:00'), (750, '12:30'),
    (11100, '3:05:00')])
def test_duration(seconds, text):
  assert progress.duration(seconds) == text
