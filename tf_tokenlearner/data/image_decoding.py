"""Decodes image files inside a graph, for training and for exports."""

from typing import Tuple

import tensorflow as tf

from tf_tokenlearner.data import orientation

# Data blocks of a GIF before its first frame, and of that frame (10 MB). A walk
# takes 50 us a block; the limits bound what a malicious file can cost.
_MAX_BLOCKS_BEFORE, _MAX_BLOCKS = 1_000, 40_000

JPEG_END = b'\xff\xd9'
JPEG_PROGRESSIVE = b'\xff\xc2'  # The marker of a progressive frame.
PROGRESSIVE_WITHOUT_END = (
    'a progressive JPEG without end marker, possibly cut off')
# Two continuations of a file; pixels that depend on them are missing.
_TAILS = bytes(8), b'\xb5\x5a' * 16


# Traced once for all pipelines and exports of a process.
@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def decode(data: tf.Tensor) -> tf.Tensor:
  """Decodes an image file into upright pixels without transparency.

  Transparency is dropped, not blended: pixels keep the colour that the file
  stores, whatever their alpha. That is so for PNG, WebP and GIF, with palette
  or without. 16 bits a channel become 8. Of an animated GIF the first frame is
  decoded.

  Args:
    data: string [], the content of a JPEG, PNG, GIF, BMP or WebP file. An
      animated WebP must be refused before, as TensorFlow cannot decode it.

  Returns:
    uint8 [H, W, 3].

  Raises:
    tf.errors.InvalidArgumentError: when executed, if the content is corrupt.
  """
  def from_webp():  # TensorFlow refuses 3 channels if there is transparency.
    return tf.io.decode_image(data, channels=0, expand_animations=False)[
        :, :, :3]

  def from_other():
    is_gif = tf.strings.substr(data, 0, 4) == b'GIF8'
    content = tf.cond(is_gif, lambda: _opaque_gif(data), lambda: data)
    return tf.io.decode_image(content, channels=3, expand_animations=False)

  is_webp = tf.strings.substr(data, 0, 4) == b'RIFF'
  pixels = tf.cond(is_webp, from_webp, from_other)
  return orientation.upright(
      tf.ensure_shape(pixels, [None, None, 3]), orientation.read(data))


def decode_jpeg_without_end(data: tf.Tensor) -> tf.Tensor:
  """Decodes a baseline JPEG file whose end marker may be missing.

  The file is complete if bytes behind its end do not influence the pixels. A
  progressive file passes this test when it is cut off between two scans, so it
  must not be given.

  Args:
    data: string [], the content of the file.

  Returns:
    uint8 [H, W, 3], upright.

  Raises:
    tf.errors.InvalidArgumentError: when executed, if data is corrupt or cut
      off.
  """
  first, second = (
      tf.io.decode_jpeg(data + tail + JPEG_END, channels=3) for tail in _TAILS)
  is_complete = tf.debugging.assert_equal(first, second, 'JPEG is cut off')
  with tf.control_dependencies([is_complete]):
    return orientation.upright(first, orientation.read(data))


def _opaque_gif(data: tf.Tensor) -> tf.Tensor:
  """Removes the extensions before the first frame; one makes it transparent.

  TensorFlow paints transparent pixels of the first frame black.
  """
  frame = gif_frame(data)
  head = tf.strings.substr(data, 0, 13 + _table_size(byte(data, 10)))
  return head + tf.strings.substr(
      data, frame, tf.strings.length(data) - frame)


def first_gif_frame(data: tf.Tensor) -> tf.Tensor:
  """Returns a GIF file, string [], of the first frame alone.

  TensorFlow decodes all frames of a GIF to return one.

  Raises:
    tf.errors.InvalidArgumentError: when executed, if data is not a whole GIF.
  """
  frame = gif_frame(data)
  flags = byte(data, frame + 9)
  end, _ = _after_blocks(
      data, frame + 10 + _table_size(flags) + 1, _MAX_BLOCKS)
  return tf.strings.substr(data, 0, end) + b';'


def gif_frame(data: tf.Tensor) -> tf.Tensor:
  """Returns where the first frame of a GIF begins, int32 [].

  Layout: Graphics Interchange Format, version 89a, 1990.
  """
  is_extension = lambda at, left: tf.equal(byte(data, at), ord('!'))
  start = 13 + _table_size(byte(data, 10))
  at, _ = tf.while_loop(
      is_extension, lambda at, left: _after_blocks(data, at + 2, left),
      [start, _MAX_BLOCKS_BEFORE])
  is_frame = tf.debugging.Assert(
      tf.equal(byte(data, at), ord(',')), ['GIF without a frame'])
  with tf.control_dependencies([is_frame]):
    return tf.identity(at)


def _table_size(flags: tf.Tensor) -> tf.Tensor:
  """Returns the size in bytes of the colour table that flags announce."""
  return tf.where(flags & 128 > 0, 3 * 2**((flags & 7) + 1), 0)


def _after_blocks(data: tf.Tensor, at: tf.Tensor,
                  left: tf.Tensor) -> Tuple[tf.Tensor, tf.Tensor]:
  """Passes a list of blocks, each after its length, ended by length 0.

  Args:
    data: string [], the file.
    at: int32 [], where the list begins.
    left: int32 [], the number of blocks that may be passed, including the end.

  Returns:
    Where the list ends, and how many blocks may still be passed. Fails when
    executed if there are more.
  """
  at, left = tf.while_loop(
      lambda at, left: (byte(data, at) > 0) & (left > 0),
      lambda at, left: (at + 1 + byte(data, at), left - 1), [at, left])
  is_end = tf.debugging.Assert(left > 0, ['GIF with too many blocks'])
  with tf.control_dependencies([is_end]):
    return at + 1, left - 1


def byte(data: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
  """Returns one byte as int32 []; fails behind the end when executed."""
  values = tf.io.decode_raw(tf.strings.substr(data, at, 1), tf.uint8)
  return tf.cast(values[0], tf.int32)


def number(data: tf.Tensor, at: tf.Tensor, count: int,
           order: int = 1) -> tf.Tensor:
  """Returns bytes as a number, int64 []; order -1 is big-endian."""
  values = tf.cast(bytes_at(data, at, count), tf.int64)
  return tf.reduce_sum(values * [256**i for i in range(count)][::order])


def bytes_at(data: tf.Tensor, at: tf.Tensor, count: int) -> tf.Tensor:
  """Returns uint8 [count]; zeros beyond the end."""
  some = tf.strings.substr(data, at, count) + b'\0' * count
  return tf.io.decode_raw(tf.strings.substr(some, 0, count), tf.uint8)
