"""The progress line, on a terminal and in a log."""

import io
import time

import pytest

from tf_tokenlearner.training import progress


class Terminal(io.StringIO):

  def isatty(self):
    return True


@pytest.fixture(name='clock')
def fixture_clock(monkeypatch):
  now = [100.]
  monkeypatch.setattr(time, 'monotonic', lambda: now[0])
  return now


def make(stream, **kwargs):
  return progress.Progress(
      train_steps=100, first_step=0, examples_per_step=8, stream=stream,
      **kwargs)


def test_terminal_line_is_rewritten(clock):
  stream = Terminal()
  line = make(stream)
  clock[0] += 30  # Tracing, not to be taken for speed.
  line.train(10, {'training_loss': 2.5, 'accuracy': .25})
  assert 'images/s' not in stream.getvalue()
  clock[0] += 5
  line.train(20, {'training_loss': 1.5, 'accuracy': .5})
  last = stream.getvalue().split('\r')[-1].removeprefix('\x1b[K')
  assert last == (
      'step 20/100  loss 1.5000  accuracy 0.500  16 images/s  left 0:40')
  line.close()
  assert stream.getvalue().endswith('\r\x1b[K')


def test_waiting_counts_the_steps_of_the_first_loop(clock):
  """Its scores come at its end, which may be minutes later."""
  del clock
  line, step = make(Terminal()), [0]
  assert line.waited('tracing ...', 5.) == 'tracing ... 0:05'
  line.count(lambda: step[0])
  assert line.waited('tracing ...', 6.) == 'tracing ... 0:06'
  step[0] = 3
  assert line.waited('tracing ...', 70.) == 'step 3/100  running for 1:10'


def test_time_left_counts_evaluations(clock):
  stream = Terminal()
  line = make(stream, evaluation_interval=50)
  line.train(10, {'training_loss': 1.})
  clock[0] += 10
  line.train(20, {'training_loss': 1.})  # 1 s a step.
  clock[0] += 7
  line.evaluate(20, {'accuracy': .5})  # 7 s an evaluation, 2 to come.
  clock[0] += 10
  line.train(30, {'training_loss': 1.})
  assert stream.getvalue().endswith('left 1:24')


def test_terminal_line_is_cut_to_the_width(clock, monkeypatch):
  monkeypatch.setenv('COLUMNS', '30')
  stream = Terminal()
  make(stream).train(10, {'training_loss': 1., 'accuracy': .5})
  assert len(stream.getvalue().removeprefix('\r\x1b[K')) <= 29


def test_log_gets_a_line_now_and_then_and_the_last(clock):
  stream = io.StringIO()
  line = make(stream)
  for step in range(10, 101, 10):
    clock[0] += 4
    line.train(step, {'training_loss': 1.})
  steps = [text.split('/')[0] for text in stream.getvalue().splitlines()]
  assert steps == ['step 30', 'step 60', 'step 90', 'step 100']
  assert '\r' not in stream.getvalue()


def test_evaluation_and_notes_stay(clock):
  stream = Terminal()
  line = make(stream)
  line.wait('tracing ...')
  line.evaluate(50, {'accuracy': .75, 'validation_loss': 1., 'left_out': 3})
  assert stream.getvalue().endswith(
      'evaluated at step 50: accuracy 0.7500  loss 1.0000  left_out 3\n')
