"""EXIF orientation, read and applied inside a graph.

Cameras store pixels in the sensor's orientation, and a tag to rotate them by.
TensorFlow's decoders ignore the tag. The functions here work in eager mode, in
tf.data and in a SavedModel, so every path turns images in the same way:

  tag = orientation.read(data)                      # data: string []
  pixels = orientation.upright(decoded_pixels, tag)

Layout of the tag: EXIF 2.32, section 4.6.4. It is read from JPEG (APP1), PNG
(eXIf) and WebP (EXIF); all else is upright.
"""

from typing import Callable, Tuple

import tensorflow as tf

# (top, left, height, width) in pixels, int32 [] each.
Box = Tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]

_TAG = 0x0112
_SHORT = 3  # Type of the tag's value.
_MAX_ENTRIES = 256  # Directory entries that are searched.
# Segments that are passed before a file counts as one without a tag. A PNG has
# one for every few KiB, and the tag may come last.
_MAX_SEGMENTS = 4096
_EXIF = b'Exif\0\0'
_PADDING = 16  # Zero bytes behind a file, so that headers can be read anywhere.


# Traced once for all pipelines and exports of a process.
@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def read(data: tf.Tensor) -> tf.Tensor:
  """Returns the EXIF orientation of an image file.

  Args:
    data: string [], the content of a file in any format, also a corrupt one.

  Returns:
    int32 [] in 1..8; 1, upright, if the file has no valid tag.
  """
  padded = data + b'\0' * _PADDING
  starts = lambda text: tf.strings.substr(padded, 0, len(text)) == text
  start = tf.cond(
      starts(b'\xff\xd8\xff'), lambda: _find_in_jpeg(padded),
      lambda: tf.cond(
          starts(b'\x89PNG\r\n\x1a\n'), lambda: _find_in_png(padded),
          lambda: tf.cond(
              tf.strings.substr(padded, 8, 8) == b'WEBPVP8X',
              lambda: _find_in_webp(padded),
              lambda: tf.constant(-1, tf.int64))))
  tag = tf.cond(start >= 0, lambda: _read_directory(data, start),
                lambda: tf.constant(1, tf.int32))
  return tf.ensure_shape(tag, [])


def upright(pixels: tf.Tensor, tag: tf.Tensor) -> tf.Tensor:
  """Turns decoded pixels as their tag says.

  Args:
    pixels: [H, W, C] of any type, as decoded.
    tag: int32 [] in 1..8, from `read`.

  Returns:
    [H, W, C], or [W, H, C] if the tag exchanges the axes (5 to 8).
  """
  def turn():
    turned = tf.cond(_swaps_axes(tag), lambda: tf.transpose(pixels, [1, 0, 2]),
                     lambda: pixels)
    turned = tf.cond(_flips_rows(tag), lambda: tf.reverse(turned, [0]),
                     lambda: turned)
    turned = tf.cond(_flips_columns(tag), lambda: tf.reverse(turned, [1]),
                     lambda: turned)
    return tf.ensure_shape(turned, [None, None, pixels.shape[-1]])

  return tf.cond(tag > 1, turn, lambda: pixels)


def upright_shape(shape: tf.Tensor, tag: tf.Tensor) -> tf.Tensor:
  """Returns the shape that an image has once it is upright.

  Args:
    shape: int32 [3], (H, W, C) as stored.
    tag: int32 [] in 1..8.
  """
  return tf.where(_swaps_axes(tag), tf.gather(shape, [1, 0, 2]), shape)


def stored_box(box: Box, shape: tf.Tensor, tag: tf.Tensor) -> Box:
  """Returns where a box of the upright image lies in the stored one.

  Args:
    box: (top, left, height, width) in the upright image.
    shape: int32 [3], (H, W, C) as stored.
    tag: int32 [] in 1..8.
  """
  top, left, height, width = box
  full = upright_shape(shape, tag)
  top = tf.where(_flips_rows(tag), full[0] - top - height, top)
  left = tf.where(_flips_columns(tag), full[1] - left - width, left)
  box = tf.stack([top, left, height, width])
  return tuple(tf.unstack(tf.where(
      _swaps_axes(tag), tf.gather(box, [1, 0, 3, 2]), box)))


# An upright image is the stored one, its axes exchanged, then rows or columns
# in reverse order.
def _swaps_axes(tag: tf.Tensor) -> tf.Tensor:
  return tag >= 5


def _flips_rows(tag: tf.Tensor) -> tf.Tensor:
  return tf.reduce_any(tag == [3, 4, 7, 8])


def _flips_columns(tag: tf.Tensor) -> tf.Tensor:
  return tf.reduce_any(tag == [2, 3, 6, 7])


