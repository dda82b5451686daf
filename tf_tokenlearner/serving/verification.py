"""Comparison of an export with its checkpoint on evaluation data.

The export answers in a new process, through a script that uses the software of
its readers and nothing of this package.
"""

import os
import subprocess
import sys
import tempfile
import textwrap
from typing import Callable, Dict, List, NamedTuple, Sequence

import numpy as np
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.tasks import classification_task
from tf_tokenlearner.tasks import metrics

DEFAULT_EXAMPLES = 256
_MAX_BYTES = 512 * 2**20  # Of examples, which are held in memory at once.
_BATCH = 16
_SECONDS_ALLOWED = 3600  # For a client; one that hangs must end some time.
# Measured differences of correct exports are below a sixth of what this allows.
_ROOM = 64


class RefusedError(errors.UserError):
  """An export whose answers are not those of its checkpoint."""


class Tolerance(NamedTuple):
  """Allowed differences between an export and its checkpoint.

  Attributes:
    rounding: share of the largest value, for the rounding of float32.
    difference: of a value up to 1, for number types of lower precision.
    lost_accuracy: share of the examples; one example is always allowed.
  """
  rounding: float
  difference: float = 0.
  lost_accuracy: float = 0.

  def allowed(self, scale: float) -> float:
    """Returns the allowed difference between values up to `scale`."""
    return (self.rounding + self.difference) * max(1., scale)


def tolerance(servable: servable_lib.Servable, difference: float = 0.,
              lost_accuracy: float = 0.) -> Tolerance:
  """Returns the tolerance for exports of a model, the same in every format.

  The rounding errors of a chain of operations add up like a random walk: they
  grow with the square root of its length, here the number of weight matrices.

  Args:
    servable: the model.
    difference: see Tolerance.
    lost_accuracy: see Tolerance.
  """
  depth = sum(weight.shape.rank > 1 for weight in servable.model.weights)
  return Tolerance(
      _ROOM * float(np.finfo(np.float32).eps) * depth**.5, difference,
      lost_accuracy)


class Examples(NamedTuple):
  """A sample of the evaluation data, and the checkpoint's answers.

  Attributes:
    stored: N examples as files, lists of files or pixels; [] if not wanted.
    pixels: their views, float32 [N, *input_size].
    labels: int [N], or [N, classes] of zeros and ones.
    probabilities: of the checkpoint, float32 [N, classes].
    logit_scale: largest absolute logit of the checkpoint.
    total: number of examples in the evaluation data.
  """
  stored: List
  pixels: np.ndarray
  labels: np.ndarray
  probabilities: np.ndarray
  logit_scale: float
  total: int


def check_count(verify: bool, verify_examples: int, least: int = 1) -> None:
  """Raises UserError if there are too few examples to compare on."""
  if verify and verify_examples < least:
    raise errors.UserError(
        f'--verify_examples must be at least {least}, got '
        f'{verify_examples}. Give --noverify to skip verification.')


