"""The progress of training in one line, with an estimate of the time left."""

import threading
import time
from typing import Any, Callable, Mapping, Optional, TextIO

from tf_tokenlearner import progress


class Progress:
  """A status line: step, loss, accuracy, images/s, time left.

  Args:
    train_steps: the last step.
    first_step: the first step; above 0 after a restart.
    examples_per_step: the global batch size.
    evaluation_interval: steps between evaluations, 0 for none.
    unit: 'images' or 'clips'.
    stream: where the line goes; stderr by default.
  """

  def __init__(self, train_steps: int, first_step: int, examples_per_step: int,
               evaluation_interval: int = 0, unit: str = 'images',
               stream: Optional[TextIO] = None):
    self._train_steps = train_steps
    self._examples_per_step = examples_per_step
    self._evaluation_interval = evaluation_interval
    self._evaluation_seconds = 0.
    self._unit = unit
    self._line = progress.StatusLine(stream)
    self._step, self._last_time = first_step, time.monotonic()
    self._seconds_per_step = None  # Of training alone.
    self._first = True
    self._waiting = None  # Thread and end of `wait`.
    self._current_step: Optional[Callable[[], int]] = None

  def wait(self, text: str) -> None:
    """Shows what takes a while, and for how long it has, until the next line.

    Args:
      text: the work, such as 'tracing the first step ...'.
    """
    self._end_waiting()
    self._line.show(text, force=True)
    start, end = time.monotonic(), threading.Event()

    def show():
      while not end.wait(1):
        self._line.show(self.waited(text, time.monotonic() - start))

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    self._waiting = (thread, end)

  def count(self, current_step: Callable[[], int]) -> None:
    """Lets the waiting line show the step as soon as the first one is done.

    The first loop of steps may take minutes, and its scores come at its end.

    Args:
      current_step: returns the global step; called from another thread.
    """
    self._current_step = current_step

  def waited(self, text: str, seconds: float) -> str:
    """Returns the line after some seconds of waiting."""
    step = self._current_step() if self._current_step else self._step
    if step > self._step:
      text = f'step {step:,}/{self._train_steps:,}  running for'
    return f'{text} {progress.duration(seconds)}'

  def _end_waiting(self) -> None:
    if self._waiting:
      thread, end = self._waiting
      end.set()
      thread.join()
      self._waiting = None

  def train(self, step: int, logs: Mapping[str, Any]) -> None:
    """Shows the state after a loop of training steps.

    Args:
      step: the global step reached.
      logs: training_loss and metrics, as numbers.
    """
    self._end_waiting()
    now = time.monotonic()
    elapsed, steps = now - self._last_time, step - self._step
    self._step, self._last_time = step, now
    parts = [f'step {step:,}/{self._train_steps:,}',
             f'loss {logs["training_loss"]:.4f}']
    if 'accuracy' in logs:
      parts.append(f'accuracy {logs["accuracy"]:.3f}')
    # The first loop is mostly tracing and says nothing of the rest.
    if not self._first and steps > 0:
      rate = elapsed / steps
      self._seconds_per_step = (
          rate if self._seconds_per_step is None
          else 0.7 * self._seconds_per_step + 0.3 * rate)
    self._first = False
    if self._seconds_per_step:
      speed = self._examples_per_step / self._seconds_per_step
      left = self._train_steps - step
      seconds = left * self._seconds_per_step
      if self._evaluation_interval:
        evaluations = -(-left // self._evaluation_interval)
        seconds += evaluations * self._evaluation_seconds
      parts += [f'{speed:,.0f} {self._unit}/s',
                f'left {progress.duration(seconds)}']
    self._line.show('  '.join(parts), force=step >= self._train_steps)

  def evaluate(self, step: int, logs: Mapping[str, Any]) -> None:
    """Writes the scores of an evaluation, a line that stays."""
    text = lambda value: (
        f'{value:,}' if isinstance(value, int) else f'{value:.4f}')
    scores = '  '.join(f'{name.removeprefix("validation_")} {text(value)}'
                       for name, value in logs.items())
    self.note(f'evaluated at step {step:,}: {scores}')
    now = time.monotonic()
    self._evaluation_seconds = now - self._last_time
    self._last_time = now

  def note(self, text: str) -> None:
    """Writes a line that stays."""
    self._end_waiting()
    self._line.note(text)

  def close(self) -> None:
    """Clears the updating line, if there is one."""
    self._end_waiting()
    self._line.clear()
