"""Reads files ahead in threads, and hands them out in batches of one shape."""

import collections
from concurrent import futures
import contextlib
import functools
import itertools
import os
import threading
from typing import (
    Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Union)

import tensorflow as tf

from tf_tokenlearner.data import clip_sampling
from tf_tokenlearner.data import file_types
from tf_tokenlearner.data import image_files
from tf_tokenlearner.data import video_files
from tf_tokenlearner.data import views
from tf_tokenlearner import errors


# An image, uint8 [H, W, 3]; of a video the frames, JPEG files, that matter.
Example = Union[tf.Tensor, List[bytes]]


class UnreadableError(ValueError):
  """A file that cannot be read; the message is the reason alone."""


def make_reader(preprocessing: views.View,
                fps: Optional[float]) -> Callable[[str], Example]:
  """A function from a path to an example; it raises UnreadableError.

  Args:
    preprocessing: of the model.
    fps: what choose_fps gave.
  """
  if isinstance(preprocessing, views.ImageView):
    return functools.partial(_read, _read_image, file_types.IMAGES)
  return functools.partial(
      _read, lambda path: _read_clip(path, preprocessing, fps),
      file_types.VIDEOS)


def choose_fps(preprocessing: views.View,
               fps: Optional[float]) -> Optional[float]:
  """The rate to read videos at; None of images.

  Args:
    preprocessing: of the model.
    fps: what the user said, None if nothing.

  Raises:
    UserError: they contradict each other, or nobody knows.
  """
  known = getattr(preprocessing, 'fps', None)
  if fps is not None and not 0 < fps <= clip_sampling.MAX_FPS:
    raise errors.UserError(
        f'--fps must lie in (0, {clip_sampling.MAX_FPS}], received {fps:g}.')
  if isinstance(preprocessing, views.ImageView):
    if fps is not None:
      raise errors.UserError('--fps is for videos; this model takes images.')
    return None
  if known and fps not in (None, known):
    raise errors.UserError(
        f'This model was trained on {known:g} frames a second, not {fps:g}; '
        'leave --fps out.')
  if not (known or fps):
    raise errors.UserError(
        'This export does not know how many frames a second its training data '
        'have; say it with --fps.')
  return known or fps


def frames(path: str, preprocessing: views.ClipView, fps: float):
  """Yields the frames of a video as JPEG files; raises UnreadableError."""
  with _reading():
    require_kind(path, file_types.VIDEOS)
    yield from video_files.decode(path, fps, preprocessing.stored_short_side)


def pixels(example: Example) -> tf.Tensor:
  """uint8 [H, W, 3] of an image, [F, H, W, 3] of a clip."""
  if not isinstance(example, list):
    return example
  return tf.stack([tf.io.decode_jpeg(frame, channels=3) for frame in example])


def view(example: Example,
         preprocessing: views.View) -> tf.Tensor:
  """What the network sees, float32 of its input_size, in [-1, 1]."""
  if not isinstance(example, list):
    return preprocessing.to_pixels(example[tf.newaxis])[0]
  middle = preprocessing.middle(tf.constant([example]))[0]
  return preprocessing.to_view(pixels(list(middle.numpy()))[tf.newaxis])[0]


def require_kind(path: str, wanted: file_types.FileType) -> None:
  """Raises UnreadableError if a file is of another kind."""
  kinds = file_types.detect(path)
  if kinds and wanted not in kinds:
    raise UnreadableError(
        f'is {kinds[0].one}; this model takes {wanted.many}')


def _read(read, kind, path):
  with _reading():
    require_kind(path, kind)
    return read(path)


@contextlib.contextmanager
def _reading() -> Iterator[None]:
  """Turns whatever a file makes its decoder raise into UnreadableError."""
  try:
    yield
  except (UnreadableError, MemoryError):
    raise
  except (image_files.UnreadableImageError,
          video_files.UnreadableVideoError) as error:
    raise UnreadableError(str(error)) from error
  except Exception as error:  # pylint: disable=broad-except
    # One odd file must not end the reading of all.
    text = ' '.join(str(error).split())
    raise UnreadableError(
        f'cannot be read ({type(error).__name__}: {text})') from error


def _read_image(path):
  return image_files.decode(image_files.load(path))


def _read_clip(path, preprocessing, fps):
  stored = list(video_files.decode(
      path, fps, preprocessing.stored_short_side))
  return [stored[i] for i in preprocessing.window(len(stored))]


