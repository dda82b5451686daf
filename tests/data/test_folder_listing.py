"""Folder listings: classes, splits, links, ignored files and mistakes."""

import os

import pytest

from tf_tokenlearner import errors
from tf_tokenlearner.data import file_types
from tf_tokenlearner.data import folder_listing


def make(folder, *paths):
  """Makes empty files: the content of known extensions is not read."""
  for path in paths:
    path = folder / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
  return str(folder)


def scan(folder, file_type=file_types.IMAGES):
  return folder_listing.scan(folder, file_type)


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
  assert not listing.ignored and not listing.describe_ignored()


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


@pytest.mark.parametrize('train,validation,test', [
    ('Training', 'eval', 'Testing'), ('TRAIN', 'Validate', 'TEST'),
    ('train_images', 'val_images', 'test_images'),
    ('training_set', 'Dev', 'test set'), ('train-data', 'evaluation', 'test')])
def test_split_names(tmp_path, train, validation, test):
  folder = make(
      tmp_path, f'{train}/cat/a.jpg', f'{train}/dog/b.jpg',
      f'{validation}/cat/c.jpg', f'{test}/dog/d.jpg')
  listing = scan(folder)
  assert listing.class_names == ('cat', 'dog')
  assert paths(listing, 'validation') == {'cat': [f'{validation}/cat/c.jpg']}
  assert paths(listing, 'test') == {'dog': [f'{test}/dog/d.jpg']}
  note, = listing.notes
  assert f'{train} is train' in note and f'{validation} is validation' in note


@pytest.mark.parametrize('name', [
    'cat', 'trainer', 'latest', 'images', 'contest', 'value', 'train station'])
def test_other_names_are_no_splits(name):
  assert folder_listing.split_of(name) is None


def test_classes_may_have_names_of_splits(tmp_path):
  folder = make(tmp_path, 'car/a.jpg', 'train/b.jpg', 'test/c.jpg')
  listing = scan(folder)
  assert listing.class_names == ('car', 'test', 'train')
  note, = listing.notes
  assert 'test, train are read as classes, as car is no split' in note


def test_folders_of_files_with_names_of_splits_are_classes(tmp_path):
  """Training and Testing may be sports; the note says how they are read."""
  listing = scan(make(tmp_path, 'Training/a.jpg', 'Testing/b.jpg'))
  assert listing.class_names == ('Testing', 'Training')
  note, = listing.notes
  assert ('Testing, Training are read as classes, as they hold images and no '
          'class folders. Expected folder/<class>') in note


def test_plain_folders_need_no_note(tmp_path):
  assert not scan(make(tmp_path, 'cat/a.jpg', 'dog/b.jpg')).notes
  assert not scan(make(
      tmp_path / 'split', 'train/cat/a.jpg', 'train/dog/b.jpg',
      'test/cat/a.jpg')).notes


def test_files_are_found_by_content(tmp_path):
  folder = make(tmp_path, 'cat/a.jfif', 'cat/b.jpe', 'dog/c.jpg', 'dog/d.heic',
                'dog/e.mp4', 'dog/notes')
  (tmp_path / 'dog' / 'no extension').write_bytes(b'\xff\xd8\xff\xe0')
  (tmp_path / 'dog' / 'wrong.mp4').write_bytes(b'\x89PNG\r\n\x1a\n')
  listing = scan(folder)
  assert paths(listing, folder_listing.WHOLE) == {
      'cat': ['cat/a.jfif', 'cat/b.jpe'],
      'dog': ['dog/c.jpg', 'dog/no extension', 'dog/wrong.mp4']}
  assert listing.ignored == {
      'format not supported, convert to JPEG': ['dog/d.heic'],
      'not images': ['dog/e.mp4', 'dog/notes']}


@pytest.mark.parametrize('name', [
    '@eaDir', '#recycle', '.AppleDouble', '.hidden', '__MACOSX', '$RECYCLE.BIN',
    'lost+found'])
def test_folders_of_systems_are_passed_over(tmp_path, name):
  listing = scan(make(tmp_path, 'cat/a.jpg', f'cat/{name}/a.jpg', 'dog/b.jpg',
                      f'{name}/c.jpg'))
  assert [file.path for file in listing.files()] == ['cat/a.jpg', 'dog/b.jpg']


@pytest.mark.parametrize(
    'target', ['.', '..', 'folder/dog', 'folder/dog/puppy'])
def test_links_back_do_not_double_files(tmp_path, target):
  folder = make(tmp_path / 'folder', 'cat/a.jpg', 'dog/b.jpg',
                'dog/puppy/c.jpg')
  link = tmp_path / 'folder' / 'cat' / 'link'
  target = {'.': tmp_path / 'folder', '..': tmp_path}.get(
      target, tmp_path / target)
  link.symlink_to(target)
  listing = scan(folder)
  assert paths(listing, folder_listing.WHOLE) == {
      'cat': ['cat/a.jpg'], 'dog': ['dog/b.jpg', 'dog/puppy/c.jpg']}
  assert listing.ignored == {
      'links to folders that are listed anyway': ['cat/link']}


@pytest.mark.parametrize('names', [
    ('cat', 'cat '), ('caf\u00e9', 'cafe\u0301'), ('a\nb', 'a b'),
    (b'caf\xe9', b'caf\xe8')])
def test_class_names_that_do_not_differ(tmp_path, names):
  for name in (*names, 'dog'):
    folder = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
    os.mkdir(folder)
    with open(os.path.join(folder, b'a.jpg'), 'wb'):
      pass
  with pytest.raises(errors.UserError) as error:
    scan(str(tmp_path))
  message = str(error.value)
  assert 'names do not differ when written as labels' in message
  assert '\n' not in message and message.isascii()


