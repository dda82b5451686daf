"""Reads image files from disk, and says why one cannot be read."""

import os
import struct
from typing import Callable, Dict, Tuple

import tensorflow as tf

# Larger ones would take the memory of a whole batch, and are mostly mistakes.
MAX_PIXELS = 100_000_000
MAX_BYTES = 256 * 2**20


class UnreadableImageError(ValueError):
  """A file that is no readable image; the message is the reason alone."""


def load(path: str) -> bytes:
  """The encoded image of a file; only its header is looked at.

  The bytes are those of the file, but for the few kinds that TensorFlow reads
  wrongly (animated WebP, BMP with palette or compression): these become PNG.

  Args:
    path: a local file; its content decides what it is.

  Returns:
    bytes that tf.io.decode_image(channels=3, expand_animations=False) decodes,
    if decode says so.

  Raises:
    UnreadableImageError: empty, no image, or larger than allowed.
  """
  try:
    if os.path.getsize(path) > MAX_BYTES:
      raise UnreadableImageError(f'larger than {MAX_BYTES // 2**20} MiB')
    with open(path, 'rb') as file:
      data = file.read()
  except OSError as error:
    raise UnreadableImageError(error.strerror) from error
  try:
    height, width, is_misread = _examine(data)
  except (struct.error, IndexError, tf.errors.InvalidArgumentError) as error:
    raise UnreadableImageError('header corrupt or cut off') from error
  if height < 1 or width < 1:
    raise UnreadableImageError(f'announces {width} x {height} pixels')
  if height * width > MAX_PIXELS:
    raise UnreadableImageError(
        f'announces {width} x {height} pixels, more than {MAX_PIXELS:,}')
  return _to_png(data) if is_misread else data


def decode(data: bytes) -> tf.Tensor:
  """What load gave -> uint8 [H, W, 3].

  Raises:
    UnreadableImageError: corrupt or cut off.
  """
  try:
    return tf.io.decode_image(data, channels=3, expand_animations=False)
  except tf.errors.InvalidArgumentError as error:
    raise UnreadableImageError('content corrupt or cut off') from error


def _examine(data: bytes) -> Tuple[int, int, bool]:
  """(height, width, whether TensorFlow would misread it), from the header."""
  if not data:
    raise UnreadableImageError('empty file')
  for signature, examine in _KINDS.items():
    if data.startswith(signature):
      return examine(data)
  raise UnreadableImageError('content is no JPEG, PNG, GIF, BMP or WebP')


def _examine_jpeg(data: bytes) -> Tuple[int, int, bool]:
  height, width, _ = tf.image.extract_jpeg_shape(data).numpy()
  return int(height), int(width), False


def _examine_png(data: bytes) -> Tuple[int, int, bool]:
  width, height = struct.unpack_from('>II', data, 16)
  return height, width, False


def _examine_gif(data: bytes) -> Tuple[int, int, bool]:
  width, height = struct.unpack_from('<HH', data, 6)
  return height, width, False


def _examine_bmp(data: bytes) -> Tuple[int, int, bool]:
  """TensorFlow takes palette indices for grey values and knows no encodings."""
  header_size, = struct.unpack_from('<I', data, 14)
  if header_size < 40:  # OS/2.
    width, height = struct.unpack_from('<HH', data, 18)
    return height, width, True
  pixels_at, = struct.unpack_from('<I', data, 10)
  width, height, _, bits, encoding = struct.unpack_from('<iiHHI', data, 18)
  height = abs(height)  # Negative: the rows come from top to bottom.
  if encoding == 0 and pixels_at + (width * bits + 31) // 32 * 4 * height > len(
      data):
    raise UnreadableImageError('content corrupt or cut off')
  is_grey = bits == 8 and data[14 + header_size:pixels_at] == bytes(
      value for i in range(256) for value in (i, i, i, 0))
  return height, width, not (encoding == 0 and (bits in (24, 32) or is_grey))


def _examine_webp(data: bytes) -> Tuple[int, int, bool]:
  """Layout: RFC 9649; tf.io.decode_image writes out of bounds on animations."""
  kind = data[8:16]
  if kind == b'WEBPVP8X':
    width, height = (
        int.from_bytes(data[at:at + 3], 'little') + 1 for at in (24, 27))
    return height, width, bool(data[20] & 2)
  if kind == b'WEBPVP8L':
    bits, = struct.unpack_from('<I', data, 21)
    return (bits >> 14 & 0x3fff) + 1, (bits & 0x3fff) + 1, False
  if kind == b'WEBPVP8 ':
    width, height = struct.unpack_from('<HH', data, 26)
    return height & 0x3fff, width & 0x3fff, False
  raise UnreadableImageError('content is no JPEG, PNG, GIF, BMP or WebP')


_KINDS: Dict[bytes, Callable[[bytes], Tuple[int, int, bool]]] = {
    b'\xff\xd8\xff': _examine_jpeg,
    b'\x89PNG\r\n\x1a\n': _examine_png,
    b'GIF8': _examine_gif,
    b'BM': _examine_bmp,
    b'RIFF': _examine_webp,
}


def _to_png(data: bytes) -> bytes:
  """The (first) picture as PNG."""
  import cv2  # pylint: disable=g-import-not-at-top, seldom needed
  import numpy as np  # pylint: disable=g-import-not-at-top
  pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
  if pixels is None:
    raise UnreadableImageError('content corrupt or cut off')
  return cv2.imencode('.png', pixels)[1].tobytes()
