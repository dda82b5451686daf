"""Compares what an export answers with what its checkpoint says.

An export is asked in a new process, by a script that uses the software which
will read it and nothing of ours.
"""

import os
import subprocess
import sys
import tempfile
import textwrap
from typing import Callable, Dict, List, NamedTuple, Sequence

import numpy as np
import tensorflow as tf
from official.core import task_factory

from tf_tokenlearner import errors
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.tasks import metrics

DEFAULT_EXAMPLES = 256
_MAX_BYTES = 512 * 2**20  # Of examples; they are held at once.
_BATCH = 16
_SECONDS_ALLOWED = 3600  # For a client; one that hangs says nothing.


class Tolerance(NamedTuple):
  """What an export may differ by.

  Attributes:
    difference: largest, of a probability.
    lost_accuracy: share of the examples; counts for more than a few of them.
  """
  difference: float
  lost_accuracy: float = 0.


class Examples(NamedTuple):
  """Evaluation data, and what the checkpoint says of them.

  Attributes:
    stored: each one as a file, or several, or pixels; empty if not asked for.
    pixels: what the network sees, float32 [N, *input_size].
    labels: [N], or [N, classes] of zeros and ones.
    probabilities: of the checkpoint, in float32; [N, classes].
  """
  stored: List
  pixels: np.ndarray
  labels: np.ndarray
  probabilities: np.ndarray


def check_count(verify: bool, verify_examples: int) -> None:
  """Raises UserError for a comparison on nothing."""
  if verify and verify_examples < 1:
    raise errors.UserError(
        f'--verify_examples must be at least 1, received {verify_examples}; '
        '--noverify keeps the export unseen.')


def draw(reference: servable_lib.Servable, count: int,
         with_stored: bool = False) -> Examples:
  """The first examples of the run's evaluation.

  Args:
    reference: of the checkpoint, in float32.
    count: at most so many; fewer where they are large.
    with_stored: keep them as they are stored, too; whole videos are large.

  Raises:
    UserError: the data are not there.
  """
  task = task_factory.get_task(reference.task)
  stored, pixels, labels, num_bytes = [], [], [], 0
  for example, view, label in task.evaluation_examples().take(count):
    example, view = example.numpy(), view.numpy()
    num_bytes += view.nbytes + with_stored * _num_bytes(example)
    if pixels and num_bytes > _MAX_BYTES:
      break
    if with_stored:
      stored.append(example)
    pixels.append(view)
    labels.append(label.numpy())
  if not pixels:
    raise errors.UserError(
        'The evaluation data of the run are empty, so the export cannot be '
        'compared; --noverify keeps it unseen.')
  pixels = np.stack(pixels)
  return Examples(
      stored, pixels, np.stack(labels), probabilities_of(reference, pixels))


def _num_bytes(stored) -> int:
  """Of a file, an array of them, or pixels."""
  if isinstance(stored, bytes):
    return len(stored)
  return sum(map(len, stored)) if stored.dtype == object else stored.nbytes


def probabilities_of(
    servable: servable_lib.Servable, pixels: np.ndarray) -> np.ndarray:
  """[N, *input_size] -> [N, classes]."""
  return in_batches(
      lambda batch: servable.scores(batch)['probabilities'],
      servable.input_size, pixels)


def in_batches(function: Callable[[tf.Tensor], tf.Tensor],
               shape: Sequence[int], inputs: np.ndarray) -> np.ndarray:
  """What a function says of inputs [N, *shape], a few at a time."""
  compiled = tf.function(
      function, input_signature=[tf.TensorSpec([None, *shape])])
  return np.concatenate([
      compiled(inputs[i:i + _BATCH]) for i in range(0, len(inputs), _BATCH)])


