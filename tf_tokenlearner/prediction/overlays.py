"""Draws attention maps: a PNG for an image, a GIF for a clip.

A picture shows the network's input and, for each token, the input in grey with
orange where the token attends. The bars of a letterbox are left out, and a
stretched input gets the aspect ratio of the file again. All tiles, and all
frames of a clip, have one scale, given by the legend. A caption names the
predicted class.
"""

import os
from typing import List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner import files
from tf_tokenlearner.data import resizing

_SIDE = 160  # Minimum length of a tile's longer side, in pixels.
_GAP, _LINE = 4, 18  # Pixels between tiles, and of a line of text.
_ROW = 5  # Tiles in a row, at most.
_COLOR, _OPACITY = (255, 90, 0), .8  # At the upper end of the scale.
_BAR = 96  # Width of the legend's colour bar, in pixels.
_LEGEND = 'attention weight, the same scale for all tiles'
# Weights below this multiple of uniform attention, 1 / (h * w), never get the
# full colour: a token that attends nowhere, or everywhere equally, stays faint.
_TIMES_UNIFORM = 4.
_GREYS, _OPACITIES = 16, 8  # Levels in the palette of a GIF; others: dithered.
_FONTS = ('DejaVuSans.ttf', 'Arial.ttf')  # Cover more scripts than Pillow's.


def paths(folder: str, drawn: Sequence[str], extension: str) -> Sequence[str]:
  """Returns the path of each file's picture; all are different.

  Args:
    folder: folder of the pictures. Below it, they lie as the files lie below
      their innermost common folder.
    drawn: paths of the files.
    extension: is appended to the name, as a.jpg and a.png may be neighbours.
  """
  absolute = list(map(os.path.abspath, drawn))
  root = os.path.commonpath(list(map(os.path.dirname, absolute)))
  return [os.path.join(folder, os.path.relpath(file, root) + extension)
          for file in absolute]


def full_scale(maps: np.ndarray) -> float:
  """Returns the weight that is drawn in the full colour.

  Args:
    maps: float [..., S, h, w], every map that is drawn with this scale.
  """
  uniform = 1 / (maps.shape[-2] * maps.shape[-1])
  return max(float(maps.max()), min(_TIMES_UNIFORM * uniform, 1.))


