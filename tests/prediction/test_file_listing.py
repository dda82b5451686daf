"""Files are found by what is in them."""

import os

import cv2
import numpy as np
import pytest

from tests.data import video_making
from tf_tokenlearner import errors
from tf_tokenlearner.data import file_types
from tf_tokenlearner.prediction import listing as listing_lib

IMAGES, VIDEOS = file_types.IMAGES, file_types.VIDEOS


def write(path, data=b''):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(data)
  return str(path)


@pytest.fixture(name='folder')
def fixture_folder(tmp_path):
  """Pictures under wrong names, hidden ones, and a link that leads back."""
  png = cv2.imencode('.png', np.zeros([2, 2, 3], np.uint8))[1].tobytes()
  write(tmp_path / 'b' / 'c.png', png)
  write(tmp_path / 'b' / 'picture.txt', png)
  write(tmp_path / 'a.jpg')
  write(tmp_path / 'notes.txt', b'BMs are notes')
  write(tmp_path / '.hidden.png', png)
  write(tmp_path / '.hidden' / 'd.png', png)
  write(tmp_path / 'maps' / 'old.png', png)
  (tmp_path / 'b' / 'back').symlink_to(tmp_path)
  video_making.write(tmp_path / 'video.mp4', video_making.numbered(2))
  return str(tmp_path)


def relative(listing, folder):
  return [os.path.relpath(path, folder) for path in listing.paths]


def test_folders(folder):
  maps = os.path.join(folder, 'maps')
  listing = listing_lib.find([folder], IMAGES, skip=maps)
  assert relative(listing, folder) == ['a.jpg', 'b/c.png', 'b/picture.txt']
  assert listing.num_others == {'other files': 1, 'videos': 1}
  assert listing_lib.describe(listing.num_others) == (
      'other files (1), videos (1)')
  assert relative(listing_lib.find([folder], VIDEOS), folder) == ['video.mp4']


def test_files_are_taken_as_they_are_and_once(folder):
  notes, picture = (os.path.join(folder, name)
                    for name in ('notes.txt', 'b/c.png'))
  listing = listing_lib.find(
      [notes, picture, os.path.join(folder, 'b')], IMAGES)
  assert relative(listing, folder)[:3] == [
      'notes.txt', 'b/c.png', 'b/picture.txt']
  assert len(set(listing.paths)) == len(listing.paths)


def test_another_spelling_is_no_other_file(folder, tmp_path):
  first, notes = (os.path.join(folder, 'b', '..', name)
                  for name in ('b/picture.txt', 'notes.txt'))
  link = str(tmp_path / 'b' / 'link.png')
  os.symlink(os.path.join(folder, 'a.jpg'), link)
  again = os.path.join(folder, '.', 'maps')
  listing = listing_lib.find([first, notes, link, again, folder], IMAGES)
  assert listing.paths == [
      first, notes, link, os.path.join(again, 'old.png'),
      os.path.join(folder, 'b', 'c.png')]
  assert listing.num_others == {'videos': 1}


def test_pipes_are_never_opened(tmp_path, monkeypatch):
  os.mkfifo(tmp_path / 'pipe.png')
  write(tmp_path / 'a.png')
  opened = []

  def note(path, *args):
    opened.append(os.path.basename(path))
    assert opened[-1] != 'pipe.png', 'It would wait for ever.'
    return open(path, *args)

  monkeypatch.setattr(file_types, 'open', note, raising=False)
  listing = listing_lib.find([str(tmp_path)], IMAGES)
  assert relative(listing, tmp_path) == opened == ['a.png']
  assert listing.num_others == {'other files': 1}


def test_nothing_there(folder, tmp_path):
  with pytest.raises(errors.UserError, match='no file or folder .*/nowhere'):
    listing_lib.find([folder, str(tmp_path / 'nowhere')], IMAGES)
  with pytest.raises(errors.UserError, match=(
      r'There are no videos in .*/maps, only images \(1\). This model takes '
      'videos.$')):
    listing_lib.find([os.path.join(folder, 'maps')], VIDEOS)
