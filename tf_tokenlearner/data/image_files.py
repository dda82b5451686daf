"""Reads image files from disk; unreadable ones raise with a reason."""

import os
import stat
import struct
from typing import Callable, Dict, Tuple

import tensorflow as tf

from tf_tokenlearner.data import image_decoding
from tf_tokenlearner.data import orientation

# Larger files are mostly mistakes, and would take the memory of a whole batch.
MAX_PIXELS = 100_000_000
MAX_BYTES = 256 * 2**20

# Height and width in the header; a function that makes the file readable.
_Facts = Tuple[int, int, Callable[[bytes], bytes]]


class UnreadableImageError(ValueError):
  """Error for a file that is not a readable image; its message is the reason.
  """


def load(path: str) -> bytes:
  """Reads an image file and checks its header.

  The bytes are those of the file, with three exceptions. The formats that
  TensorFlow decodes wrongly (animated WebP, BMP with palette or compression)
  become PNG. A GIF is reduced to its first frame if that covers the screen,
  because TensorFlow would decode all frames to return one. A baseline JPEG gets
  the end marker that it lacks; a progressive one is then refused, because it
  cannot be told from one that is cut off.

  Args:
    path: path of a local file. The format is detected from the content.

  Returns:
    The content of a file for `decode`, which may find it corrupt.

  Raises:
    UnreadableImageError: empty, no image, cut off, or larger than allowed.
  """
  try:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # A pipe would never end.
      raise UnreadableImageError('no regular file')
    if status.st_size > MAX_BYTES:
      raise UnreadableImageError(f'larger than {MAX_BYTES // 2**20} MiB')
    with open(path, 'rb') as file:
      data = file.read()
  except OSError as error:
    raise UnreadableImageError(error.strerror) from error
  try:
    height, width, prepare = _examine(data)
  except (struct.error, IndexError, tf.errors.InvalidArgumentError) as error:
    raise UnreadableImageError('header corrupt or cut off') from error
  if height < 1 or width < 1:
    raise UnreadableImageError(f'announces {width} x {height} pixels')
  if height * width > MAX_PIXELS:
    raise UnreadableImageError(
        f'announces {width} x {height} pixels, more than {MAX_PIXELS:,}')
  return prepare(data)


def decode(data: bytes) -> tf.Tensor:
  """Decodes the result of `load` as training and exports do.

  Returns:
    uint8 [H, W, 3], upright; see image_decoding.decode.

  Raises:
    UnreadableImageError: the content is corrupt or cut off.
  """
  return _pixels(_decode, data)


_decode, _decode_without_end = (
    tf.function(function, input_signature=[tf.TensorSpec([], tf.string)])
    for function in (
        image_decoding.decode, image_decoding.decode_jpeg_without_end))


def _pixels(function, data: bytes) -> tf.Tensor:
  try:
    return function(data)
  except tf.errors.InvalidArgumentError as error:
    raise UnreadableImageError('content corrupt or cut off') from error


def _examine(data: bytes) -> _Facts:
  if not data:
    raise UnreadableImageError('empty file')
  for signature, examine in _SIGNATURES.items():
    if data.startswith(signature):
      return examine(data)
  raise UnreadableImageError('content is no JPEG, PNG, GIF, BMP or WebP')


def _examine_jpeg(data: bytes) -> _Facts:
  height, width, _ = tf.image.extract_jpeg_shape(data).numpy()
  return int(height), int(width), _with_end_marker


def _examine_png(data: bytes) -> _Facts:
  width, height = struct.unpack_from('>II', data, 16)
  return height, width, _unchanged


def _examine_gif(data: bytes) -> _Facts:
  """Returns the maxima of screen and first frame; decoding allocates both."""
  width, height = struct.unpack_from('<HH', data, 6)
  frame = _gif_frame(data)
  frame_width, frame_height = struct.unpack_from('<HH', data, frame + 5)
  return max(height, frame_height), max(width, frame_width), _first_frame


