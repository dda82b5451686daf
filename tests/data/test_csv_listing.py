"""CSV files of labels: classes, splits, several labels and wrong rows."""

import pytest

from tf_tokenlearner import errors
from tf_tokenlearner.data import csv_listing
from tf_tokenlearner.data import file_types
from tf_tokenlearner.data import folder_listing

IMAGES = ('a.jpg', 'b.png', 'x/c.jpg', 'x/y, z.jpg')


@pytest.fixture(name='scan')
def fixture_scan(tmp_path):
  """Returns scan(text of a CSV file beside IMAGES)."""
  for name in (*IMAGES, 'film.mp4'):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()

  def scan(text, **options):
    path = tmp_path / 'labels.csv'
    path.write_text(text)
    return csv_listing.scan(str(path), file_types.IMAGES, **options)
  return scan


def paths(listing, split=folder_listing.WHOLE):
  return {name: [file.path for file in files]
          for name, files in listing.splits[split].items()}


def test_class_names_are_text(scan, tmp_path):
  listing = scan('Label,note,File\n007,1,a.jpg\n1e3,2,b.png\nnull,,x/c.jpg\n'
                 '"no, yes",4,"x/y, z.jpg"\n1e3,,./b.png\n')
  assert listing.class_names == ('007', '1e3', 'no, yes', 'null')
  assert paths(listing) == {'007': ['a.jpg'], '1e3': ['b.png'],
                            'null': ['x/c.jpg'], 'no, yes': ['x/y, z.jpg']}
  assert not listing.multi_label
  assert listing.notes == (f'{tmp_path}/labels.csv: 1 rows repeat others.',)


def test_splits(scan):
  listing = scan('file,label,split\na.jpg,cat,train\nb.png,dog,Training\n'
                 'x/c.jpg,cat,val\n"x/y, z.jpg",dog,test\n')
  assert paths(listing, 'train') == {'cat': ['a.jpg'], 'dog': ['b.png']}
  assert paths(listing, 'validation') == {'cat': ['x/c.jpg']}
  assert paths(listing, 'test') == {'dog': ['x/y, z.jpg']}


def test_several_labels_are_listed_under_the_rarest(scan):
  text = 'file,label\na.jpg,cat;dog\nb.png,cat\nx/c.jpg,dog ; cat;\n'
  listing = scan(text)
  assert listing.class_names == ('cat', 'dog') and listing.multi_label
  assert paths(listing) == {'dog': ['a.jpg', 'x/c.jpg'], 'cat': ['b.png']}
  assert listing.labels == {'a.jpg': ('cat', 'dog'), 'b.png': ('cat',),
                            'x/c.jpg': ('cat', 'dog')}
  assert scan(text).fingerprint() == listing.fingerprint()
  # b.png stays under cat, but c.jpg is now listed there, too.
  assert scan(text.replace('dog ; cat;', 'cat')
              ).fingerprint() != listing.fingerprint()


def test_paths_start_from_a_folder(scan, tmp_path):
  listing = scan(f'file,label\nc.jpg,cat\n../a.jpg,dog\n{tmp_path}/b.png,dog\n',
                 files_dir=str(tmp_path / 'x'))
  assert listing.folder == str(tmp_path / 'x')
  assert paths(listing) == {'cat': ['c.jpg'], 'dog': ['../a.jpg', '../b.png']}
  listing = scan('file,label\nx\\c.jpg,cat\na.jpg,dog\n')
  assert paths(listing) == {'cat': ['x/c.jpg'], 'dog': ['a.jpg']}


def test_wrong_rows_are_named_together(scan):
  with pytest.raises(errors.UserError) as caught:
    scan('file,label,split\na.jpg,cat,train\nnone.jpg,dog,train\n'
         'b.png, ;,train\nfilm.mp4,cat,train\na.jpg,dog,train\n'
         'x/c.jpg,dog,trian\n,dog,train\n')
  text = str(caught.value)
  for problem in (
      'labels.csv: 6 rows are wrong: line 3: there is no file none.jpg',
      'line 4: b.png has no label', 'line 5: film.mp4 is not an image',
      'line 6: a.jpg is dog of train, but cat of train in line 2',
      "line 7: unknown split 'trian', expected train, validation or test",
      '; and 1 more. Correct them; paths start from '):
    assert problem in text
  assert '\n' not in text


@pytest.mark.parametrize('text, message', [
    ('a.jpg,cat\nb.png,dog\n', r'labels.csv:1: expected the columns file, label'
                               r', got a.jpg, cat'),
    ('file,label\na.jpg,cat\n', 'has only one class, cat. Expected columns'),
    ('file,label\n', 'names no files. Expected columns file and label'),
    ('file,label,split\na.jpg,cat,train\nb.png,dog,train\nx/c.jpg,emu,test\n',
     'labels.csv: test has classes that train does not have: emu')])
def test_other_files_are_refused(scan, text, message):
  with pytest.raises(errors.UserError, match=message):
    scan(text)


def test_missing_file(tmp_path):
  with pytest.raises(errors.UserError, match='There is no file .*none.csv'):
    csv_listing.scan(str(tmp_path / 'none.csv'), file_types.IMAGES)


def test_types_of_files(tmp_path):
  path = tmp_path / 'labels.csv'
  for names, expected in (('film.mp4', [file_types.VIDEOS]),
                          ('a.jpg\nfilm.mp4', [file_types.IMAGES,
                                               file_types.VIDEOS])):
    path.write_text(f'file\n{names}\n')
    assert csv_listing.find_types(str(path)) == expected
