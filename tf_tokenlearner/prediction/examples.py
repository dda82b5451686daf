"""From a file to what a model can be given."""

import contextlib
import functools
from typing import Callable, Iterator, List, Optional, Union

import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.data import clip_frames
from tf_tokenlearner.data import image_files
from tf_tokenlearner.data import video_files
from tf_tokenlearner.prediction import file_listing
from tf_tokenlearner.serving import preprocessing as preprocessing_lib

# An image, uint8 [H, W, 3]; of a video the frames, JPEG files, that matter.
Example = Union[tf.Tensor, List[bytes]]


class UnreadableError(ValueError):
  """A file that cannot be read; the message is the reason alone."""


def make_reader(preprocessing: preprocessing_lib.Preprocessing,
                fps: Optional[float]) -> Callable[[str], Example]:
  """A function from a path to an example; it raises UnreadableError.

  Args:
    preprocessing: of the model.
    fps: what choose_fps gave.
  """
  if isinstance(preprocessing, preprocessing_lib.Images):
    return functools.partial(_read, _read_image, file_listing.IMAGES)
  return functools.partial(
      _read, lambda path: _read_clip(path, preprocessing, fps),
      file_listing.VIDEOS)


def choose_fps(preprocessing: preprocessing_lib.Preprocessing,
               fps: Optional[float]) -> Optional[float]:
  """The rate to read videos at; None of images.

  Args:
    preprocessing: of the model.
    fps: what the user said, None if nothing.

  Raises:
    UserError: they contradict each other, or nobody knows.
  """
  known = getattr(preprocessing, 'fps', None)
  if fps is not None and not 0 < fps <= clip_frames.MAX_FPS:
    raise errors.UserError(
        f'--fps must lie in (0, {clip_frames.MAX_FPS}], received {fps:g}.')
  if isinstance(preprocessing, preprocessing_lib.Images):
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


def frames(path: str, preprocessing: preprocessing_lib.Clips, fps: float):
  """Yields the frames of a video as JPEG files; raises UnreadableError."""
  with _reading():
    require_kind(path, file_listing.VIDEOS)
    yield from video_files.decode(path, fps, preprocessing.stored_short_side)


def pixels(example: Example) -> tf.Tensor:
  """uint8 [H, W, 3] of an image, [F, H, W, 3] of a clip."""
  if not isinstance(example, list):
    return example
  return tf.stack([tf.io.decode_jpeg(frame, channels=3) for frame in example])


def view(example: Example,
         preprocessing: preprocessing_lib.Preprocessing) -> tf.Tensor:
  """What the network sees, float32 of its input_size, in [-1, 1]."""
  if not isinstance(example, list):
    return preprocessing.to_pixels(example[tf.newaxis])[0]
  middle = preprocessing.middle(tf.constant([example]))[0]
  return preprocessing.to_view(pixels(list(middle.numpy()))[tf.newaxis])[0]


def require_kind(path: str, wanted: file_listing.Kind) -> None:
  """Raises UnreadableError if a file is of another kind."""
  kinds = file_listing.kinds_of(path)
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
