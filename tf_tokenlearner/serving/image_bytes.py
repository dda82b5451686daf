"""Decodes image files inside a graph, where nothing may go wrong for others.

Whoever sends a request is a stranger. The header is looked at before anything
is allocated, and what cannot be decoded gives a reason in place of pixels, so
that the other examples of a batch are answered. TensorFlow has no try; a data
set that leaves out failing elements is one.
"""

from typing import Callable, Sequence, Tuple

import tensorflow as tf

from tf_tokenlearner.data import image_decoding

MAX_PIXELS = 64_000_000  # Of an image; of the frames of a clip together.
_HEADER = 64  # Bytes; what is looked at lies within.
(_JPEG, _PNG, _GIF, _WEBP_EXTENDED, _WEBP_LOSSLESS, _WEBP_LOSSY,
 _OTHER) = range(7)


def read(data: tf.Tensor, to_pixels: Callable[[tf.Tensor], tf.Tensor],
         pixels_shape: Sequence[int]) -> Tuple[tf.Tensor, tf.Tensor]:
  """One image file -> what the network sees, or why it cannot be seen.

  Args:
    data: string [], JPEG, PNG, GIF (its first frame, which must fill it) or
      WebP (not animated).
    to_pixels: uint8 [H, W, 3] -> float32 of pixels_shape.
    pixels_shape: of the result.

  Returns:
    float32 of pixels_shape, zeros if there is a reason; the reason, string [],
    '' if there is none.
  """
  return _checked(
      _refusal(data, MAX_PIXELS), lambda: to_pixels(_decode(data)),
      pixels_shape)


def read_frames(
    frames: tf.Tensor, to_pixels: Callable[[tf.Tensor], tf.Tensor],
    pixels_shape: Sequence[int]) -> Tuple[tf.Tensor, tf.Tensor]:
  """The frames of one clip, each an image file, as in read.

  Args:
    frames: string [F].
    to_pixels: uint8 [F, H, W, 3] -> float32 of pixels_shape.
    pixels_shape: of the result.
  """
  limit = MAX_PIXELS // tf.maximum(tf.size(frames), 1)
  refusals = tf.map_fn(lambda data: _refusal(data, limit), frames)
  refused = tf.boolean_mask(refusals, refusals != '')
  reason = tf.cond(
      tf.size(frames) > 0,
      lambda: tf.concat([refused, ['']], 0)[0], lambda: 'has no frames')
  return _checked(
      reason, lambda: to_pixels(tf.map_fn(
          _decode, frames, fn_output_signature=tf.TensorSpec(
              [None, None, 3], tf.uint8))),
      pixels_shape, 'content corrupt or cut off, or frames of several sizes')


def attempt(make: Callable[[], tf.Tensor], otherwise: tf.Tensor) -> tf.Tensor:
  """What make gives, or `otherwise` if one of its operations fails.

  Args:
    make: gives a tensor, or several in a structure.
    otherwise: of the same types and shapes.
  """
  first = tf.data.Dataset.range(1).map(lambda _: make()).ignore_errors()
  second = tf.data.Dataset.from_tensors(otherwise)
  return first.concatenate(second).take(1).get_single_element()


def _checked(reason, make, pixels_shape, corrupt='content corrupt or cut off'):
  blank = tf.zeros(pixels_shape)
  pixels, reason = tf.cond(
      tf.equal(reason, ''),
      lambda: attempt(lambda: (tf.ensure_shape(make(), pixels_shape), ''),
                      (blank, corrupt)),
      lambda: (blank, reason))
  return tf.ensure_shape(pixels, pixels_shape), tf.ensure_shape(reason, [])


