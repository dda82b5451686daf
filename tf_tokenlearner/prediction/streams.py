"""Shows a video to a streaming model bit by bit."""

from typing import Iterator, Tuple

import numpy as np

from tf_tokenlearner.prediction import examples
from tf_tokenlearner.prediction import predictors


def steps(streamer: predictors.Streamer, path: str,
          fps: float) -> Iterator[Tuple[float, np.ndarray]]:
  """Yields what is thought after each step, while the video is read.

  Frames at the end that fill no step are left out, unless there was none: then
  the last one is repeated.

  Args:
    streamer: is set back to the beginning.
    path: of the video.
    fps: frames a second that it is read at.

  Yields:
    Seconds, at which the last frame seen is shown; probabilities [classes].

  Raises:
    UnreadableError: it is no video, or, possibly after many steps, corrupt.
  """
  streamer.begin()
  stride = max(streamer.preprocessing.temporal_stride, 1)
  part, seconds, is_begun = [], 0., False
  stored = examples.frames(path, streamer.preprocessing, fps)
  for number, frame in enumerate(stored):
    if number % stride:
      continue
    part.append(frame)
    seconds = number / fps
    if len(part) == streamer.num_frames:
      yield seconds, streamer.step(examples.pixels(part).numpy())
      part, is_begun = [], True
  if not is_begun:
    part += part[-1:] * (streamer.num_frames - len(part))
    yield seconds, streamer.step(examples.pixels(part).numpy())
