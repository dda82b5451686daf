"""File types: by content, else by extension; names that are passed over."""

import pytest

from tf_tokenlearner.data import file_types

IMAGES, VIDEOS = file_types.IMAGES, file_types.VIDEOS


def write(path, data=b''):
  path.write_bytes(data)
  return str(path)


@pytest.mark.parametrize('head, types', [
    (b'\xff\xd8\xff\xe0', (IMAGES,)), (b'GIF89a', (IMAGES, VIDEOS)),
    (b'RIFF0000WEBP', (IMAGES,)), (b'RIFF0000AVI ', (VIDEOS,)),
    (b'BM0000\0\0\0\0', (IMAGES,)), (b'\x1a\x45\xdf\xa3', (VIDEOS,)),
    (b'0000ftypisom', (VIDEOS,)), (b'0000ftypavif', ()),
    (3 * (b'G' + bytes(187)), (VIDEOS,)),
    (bytes(4) + 3 * (b'G' + bytes(191)), (VIDEOS,)),
    (b'G' + b'0' * 187 + b'G', ()),  # By chance; packets go on.
    (b'', ())])
def test_content_decides(tmp_path, head, types):
  assert file_types.detect(write(tmp_path / 'file', head)) == types
  if types:
    assert file_types.detect(write(tmp_path / 'a.jpg', head)) == types


@pytest.mark.parametrize('name, types', [
    ('a.WEBM', (VIDEOS,)), ('a.bmp', (IMAGES,)), ('a.jfif', (IMAGES,)),
    ('a.jpe', (IMAGES,)), ('a.gif', (IMAGES, VIDEOS)), ('a.mpg', (VIDEOS,)),
    ('a.3gp', (VIDEOS,)), ('a.flv', (VIDEOS,)), ('a.ogv', (VIDEOS,)),
    ('a.wmv', (VIDEOS,)), ('a.ts', ()), ('a.txt', ())])
def test_extension_decides_where_content_is_unknown(tmp_path, name, types):
  assert file_types.detect(write(tmp_path / name)) == types
  assert file_types.detect(str(tmp_path / 'gone' / name)) == types


def test_hidden_names():
  assert all(map(file_types.is_hidden, (
      '.a.jpg', '.AppleDouble', '@eaDir', '#recycle', '__MACOSX')))
  assert not any(map(file_types.is_hidden, ('a.jpg', 'eaDir', '#1', '@home')))
  assert IMAGES.matches('a.JPG') and not IMAGES.matches('._a.jpg')
