"""Decodes untrusted image files inside a graph.

A file that cannot be decoded gives a reason in place of pixels, so that the
other examples of a batch are still answered. The size in the header is checked
before memory is allocated. TensorFlow graphs have no exception handling;
Dataset.ignore_errors takes its place.
"""

from typing import Callable, Sequence, Tuple

import tensorflow as tf

from tf_tokenlearner.data import image_decoding

MAX_PIXELS = 64_000_000  # In an image, or in all frames of a clip together.
_HEADER = 64  # Bytes that suffice to detect the format.
_CORRUPT = 'content corrupt or cut off'
(_JPEG, _PNG, _GIF, _WEBP_EXTENDED, _WEBP_LOSSLESS, _WEBP_LOSSY,
 _OTHER) = range(7)


def read(data: tf.Tensor, to_pixels: Callable[[tf.Tensor], tf.Tensor],
         pixels_shape: Sequence[int]) -> Tuple[tf.Tensor, tf.Tensor]:
  """Decodes an image file and prepares it for the network.

  Args:
    data: string [], the content of a JPEG, PNG, GIF or WebP file. Of a GIF the
      first frame is decoded; it must cover the whole screen. An animated WebP
      is refused, and so is a progressive JPEG without end marker.
    to_pixels: prepares uint8 [H, W, 3], returns float32 of pixels_shape.
    pixels_shape: shape of the network's input.

  Returns:
    The pixels, float32 of pixels_shape, and the reason why the file cannot be
    decoded, string []. The reason is '' for a decoded file; the pixels are
    zeros otherwise.
  """
  return _checked(
      _refusal(data, MAX_PIXELS), lambda: to_pixels(_decode(data)),
      pixels_shape, tf.where(
          _is_jpeg_without_end(data, progressive=True),
          image_decoding.PROGRESSIVE_WITHOUT_END, _CORRUPT))


def read_frames(
    frames: tf.Tensor, to_pixels: Callable[[tf.Tensor], tf.Tensor],
    pixels_shape: Sequence[int]) -> Tuple[tf.Tensor, tf.Tensor]:
  """Decodes the frames of a clip and prepares them for the network.

  Args:
    frames: string [F], image files of one size, as in read.
    to_pixels: prepares uint8 [F, H, W, 3], returns float32 of pixels_shape.
    pixels_shape: shape of the network's input.

  Returns:
    Pixels and reason, as read returns them. The reason is that of the first
    frame that is refused.
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
      pixels_shape, f'{_CORRUPT}, or frames of several sizes')


def attempt(make: Callable[[], tf.Tensor], otherwise: tf.Tensor) -> tf.Tensor:
  """Returns the result of make, or `otherwise` if one of its ops fails.

  Args:
    make: function without arguments that returns a structure of tensors.
    otherwise: structure of the same types and shapes.
  """
  first = tf.data.Dataset.range(1).map(lambda _: make()).ignore_errors()
  second = tf.data.Dataset.from_tensors(otherwise)
  return first.concatenate(second).take(1).get_single_element()


def _checked(reason, make, pixels_shape, corrupt):
  """Calls make unless there is a reason; `corrupt` is the reason if it fails.
  """
  blank = tf.zeros(pixels_shape)
  pixels, reason = tf.cond(
      tf.equal(reason, ''),
      lambda: attempt(lambda: (tf.ensure_shape(make(), pixels_shape), ''),
                      (blank, corrupt)),
      lambda: (blank, reason))
  return tf.ensure_shape(pixels, pixels_shape), tf.ensure_shape(reason, [])


def _refusal(data: tf.Tensor, max_pixels: tf.Tensor) -> tf.Tensor:
  """Returns why the header forbids decoding a file, '' if it does not."""
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
  """Returns the format, one of the constants above, int32 []."""
  begins = lambda at, text: tf.equal(
      tf.strings.substr(_padded(data), at, len(text)), text)
  is_riff = begins(0, b'RIFF')
  matches = tf.stack([  # In the order of the constants.
      begins(0, b'\xff\xd8\xff'), begins(0, b'\x89PNG\r\n\x1a\n'),
      begins(0, b'GIF8'), is_riff & begins(8, b'WEBPVP8X'),
      is_riff & begins(8, b'WEBPVP8L'), is_riff & begins(8, b'WEBPVP8 '), True])
  return tf.argmax(matches, output_type=tf.int32)


def _announced_size(data: tf.Tensor) -> tf.Tensor:
  """Returns height and width in the header, int64 [2]; WebP: RFC 9649."""
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
  return tf.cond(
      _is_jpeg_without_end(data, progressive=False),
      lambda: image_decoding.decode_jpeg_without_end(data),
      lambda: image_decoding.decode(data))


def _is_jpeg_without_end(data: tf.Tensor, progressive: bool) -> tf.Tensor:
  """Returns whether a file is such a JPEG and has another end than its marker.
  """
  def is_such():
    values = tf.io.decode_raw(data, tf.uint8)
    first, second = image_decoding.JPEG_PROGRESSIVE
    found = tf.reduce_any((values[:-1] == first) & (values[1:] == second))
    return found == progressive

  end = tf.strings.substr(b'\0\0' + data, -2, 2)
  return tf.cond(
      (_kind(data) == _JPEG) & (end != image_decoding.JPEG_END),
      is_such, lambda: False)


def _gif_size(data: tf.Tensor) -> tf.Tensor:
  """Returns the size of the screen or of the first frame, the larger sides."""
  frame = image_decoding.gif_frame(data)
  number = lambda at: image_decoding.number(data, at, 2)
  return tf.stack([tf.maximum(number(8), number(frame + 7)),
                   tf.maximum(number(6), number(frame + 5))])


def _has_small_gif_frame(data: tf.Tensor) -> tf.Tensor:
  """Returns whether a GIF's first frame leaves a part of the screen uncovered.

  TensorFlow's picture has the size of the largest frame, so the first one
  alone would give another picture than the whole file.
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
  """Returns the header, filled up with zeros."""
  return tf.strings.substr(data, 0, _HEADER) + b'\0' * _HEADER
