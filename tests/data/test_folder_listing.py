"""Which files of a folder count, and which folders are as they should be."""

import os

import pytest

from tf_tokenlearner import errors
from tf_tokenlearner.data import folder_listing


def make(folder, *paths):
  """Files that are empty: no listing looks inside."""
  for path in paths:
    path = folder / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  return str(folder)


def scan(folder, kind=folder_listing.IMAGES):
  return folder_listing.scan(folder, kind)


def paths(listing, split):
  return {name: [file.path for file in files]
          for name, files in listing.splits[split].items()}


def test_classes(tmp_path):
  folder = make(tmp_path, 'dog/b.PNG', 'dog/a.jpeg', 'cat/2019/may/c.webp',
                'cat/d.Bmp', 'cat/e.gif', 'cat/f.jpg')
  listing = scan(folder)
  assert listing.class_names == ('cat', 'dog')
  assert list(listing.splits) == [folder_listing.WHOLE]
  assert paths(listing, folder_listing.WHOLE) == {
      'cat': ['cat/d.Bmp', 'cat/e.gif', 'cat/f.jpg', 'cat/2019/may/c.webp'],
      'dog': ['dog/a.jpeg', 'dog/b.PNG']}
  assert not listing.num_ignored


@pytest.mark.parametrize('name', ['validation', 'val', 'Valid'])
def test_splits(tmp_path, name):
  folder = make(tmp_path, 'Train/cat/a.jpg', 'Train/dog/b.jpg',
                f'{name}/dog/c.jpg', 'test/cat/d.jpg')
  listing = scan(folder)
  assert listing.class_names == ('cat', 'dog')
  assert set(listing.splits) == {'train', 'validation', 'test'}
  assert paths(listing, 'validation') == {'dog': [f'{name}/dog/c.jpg']}
  assert {file.path for file in listing.files()} == {
      'Train/cat/a.jpg', 'Train/dog/b.jpg', 'test/cat/d.jpg',
      f'{name}/dog/c.jpg'}


def test_splits_without_train(tmp_path):
  folder = make(tmp_path, 'val/cat/a.jpg', 'test/dog/b.jpg')
  assert scan(folder).class_names == ('cat', 'dog')


def test_classes_may_be_called_as_splits_are(tmp_path):
  folder = make(tmp_path, 'car/a.jpg', 'train/b.jpg', 'test/c.jpg')
  assert scan(folder).class_names == ('car', 'test', 'train')


def test_others_are_counted(tmp_path):
  folder = make(
      tmp_path, 'cat/a.jpg', 'dog/b.jpg', 'dog/notes.txt', 'dog/._b.jpg',
      'dog/.hidden/c.jpg', 'dog/Thumbs.db', 'dog/LICENSE', 'README.txt',
      '.DS_Store', 'c.jpg', '__MACOSX/dog/d.jpg')
  listing = scan(folder)
  assert [file.path for file in listing.files()] == ['cat/a.jpg', 'dog/b.jpg']
  assert listing.num_ignored == {
      '.txt': 2, '.jpg': 2, '.db': 1, 'LICENSE': 1, '.DS_Store': 1}


def test_links(tmp_path):
  folder = make(tmp_path / 'folder', 'cat/a.jpg', 'dog/b.jpg')
  make(tmp_path / 'elsewhere', 'c.jpg')
  os.symlink(tmp_path / 'elsewhere', tmp_path / 'folder' / 'bird')
  os.symlink(tmp_path / 'folder' / 'cat', tmp_path / 'folder' / 'cat' / 'loop')
  os.symlink(tmp_path / 'nowhere', tmp_path / 'folder' / 'dog' / 'gone.jpg')
  listing = scan(folder)
  assert paths(listing, folder_listing.WHOLE) == {
      'bird': ['bird/c.jpg'], 'cat': ['cat/a.jpg'],
      'dog': ['dog/b.jpg', 'dog/gone.jpg']}


