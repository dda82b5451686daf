"""Image files: unchanged, converted and refused ones."""

import io
import os
import struct
import zlib

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tensorflow as tf

from tf_tokenlearner.data import image_decoding
from tf_tokenlearner.data import image_files

PIXELS = np.random.default_rng(0).integers(0, 255, (9, 7, 3), np.uint8)
ALPHA = np.arange(63, dtype=np.uint8).reshape(9, 7) * 3
NOT_AN_IMAGE = 'content is no JPEG, PNG, GIF, BMP or WebP'
CUT_OFF = 'content corrupt or cut off'
BAD_HEADER = 'header corrupt or cut off'


def encode(kind, mode='RGB', alpha=None, **options):
  """Encodes PIXELS; modes with an alpha channel are opaque by default."""
  file = io.BytesIO()
  picture = PIL.Image.fromarray(PIXELS).convert(mode)
  if alpha is not None:
    picture.putalpha(PIL.Image.fromarray(alpha))
  picture.save(file, kind, **options)
  return file.getvalue()


def animated_webp(height=9, width=7, tag=1):
  """Returns one with an announced canvas and an orientation tag."""
  exif = PIL.Image.Exif()
  exif[0x0112] = tag
  data = encode('WEBP', save_all=True, lossless=True, exif=exif,
                append_images=[PIL.Image.fromarray(255 - PIXELS)])
  canvas = b''.join((size - 1).to_bytes(3, 'little')
                    for size in (width, height))
  return data[:24] + canvas + data[30:]


def animated_gif(**options):
  others = [np.roll(PIXELS, shift, 0) for shift in (1, 2, 3)]
  return encode('GIF', save_all=True, append_images=list(
      map(PIL.Image.fromarray, others)), **options)


def interlaced_gif():
  """Returns an interlaced picture followed by a second frame.

  Pillow interlaces neither animations nor sides below 16 pixels.
  """
  file = io.BytesIO()
  PIL.Image.fromarray(PIXELS.repeat(3, 0).repeat(3, 1)).save(
      file, 'GIF', interlace=1)
  data = file.getvalue()
  frame = data.index(b',\0\0\0\0')
  assert data[frame + 9] & 64
  return data[:-1] + data[frame:]


def gif_with_first_frame(left, top, width, height):
  data = animated_gif()
  return replaced(data, data.index(b',\0\0\0\0') + 1, left, top, width, height)


def png_that_announces(height, width):
  def chunk(kind, content):
    return (struct.pack('>I', len(content)) + kind + content
            + struct.pack('>I', zlib.crc32(kind + content)))

  header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
  return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header)
          + chunk(b'IDAT', zlib.compress(bytes(100))) + chunk(b'IEND', b''))


def replaced(data, start, *words, form='<H'):
  patch = struct.pack(form[0] + form[1] * len(words), *words)
  return data[:start] + patch + data[start + len(patch):]


def load(tmp_path, data):
  path = tmp_path / 'file'
  path.write_bytes(data)
  loaded = image_files.load(str(path))
  image_files.decode(loaded)
  return loaded


def decode(data):
  return image_decoding.decode(tf.constant(data)).numpy()


@pytest.mark.parametrize('kind,mode,options', [
    ('JPEG', 'RGB', {}), ('JPEG', 'L', {}), ('JPEG', 'CMYK', {}),
    ('JPEG', 'RGB', {'progressive': True}),
    ('PNG', 'RGB', {}), ('PNG', 'RGBA', {}), ('PNG', 'P', {}),
    ('PNG', '1', {}), ('PNG', 'LA', {}), ('GIF', 'RGB', {}),
    ('BMP', 'RGB', {}), ('BMP', 'L', {}),
    ('WEBP', 'RGB', {}), ('WEBP', 'RGB', {'lossless': True}),
    ('PNG', 'RGBA', {'alpha': ALPHA}),
    ('PNG', 'LA', {'alpha': ALPHA}), ('WEBP', 'RGBA', {'alpha': ALPHA}),
    ('WEBP', 'RGBA', {'alpha': ALPHA, 'lossless': True, 'exact': True}),
])
def test_bytes_stay_as_they_are(tmp_path, kind, mode, options):
  data = encode(kind, mode, **options)
  assert load(tmp_path, data) == data
  picture = PIL.Image.open(io.BytesIO(data))
  if 'alpha' in options:
    np.testing.assert_array_equal(picture.getchannel('A'), options['alpha'])
  expected = np.array(picture.convert('RGB'))
  # Two JPEG decoders round differently.
  np.testing.assert_allclose(
      decode(data).astype(int), expected, atol=6 if kind == 'JPEG' else 0)


