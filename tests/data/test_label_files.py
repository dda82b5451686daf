"""Tests of finding videos and reading label files."""

import pytest

from tf_tokenlearner import errors
from tf_tokenlearner.data.builders import label_files


def make(folder, *paths):
  for path in paths:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).touch()
  return label_files.find_files(str(folder))


def test_videos_at_any_depth(tmp_path):
  files = make(tmp_path, 'a.mp4', 'x/b.MKV', 'x/y/c.webm', 'notes.txt',
               '.hidden.mp4', 'd.csv')
  assert label_files.find_videos(files) == {
      name: f'{tmp_path}/{path}' for name, path in (
          ('a', 'a.mp4'), ('b', 'x/b.MKV'), ('c', 'x/y/c.webm'))}


@pytest.mark.parametrize('name', [
    'a.3gp', 'a.flv', 'a.ogv', 'a.wmv', 'a.mpg', 'a.m2ts', 'a.gif'])
def test_extensions_of_videos(tmp_path, name):
  assert label_files.find_videos(make(tmp_path, name)) == {
      'a': f'{tmp_path}/{name}'}


def test_videos_by_content(tmp_path):
  """Transport streams share the extension of TypeScript."""
  files = make(tmp_path, 'code.ts', 'a.ts', 'a.txt')
  (tmp_path / 'code.ts').write_text('const x = 3;')
  (tmp_path / 'a.ts').write_bytes((b'G' + bytes(187)) * 4)
  assert label_files.find_videos(files) == {'a': f'{tmp_path}/a.ts'}


def test_folders_that_are_not_searched(tmp_path):
  make(tmp_path, 'x/a.mp4', '@eaDir/b.mp4', '.AppleDouble/c.mp4', '#recycle/d')
  (tmp_path / 'x' / 'up').symlink_to(tmp_path)
  assert label_files.find_files(str(tmp_path)) == [f'{tmp_path}/x/a.mp4']


@pytest.mark.parametrize('paths,first', [
    (('train/a.mp4', 'val/a.mp4'), 'train/a.mp4'),
    (('train/a.mp4', 'replacement/a.mp4', 'a.mp4'), 'replacement/a.mp4'),
    (('z/a.mp4', 'k/replacement_for_corrupt/a.mp4', 'b/a.mp4'),
     'k/replacement_for_corrupt/a.mp4')])
def test_several_videos_of_a_name(tmp_path, paths, first):
  assert label_files.find_videos(make(tmp_path, *paths)) == {
      'a': f'{tmp_path}/{first}'}


def test_no_folder(tmp_path):
  with pytest.raises(errors.UserError, match='There is no folder .*/none'):
    label_files.find_files(str(tmp_path / 'none'))


def test_find_one(tmp_path):
  files = make(tmp_path, 'x/Train.csv', 'test.csv', 'y/test.csv')
  assert label_files.find_one(files, r'train\.csv', 'train') == (
      f'{tmp_path}/x/Train.csv')
  assert label_files.find_one(files, 'none', 'none') == ''
  with pytest.raises(errors.UserError, match=(
      'several files of split test: .*/test.csv, .*/y/test.csv. Keep one')):
    label_files.find_one(files, r'test\.csv', 'split test')


def read(tmp_path, content):
  path = tmp_path / 'a.csv'
  path.write_bytes(content)
  return list(label_files.read_csv(str(path), ('a', 'b')))


def test_rows(tmp_path):
  assert read(tmp_path, b'\xef\xbb\xbfb,c,a\r\n1,2, 3 \n"4,\n5",6,7\n8,9,10'
              ) == [(2, {'a': '3', 'b': '1'}), (4, {'a': '7', 'b': '4,\n5'}),
                    (5, {'a': '10', 'b': '8'})]
  assert label_files.has_column(str(tmp_path / 'a.csv'), 'b')
  assert not label_files.has_column(str(tmp_path / 'a.csv'), 'x')


@pytest.mark.parametrize('separator', ',;\t')
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_rows_as_spreadsheets_write_them(tmp_path, separator, encoding):
  text = 'A,b ,c\r\n"x, ""y""; z\t",Häuser,\r\n,,\r\n1,2,3\r\n'
  text = text.replace(',', separator).replace('x' + separator, 'x,')
  assert read(tmp_path, text.encode(encoding)) == [
      (2, {'a': 'x, "y"; z', 'b': 'Häuser'}), (4, {'a': '1', 'b': '2'})]


@pytest.mark.parametrize('content,message', [
    (b'a,c\n1,2\n', 'a.csv:1: expected the columns a, b, got a, c'),
    (b'', 'a.csv:1: expected the columns a, b, got none'),
    (b'a,b\n1,2\n3\n', 'a.csv:3: has too few columns'),
    (b'a,b\n1,2, 3\n', 'a.csv:2: has more columns than the first line. Put'),
    (b'a,b\n1,2\n"3,4\n', 'a.csv cannot be read as CSV, near line 3: '),
    (b'a,b\n1,\xff\n', 'a.csv cannot be read as CSV, near line 1: .*utf-8'),
])
def test_bad_rows(tmp_path, content, message):
  with pytest.raises(errors.UserError, match=message) as error:
    read(tmp_path, content)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('content,message', [
    ('{"a": ', 'a.json cannot be read as JSON: '),
    ('[]', r'a.json: expected \{"name.mp4": "label", ...\}, got somethi'),
    ('{}', 'got something else'), ('{"a": 1}', 'got something else'),
])
def test_bad_json(tmp_path, content, message):
  path = tmp_path / 'a.json'
  path.write_text('{"b.mp4": "run"}')
  assert label_files.read_json_labels(str(path)) == {'b.mp4': 'run'}
  path.write_text(content)
  with pytest.raises(errors.UserError, match=message):
    label_files.read_json_labels(str(path))