def draw(view: np.ndarray, maps: np.ndarray, caption: str, scale: float,
         place: Optional[resizing.Placement] = None) -> Image.Image:
  """Draws the input and its maps side by side, with caption and legend.

  Args:
    view: float [H, W, C] in [-1, 1], 1 or 3 channels.
    maps: float [S, h, w], not negative.
    caption: text above the tiles, such as 'cat 0.93'.
    scale: weight of the full colour, as full_scale returns it.
    place: of the picture in the input; None: the picture is the input.

  Returns:
    An RGB picture.
  """
  (top, left, rows, columns), (height, width) = place or resizing.Placement(
      (0, 0, *view.shape[:2]), view.shape[:2])
  times = max(1, -(-_SIDE // max(height, width)))
  size = (width * times, height * times)
  # Pixels of small inputs stay visible as squares.
  picture = _to_picture(view).resize(
      size, Image.Resampling.NEAREST,
      (left, top, left + columns, top + rows))
  down, across = np.divide(maps.shape[-2:], view.shape[:2])
  part = (left * across, top * down, (left + columns) * across,
          (top + rows) * down)
  grey = np.asarray(picture.convert('L'), np.float32)
  tiles = [('input', picture)]
  for number, weights in enumerate(maps, start=1):
    weights = np.asarray(Image.fromarray(np.float32(weights)).resize(
        size, Image.Resampling.BILINEAR, part))
    tiles.append((f'token {number}', _tint(grey, weights / scale)))
  return _arrange(tiles, caption, scale)


def write_image(path: str, view: np.ndarray, maps: np.ndarray, caption: str,
                place: Optional[resizing.Placement] = None) -> None:
  """Writes a PNG file and replaces an existing one.

  Args:
    path: path of the file; its folder is created.
    view: float [H, W, C] in [-1, 1].
    maps: float [S, h, w].
    caption: as in draw.
    place: as in draw.

  Raises:
    UserError: the file cannot be written.
  """
  picture = draw(view, maps, caption, full_scale(maps), place)
  _write(path, lambda beside: picture.save(beside, format='PNG'))


def write_clip(path: str, view: np.ndarray, maps: np.ndarray, caption: str,
               fps: float, place: Optional[resizing.Placement] = None) -> None:
  """Writes a GIF file and replaces an existing one.

  Args:
    path: as in write_image.
    view: float [T', H, W, C] in [-1, 1].
    maps: float [T, S, h, w]; each holds for T' / T frames.
    caption: as in draw.
    fps: frames per second to show.
    place: as in draw.

  Raises:
    UserError: the file cannot be written.
  """
  count, scale = len(view), full_scale(maps)
  frames = [draw(view[i], maps[i * len(maps) // count], caption, scale, place)
            for i in range(count)]
  # GIF counts in hundredths of a second; rounding must not add up.
  ends = np.round(100 * np.arange(count + 1) / fps)
  palette = _palette(view)
  first, *others = (frame.quantize(palette=palette) for frame in frames)
  _write(path, lambda beside: first.save(
      beside, format='GIF', save_all=True, append_images=others, loop=0,
      duration=[int(10 * time) for time in np.diff(ends)], optimize=False))


def _tint(grey: np.ndarray, strength: np.ndarray) -> Image.Image:
  """Blends the colour into grey [H, W] where strength [H, W] is above 0."""
  opacity = _OPACITY * np.clip(strength, 0, 1)[..., np.newaxis]
  return Image.fromarray(np.uint8(np.round(
      (1 - opacity) * grey[..., np.newaxis] + opacity * np.array(_COLOR))))


def _arrange(tiles: List[Tuple[str, Image.Image]], caption: str,
             scale: float) -> Image.Image:
  """Puts named tiles into rows on white, between caption and legend."""
  width, height = tiles[0][1].size
  rows = -(-len(tiles) // _ROW)
  in_row = -(-len(tiles) // rows)
  row_height = _LINE + height
  bottom = _LINE + rows * (row_height + _GAP)
  font = _font()
  legend = _BAR + _GAP + int(font.getlength(f'0 to {scale:.3g}: {_LEGEND}'))
  canvas = Image.new(
      'RGB', (max(in_row * (width + _GAP) - _GAP, legend), bottom + _LINE),
      'white')
  write = ImageDraw.Draw(canvas)
  write.fontmode = '1'  # Without grey edges, which cost colours in a GIF.
  write.text((0, 0), caption, 'black', font)
  for i, (name, tile) in enumerate(tiles):
    row, column = divmod(i, in_row)
    left, top = column * (width + _GAP), _LINE + row * (row_height + _GAP)
    write.text((left, top), name, 'black', font)
    canvas.paste(tile, (left, top + _LINE))
  bar = np.tile(np.linspace(0, 1, _BAR), [_LINE - _GAP, 1])
  canvas.paste(_tint(np.full(bar.shape, 128.), bar), (0, bottom))
  write.text((_BAR + _GAP, bottom), f'0 to {scale:.3g}: {_LEGEND}', 'black',
             font)
  return canvas


def _font() -> ImageFont.FreeTypeFont:
  for name in _FONTS:
    try:
      return ImageFont.truetype(name, 12)
    except OSError:
      pass
  return ImageFont.load_default(12)


def _to_picture(view: np.ndarray) -> Image.Image:
  """Converts float [H, W, C] in [-1, 1], C 1 or 3, to RGB."""
  pixels = np.uint8(np.clip(np.round((view + 1) * 127.5), 0, 255))
  return Image.fromarray(np.ascontiguousarray(
      np.broadcast_to(pixels, [*view.shape[:2], 3])))


def _palette(view: np.ndarray) -> Image.Image:
  """Returns the 256 colours of a clip's GIF: tinted greys and the input's.

  Without colours of their own, tints would get too few: they cover few pixels.
  """
  greys, strengths = np.meshgrid(
      np.linspace(0, 255, _GREYS), np.linspace(0, 1, _OPACITIES))
  tints = np.asarray(_tint(greys, strengths)).reshape(-1)
  inputs = _to_picture(np.concatenate(view)).quantize(
      256 - _GREYS * _OPACITIES)
  palette = Image.new('P', (1, 1))
  palette.putpalette([*tints.tolist(), *inputs.getpalette()])
  return palette


def _write(path, save) -> None:
  """Calls save(path of a new file), which replaces `path` if it succeeds."""
  try:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with files.replacing(path) as beside:
      save(beside)
  except (OSError, tf.errors.OpError) as error:
    reason = (error.message.split('; ')[-1]  # After the path.
              if isinstance(error, tf.errors.OpError)
              else error.strerror or error)
    raise errors.UserError(f'{path} cannot be written: {reason}.') from error
