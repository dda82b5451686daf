"""Files and folders appear whole or not at all."""

import os
import time

import pytest

from tf_tokenlearner import files


def test_file_is_replaced_at_the_end(tmp_path):
  target = tmp_path / 'a.txt'
  target.write_text('old')
  with files.replacing(str(target)) as path:
    with open(path, 'w') as file:
      file.write('new')
    assert target.read_text() == 'old'
  assert target.read_text() == 'new'
  assert os.listdir(tmp_path) == ['a.txt']


def test_folder_appears_at_the_end(tmp_path):
  with files.replacing(str(tmp_path / 'model')) as path:
    os.mkdir(path)
    (tmp_path / os.path.basename(path) / 'weights').write_text('1')
    assert not (tmp_path / 'model').exists()
  assert (tmp_path / 'model' / 'weights').read_text() == '1'


def test_text_with_names_that_are_no_utf_8(tmp_path):
  files.write_text(str(tmp_path / 'a [1].txt'), 'é\udcff\n')
  assert (tmp_path / 'a [1].txt').read_bytes() == b'\xc3\xa9\xff\n'


@pytest.mark.parametrize('is_folder', [False, True])
def test_failure_leaves_nothing(tmp_path, is_folder):
  with pytest.raises(KeyboardInterrupt):
    with files.replacing(str(tmp_path / 'x')) as path:
      if is_folder:
        os.mkdir(path)
      else:
        open(path, 'w').close()
      raise KeyboardInterrupt
  assert not os.listdir(tmp_path)


def test_leftovers_of_killed_processes_are_removed_after_a_day(tmp_path):
  path = str(tmp_path / 'a [1]')
  places = []
  for age in (0, 2 * 24 * 3600):
    with files.replacing(path) as beside:
      os.mkdir(beside)
      places.append(tmp_path / f'{beside}.partial')
      places[-1].mkdir()
      (places[-1] / 'weights').write_text('1')
    os.utime(places[-1], (time.time() - age,) * 2)
    os.rmdir(path)
  files.remove_stale(path + '/')
  assert [place.exists() for place in places] == [True, False]


def test_names_need_not_be_utf8(tmp_path):
  target = os.path.join(tmp_path, os.fsdecode(b'\xff.txt'))
  with files.replacing(target) as path, open(path, 'w') as file:
    file.write('new')
  assert os.listdir(tmp_path) == [os.path.basename(target)]
  with pytest.raises(KeyboardInterrupt):
    with files.replacing(target) as path, open(path, 'w'):
      raise KeyboardInterrupt
  assert os.listdir(tmp_path) == [os.path.basename(target)]


@pytest.mark.parametrize('name', ['a [b=0.1]', 'a*', 'a?', 'plain'])
def test_wildcards_are_hidden_behind_a_link(tmp_path, name):
  folder = tmp_path / name
  folder.mkdir()
  (folder / 'file').write_text('a')
  with files.without_wildcards(str(folder)) as path:
    assert not set('*?[]') & set(path)
    with open(os.path.join(path, 'file'), encoding='utf-8') as file:
      assert file.read() == 'a'
  assert (folder / 'file').exists()