@pytest.mark.parametrize('data', [
    encode('BMP', 'P'), encode('BMP', '1'), animated_webp(),
    animated_webp(tag=2), animated_webp(tag=6)],
                         ids=['palette', 'one bit', 'animation',
                              'mirrored animation', 'turned animation'])
def test_formats_that_tensorflow_misreads_become_png(tmp_path, data):
  """tf.io.decode_image would even write out of bounds for the animation."""
  loaded = load(tmp_path, data)
  assert loaded.startswith(b'\x89PNG')
  picture = PIL.Image.open(io.BytesIO(data)).convert('RGB')
  np.testing.assert_array_equal(
      decode(loaded), np.array(PIL.ImageOps.exif_transpose(picture)))


def test_os2_bitmap_becomes_png(tmp_path):
  header = b'BM' + struct.pack('<IHHIIHHHH', 26 + 16, 0, 0, 26, 12, 2, 2, 1, 24)
  data = header + bytes([0, 0, 9, 0, 9, 0, 0, 0, 9, 0, 0, 0, 0, 9, 0, 0])
  np.testing.assert_array_equal(
      decode(load(tmp_path, data)),
      [[[0, 0, 9], [9, 0, 0]], [[9, 0, 0], [0, 9, 0]]])


@pytest.mark.parametrize('data', [
    animated_gif(), animated_gif(disposal=2, optimize=True),
    interlaced_gif(), animated_gif(transparency=3),
    animated_gif(comment=b'!,;' * 200), animated_gif(loop=0, duration=40)])
def test_gif_is_reduced_to_its_first_frame(tmp_path, data):
  loaded = load(tmp_path, data)
  assert PIL.Image.open(io.BytesIO(loaded)).n_frames == 1
  assert len(loaded) < len(data)
  np.testing.assert_array_equal(decode(loaded), decode(data))


def test_gif_that_begins_with_a_part_stays_as_it_is(tmp_path):
  """Alone, the part would be the whole picture."""
  data = gif_with_first_frame(2, 3, 3, 4)
  assert load(tmp_path, data) == data and decode(data).shape == PIXELS.shape


def test_damage_after_the_first_gif_frame_is_ignored(tmp_path):
  data = animated_gif()
  np.testing.assert_array_equal(
      decode(load(tmp_path, data[:-30])), decode(data))


@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
def test_jpeg_without_end_marker(tmp_path, mode):
  data = encode('JPEG', mode)
  assert data.endswith(b'\xff\xd9')
  assert load(tmp_path, data[:-2]) == data
  for missing in range(4, 40):
    with pytest.raises(image_files.UnreadableImageError, match=CUT_OFF):
      load(tmp_path, data[:-missing])


def test_progressive_jpeg_without_end_marker_is_refused(tmp_path):
  """Cut off between two scans, it would pass as a blurred picture."""
  data = encode('JPEG', progressive=True)
  with pytest.raises(image_files.UnreadableImageError, match=(
      '^a progressive JPEG without end marker, possibly cut off$')):
    load(tmp_path, data[:-2])
  # Phones store videos and the like behind the picture.
  assert load(tmp_path, data + b'trailer') == data + b'trailer'


def test_type_is_detected_from_content(tmp_path):
  path = tmp_path / 'image.png'
  path.write_bytes(encode('JPEG'))
  assert image_files.load(str(path)) == encode('JPEG')