def test_class_names_are_tidied(tmp_path):
  """Composed and decomposed Unicode is one class, also across splits."""
  folder = make(
      tmp_path, 'train/caf\u00e9/a.jpg', 'train/two\nlines/b.jpg',
      'val/cafe\u0301/c.jpg')
  listing = scan(folder)
  assert listing.class_names == ('caf\u00e9', 'two lines')
  assert paths(listing, 'validation') == {
      'caf\u00e9': ['val/cafe\u0301/c.jpg']}


def test_class_name_that_cannot_be_seen(tmp_path):
  with pytest.raises(errors.UserError, match="without a visible name: ' '"):
    scan(make(tmp_path, ' /a.jpg', 'dog/b.jpg'))


@pytest.mark.parametrize('folder_name', ['a [b]', 'a*', 'what?'])
def test_paths_are_no_patterns(tmp_path, folder_name):
  folder = make(tmp_path / folder_name, 'cat [1]/a*.jpg', 'dog?/b[0].jpg')
  assert paths(scan(folder), folder_listing.WHOLE) == {
      'cat [1]': ['cat [1]/a*.jpg'], 'dog?': ['dog?/b[0].jpg']}


def test_others_are_counted(tmp_path):
  folder = make(
      tmp_path, 'cat/a.jpg', 'dog/b.jpg', 'dog/notes.txt', 'dog/._b.jpg',
      'dog/.hidden/c.jpg', 'dog/Thumbs.db', 'dog/LICENSE', 'README.txt',
      '.DS_Store', 'c.jpg', '__MACOSX/dog/d.jpg')
  listing = scan(folder)
  assert [file.path for file in listing.files()] == ['cat/a.jpg', 'dog/b.jpg']
  assert listing.ignored == {
      'outside class folders': ['.DS_Store', 'README.txt', 'c.jpg'],
      'not images': [
          'dog/._b.jpg', 'dog/LICENSE', 'dog/Thumbs.db', 'dog/notes.txt']}
  assert listing.describe_ignored() == (
      'Passed over 7 files or folders: not images: 4 (dog/._b.jpg, '
      'dog/LICENSE, dog/Thumbs.db, ...); outside class folders: 3 (.DS_Store, '
      'README.txt, c.jpg).')


@pytest.mark.parametrize('part', ['', 'train/'])
def test_class_folder_that_begins_with_a_dot(tmp_path, part):
  folder = make(tmp_path, f'{part}.net/a.jpg', f'{part}java/b.jpg',
                f'{part}rust/c.jpg')
  listing = scan(folder)
  assert listing.class_names == ('java', 'rust')
  assert listing.describe_ignored() == (
      'Passed over 1 files or folders: hidden folders, rename if they are '
      f'classes: 1 ({part}.net).')


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
    (['cat/a.jpg'], 'has only one class, cat. Expected'),
    (['train/cat/a.jpg', 'test/cat/a.jpg'], 'has only one class, cat'),
    (['cat/a.jpg', 'dog/b.txt', 'emu/.jpg'],
     r'class folders without images \(.jpg, .jpeg, .png, .gif, .bmp, .webp, '
     r'.jfif, .jpe\): dog, emu. Remove or fill them'),
    (['train/cat/a.jpg', 'train/dog/b.jpg', 'val/cat/c.jpg', 'val/dgo/d.jpg'],
     'validation has classes that train does not have: dgo'),
    (['train/cat/a.jpg', 'val/cat/b.jpg', 'extra/cat/c.jpg'],
     r'split folders \(train, val\) and others \(extra\). Move the others'),
    (['train/cat/a.jpg', 'val/cat/b.jpg', 'validation/cat/b.jpg'],
     'two folders for the split validation: val and validation. Keep one'),
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
  listing = scan(folder, file_types.VIDEOS)
  assert listing.file_type is file_types.VIDEOS
  assert paths(listing, folder_listing.WHOLE) == {
      'jump': ['jump/d.webm', 'jump/e.gif', 'jump/f.mkv', 'jump/g.m4v'],
      'run': ['run/a.mp4', 'run/b.AVI', 'run/c.mov']}
  assert listing.ignored == {'not videos': ['jump/h.jpg']}


@pytest.mark.parametrize('files,message', [
    (['a.mp4'], r'has videos, but no class folders. Expected '
                r'folder/<class>/\*.mp4 with two'),
    (['run/a.mp4', 'jump/b.jpg'],
     r'folders without videos \(.mp4, .avi, .* .m2ts\): jump. Remove or'),
])
def test_mistakes_with_videos(tmp_path, files, message):
  with pytest.raises(errors.UserError, match=message):
    scan(make(tmp_path, *files), file_types.VIDEOS)


@pytest.mark.parametrize('files,types', [
    (['a/1.jpg', 'a/2.gif', 'b/1.txt'], [file_types.IMAGES]),
    (['a/x/1.MP4', 'a/2.gif'], [file_types.VIDEOS]),
    (['a/1.jpg', 'b/1.mov'], [file_types.IMAGES, file_types.VIDEOS]),
    (['a/1.gif'], [file_types.IMAGES, file_types.VIDEOS]),
    (['a/1.txt', 'a/.2.jpg'], [])])
def test_find_types(tmp_path, files, types):
  assert folder_listing.find_types(make(tmp_path, *files)) == types
