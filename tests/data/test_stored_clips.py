"""Clips on disk: whole or not there."""

import os

import pytest

from tf_tokenlearner.data import decoded_videos


def test_round_trip(tmp_path):
  path = str(tmp_path / 'clip')
  frames = [b'a', b'', b'\xff' * 1000]
  assert not decoded_videos.is_whole(path)
  decoded_videos.write(path, iter(frames))
  assert decoded_videos.is_whole(path)
  assert decoded_videos.read(path) == frames
  assert os.listdir(tmp_path) == ['clip']


def test_nothing_half_made_stays(tmp_path):
  def frames():
    yield b'a'
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    decoded_videos.write(str(tmp_path / 'clip'), frames())
  assert not os.listdir(tmp_path)


@pytest.mark.parametrize('damage', [
    lambda data: data[:-1], lambda data: b'', lambda data: bytes(len(data))])
def test_files_after_a_power_failure(tmp_path, damage):
  path = tmp_path / 'clip'
  decoded_videos.write(str(path), [b'abc'])
  path.write_bytes(damage(path.read_bytes()))
  assert not decoded_videos.is_whole(str(path))


def test_folder_that_cannot_be_written(tmp_path):
  with pytest.raises(FileNotFoundError):
    decoded_videos.write(str(tmp_path / 'none' / 'clip'), [b'a'])
  with pytest.raises(FileNotFoundError):
    decoded_videos.read(str(tmp_path / 'clip'))
