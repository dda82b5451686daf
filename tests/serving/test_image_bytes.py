"""Untrusted image files: decoded as documented, or refused."""

import io
import struct

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from tf_tokenlearner.serving import image_bytes

PIXELS = np.random.default_rng(0).integers(0, 256, [9, 7, 3], dtype=np.uint8)
BAD_HEADER = 'header corrupt or cut off'
CUT_OFF = 'content corrupt or cut off'


def encode(kind, mode='RGB', **options):
  file = io.BytesIO()
  PIL.Image.fromarray(PIXELS).convert(mode).save(file, kind, **options)
  return file.getvalue()


def transparent(kind, **options):
  """Encodes the pixels with an alpha from 0 to 186."""
  alpha = np.arange(63, dtype=np.uint8).reshape(9, 7, 1) * 3
  file = io.BytesIO()
  PIL.Image.fromarray(np.concatenate([PIXELS, alpha], -1)).save(
      file, kind, **options)
  decoded = np.array(PIL.Image.open(file))
  np.testing.assert_array_equal(decoded[..., 3:], alpha)
  return file.getvalue()


def animated(kind):
  return encode(kind, save_all=True, append_images=[
      PIL.Image.fromarray(255 - PIXELS), PIL.Image.fromarray(PIXELS // 2)])


def huge_png(side=30000):
  data = encode('PNG')
  return data[:16] + struct.pack('>II', side, side) + data[24:]


def gif_with_comments(lists, blocks):
  """A GIF with comments of one-byte blocks before the first frame."""
  data = encode('GIF')
  frame = data.index(b',', 13 + 3 * 2**((data[10] & 7) + 1))
  comment = b'!\xfe' + b'\1x' * blocks + b'\0'
  return data[:frame] + comment * lists + data[frame:]


def small_gif_frame():
  """A screen of 8 x 9 pixels, and a frame of 7 x 9."""
  data = bytearray(encode('GIF'))
  data[6:10] = struct.pack('<HH', 8, 9)
  return bytes(data)


def huge_gif_frame():
  """A screen of 7 x 9 pixels, and a frame of 60,000 x 60,000."""
  data = bytearray(encode('GIF'))
  frame = data.index(b',', 13 + 3 * 2**((data[10] & 7) + 1))
  data[frame + 5:frame + 9] = struct.pack('<HH', 60000, 60000)
  return bytes(data)


@pytest.fixture(scope='module', name='read')
def fixture_read():
  """Function of files -> (pixels, reasons), traced once for all tests."""
  @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
  def read(files):
    resize = lambda image: tf.image.resize(image, [9, 7])
    return tf.map_fn(
        lambda file: image_bytes.read(file, resize, [9, 7, 3]), files,
        fn_output_signature=(tf.TensorSpec([9, 7, 3]),
                             tf.TensorSpec([], tf.string)))

  def checked(files):
    pixels, reasons = read(tf.constant(files))
    return pixels.numpy(), [reason.decode() for reason in reasons.numpy()]

  return checked


READABLE = {
    'JPEG': encode('JPEG'),
    'progressive JPEG': encode('JPEG', progressive=True),
    'grey JPEG': encode('JPEG', 'L'),
    'CMYK JPEG': encode('JPEG', 'CMYK'),
    'PNG': encode('PNG'),
    'palette PNG': encode('PNG', 'P'),
    'opaque RGBA PNG': encode('PNG', 'RGBA'),
    'transparent PNG': transparent('PNG'),
    'WebP': encode('WEBP'),
    'lossless WebP': encode('WEBP', lossless=True),
    'transparent WebP': transparent('WEBP', lossless=True, exact=True),
    'transparent lossy WebP': transparent('WEBP', quality=80),
    'GIF': encode('GIF'),
}


@pytest.mark.parametrize('name', READABLE)
def test_pixels_equal_those_of_pillow(read, name):
  """Tolerance: the difference of two JPEG decoders on noise."""
  (pixels,), reasons = read([READABLE[name]])
  expected = np.array(
      PIL.Image.open(io.BytesIO(READABLE[name])).convert('RGB'))
  assert reasons == ['']
  np.testing.assert_allclose(
      pixels, expected, atol=8 if 'JPEG' in name else 0)


@pytest.mark.parametrize('name', ['transparent PNG', 'transparent WebP'])
def test_transparency_is_dropped(read, name):
  """Pixels keep their stored colour, even where they are invisible."""
  (pixels,), _ = read([READABLE[name]])
  np.testing.assert_array_equal(pixels, PIXELS)


def test_16_bit_channels_are_converted_to_8(read):
  deep = np.random.default_rng(1).integers(0, 2**16, [9, 7, 3], np.uint16)
  (pixels,), reasons = read([tf.io.encode_png(deep).numpy()])
  assert reasons == ['']
  np.testing.assert_allclose(pixels, deep / 257, atol=1)


def test_gif_with_comments_is_decoded(read):
  (pixels,), reasons = read([gif_with_comments(10, 50)])
  assert reasons == ['']
  np.testing.assert_array_equal(pixels, tf.io.decode_gif(encode('GIF'))[0])


def test_animated_gif_gives_its_first_frame(read):
  data = animated('GIF')
  (pixels,), reasons = read([data])
  assert reasons == ['']
  np.testing.assert_array_equal(pixels, tf.io.decode_gif(data)[0])
  # What follows is not even looked at.
  (again,), reasons = read([data[:-200]])
  assert reasons == ['']
  np.testing.assert_array_equal(pixels, again)


@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
def test_jpeg_without_end_marker_is_decoded(read, mode):
  """Decoded if all pixels are present, refused if truncated."""
  data = encode('JPEG', mode)
  pixels, reasons = read([data, data[:-2], data + b'trailer'])
  assert reasons == [''] * 3
  np.testing.assert_array_equal(pixels[1], pixels[0])
  np.testing.assert_array_equal(pixels[2], pixels[0])
  _, reasons = read([data[:-missing] for missing in range(4, 40)])
  assert reasons == [CUT_OFF] * 36


def test_progressive_jpeg_without_end_marker_is_decoded(read):
  data = encode('JPEG', progressive=True)
  _, reasons = read([data[:-2], data + b'trailer', data[:-60]])
  reason = 'a progressive JPEG without end marker, possibly cut off'
  assert reasons == [reason, '', reason]


REFUSED = [
    (b'', 'empty'),
    (b'hello', 'content is no JPEG, PNG, GIF or WebP'),
    (encode('BMP'), 'content is no JPEG, PNG, GIF or WebP'),
    (b'RIFF1234WAVEfmt ', 'content is no JPEG, PNG, GIF or WebP'),
    (animated('WEBP'), 'an animated WebP, which cannot be decoded'),
    (huge_png(), 'announces [30000 30000] (height, width) pixels, allowed are '
     '64000000 in all'),
    (huge_gif_frame(), 'announces [60000 60000] (height, width) pixels, '
     'allowed are 64000000 in all'),
    (huge_png(0), 'announces [0 0] (height, width) pixels'),
    (encode('JPEG')[:-60], CUT_OFF), (encode('JPEG')[:20], BAD_HEADER),
    (encode('PNG')[:40], CUT_OFF), (encode('PNG')[:12], BAD_HEADER),
    (encode('WEBP')[:-30], CUT_OFF), (encode('WEBP')[:18], BAD_HEADER),
    (encode('GIF')[:100], BAD_HEADER), (encode('GIF')[:8], BAD_HEADER),
    (small_gif_frame(), 'a GIF whose first frame does not fill it, which is '
     'not decoded'),
    (encode('GIF')[:-20], CUT_OFF),
    (gif_with_comments(1, 2_000_000), BAD_HEADER),
    (gif_with_comments(50, 30), BAD_HEADER),  # 1,550 blocks in short lists.
]


def test_unreadable_files_do_not_affect_the_rest_of_the_batch(read):
  """One batch with readable files before, between and after the others."""
  good = encode('PNG')
  files = [good, *(data for data, _ in REFUSED[:4]), good,
           *(data for data, _ in REFUSED[4:]), good]
  pixels, reasons = read(files)
  assert reasons == ['', *(reason for _, reason in REFUSED[:4]), '',
                     *(reason for _, reason in REFUSED[4:]), '']
  for image, reason in zip(pixels, reasons):
    np.testing.assert_array_equal(image, 0 * PIXELS if reason else PIXELS)


@pytest.fixture(scope='module', name='read_clip')
def fixture_read_clip():
  @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
  def read(frames):
    mean = lambda clip: tf.reduce_mean(tf.cast(clip, tf.float32), [0, 1, 2])
    return image_bytes.read_frames(frames, mean, [3])
  return read


def test_clip_of_encoded_frames_is_decoded(read_clip):
  pixels, reason = read_clip([encode('PNG')] * 3)
  np.testing.assert_allclose(pixels, PIXELS.mean((0, 1)), rtol=1e-5)
  assert reason == b''


@pytest.mark.parametrize('frames, message', [
    ([], b'has no frames'),
    ([encode('PNG'), b'x', b''], b'content is no JPEG, PNG, GIF or WebP'),
    ([huge_png(5000)] * 3, b'announces [5000 5000] (height, width) pixels, '
     b'allowed are 21333333 in all'),
    ([encode('PNG'), tf.io.encode_png(PIXELS[:4]).numpy()],
     b'content corrupt or cut off, or frames of several sizes'),
])
def test_unreadable_clips_give_a_reason(read_clip, frames, message):
  pixels, reason = read_clip(tf.constant(frames, tf.string, [len(frames)]))
  assert reason == message
  np.testing.assert_array_equal(pixels, [0, 0, 0])
