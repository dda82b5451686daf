"""EXIF orientation: read from every format, applied as Pillow does."""

import io

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tensorflow as tf

from tf_tokenlearner.data import orientation

PIXELS = np.random.default_rng(0).integers(0, 255, (9, 14, 3), np.uint8)
TAGS = range(1, 9)
read = tf.function(
    orientation.read, input_signature=[tf.TensorSpec([], tf.string)])


def encode(kind, tag):
  """Returns PIXELS as a file with an orientation tag."""
  exif = PIL.Image.Exif()
  exif[0x010f], exif[0x0112] = 'Maker', tag
  file = io.BytesIO()
  options = {'lossless': True} if kind == 'WEBP' else {}
  PIL.Image.fromarray(PIXELS).save(file, kind, exif=exif, **options)
  return file.getvalue()


def big_endian(tag):
  """A TIFF header and a directory of the tag alone, as Motorola orders it."""
  return (b'MM\0*\0\0\0\x08\0\x01' + b'\x01\x12\0\x03\0\0\0\x01'
          + bytes([0, tag, 0, 0]) + bytes(4))


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
def test_tag_is_read_from_every_format(kind):
  files = {tag: encode(kind, tag) for tag in range(12)}
  assert {tag: read(data).numpy() for tag, data in files.items()} == {
      tag: tag if tag in TAGS else 1 for tag in range(12)}
  for tag in TAGS:
    assert PIL.Image.open(io.BytesIO(files[tag])).getexif()[0x0112] == tag


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
def test_corrupt_files_do_not_fail(kind):
  data, generator = encode(kind, 6), np.random.default_rng(1)
  for end in range(0, len(data), 9):
    assert read(data[:end]).numpy() in (1, 6)
  for _ in range(100):
    changed = bytearray(data)
    for place in generator.integers(len(data), size=6):
      changed[place] = generator.integers(256)
    assert read(bytes(changed)).numpy() in TAGS


def test_files_without_a_tag_are_upright():
  for kind in ('JPEG', 'PNG', 'WEBP', 'GIF', 'BMP'):
    file = io.BytesIO()
    PIL.Image.fromarray(PIXELS).save(file, kind)
    assert read(file.getvalue()).numpy() == 1
  assert read(b'').numpy() == 1


def test_big_endian_tags():
  segment = b'Exif\0\0' + big_endian(8)
  assert read(b'\xff\xd8\xff\xe1' + bytes([0, 2 + len(segment)])
              + segment).numpy() == 8


def test_tag_behind_other_segments():
  """Fill bytes, JFIF and a comment may come before it in a JPEG."""
  data = encode('JPEG', 3)
  start = data.index(b'\xff\xe1')
  comment = b'\xff\xfe\0\x0c' + b'\xff\xe1Exif\0\0!!'
  assert read(data[:start] + comment + b'\xff\xff' + data[start:]
             ).numpy() == 3


def test_tag_behind_the_pixels_of_a_png():
  data = encode('PNG', 5)
  start = data.index(b'eXIf') - 4
  end = start + 12 + int.from_bytes(data[start:start + 4], 'big')
  last = data.index(b'IEND') - 4
  moved = data[:start] + data[end:last] + data[start:end] + data[last:]
  assert moved.index(b'IDAT') < moved.index(b'eXIf')
  assert read(moved).numpy() == 5


def test_upright_as_pillow_turns():
  for tag in TAGS:
    image = PIL.Image.open(io.BytesIO(encode('PNG', tag)))
    expected = np.array(PIL.ImageOps.exif_transpose(image))
    upright = orientation.upright(tf.constant(PIXELS), tf.constant(tag))
    np.testing.assert_array_equal(upright, expected)
    assert tuple(orientation.upright_shape(
        tf.constant(PIXELS.shape), tf.constant(tag))) == expected.shape


def test_boxes_are_found_in_the_stored_image():
  box = (1, 2, 3, 5)  # Top, left, height, width.
  for tag in map(tf.constant, TAGS):
    upright = orientation.upright(tf.constant(PIXELS), tag)
    top, left, height, width = orientation.stored_box(
        tuple(map(tf.constant, box)), tf.constant(PIXELS.shape), tag)
    cut = orientation.upright(
        tf.constant(PIXELS)[top:top + height, left:left + width], tag)
    np.testing.assert_array_equal(cut, upright[1:1 + 3, 2:2 + 5])