def _refusal(data: tf.Tensor, max_pixels: tf.Tensor) -> tf.Tensor:
  """Why a file will not be decoded, as its header has it; '' if it will."""
  def examine():
    size = _announced_size(data)
    pixels = tf.reduce_prod(tf.cast(size, tf.int64))
    announced = tf.strings.format('announces {} (height, width) pixels', size)
    flags = image_decoding.bytes_at(data, 20, 1)[0]
    return tf.case([
        (tf.reduce_min(size) < 1, lambda: announced),
        (pixels > tf.cast(max_pixels, tf.int64), lambda: tf.strings.format(
            'announces {} (height, width) pixels, allowed are {} in all',
            (size, max_pixels))),
        ((_kind(data) == _WEBP_EXTENDED) & (flags & 2 > 0),
         lambda: tf.constant('an animated WebP, which cannot be decoded')),
        (_has_small_gif_frame(data), lambda: tf.constant(
            'a GIF whose first frame does not fill it, which is not decoded')),
    ], default=lambda: tf.constant(''))

  return tf.ensure_shape(tf.case([
      (tf.strings.length(data) == 0, lambda: tf.constant('empty')),
      (_kind(data) == _OTHER,
       lambda: tf.constant('content is no JPEG, PNG, GIF or WebP')),
  ], default=lambda: attempt(examine, 'header corrupt or cut off')), [])


def _kind(data: tf.Tensor) -> tf.Tensor:
  """Which of the formats, int32 []."""
  begins = lambda at, text: tf.equal(
      tf.strings.substr(_padded(data), at, len(text)), text)
  is_riff = begins(0, b'RIFF')
  matches = tf.stack([  # In the order of the constants.
      begins(0, b'\xff\xd8\xff'), begins(0, b'\x89PNG\r\n\x1a\n'),
      begins(0, b'GIF8'), is_riff & begins(8, b'WEBPVP8X'),
      is_riff & begins(8, b'WEBPVP8L'), is_riff & begins(8, b'WEBPVP8 '), True])
  return tf.argmax(matches, output_type=tf.int32)


def _announced_size(data: tf.Tensor) -> tf.Tensor:
  """(height, width) as the header has it; layouts of WebP: RFC 9649."""
  number = lambda at, count: image_decoding.number(data, at, count)
  big_endian = lambda at: image_decoding.number(data, at, 4, order=-1)
  bits = number(21, 4)  # Of lossless WebP.
  return tf.switch_case(_kind(data), [
      lambda: tf.cast(tf.image.extract_jpeg_shape(data)[:2], tf.int64),
      lambda: tf.stack([big_endian(20), big_endian(16)]),
      lambda: _gif_size(data),
      lambda: tf.stack([number(27, 3) + 1, number(24, 3) + 1]),
      lambda: tf.stack([
          (bits // 2**14 & 0x3fff) + 1, (bits & 0x3fff) + 1]),
      lambda: tf.stack([number(28, 2) & 0x3fff, number(26, 2) & 0x3fff]),
  ])


def _decode(data: tf.Tensor) -> tf.Tensor:
  """Returns the upright image, uint8 [H, W, 3]; see image_decoding.decode."""
  data = tf.cond(_kind(data) == _GIF,
                 lambda: image_decoding.first_gif_frame(data), lambda: data)
  return image_decoding.decode(data)


def _gif_size(data: tf.Tensor) -> tf.Tensor:
  """The larger of the screen and its first frame, side by side."""
  frame = image_decoding.gif_frame(data)
  number = lambda at: image_decoding.number(data, at, 2)
  return tf.stack([tf.maximum(number(8), number(frame + 7)),
                   tf.maximum(number(6), number(frame + 5))])


def _has_small_gif_frame(data: tf.Tensor) -> tf.Tensor:
  """Whether _first_frame would not be what TensorFlow makes of the whole.

  It makes a picture of the size of the largest frame.
  """
  def look():
    frame = image_decoding.gif_frame(data)
    number = lambda at: image_decoding.number(data, at, 2)
    place = tf.stack([number(frame + at) for at in (1, 3, 5, 7)])
    screen = tf.stack([number(at) for at in (6, 8)])
    return tf.reduce_any(
        place != tf.concat([tf.zeros([2], tf.int64), screen], axis=0))
  return tf.cond(_kind(data) == _GIF, look, lambda: False)


def _padded(data: tf.Tensor) -> tf.Tensor:
  return tf.strings.substr(data, 0, _HEADER) + b'\0' * _HEADER
