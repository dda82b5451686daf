"""Folders of images and videos: packed copies, refused files, resumption."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.data import video_making
from tf_tokenlearner.data.builders import folder_builder
from tf_tokenlearner.data import class_sampling
from tf_tokenlearner.data import decoded_videos
from tf_tokenlearner.data import file_types
from tf_tokenlearner.data import folder_listing
from tf_tokenlearner.data import image_files
from tf_tokenlearner.data import prepare_dataset
from tf_tokenlearner.data import tfds_source
from tf_tokenlearner.data import video_worker
from tf_tokenlearner import errors

CLASSES = ('cat', 'dog', 'emu')


def image_bytes(seed, kind='jpeg'):
  pixels = np.random.default_rng(seed).integers(0, 255, (6, 5, 3), np.uint8)
  return getattr(tf.io, f'encode_{kind}')(pixels).numpy()


def make_folder(folder, parts=('',), each=10):
  """Writes images and returns {path: bytes}; half of them are PNG."""
  written = {}
  for part in parts:
    for name in CLASSES:
      for i in range(each):
        kind = ('jpeg', 'png')[i % 2]
        path = os.path.join(part, name, f'{i:02d}.{kind}')
        written[path] = image_bytes(len(written), kind)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(written[path])
  return written


def read(source, split):
  """[(bytes, class name)] of a split, sorted."""
  return sorted(
      (example['image'].numpy(), source.label_names[example['label']])
      for example in source.as_dataset(
          split, read_config=tfds.ReadConfig(), shuffle_files=False))


def labelled(written, part=None):
  """Returns the expected result of `read` for all files or a folder."""
  return sorted((data, path.split('/')[-2]) for path, data in written.items()
                if part is None or path.startswith(f'{part}/'))


class Opener:
  """Opener of tmp_path/'photos' with one data_dir; records the lines."""

  def __init__(self, tmp_path):
    self.folder = tmp_path / 'photos'
    self.folder.mkdir()
    self.data_dir = tmp_path / 'data [1] *?'
    self.lines = []

  def __call__(self, **options):
    self.lines.clear()
    return tfds_source.open_image_folder(
        str(self.folder), str(self.data_dir), announce=self.lines.append,
        **options)

  def num_copies(self):
    copies = self.data_dir / 'image_folder'
    return len(list(copies.iterdir())) if copies.exists() else 0


@pytest.fixture(name='opener')
def fixture_opener(tmp_path):
  return Opener(tmp_path)


def test_classes_are_split_for_validation(opener):
  written = make_folder(opener.folder)
  source = opener()
  assert source.label_names == CLASSES and source.num_classes == 3
  assert (source.image_key, source.label_key) == ('image', 'label')
  assert source.is_encoded and not source.multi_label
  train, validation = read(source, 'train'), read(source, 'validation')
  assert sorted(train + validation) == labelled(written)
  names = [name for _, name in validation]
  assert {name: names.count(name) for name in CLASSES} == {
      'cat': 2, 'dog': 2, 'emu': 2}
  assert opener.lines[0].startswith('Preparing image_folder/photos-')
  assert opener.lines[0].endswith(', once; nothing is downloaded.')
  assert opener.lines[1].endswith('s: train 24, validation 6.')
  assert len(opener.lines) == 2


def test_images_of_a_csv_file(opener):
  written = make_folder(opener.folder)
  labels = {path: ('1e3', 'null', '007')[i % 3]
            for i, path in enumerate(written)}
  table = opener.folder / 'labels.csv'

  def open_table():
    table.write_text('file,label\n' + ''.join(
        f'{path},{label}\n' for path, label in labels.items()))
    opener.lines.clear()
    return tfds_source.open_image_folder(
        str(table), str(opener.data_dir), announce=opener.lines.append)

  source = open_table()
  assert source.label_names == ('007', '1e3', 'null')
  assert not source.multi_label
  assert sorted(read(source, 'all')) == sorted(
      (data, labels[path]) for path, data in written.items())
  assert source.num_examples('validation') == 6
  counts, _ = class_sampling.count_labels(source, 'train')
  np.testing.assert_array_equal(counts, [8, 8, 8])
  assert opener.lines[0].startswith('Preparing image_folder/labels.csv-')
  assert open_table() and not opener.lines  # The same rows: packed already.
  labels['cat/00.jpeg'] = 'null'
  counts, _ = class_sampling.count_labels(open_table(), 'all')
  np.testing.assert_array_equal(counts, [10, 9, 11])


def test_several_labels_of_a_csv_file(opener):
  """Every fourth image is rare; damaged ones are left out."""
  written = make_folder(opener.folder)
  labels = {path: {path.split('/')[0]} | ({'rare'} if i % 4 == 0 else set())
            for i, path in enumerate(written)}
  damaged = 'dog/03.png'
  (opener.folder / damaged).write_bytes(written[damaged][:50])
  table = opener.folder / 'labels.csv'
  table.write_text('file;label\r\n' + ''.join(
      f'{path};"{";".join(names)}"\r\n' for path, names in labels.items()))
  source = tfds_source.open_image_folder(
      str(table), str(opener.data_dir), max_unreadable_fraction=.1,
      announce=opener.lines.append)
  assert any(damaged in line for line in opener.lines)
  assert source.multi_label
  assert source.label_names == (*CLASSES, 'rare')
  examples = source.as_dataset(
      'all', read_config=tfds.ReadConfig(), shuffle_files=False)
  found = {example['image']: {source.label_names[i] for i in example['label']}
           for example in examples.as_numpy_iterator()}
  assert found == {
      written[path]: names for path, names in labels.items() if path != damaged}
  counts, num_examples = class_sampling.count_labels(source, 'train')
  held_out, num_held_out = class_sampling.count_labels(source, 'validation')
  np.testing.assert_array_equal(counts + held_out, [10, 9, 10, 8])
  assert (num_examples, num_held_out) == (23, 6)
  assert held_out[3] == 2  # Stratified by the rarest label.


def test_split_folders_become_splits(opener):
  written = make_folder(opener.folder, ['train', 'val', 'test'], each=2)
  source = opener()
  assert set(source.builder.info.splits) == {'train', 'validation', 'test'}
  assert read(source, 'train') == labelled(written, 'train')
  assert read(source, 'test') == labelled(written, 'test')
  for name in ('val', 'validation', 'valid'):
    assert read(source, name) == labelled(written, 'val')
    assert source.num_examples(f'{name}[:50%]+train') == 9


def test_copy_is_made_once(opener, monkeypatch):
  make_folder(opener.folder)
  first = opener()
  with monkeypatch.context() as patch:
    patch.setattr(image_files, 'load', lambda path: 1 / 0)
    second = opener()
    assert not opener.lines
    assert second.builder.data_dir == first.builder.data_dir
    # The copy opens by its path, as any TFDS data set.
    third = tfds_source.open_image_source(first.builder.data_dir)
    assert read(third, 'train') == read(first, 'train')
    assert third.label_names == CLASSES
    # Options that do not change the copy do not make another.
    opener(max_unreadable_fraction=0.5)
    assert not opener.lines
  opener(seed=1)
  opener(validation_fraction=0.3)
  assert opener.num_copies() == 3


def test_files_are_named(opener):
  """In the order of the images; copies of 0.1.0, without names, still work."""
  written = make_folder(opener.folder)
  odd = os.fsencode(opener.folder) + b'/cat/\xff.png'
  with open(odd, 'wb') as file:
    file.write(image_bytes(99, 'png'))
  written['cat/\udcff.png'] = image_bytes(99, 'png')
  def named(source):
    return [os.fsdecode(example['file'].numpy()) for example in source.as_files(
        'train', tfds.ReadConfig())]
  source = opener(validation_fraction=0)
  names = named(source)
  images = [example['image'].numpy() for example in source.as_dataset(
      'train', read_config=tfds.ReadConfig(), shuffle_files=False)]
  assert sorted(names) == sorted(written)
  assert [written[name] for name in names] == images

  path = os.path.join(source.builder.data_dir, 'features.json')
  with open(path) as file:
    features = json.load(file)
  del features['featuresDict']['features']['file']
  with open(path, 'w') as file:
    json.dump(features, file)
  old = opener(validation_fraction=0)
  assert not opener.lines
  assert read(old, 'train') == labelled(written)
  assert named(old)[0] == 'image_folder-train.tfrecord-00000-of-00001__0'


def test_changed_folder_is_packed_anew(opener):
  make_folder(opener.folder)
  assert opener().num_examples('all') == 30
  (opener.folder / 'cat' / 'new.png').write_bytes(image_bytes(99, 'png'))
  assert opener().num_examples('all') == 31
  (opener.folder / 'cat' / 'new.png').unlink()
  assert opener().num_examples('all') == 30
  assert opener.num_copies() == 2


def test_seed_does_not_matter_with_split_folders(opener):
  make_folder(opener.folder, ['train', 'test'], each=2)
  opener(seed=1)
  opener(seed=2)
  assert not opener.lines


def test_options_of_the_split(opener):
  make_folder(opener.folder)
  assert read(opener(), 'validation') != read(opener(seed=1), 'validation')
  assert opener(validation_fraction=0.5).num_examples('validation') == 15
  source = opener(validation_fraction=0)
  assert list(source.builder.info.splits) == ['train']
  assert source.num_examples('train') == 30
  source = opener(validation_fraction=1)
  assert list(source.builder.info.splits) == ['validation']
  assert source.num_examples('all') == 30
  # One at least, however small the share.
  assert opener(validation_fraction=1e-3).num_examples('validation') == 1


def test_unreadable_files_are_left_out(opener):
  written = make_folder(opener.folder)
  (opener.folder / 'dog' / 'cut.jpg').write_bytes(image_bytes(99)[:-9])
  (opener.folder / 'dog' / 'empty.png').touch()
  (opener.folder / 'dog' / 'notes.txt').touch()
  (opener.folder / '.DS_Store').touch()
  source = opener(max_unreadable_fraction=0.1)
  assert sorted(read(source, 'train') + read(source, 'validation')) == (
      labelled(written))
  assert opener.lines[1:3] == [
      'Left out 2 of 32 images that cannot be read: dog/cut.jpg (content '
      'corrupt or cut off); dog/empty.png (empty file)',
      'Passed over 2 files or folders: not images: 1 (dog/notes.txt); outside '
      'class folders: 1 (.DS_Store).']
  # A stricter limit holds for a copy made under a wider one, too.
  with pytest.raises(errors.UserError, match='2 of the 32 images in .*photos'):
    opener(max_unreadable_fraction=0.01)


def test_too_many_unreadable_files(opener):
  make_folder(opener.folder, each=4)
  for i in range(12):
    (opener.folder / 'emu' / f'bad{i:02d}.jpg').write_bytes(b'no image')
  with pytest.raises(errors.UserError) as error:
    opener()
  assert str(error.value).startswith(
      f'12 of the 24 images in {opener.folder} cannot be read, more than '
      'max_unreadable_fraction=0.01 allows. Remove them or raise '
      'task.train_data.max_unreadable_fraction, or of data.prepare '
      '--max_unreadable_fraction: emu/bad00.jpg (content is no JPEG, PNG, GIF, '
      'BMP or WebP); ')
  assert 'bad09' in str(error.value) and 'bad10' not in str(error.value)
  assert str(error.value).endswith('; ....') and '\n' not in str(error.value)
  # Nothing half-made stays.
  assert not [path for path in opener.data_dir.rglob('*') if path.is_file()]
  opener(max_unreadable_fraction=0.5)
  assert 'Left out 12 of 24' in opener.lines[1]
  assert opener.lines[1].endswith('; ...')


def test_class_without_readable_images(opener):
  make_folder(opener.folder, each=2)
  for path in (opener.folder / 'emu').iterdir():
    path.write_bytes(b'')
  with pytest.raises(errors.UserError,
                     match='photos: no image of train can be read in emu'):
    opener(max_unreadable_fraction=1)


def test_too_few_images_to_hold_out(opener):
  make_folder(opener.folder, each=1)
  with pytest.raises(errors.UserError,
                     match='too few images to hold any out for validation. Add '
                           'some, or set validation_fraction=0'):
    opener()
  assert opener(validation_fraction=0).num_examples('train') == 3


@pytest.mark.parametrize('options,message', [
    ({'validation_fraction': 2},
     r'validation_fraction must lie in \[0, 1\], got 2\.'),
    ({'max_unreadable_fraction': 1.5},
     r'max_unreadable_fraction must lie in \[0, 1\], got 1\.5\.'),
])
def test_options_out_of_range(opener, options, message):
  make_folder(opener.folder, each=1)
  with pytest.raises(errors.UserError, match=message):
    opener(**options)


def test_file_that_changes_while_packing(opener, monkeypatch):
  make_folder(opener.folder)

  def cut_after_decoding(data):
    (opener.folder / 'cat' / '00.jpeg').write_bytes(b'')
    del data

  monkeypatch.setattr(image_files, 'decode', cut_after_decoding)
  monkeypatch.setattr(folder_builder.os, 'cpu_count', lambda: 1)
  with pytest.raises(errors.UserError, match=(
      r'cat/00.jpeg changed while .*photos was packed: empty file\. Start')):
    opener()


def test_full_disk(opener, monkeypatch):
  make_folder(opener.folder)
  asked = []
  monkeypatch.setattr(
      tfds.core.utils, 'has_sufficient_disk_space',
      lambda needed, directory: asked.append(needed) or not needed)
  # A GiB and more is shuffled on the disk.
  monkeypatch.setattr(folder_builder, '_SHUFFLED_IN_MEMORY', 100)
  with pytest.raises(errors.UserError, match=(
      r'No space left on the disk of .*data .* to pack .*photos: .* are '
      r'needed\. Free some')):
    opener()
  size = sum(path.stat().st_size for path in opener.folder.rglob('*.*'))
  assert 2 * size in asked


def test_class_names_stay_strings(opener):
  names = ('007', '0x1f', '12:30', '1_000', '1e3', '2024-01-01', 'no',
           'null', 'on', 'true')
  for i, name in enumerate(names):
    (opener.folder / name).mkdir()
    (opener.folder / name / 'a.png').write_bytes(image_bytes(i, 'png'))
  source = opener(validation_fraction=0)
  again = tfds_source.open_image_source(source.builder.data_dir)
  assert source.label_names == again.label_names == tuple(sorted(names))
  assert all(type(name) is str for name in again.label_names)


def test_names_with_spaces_dots_and_invalid_utf8(opener):
  """Names of folders and files with spaces, dots and invalid UTF-8."""
  folder = opener.folder.parent / 'mes photos [été] *?'
  folder.mkdir()
  opener.folder = folder
  for i, name in enumerate([b'caf\xe9', 'ünï'.encode(), b'a b.c']):
    os.mkdir(os.path.join(os.fsencode(folder), name))
    path = os.path.join(os.fsencode(folder), name, b'\xff1.png')
    with open(path, 'wb') as file:
      file.write(image_bytes(i, 'png'))
  (folder / 'a b.c' / '2.png').write_bytes(b'')
  source = opener(validation_fraction=0, max_unreadable_fraction=1)
  assert source.label_names == ('a b.c', 'caf\ufffd', 'ünï')
  assert source.num_examples('train') == 3
  assert '/mes_photos__' in opener.lines[0]


VIDEO_CLASSES = ('jump', 'run', 'swim')


def make_video_folder(folder, parts=('',), each=5):
  """Writes videos and returns {name: number of frames}; all differ."""
  written = {}
  for part in parts:
    for name in VIDEO_CLASSES:
      (folder / part / name).mkdir(parents=True, exist_ok=True)
      for i in range(each):
        path = os.path.join(part, name, f'{i}.avi')
        written[path] = len(written) + 1
        video_making.write(
            folder / path, video_making.numbered(written[path]), 10, 'mpeg4')
  return written


class Packer:
  """Packer of tmp_path/'clips' into one data_dir; records the lines."""

  def __init__(self, tmp_path):
    self.folder = tmp_path / 'clips'
    self.folder.mkdir()
    self.data_dir = tmp_path / 'data [1] *?'
    self.lines = []

  def __call__(self, **options):
    self.lines.clear()
    builder = folder_builder.VideoFolder(
        listing=folder_listing.scan(str(self.folder), file_types.VIDEOS),
        data_dir=self.data_dir, announce=self.lines.append,
        **{'fps': 10, **options})
    prepare_dataset.ensure_prepared(builder, self.lines.append)
    builder.refuse_unreadable()
    return builder

  def copies(self):
    return [path.name for path in (self.data_dir / 'video_folder').iterdir()
            if any(path.iterdir())]


@pytest.fixture(name='packer')
def fixture_packer(tmp_path):
  return Packer(tmp_path)


def read_videos(builder, split):
  """{name: example} with frames as JPEG files."""
  return {example['name'].decode(): example for example in tfds.as_numpy(
      builder.as_dataset(split, decoders={
          'video': tfds.decode.SkipDecoding()}))}


def test_stored_videos(packer):
  written = make_video_folder(packer.folder)
  builder = packer()
  assert builder.info.supervised_keys == ('video', 'label')
  assert builder.info.features['label'].names == list(VIDEO_CLASSES)
  train = read_videos(builder, 'train')
  validation = read_videos(builder, 'validation')
  assert len(validation) == 3
  assert {VIDEO_CLASSES[example['label']]
          for example in validation.values()} == {*VIDEO_CLASSES}
  examples = {**train, **validation}
  assert set(examples) == set(written)
  for name, example in examples.items():
    assert example.keys() == {'video', 'label', 'fps', 'name'}
    assert example['fps'] == 10 and example['fps'].dtype == 'float32'
    assert VIDEO_CLASSES[example['label']] == name.split('/')[0]
    assert video_making.numbers(example['video']) == list(range(written[name]))
  assert packer.lines[0].startswith('Preparing video_folder/clips-')
  assert packer.lines[0].endswith(', once; nothing is downloaded.')
  assert packer.lines[1].endswith('s: train 12, validation 3.')
  assert len(packer.lines) == 2
  assert len(packer.copies()) == 1  # What was decoded is gone.


def test_videos_of_a_csv_file(packer):
  written = make_video_folder(packer.folder, each=2)
  (packer.folder / 'labels.csv').write_text('file,label,split\n' + ''.join(
      f'clips/{path},{"long" if count > 3 else "short"},'
      f'{"val" if count % 2 else "train"}\n'
      for path, count in written.items()))
  source = tfds_source.open_video_folder(
      str(packer.folder / 'labels.csv'), str(packer.data_dir), fps=10,
      files_dir=str(packer.folder.parent), announce=packer.lines.append)
  for split, is_odd in (('train', False), ('validation', True)):
    examples = read_videos(source.builder, split)
    assert {name: source.label_names[example['label']]
            for name, example in examples.items()} == {
                f'clips/{path}': 'long' if count > 3 else 'short'
                for path, count in written.items() if count % 2 == is_odd}


def test_tfds_decodes_the_frames(packer):
  make_video_folder(packer.folder, each=2)
  for example in packer().as_dataset('train').take(1):
    assert example['video'].shape[1:] == (48, 64, 3)


def test_split_folders_of_videos_become_splits(packer):
  make_video_folder(packer.folder, ('train', 'val'), each=2)
  builder = packer()
  assert set(builder.info.splits) == {'train', 'validation'}
  assert all(name.startswith('val/')
             for name in read_videos(builder, 'validation'))


def test_each_folder_and_option_has_its_copy_of_videos(packer, monkeypatch):
  make_video_folder(packer.folder, each=2)
  first = packer()
  with monkeypatch.context() as patch:
    patch.setattr(decoded_videos.DecodedVideos, 'decode', lambda *_: 1 / 0)
    assert packer().data_dir == first.data_dir and not packer.lines
  rate = packer(fps=5)
  assert {example['fps']
          for example in read_videos(rate, 'train').values()} == {5}
  size = packer(short_side=24)
  frames = video_making.read_jpegs(
      next(iter(read_videos(size, 'train').values()))['video'])
  assert frames.shape[1:] == (24, 32, 3)
  packer(seed=1)
  video_making.write(packer.folder / 'run' / '9.avi',
                     video_making.numbered(2), 10, 'mpeg4')
  packer()
  assert len(packer.copies()) == 5


def test_interrupted_preparation_resumes(packer, monkeypatch):
  written = make_video_folder(packer.folder)

  def interrupt(self, path):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(decoded_videos.DecodedVideos, 'load', interrupt)
    with pytest.raises(KeyboardInterrupt):
      packer()
  kept, = (packer.data_dir / 'video_folder').glob('.clips-*.decoded')
  assert len(list(kept.iterdir())) == 15
  # Some are removed meanwhile, and one is new: another fingerprint.
  (packer.folder / 'run' / '0.avi').unlink()
  video_making.write(packer.folder / 'run' / '9.avi',
                     video_making.numbered(2), 10, 'mpeg4')
  builder = packer()
  assert packer.lines[1] == (
      'Resuming: 14 of 15 videos are done already.')
  names = {*read_videos(builder, 'train'), *read_videos(builder, 'validation')}
  assert names == {*written, 'run/9.avi'} - {'run/0.avi'}
  assert not kept.exists()


def test_unreadable_videos_are_left_out(packer):
  make_video_folder(packer.folder)
  (packer.folder / 'run' / 'a.mp4').write_text('<html>')
  (packer.folder / 'run' / 'b.jpg').touch()
  with pytest.raises(errors.UserError, match=(
      '1 of the 16 videos in .*clips cannot be read, more than '
      'max_unreadable_fraction=0.01 allows. .*: run/a.mp4 .no video, or its '
      'header is cut off')):
    packer()
  packer(max_unreadable_fraction=.1)
  assert packer.lines[1:4] == [
      'Resuming: 16 of 16 videos are done already.',
      'Left out 1 of 16 videos that cannot be read: run/a.mp4 (no video, or '
      'its header is cut off)',
      'Passed over 1 files or folders: not videos: 1 (run/b.jpg).']
  with pytest.raises(errors.UserError, match='1 of the 16 videos'):
    packer()


def test_class_without_readable_videos(packer):
  make_video_folder(packer.folder, each=2)
  for path in (packer.folder / 'run').iterdir():
    path.write_bytes(b'')
  with pytest.raises(errors.UserError,
                     match='clips: no video of train can be read in run. '
                     'Remove or fill these class folders.'):
    packer(max_unreadable_fraction=1)


def test_too_few_videos_to_hold_out(packer):
  make_video_folder(packer.folder, each=1)
  with pytest.raises(errors.UserError, match='too few videos to hold any out'):
    packer()


def test_full_disk_for_videos(packer, monkeypatch):
  make_video_folder(packer.folder, each=2)

  def fail(*unused_args, **unused_options):
    raise OSError(28, 'No space left on device')

  with monkeypatch.context() as patch:
    patch.setattr(video_worker.Worker, 'decode', fail)
    with pytest.raises(errors.UserError,
                       match='No space left on the disk of .*Free some'):
      packer()
  monkeypatch.setattr(tfds.core.utils, 'has_sufficient_disk_space',
                      lambda needed, directory: not needed)
  monkeypatch.setattr(folder_builder, '_SHUFFLED_IN_MEMORY', 100)
  with pytest.raises(errors.UserError, match=(
      'No space left on the disk of .*data .* to pack .*clips: .* are needed')):
    packer()


def test_read_only_data_dir(packer, monkeypatch):
  make_video_folder(packer.folder, each=2)

  def fail(*unused_args, **unused_options):
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr(decoded_videos.os, 'makedirs', fail)
  with pytest.raises(errors.UserError, match='cannot be written. Set another'):
    packer()


@pytest.mark.parametrize('options,message', [
    ({'fps': 0}, 'fps must lie in'),
    ({'short_side': 1}, 'short_side .* must lie'),
    ({'validation_fraction': 2}, 'validation_fraction must lie'),
    ({'max_unreadable_fraction': 2}, 'max_unreadable_fraction must lie')])
def test_video_options_out_of_range(packer, options, message):
  make_video_folder(packer.folder, each=1)
  with pytest.raises(errors.UserError, match=message):
    packer(**options)