def draw(reference: servable_lib.Servable, count: int,
         with_stored: bool = False) -> Examples:
  """Draws a sample of the run's evaluation data, evenly over the whole set.

  The sample is the same every time.

  Args:
    reference: the checkpoint, in float32.
    count: size of the sample; smaller if memory or the set does not suffice.
    with_stored: whether to keep examples as stored; whole videos are large.

  Raises:
    UserError: there is no evaluation data.
  """
  total = 0

  def select(dataset):
    nonlocal total
    total = _cardinality(dataset)
    num_bytes = 4 * int(np.prod(reference.input_size))
    if with_stored and total:
      num_bytes += max(map(_num_bytes, next(iter(dataset)).values()))
    return _evenly(dataset, total, min(count, max(1, _MAX_BYTES // num_bytes)))

  task = classification_task.make(reference.task)
  stored, pixels, labels = [], [], []
  for example, view, label in task.evaluation_examples(
      select, reference.label_names):
    if with_stored:
      stored.append(example.numpy())
    pixels.append(view.numpy())
    labels.append(label.numpy())
  if not pixels:
    raise errors.UserError(
        'The evaluation data of the run are empty, so the export cannot be '
        'compared. Give --noverify to skip verification.')
  pixels = np.stack(pixels)
  logits = in_batches(reference.logits, reference.input_size, pixels)
  return Examples(
      stored, pixels, np.stack(labels),
      reference.probabilities(logits).numpy(),
      float(np.abs(logits).max(initial=0.)), total)


def _cardinality(dataset: tf.data.Dataset) -> int:
  known = int(dataset.cardinality())
  if known >= 0:
    return known
  return int(dataset.reduce(np.int64(0), lambda number, _: number + 1))


def _evenly(dataset: tf.data.Dataset, total: int,
            count: int) -> tf.data.Dataset:
  """Returns `count` elements at equal distances, the first one included."""
  if count >= total:
    return dataset
  return dataset.enumerate().filter(
      lambda number, _: number * count % total < count).map(
          lambda _, element: element)


def _num_bytes(value: tf.Tensor) -> int:
  """Returns the size of files or pixels."""
  array = np.asarray(value)
  if array.dtype != object:
    return array.nbytes
  return sum(map(len, array.ravel()))


def in_batches(function: Callable[[tf.Tensor], tf.Tensor],
               shape: Sequence[int], inputs: np.ndarray) -> np.ndarray:
  """Applies a function to inputs [N, *shape], a few at a time."""
  compiled = tf.function(
      function, input_signature=[tf.TensorSpec([None, *shape])])
  return np.concatenate([
      compiled(inputs[i:i + _BATCH]) for i in range(0, len(inputs), _BATCH)])


def ask(client: str, *arguments: str) -> Dict[str, np.ndarray]:
  """Runs a client in a new process and returns its answers.

  Args:
    client: path of a script in clients/.
    *arguments: of the script, before the path for its answers.

  Raises:
    RefusedError: the client failed or hangs; the message ends with its output.
  """
  with tempfile.NamedTemporaryFile(suffix='.npz') as answers:
    try:
      # Not on a GPU, all memory of which this process may hold.
      done = subprocess.run(
          [sys.executable, client, *arguments, answers.name],
          capture_output=True, text=True, check=False, timeout=_SECONDS_ALLOWED,
          env={**os.environ, 'CUDA_VISIBLE_DEVICES': '-1'})
    except subprocess.TimeoutExpired as error:
      raise RefusedError(
          f'The export did not answer within {_SECONDS_ALLOWED:,} s in a new '
          'process.') from error
    if done.returncode:
      raise RefusedError(
          'The export could not be used in a new process:\n'
          + done.stderr[-2000:])
    with np.load(answers.name, allow_pickle=False) as arrays:
      return dict(arrays)


def require_close(received: np.ndarray, expected: np.ndarray, name: str,
                  tolerance: Tolerance) -> None:
  """Raises RefusedError if an output differs from the checkpoint's.

  Args:
    received: output of the export.
    expected: output of the checkpoint.
    name: of the output, for the message.
    tolerance: allowed difference, relative to the largest expected value.
  """
  if received.shape != expected.shape:
    raise RefusedError(
        f'The reloaded export gives {name} of shape {list(received.shape)}, '
        f'expected {list(expected.shape)}.')
  difference = _largest_difference(received, expected)
  allowed = tolerance.allowed(float(np.abs(expected).max(initial=0.)))
  if not difference <= allowed:
    raise RefusedError(
        f'{name} of the reloaded export differs by {difference:.3e} from the '
        f'checkpoint (allowed: {allowed:.3e}).')


def report(examples: Examples, received: np.ndarray,
           tolerance: Tolerance) -> str:
  """Returns a sentence on how well an export does on evaluation data.

  Args:
    examples: input of the export, and the checkpoint's answers.
    received: probabilities of the export, [N, classes].
    tolerance: allowed differences.

  Raises:
    RefusedError: the export does not do well enough.
  """
  expected = examples.probabilities
  count = len(expected)
  if received.shape != expected.shape:
    raise RefusedError(
        f'The reloaded export gave probabilities {list(received.shape)}, '
        f'expected {list(expected.shape)}.')
  difference = _largest_difference(received, expected)
  # Rounding is relative to logits; a probability changes less than its logit.
  allowed = (tolerance.difference
             + tolerance.rounding * max(1., examples.logit_scale))
  agreement = np.mean(received.argmax(-1) == expected.argmax(-1))
  accuracy, expected_accuracy = (
      float(np.mean(metrics.hits(
          tf.constant(examples.labels), tf.constant(values), 1)))
      for values in (received, expected))
  # One example may always be lost: it can be more than the share.
  allowed_loss = max(tolerance.lost_accuracy, 1.01 / count)
  drawn = (f'all {count:,} evaluation examples' if count == examples.total else
           f'a sample of {count:,} of {examples.total:,} evaluation examples')
  text = (
      f'{drawn}: probabilities differ by at most {difference:.1e} from the '
      f'checkpoint\'s (allowed {allowed:.1e}), top-1 agreement '
      f'{agreement:.4f}, accuracy {accuracy:.4f} (checkpoint '
      f'{expected_accuracy:.4f}, allowed {allowed_loss:.4f} less)')
  if (not difference <= allowed
      or expected_accuracy - accuracy > allowed_loss):
    raise RefusedError(
        f'The reloaded export differs too much on {text}.')
  return text


def in_lines(text: str) -> str:
  """Wraps text for a terminal of 80 columns."""
  return textwrap.fill(
      text, 79, break_on_hyphens=False, break_long_words=False)


def _largest_difference(received: np.ndarray, expected: np.ndarray) -> float:
  """Returns 0 for equal values, infinite ones included; NaN if one has NaN."""
  received, expected = np.float64(received), np.float64(expected)
  with np.errstate(invalid='ignore'):  # Infinity minus infinity.
    differences = np.where(
        (received == expected) | np.isnan(received) & np.isnan(expected),
        0., np.abs(received - expected))
  return float(differences.max(initial=0.))