def _examine_bmp(data: bytes) -> _Facts:
  """Converts palettes and compression, which TensorFlow does not support."""
  header_size, = struct.unpack_from('<I', data, 14)
  if header_size < 40:  # OS/2.
    width, height = struct.unpack_from('<HH', data, 18)
    return height, width, _to_png
  pixels_at, = struct.unpack_from('<I', data, 10)
  width, height, _, bits, encoding = struct.unpack_from('<iiHHI', data, 18)
  height = abs(height)  # Negative if the rows are stored from top to bottom.
  if encoding == 0 and pixels_at + (width * bits + 31) // 32 * 4 * height > len(
      data):
    raise UnreadableImageError('content corrupt or cut off')
  is_grey = bits == 8 and data[14 + header_size:pixels_at] == bytes(
      value for i in range(256) for value in (i, i, i, 0))
  is_read_well = encoding == 0 and (bits in (24, 32) or is_grey)
  return height, width, _unchanged if is_read_well else _to_png


def _examine_webp(data: bytes) -> _Facts:
  """Converts animations, on which tf.io.decode_image writes out of bounds.

  Layout: RFC 9649.
  """
  chunk = data[8:16]
  if chunk == b'WEBPVP8X':
    width, height = (
        int.from_bytes(data[at:at + 3], 'little') + 1 for at in (24, 27))
    return height, width, _to_png if data[20] & 2 else _unchanged
  if chunk == b'WEBPVP8L':
    bits, = struct.unpack_from('<I', data, 21)
    return (bits >> 14 & 0x3fff) + 1, (bits & 0x3fff) + 1, _unchanged
  if chunk == b'WEBPVP8 ':
    width, height = struct.unpack_from('<HH', data, 26)
    return height & 0x3fff, width & 0x3fff, _unchanged
  raise UnreadableImageError('content is no JPEG, PNG, GIF, BMP or WebP')


_SIGNATURES: Dict[bytes, Callable[[bytes], _Facts]] = {
    b'\xff\xd8\xff': _examine_jpeg,
    b'\x89PNG\r\n\x1a\n': _examine_png,
    b'GIF8': _examine_gif,
    b'BM': _examine_bmp,
    b'RIFF': _examine_webp,
}


def _unchanged(data: bytes) -> bytes:
  return data


def _with_end_marker(data: bytes) -> bytes:
  """Appends the end marker that some cameras omit, if all pixels are there."""
  if data.endswith(image_decoding.JPEG_END):
    return data
  try:
    decode(data)  # Others store a video or the like behind the picture.
    return data
  except UnreadableImageError as error:
    if image_decoding.JPEG_PROGRESSIVE in data:
      raise UnreadableImageError(
          image_decoding.PROGRESSIVE_WITHOUT_END) from error
  _pixels(_decode_without_end, data)
  return data + image_decoding.JPEG_END


def _first_frame(data: bytes) -> bytes:
  """Returns a GIF that ends after its first frame.

  Returns all frames if the first one does not fill the screen: TensorFlow's
  result is as large as the largest of all frames.
  """
  frame = _gif_frame(data)
  if struct.unpack_from('<4H', data, frame + 1) != (
      0, 0, *struct.unpack_from('<2H', data, 6)):
    return data
  try:
    # The blocks follow a head, a colour table and the width of the codes.
    end = _after_blocks(data, frame + 10 + _table_size(data[frame + 9]) + 1)
  except IndexError as error:
    raise UnreadableImageError('content corrupt or cut off') from error
  return data[:end] + b';'


def _gif_frame(data: bytes) -> int:
  """Returns the position of the first frame. Layout: GIF89a, 1990."""
  at = 13 + _table_size(data[10])
  while data[at] == ord('!'):  # An extension.
    at = _after_blocks(data, at + 2)
  if data[at] != ord(','):
    raise UnreadableImageError('content corrupt or cut off')
  return at


def _table_size(flags: int) -> int:
  """Returns the size in bytes of the colour table that flags announce."""
  return 3 * 2**((flags & 7) + 1) if flags & 128 else 0


def _after_blocks(data: bytes, at: int) -> int:
  """Returns the end of a list of blocks, each after its length, ended by 0."""
  while data[at]:
    at += 1 + data[at]
  return at + 1


def _to_png(data: bytes) -> bytes:
  """Converts the first picture of a file to an upright PNG."""
  import cv2  # pylint: disable=g-import-not-at-top, seldom needed
  import numpy as np  # pylint: disable=g-import-not-at-top
  # OpenCV turns still pictures upright, but not animations.
  pixels = cv2.imdecode(np.frombuffer(data, np.uint8),
                        cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
  if pixels is None:
    raise UnreadableImageError('content corrupt or cut off')
  upright = orientation.upright(tf.constant(pixels), orientation.read(data))
  return cv2.imencode('.png', upright.numpy())[1].tobytes()