# Each takes a padded file and returns where the EXIF data begin, int64 [], or
# -1 if there are none.
def _find_in_jpeg(padded: tf.Tensor) -> tf.Tensor:
  """Searches the segments that applications add, which come first."""
  has_exif = lambda at: tf.strings.substr(padded, at + 4, len(_EXIF)) == _EXIF
  # A marker may be preceded by any number of bytes 0xff.
  is_fill = lambda marker: marker == 0xffff

  def goes_on(at):
    marker = _number(padded, at, tf.uint16)
    is_passed = ((marker >= 0xffe0) & (marker <= 0xffef) | (marker == 0xfffe)
                 | is_fill(marker))
    return is_passed & ~has_exif(at)

  def next_segment(at):
    return at + tf.where(
        is_fill(_number(padded, at, tf.uint16)), tf.ones_like(at),
        2 + _number(padded, at + 2, tf.uint16))

  return _find(padded, 2, goes_on, next_segment, has_exif, 4 + len(_EXIF))


def _find_in_png(padded: tf.Tensor) -> tf.Tensor:
  name = lambda at: tf.strings.substr(padded, at + 4, 4)
  return _find(
      padded, 8, lambda at: (name(at) != b'eXIf') & (name(at) != b'IEND'),
      lambda at: at + 12 + _number(padded, at, tf.int32),
      lambda at: name(at) == b'eXIf', 8)


def _find_in_webp(padded: tf.Tensor) -> tf.Tensor:
  name = lambda at: tf.strings.substr(padded, at, 4)

  def next_chunk(at):
    size = _number(padded, at + 4, tf.int32, little_endian=True)
    return at + 8 + size + size % 2

  return _find(padded, 12, lambda at: name(at) != b'EXIF', next_chunk,
               lambda at: name(at) == b'EXIF', 8)


def _find(padded: tf.Tensor, start: int, goes_on: Callable,
          next_segment: Callable, has_exif: Callable,
          head_size: int) -> tf.Tensor:
  """Walks from segment to segment until one holds EXIF data."""
  end = tf.cast(tf.strings.length(padded) - _PADDING, tf.int64)
  at, = tf.while_loop(
      lambda at: (at < end) & goes_on(at),
      # A corrupt length ends the walk.
      lambda at: [tf.where(
          next_segment(at) > at, tf.minimum(next_segment(at), end), end)],
      [tf.constant(start, tf.int64)], maximum_iterations=_MAX_SEGMENTS)
  return tf.where(has_exif(at), at + head_size, -tf.ones_like(at))


def _number(padded: tf.Tensor, at: tf.Tensor, dtype: tf.DType,
            little_endian: bool = False) -> tf.Tensor:
  """Returns the number that a file holds at a place, int64 []."""
  raw = tf.strings.substr(padded, at, dtype.size)
  value = tf.io.decode_raw(raw, dtype, little_endian=little_endian)
  return tf.cast(tf.ensure_shape(value, [1])[0], tf.int64)


def _read_directory(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
  """Returns the tag of the TIFF data that begin at `start`, int32 []."""
  # Some writers repeat the marker of JPEG in PNG and WebP.
  has_marker = tf.reduce_all(
      _bytes_at(data, start, len(_EXIF)) == list(_EXIF))
  start += len(_EXIF) * tf.cast(has_marker, tf.int64)
  is_little = _bytes_at(data, start, 1)[0] == ord('I')  # Else 'M', big-endian.

  def number(values):  # [..., bytes] -> [...]
    powers = [256**i for i in range(values.shape[-1])]
    return tf.reduce_sum(values * tf.where(
        is_little, tf.constant(powers, tf.int64),
        tf.constant(powers[::-1], tf.int64)), axis=-1)

  directory = start + number(_bytes_at(data, start + 4, 4))
  count = tf.minimum(number(_bytes_at(data, directory, 2)), _MAX_ENTRIES)
  entries = tf.reshape(
      _bytes_at(data, directory + 2, 12 * _MAX_ENTRIES), [_MAX_ENTRIES, 12])
  is_tag = ((number(entries[:, :2]) == _TAG)
            & (number(entries[:, 2:4]) == _SHORT)
            & (tf.range(_MAX_ENTRIES, dtype=tf.int64) < count))
  tag = tf.reduce_max(tf.cast(is_tag, tf.int64) * number(entries[:, 8:10]))
  return tf.cast(tf.where((tag >= 1) & (tag <= 8), tag, tf.ones_like(tag)),
                 tf.int32)


def _bytes_at(data: tf.Tensor, at: tf.Tensor, count: int) -> tf.Tensor:
  """Returns bytes as int64 [count]; zeros behind the end."""
  at = tf.minimum(tf.cast(at, tf.int64),
                  tf.cast(tf.strings.length(data), tf.int64))
  some = tf.strings.substr(data, at, count) + b'\0' * count
  some = tf.io.decode_raw(tf.strings.substr(some, 0, count), tf.uint8)
  return tf.cast(tf.ensure_shape(some, [count]), tf.int64)
