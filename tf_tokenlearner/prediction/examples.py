"""Reads files ahead in threads and groups them into batches of one shape."""

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


# Pixels of an image, uint8 [H, W, 3], or the frames of a video that a clip may
# need, as JPEG files.
Example = Union[tf.Tensor, List[bytes]]


class UnreadableError(ValueError):
  """A file that cannot be read; the message is the reason alone."""


def make_reader(view: views.View,
                fps: Optional[float]) -> Callable[[str], Example]:
  """Returns a function that reads a file and may raise UnreadableError.

  Args:
    view: the model's view, of images or of clips.
    fps: frames per second, as choose_fps returns it.
  """
  if isinstance(view, views.ImageView):
    return functools.partial(_read, _read_image, file_types.IMAGES)
  return functools.partial(
      _read, lambda path: _read_clip(path, view, fps), file_types.VIDEOS)


def choose_fps(view: views.View, fps: Optional[float]) -> Optional[float]:
  """Returns the rate to read videos at, None for images.

  Args:
    view: the model's view.
    fps: value of --fps, None if it was not given.

  Raises:
    UserError: --fps contradicts the view, or neither says the rate.
  """
  known = getattr(view, 'fps', None)
  if fps is not None and not 0 < fps <= clip_sampling.MAX_FPS:
    raise errors.UserError(
        f'--fps must be in (0, {clip_sampling.MAX_FPS}], got {fps:g}.')
  if isinstance(view, views.ImageView):
    if fps is not None:
      raise errors.UserError(
          '--fps is for videos, but this model takes images. Leave it out.')
    return None
  if known and fps not in (None, known):
    raise errors.UserError(
        f'This model was trained at {known:g} frames per second, got '
        f'--fps={fps:g}. Leave --fps out.')
  if not (known or fps):
    raise errors.UserError(
        'This export does not record the frames per second of its training '
        'data. Give --fps.')
  return known or fps


def frames(path: str, view: views.ClipView, fps: float) -> Iterator[bytes]:
  """Yields the frames of a video as JPEG files; raises UnreadableError."""
  with _reading():
    require_type(path, file_types.VIDEOS)
    yield from video_files.decode(path, fps, view.stored_short_side)


def pixels(example: Example) -> tf.Tensor:
  """Returns the pixels, uint8 [H, W, 3] of an image, [T, H, W, 3] of a clip."""
  if not isinstance(example, list):
    return example
  return tf.stack([tf.io.decode_jpeg(frame, channels=3) for frame in example])


def to_view(example: Example, view: views.View) -> tf.Tensor:
  """Returns the network's input, float32 [*input_size] in [-1, 1]."""
  if not isinstance(example, list):
    return view.to_pixels(example[tf.newaxis])[0]
  middle = view.middle(tf.constant([example]))[0]
  return view.to_view(pixels(list(middle.numpy()))[tf.newaxis])[0]


def frame_shape(example: Example) -> Tuple[int, ...]:
  """Returns (H, W, ...) of an image, or of the frames of a clip."""
  if not isinstance(example, list):
    return tuple(example.shape)
  return tuple(tf.image.extract_jpeg_shape(example[0]).numpy().tolist())


def require_type(path: str, wanted: file_types.FileType) -> None:
  """Raises UnreadableError if the content of a file is of another type."""
  detected = file_types.detect(path)
  if detected and wanted not in detected:
    raise UnreadableError(
        f'is {detected[0].one}; this model takes {wanted.many}')


def _read(read, file_type, path):
  with _reading():
    require_type(path, file_type)
    return read(path)


@contextlib.contextmanager
def _reading() -> Iterator[None]:
  """Turns the errors of decoders into UnreadableError."""
  try:
    yield
  except (UnreadableError, MemoryError):
    raise
  except (image_files.UnreadableImageError,
          video_files.UnreadableVideoError) as error:
    raise UnreadableError(str(error)) from error
  except Exception as error:  # pylint: disable=broad-except
    # One odd file must not stop the others.
    text = ' '.join(str(error).split())
    raise UnreadableError(
        f'cannot be read ({type(error).__name__}: {text})') from error


def _read_image(path):
  return image_files.decode(image_files.load(path))


def _read_clip(path, view, fps):
  stored = list(video_files.decode(path, fps, view.stored_short_side))
  return [stored[i] for i in view.window(len(stored))]


# Limits of memory: examples read ahead, in a batch, in incomplete batches.
_MAX_BYTES_AHEAD = 64 * 2**20
_MAX_BATCH_BYTES = 32 * 2**20
_MAX_WAITING_BYTES = 64 * 2**20
# An incomplete batch is used once this many batches' worth of files came after
# its first file.
_MAX_BATCHES_LATE = 4

# Numbers of files, and their examples.
Batch = Tuple[List[int], List[Example]]


def read_all(paths: Sequence[str], read: Callable[[str], Example],
             ahead: int) -> Iterator[Any]:
  """Yields an example or an UnreadableError for each file, in order.

  Args:
    paths: paths of the files.
    read: reads a file; may raise UnreadableError.
    ahead: maximum number of files that are read before the caller asks for
      them. Large files lower it.
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
  """Memory for examples that are read ahead; readers wait while it is full.

  Args:
    limit: size in bytes.
  """

  def __init__(self, limit: int):
    self._limit, self._filled = limit, 0
    self._next: Optional[int] = 0
    self._changed = threading.Condition()

  def wait(self, number: int) -> None:
    """Waits until there is room or the caller needs this file."""
    with self._changed:
      self._changed.wait_for(lambda: (
          self._filled <= self._limit or self._next in (number, None)))

  def fill(self, num_bytes: int) -> None:
    """Adds bytes in use; a negative number frees them."""
    with self._changed:
      self._filled += num_bytes
      self._changed.notify_all()

  def let_in(self, number: Optional[int]) -> None:
    """Lets the reader of this file pass; None lets all pass."""
    with self._changed:
      self._next = number
      self._changed.notify_all()


def full_size(batch_size: int, example: Example) -> int:
  """Returns the size of a full batch; batches of large images are smaller.

  Args:
    batch_size: the maximum.
    example: an image of the batch. Clips, still encoded, have no limit here.
  """
  if isinstance(example, list):
    return batch_size
  return min(batch_size, -(-_MAX_BATCH_BYTES // _size(example)))


class Batches:
  """Batches of examples of one shape, filled one example at a time.

  Args:
    batch_size: size of a full batch; batches of large images are smaller.
  """

  def __init__(self, batch_size: int):
    self._batch_size = batch_size
    self._waiting: Dict[Any, Batch] = {}
    self._num_bytes = 0

  def add(self, number: int, example: Example) -> Iterator[Batch]:
    """Adds an example; yields the batches that are due.

    Args:
      number: number of its file; numbers must rise.
      example: an example of any shape.
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
    # Answers are written in order, so all later files wait for this one.
    overtaken_by = number - self._waiting[oldest][0][0]
    if (self._num_bytes > _MAX_WAITING_BYTES
        or overtaken_by > _MAX_BATCHES_LATE * self._batch_size):
      yield self._take(oldest)

  def rest(self) -> Iterator[Batch]:
    """Yields the batches that are not full."""
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
