"""Draws where learned tokens look: a PNG of an image, a GIF of a clip.

First what the network sees, then, for each token, the same in grey, and orange
where the token looks. Each map is scaled to its own maximum.
"""

import fractions
import os
from typing import Sequence

import av
import cv2
import numpy as np
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner import files

_SIDE = 160  # Pixels of a tile's longer side, at least.
_GAP = 4
_ROW = 5  # Tiles.
_COLOR, _OPACITY = (255, 90, 0), .8  # Where a token looks most.


def paths(folder: str, drawn: Sequence[str], extension: str) -> Sequence[str]:
  """Where the drawings of files go; as different as the files are.

  Args:
    folder: of drawings.
    drawn: files; may lie anywhere; below `folder` drawings lie as these do
      below the innermost folder that has all of them.
    extension: is appended, as a.jpg and a.png may be neighbours.
  """
  absolute = list(map(os.path.abspath, drawn))
  root = os.path.commonpath(list(map(os.path.dirname, absolute)))
  return [os.path.join(folder, os.path.relpath(file, root) + extension)
          for file in absolute]


def draw(view: np.ndarray, maps: np.ndarray) -> np.ndarray:
  """A picture and its maps, side by side.

  Args:
    view: float [H, W, C] in [-1, 1], 1 or 3 channels.
    maps: float [S, h, w], not negative.

  Returns:
    uint8 [H', W', 3], RGB.
  """
  height, width = view.shape[:2]
  scale = max(1, -(-_SIDE // max(height, width)))
  size = (width * scale, height * scale)
  picture = np.broadcast_to(
      np.uint8(np.clip(np.round((view + 1) * 127.5), 0, 255)),
      [height, width, 3])
  # Small pictures stay what they are: squares.
  picture = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)
  grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., np.newaxis]
  tiles = [picture]
  for weights in maps:
    weights = cv2.resize(
        np.float32(weights), size, interpolation=cv2.INTER_LINEAR)
    weights = np.clip(weights / max(weights.max(), 1e-12), 0, 1)
    opacity = _OPACITY * weights[..., np.newaxis]
    tiles.append(np.uint8(np.round(
        (1 - opacity) * grey + opacity * np.array(_COLOR))))
  return _side_by_side(tiles)


def write_image(path: str, view: np.ndarray, maps: np.ndarray) -> None:
  """Draws into a PNG file, over one that is there.

  Args:
    path: of the file; its folder is made.
    view: as in draw.
    maps: as in draw.

  Raises:
    UserError: it cannot be written.
  """
  data = cv2.imencode('.png', draw(view, maps)[..., ::-1])[1]
  try:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with files.replacing(path) as beside, open(beside, 'wb') as file:
      file.write(data)
  except (OSError, tf.errors.OpError) as error:
    raise _cannot_write(path, error) from error


def write_clip(path: str, view: np.ndarray, maps: np.ndarray,
               fps: float) -> None:
  """Draws into a GIF file, over one that is there.

  Args:
    path: as in write_image.
    view: float [F, H, W, C] in [-1, 1].
    maps: float [T, S, h, w]; each is of F / T frames.
    fps: frames a second to show.

  Raises:
    UserError: it cannot be written.
  """
  count = len(view)
  frames = [draw(view[i], maps[i * len(maps) // count]) for i in range(count)]
  try:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with files.replacing(path) as beside:
      _write_gif(beside, frames, fps)
  except (OSError, tf.errors.OpError) as error:  # PyAV's are OSErrors.
    raise _cannot_write(path, error) from error


def _write_gif(path, frames, fps):
  """Colours are chosen for all frames together; without, GIF has 256 fixed."""
  rate = fractions.Fraction(fps).limit_denominator(1001)
  height, width = frames[0].shape[:2]
  graph = av.filter.Graph()
  source = graph.add_buffer(
      width=width, height=height, format='rgb24', time_base=1 / rate)
  split, choose = graph.add('split'), graph.add('palettegen')
  use, sink = graph.add('paletteuse', 'dither=none'), graph.add('buffersink')
  source.link_to(split)
  split.link_to(use, 0, 0)
  split.link_to(choose, 1, 0)
  choose.link_to(use, 0, 1)
  use.link_to(sink)
  graph.configure()
  with av.open(path, 'w', format='gif') as container:
    stream = container.add_stream('gif', rate=rate)
    stream.width, stream.height, stream.pix_fmt = width, height, 'pal8'
    for i, pixels in enumerate(frames):
      frame = av.VideoFrame.from_ndarray(pixels, 'rgb24')
      frame.pts, frame.time_base = i, 1 / rate
      source.push(frame)
    source.push(None)
    for _ in frames:
      container.mux(stream.encode(sink.pull()))
    container.mux(stream.encode())


def _side_by_side(tiles):
  """In rows; white between."""
  height, width = tiles[0].shape[:2]
  rows = -(-len(tiles) // _ROW)
  in_row = -(-len(tiles) // rows)
  canvas = np.full([rows * (height + _GAP) - _GAP,
                    in_row * (width + _GAP) - _GAP, 3], 255, np.uint8)
  for i, tile in enumerate(tiles):
    row, column = divmod(i, in_row)
    top, left = row * (height + _GAP), column * (width + _GAP)
    canvas[top:top + height, left:left + width] = tile
  return canvas


def _cannot_write(path, error):
  if isinstance(error, tf.errors.OpError):
    reason = error.message.split('; ')[-1]  # Behind the name of the partial.
  else:
    reason = error.strerror or error
  return errors.UserError(f'{path} cannot be written: {reason}.')