@pytest.mark.parametrize('data,reason', [
    (b'', 'empty file'),
    (b'<html>not found</html>', NOT_AN_IMAGE),
    (encode('TIFF'), NOT_AN_IMAGE),
    (b'RIFF\0\0\0\0WAVEfmt ' + bytes(40), NOT_AN_IMAGE),
    (encode('PNG')[:12], BAD_HEADER), (encode('JPEG')[:20], BAD_HEADER),
    (encode('GIF')[:8], BAD_HEADER), (encode('BMP')[:20], BAD_HEADER),
    (encode('WEBP')[:20], BAD_HEADER),
    (encode('PNG')[:-30], CUT_OFF), (encode('JPEG')[:-30], CUT_OFF),
    (encode('GIF')[:-30], CUT_OFF), (encode('BMP')[:-30], CUT_OFF),
    (encode('GIF')[:encode('GIF').index(b',\0\0\0\0')], BAD_HEADER),
    (encode('GIF').replace(b',\0\0\0\0', b';\0\0\0\0'), CUT_OFF),
    (encode('WEBP')[:-30], CUT_OFF), (encode('BMP', 'P')[:-30], CUT_OFF),
    (animated_webp()[:60], CUT_OFF),
    (encode('PNG')[:60] + bytes(40) + encode('PNG')[100:], CUT_OFF),
])
def test_unreadable(tmp_path, data, reason):
  with pytest.raises(image_files.UnreadableImageError, match=f'^{reason}$'):
    load(tmp_path, data)


@pytest.mark.parametrize('data,size', [
    (png_that_announces(30000, 30000), '30000 x 30000'),
    (replaced(encode('GIF'), 6, 60000, 50000), '60000 x 50000'),
    (gif_with_first_frame(0, 0, 60000, 50000), '60000 x 50000'),
    (replaced(encode('JPEG'), encode('JPEG').index(b'\xff\xc0') + 5,
              50000, 60000, form='>H'), '60000 x 50000'),
    # Compressed, so that the size of the file says nothing.
    (replaced(replaced(encode('BMP', 'P'), 18, 60000, -50000, form='<i'), 30,
              1, form='<I'), '60000 x 50000'),
    (replaced(encode('BMP')[:14] + struct.pack('<I', 12) + bytes(20), 18,
              60000, 50000), '60000 x 50000'),
    (animated_webp(16000, 16384), '16384 x 16000'),
    (replaced(encode('WEBP'), 26, 16383, 16000), '16383 x 16000'),
    (replaced(encode('WEBP', lossless=True), 21, 16383 - 1 | 15999 << 14,
              form='<I'), '16383 x 16000'),
])
def test_announced_size_is_checked_before_decoding(
    tmp_path, data, size, monkeypatch):
  monkeypatch.setattr(image_files, '_to_png', lambda data: 1 / 0)
  monkeypatch.setattr(image_files, 'decode', lambda data: 1 / 0)
  with pytest.raises(image_files.UnreadableImageError,
                     match=f'^announces {size} pixels, more than 100,000,000$'):
    load(tmp_path, data)


def test_pipes_are_never_opened(tmp_path, monkeypatch):
  os.mkfifo(tmp_path / 'pipe.png')
  monkeypatch.setattr(image_files, 'open', None, raising=False)  # Or wait.
  with pytest.raises(image_files.UnreadableImageError,
                     match='^no regular file$'):
    image_files.load(str(tmp_path / 'pipe.png'))


def test_other_reasons(tmp_path, monkeypatch):
  with pytest.raises(image_files.UnreadableImageError,
                     match='announces 0 x 7 pixels'):
    load(tmp_path, png_that_announces(7, 0))
  with pytest.raises(image_files.UnreadableImageError,
                     match='No such file or directory'):
    image_files.load(str(tmp_path / 'none'))
  monkeypatch.setattr(image_files, 'MAX_BYTES', 2**20)
  with pytest.raises(image_files.UnreadableImageError,
                     match='larger than 1 MiB'):
    load(tmp_path, bytes(2**20 + 1))