def ask(client: str, *arguments: str) -> Dict[str, np.ndarray]:
  """Runs a client in a new process; it is given one more path, for its answers.

  Args:
    client: path of a script beside this one.
    *arguments: of the script.

  Raises:
    UserError: it failed; its last words are in the message.
  """
  with tempfile.NamedTemporaryFile(suffix='.npz') as answers:
    try:
      # Not on a GPU, all memory of which this process may hold.
      done = subprocess.run(
          [sys.executable, client, *arguments, answers.name],
          capture_output=True, text=True, check=False, timeout=_SECONDS_ALLOWED,
          env={**os.environ, 'CUDA_VISIBLE_DEVICES': '-1'})
    except subprocess.TimeoutExpired as error:
      raise errors.UserError(
          f'The export did not answer within {_SECONDS_ALLOWED:,} s in a new '
          'process; nothing was kept.') from error
    if done.returncode:
      raise errors.UserError(
          'The export could not be used in a new process; nothing was kept:\n'
          + done.stderr[-2000:])
    with np.load(answers.name, allow_pickle=False) as arrays:
      return dict(arrays)


def require_close(received: np.ndarray, expected: np.ndarray, name: str,
                  tolerance: Tolerance) -> None:
  """Raises UserError if an output is not what it should be.

  Args:
    received: of the export.
    expected: of the checkpoint.
    name: of the output, for the message.
    tolerance: its difference is relative where values are larger than 1.
  """
  difference = (np.inf if received.shape != expected.shape
                else _largest_difference(received, expected))
  scale = max(1., float(np.abs(expected).max(initial=0.)))
  if not difference <= tolerance.difference * scale:
    raise errors.UserError(
        f'{name} of the reloaded export differs by {difference:.1e} from that '
        f'of the checkpoint (allowed: {tolerance.difference * scale:.0e}); '
        'nothing was kept.')


def report(examples: Examples, received: np.ndarray,
           tolerance: Tolerance) -> str:
  """How well an export does on evaluation data, in words.

  Args:
    examples: what it was given.
    received: its probabilities, [N, classes].
    tolerance: how well it has to.

  Raises:
    UserError: not well enough.
  """
  expected = examples.probabilities
  count = len(expected)
  if received.shape != expected.shape:
    raise errors.UserError(
        f'The reloaded export gave probabilities {list(received.shape)}, '
        f'expected {list(expected.shape)}; nothing was kept.')
  difference = _largest_difference(received, expected)
  agreement = np.mean(received.argmax(-1) == expected.argmax(-1))
  accuracy, expected_accuracy = (
      float(np.mean(metrics.hits(
          tf.constant(examples.labels), tf.constant(values), 1)))
      for values in (received, expected))
  # Of few examples one is more than a hundredth; it may always be lost.
  allowed = max(tolerance.lost_accuracy, 1.01 / count)
  text = (
      f'{count} evaluation examples: probabilities differ by at most '
      f'{max(difference, 1e-8):.0e} from the checkpoint\'s (allowed '
      f'{tolerance.difference:.0e}), top-1 agreement {agreement:.4f}, accuracy '
      f'{accuracy:.4f} (checkpoint {expected_accuracy:.4f}, allowed '
      f'{allowed:.4f} less)')
  lost = expected_accuracy - accuracy
  if not difference <= tolerance.difference or lost > allowed:
    raise errors.UserError(
        f'The reloaded export differs too much; nothing was kept. {text}.')
  return text


def loaded_again(software: str, found: str) -> str:
  """What is printed of a new process, in lines.

  Args:
    software: that loaded the export.
    found: what came out.
  """
  return in_lines(f'Loaded again in a new process by {software}; {found}.')


def in_lines(text: str) -> str:
  """The same, for a terminal of 80 columns."""
  return textwrap.fill(
      text, 79, break_on_hyphens=False, break_long_words=False)


def _largest_difference(received: np.ndarray, expected: np.ndarray) -> float:
  """NaN if there is one on one side only."""
  return float(np.abs(received - expected).max(initial=0.))