# Of decoded images: read ahead, in a batch, and in those that are not yet full.
_MAX_BYTES_AHEAD = 64 * 2**20
_MAX_BATCH_BYTES = 32 * 2**20
_MAX_WAITING_BYTES = 64 * 2**20
# So many batches' files may come after one before it is answered.
_MAX_BATCHES_LATE = 4

# Numbers of files, and what was read of them.
Batch = Tuple[List[int], List[Example]]


def read_all(paths: Sequence[str], read: Callable[[str], Example],
             ahead: int) -> Iterator[Any]:
  """Yields an example, or an UnreadableError, of each file in order.

  Args:
    paths: of the files.
    read: raises UnreadableError.
    ahead: so many are read, or being read, while the caller is busy; fewer of
      large ones.
  """
  room = _Room(_MAX_BYTES_AHEAD)

  def attempt(number, path):
    room.wait(number)
    try:
      result = read(path)
    except UnreadableError as error:
      result = error
    room.fill(_size(result))
    return result

  pool = futures.ThreadPoolExecutor(os.cpu_count())
  waiting = collections.deque()
  todo = enumerate(paths)
  try:
    for number in range(len(paths)):
      waiting.extend(pool.submit(attempt, *item) for item in itertools.islice(
          todo, max(ahead - len(waiting), 1)))
      room.let_in(number)
      result = waiting.popleft().result()
      room.fill(-_size(result))
      yield result
  finally:
    room.let_in(None)
    pool.shutdown(cancel_futures=True)


class _Room:
  """Keeps readers waiting while too much is read ahead.

  Args:
    limit: bytes.
  """

  def __init__(self, limit: int):
    self._limit, self._filled = limit, 0
    self._next: Optional[int] = 0
    self._changed = threading.Condition()

  def wait(self, number: int) -> None:
    """Returns when there is room, or the caller needs this very file."""
    with self._changed:
      self._changed.wait_for(lambda: (
          self._filled <= self._limit or self._next in (number, None)))

  def fill(self, num_bytes: int) -> None:
    """So much more is there, or less."""
    with self._changed:
      self._filled += num_bytes
      self._changed.notify_all()

  def let_in(self, number: Optional[int]) -> None:
    """The caller needs this file; None, it needs nothing more."""
    with self._changed:
      self._next = number
      self._changed.notify_all()


def full_size(batch_size: int, example: Example) -> int:
  """How many images like this one a full batch has; of large ones fewer.

  Args:
    batch_size: at most.
    example: of a clip, nothing follows for others.
  """
  if isinstance(example, list):
    return batch_size
  return min(batch_size, -(-_MAX_BATCH_BYTES // _size(example)))


class Batches:
  """Puts examples of one shape together.

  Args:
    batch_size: of a full batch; one of large images is full earlier.
  """

  def __init__(self, batch_size: int):
    self._batch_size = batch_size
    self._waiting: Dict[Any, Batch] = {}
    self._num_bytes = 0

  def add(self, number: int, example: Example) -> Iterator[Batch]:
    """Takes an example; yields the batches that should not wait.

    Args:
      number: of its file; they rise.
      example: of any shape.
    """
    shape = tuple(getattr(example, 'shape', ()))
    numbers, members = self._waiting.setdefault(shape, ([], []))
    numbers.append(number)
    members.append(example)
    self._num_bytes += _size(example)
    if (len(members) == full_size(self._batch_size, example)
        or sum(map(_size, members)) >= _MAX_BATCH_BYTES):
      yield self._take(shape)
    if not self._waiting:
      return
    oldest = next(iter(self._waiting))
    # Answers are given in order: all that came later wait for it.
    overtaken_by = number - self._waiting[oldest][0][0]
    if (self._num_bytes > _MAX_WAITING_BYTES
        or overtaken_by > _MAX_BATCHES_LATE * self._batch_size):
      yield self._take(oldest)

  def rest(self) -> Iterator[Batch]:
    """Yields what never became full."""
    for shape in list(self._waiting):
      yield self._take(shape)

  def _take(self, shape) -> Batch:
    batch = self._waiting.pop(shape)
    self._num_bytes -= sum(map(_size, batch[1]))
    return batch


def _size(example: Union[Example, UnreadableError]) -> int:
  if isinstance(example, Exception):
    return 0
  if isinstance(example, list):
    return sum(map(len, example))
  return example.shape.num_elements()
