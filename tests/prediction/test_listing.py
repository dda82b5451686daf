"""Listings: files are found by their content, others are named."""

import os

import cv2
import numpy as np
import pytest

from tests.data import video_making
from tf_tokenlearner.data import file_types
from tf_tokenlearner import errors
from tf_tokenlearner.prediction import listing as listing_lib

IMAGES, VIDEOS = file_types.IMAGES, file_types.VIDEOS


def write(path, data=b''):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(data)
  return str(path)


@pytest.fixture(name='folder')
def fixture_folder(tmp_path):
  """Images with wrong extensions, hidden files, and a circular link."""
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


def test_folders_are_searched(folder):
  maps = os.path.join(folder, 'maps')
  listing = listing_lib.find([folder], IMAGES, skip=maps)
  assert relative(listing, folder) == ['a.jpg', 'b/c.png', 'b/picture.txt']
  assert listing.passed_over == {
      'hidden': ['.hidden', '.hidden.png'], 'videos': ['video.mp4'],
      'neither images nor videos': ['notes.txt']}
  assert listing_lib.describe(listing.passed_over) == (
      '2 hidden (.hidden, .hidden.png), 1 neither images nor videos '
      '(notes.txt), 1 videos (video.mp4)')
  assert relative(listing_lib.find([folder], VIDEOS), folder) == ['video.mp4']


def test_named_files_are_listed_once_whatever_they_are(folder):
  notes, picture = (os.path.join(folder, name)
                    for name in ('notes.txt', 'b/c.png'))
  listing = listing_lib.find(
      [notes, picture, os.path.join(folder, 'b')], IMAGES)
  assert relative(listing, folder)[:3] == [
      'notes.txt', 'b/c.png', 'b/picture.txt']
  assert len(set(listing.paths)) == len(listing.paths)


def test_two_spellings_of_a_path_are_one_file(folder, tmp_path):
  first, notes = (os.path.join(folder, 'b', '..', name)
                  for name in ('b/picture.txt', 'notes.txt'))
  link = str(tmp_path / 'b' / 'link.png')
  os.symlink(os.path.join(folder, 'a.jpg'), link)
  again = os.path.join(folder, '.', 'maps')
  listing = listing_lib.find([first, notes, link, again, folder], IMAGES)
  assert listing.paths == [
      first, notes, link, os.path.join(again, 'old.png'),
      os.path.join(folder, 'b', 'c.png')]
  assert listing.passed_over == {
      'hidden': ['.hidden', '.hidden.png'], 'videos': ['video.mp4']}


def test_pipes_are_never_opened(tmp_path, monkeypatch):
  os.mkfifo(tmp_path / 'pipe.png')
  write(tmp_path / 'a.png')
  opened = []

  def note(path, *args):
    opened.append(os.path.basename(path))
    assert opened[-1] != 'pipe.png', 'Opening it blocks.'
    return open(path, *args)

  monkeypatch.setattr(file_types, 'open', note, raising=False)
  listing = listing_lib.find([str(tmp_path)], IMAGES)
  assert relative(listing, tmp_path) == opened == ['a.png']
  assert listing.passed_over == {'neither images nor videos': ['pipe.png']}


def test_folders_without_matches_are_refused(folder, tmp_path):
  with pytest.raises(errors.UserError, match='no file or folder .*/nowhere'):
    listing_lib.find([folder, str(tmp_path / 'nowhere')], IMAGES)
  with pytest.raises(errors.UserError, match=(
      'Expected videos for this model, found none in .*/maps, only 1 images '
      r'\(old.png\).$')):
    listing_lib.find([os.path.join(folder, 'maps')], VIDEOS)


def test_long_lists_are_shortened():
  assert listing_lib.describe({'videos': list('abcde'), 'hidden': ['f']}) == (
      '5 videos (a, b, c, ...), 1 hidden (f)')


@pytest.mark.parametrize('name', ['a [1]', 'a*', 'a?'])
def test_wildcards_in_names_are_literal(folder, tmp_path, name):
  inside = tmp_path / 'b' / name
  write(inside / f'{name}.png', (tmp_path / 'b' / 'c.png').read_bytes())
  for path in (inside, inside / f'{name}.png'):
    listing = listing_lib.find([str(path)], IMAGES)
    assert listing.paths == [str(inside / f'{name}.png')]


def test_folders_that_cannot_be_opened_are_named(folder, monkeypatch):
  scandir = os.scandir

  def refuse(path):
    if os.path.basename(path) == 'maps':
      raise PermissionError(13, 'Permission denied', path)
    return scandir(path)

  monkeypatch.setattr(os, 'scandir', refuse)
  listing = listing_lib.find([folder], IMAGES)
  assert listing.passed_over['that cannot be opened'] == ['maps']