def test_fingerprint(tmp_path):
  folder = make(tmp_path, 'cat/a.jpg', 'dog/b.jpg')
  fingerprint = (
      lambda *options: scan(folder).fingerprint(*options))
  first = fingerprint()
  assert first == fingerprint() and len(first) == 16
  assert first != fingerprint(0.2) != fingerprint(0.3)
  (tmp_path / 'cat' / 'notes.txt').touch()
  assert fingerprint() == first
  os.utime(tmp_path / 'cat' / 'a.jpg', (1, 1))
  changed_time = fingerprint()
  (tmp_path / 'cat' / 'a.jpg').write_text('x')
  os.utime(tmp_path / 'cat' / 'a.jpg', (1, 1))
  changed_size = fingerprint()
  os.rename(tmp_path / 'cat' / 'a.jpg', tmp_path / 'cat' / 'b.jpg')
  changed_name = fingerprint()
  assert len({first, changed_time, changed_size, changed_name}) == 4


@pytest.mark.parametrize('files,message', [
    ([], 'has no class folders. Expected folder/<class>'),
    (['notes.txt'], 'has no class folders'),
    (['a.jpg', 'b.jpg'], 'has images, but no class folders. Expected'),
    (['train/a.jpg', 'test/b.jpg'],
     '/test has images, but no class folders|/train has images, but no'),
    (['cat/a.jpg'], 'has one class only, cat. Expected'),
    (['train/cat/a.jpg', 'test/cat/a.jpg'], 'has one class only, cat'),
    (['cat/a.jpg', 'dog/b.txt', 'emu/.jpg'],
     r'class folders without images \(.jpg, .jpeg, .png, .gif, .bmp, .webp\): '
     'dog, emu. Remove or fill them'),
    (['train/cat/a.jpg', 'train/dog/b.jpg', 'val/cat/c.jpg', 'val/dgo/d.jpg'],
     'validation has classes that train has not: dgo'),
    (['train/cat/a.jpg', 'val/cat/b.jpg', 'extra/cat/c.jpg'],
     r'split folders \(train, val\) and others \(extra\): take the others'),
    (['train/cat/a.jpg', 'val/cat/b.jpg', 'validation/cat/b.jpg'],
     'two folders for the split validation: keep one'),
])
def test_mistakes(tmp_path, files, message):
  with pytest.raises(errors.UserError, match=message):
    scan(make(tmp_path, *files))


def test_many_names_are_cut_short(tmp_path):
  folder = make(tmp_path, 'cat/a.jpg', *(f'c{i:02d}/a.txt' for i in range(12)))
  with pytest.raises(errors.UserError, match=r'c00, .*, c09, \.\.\.\. Remove'):
    scan(folder)


def test_no_folder(tmp_path):
  with pytest.raises(errors.UserError, match='There is no folder .*/none. Exp'):
    scan(str(tmp_path / 'none'))


def test_videos(tmp_path):
  folder = make(tmp_path, 'run/a.mp4', 'run/b.AVI', 'run/c.mov', 'jump/d.webm',
                'jump/e.gif', 'jump/f.mkv', 'jump/g.m4v', 'jump/h.jpg')
  listing = scan(folder, folder_listing.VIDEOS)
  assert listing.kind is folder_listing.VIDEOS
  assert paths(listing, folder_listing.WHOLE) == {
      'jump': ['jump/d.webm', 'jump/e.gif', 'jump/f.mkv', 'jump/g.m4v'],
      'run': ['run/a.mp4', 'run/b.AVI', 'run/c.mov']}
  assert listing.num_ignored == {'.jpg': 1}


@pytest.mark.parametrize('files,message', [
    (['a.mp4'], r'has videos, but no class folders. Expected '
                r'folder/<class>/\*.mp4 with two'),
    (['run/a.mp4', 'jump/b.jpg'],
     r'folders without videos \(.mp4, .avi, .* .m4v\): jump. Remove or'),
])
def test_mistakes_with_videos(tmp_path, files, message):
  with pytest.raises(errors.UserError, match=message):
    scan(make(tmp_path, *files), folder_listing.VIDEOS)


@pytest.mark.parametrize('files,kinds', [
    (['a/1.jpg', 'a/2.gif', 'b/1.txt'], [folder_listing.IMAGES]),
    (['a/x/1.MP4', 'a/2.gif'], [folder_listing.VIDEOS]),
    (['a/1.jpg', 'b/1.mov'], [folder_listing.IMAGES, folder_listing.VIDEOS]),
    (['a/1.gif'], [folder_listing.IMAGES, folder_listing.VIDEOS]),
    (['a/1.txt', 'a/.2.jpg'], [])])
def test_find_kinds(tmp_path, files, kinds):
  assert folder_listing.find_kinds(make(tmp_path, *files)) == kinds
