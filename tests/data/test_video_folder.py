"""Folders of videos: what is packed, and that a restart goes on."""

import os

import pytest
import tensorflow_datasets as tfds

from tests.data import video_making
from tf_tokenlearner.data.builders import folder_builder
from tf_tokenlearner.data import decoded_videos
from tf_tokenlearner.data import video_worker
from tf_tokenlearner.data import file_types
from tf_tokenlearner.data import folder_listing
from tf_tokenlearner.data import prepare_dataset
from tf_tokenlearner import errors

CLASSES = ('jump', 'run', 'swim')


def make_folder(folder, parts=('',), each=5):
  """Videos whose number of frames differ: {name: number}."""
  written = {}
  for part in parts:
    for name in CLASSES:
      (folder / part / name).mkdir(parents=True, exist_ok=True)
      for i in range(each):
        path = os.path.join(part, name, f'{i}.avi')
        written[path] = len(written) + 1
        video_making.write(
            folder / path, video_making.numbered(written[path]), 10, 'mpeg4')
  return written


class Packer:
  """Packs tmp_path/'clips' into one data_dir, and keeps what was said."""

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


def read(builder, split):
  """{name: example} with frames as JPEG files."""
  return {example['name'].decode(): example for example in tfds.as_numpy(
      builder.as_dataset(split, decoders={
          'video': tfds.decode.SkipDecoding()}))}


def test_what_is_stored(packer):
  written = make_folder(packer.folder)
  builder = packer()
  assert builder.info.supervised_keys == ('video', 'label')
  assert builder.info.features['label'].names == list(CLASSES)
  train, validation = read(builder, 'train'), read(builder, 'validation')
  assert len(validation) == 3
  assert {CLASSES[example['label']] for example in validation.values()} == {
      *CLASSES}
  examples = {**train, **validation}
  assert set(examples) == set(written)
  for name, example in examples.items():
    assert example.keys() == {'video', 'label', 'fps', 'name'}
    assert example['fps'] == 10 and example['fps'].dtype == 'float32'
    assert CLASSES[example['label']] == name.split('/')[0]
    assert video_making.numbers(example['video']) == list(range(written[name]))
  assert packer.lines[0].startswith('Preparing video_folder/clips-')
  assert packer.lines[0].endswith(', once; nothing is downloaded.')
  assert packer.lines[1].endswith('s: train 12, validation 3.')
  assert len(packer.lines) == 2
  assert len(packer.copies()) == 1  # What was decoded is gone.


def test_frames_are_decoded_by_tfds_as_well(packer):
  make_folder(packer.folder, each=2)
  for example in packer().as_dataset('train').take(1):
    assert example['video'].shape[1:] == (48, 64, 3)


def test_splits_stay(packer):
  make_folder(packer.folder, ('train', 'val'), each=2)
  builder = packer()
  assert set(builder.info.splits) == {'train', 'validation'}
  assert all(name.startswith('val/') for name in read(builder, 'validation'))


def test_copy_goes_by_folder_and_options(packer, monkeypatch):
  make_folder(packer.folder, each=2)
  first = packer()
  with monkeypatch.context() as patch:
    patch.setattr(decoded_videos.DecodedVideos, 'decode', lambda *_: 1 / 0)
    assert packer().data_dir == first.data_dir and not packer.lines
  rate = packer(fps=5)
  assert {example['fps'] for example in read(rate, 'train').values()} == {5}
  size = packer(short_side=24)
  frames = video_making.read_jpegs(
      next(iter(read(size, 'train').values()))['video'])
  assert frames.shape[1:] == (24, 32, 3)
  packer(seed=1)
  video_making.write(packer.folder / 'run' / '9.avi',
                     video_making.numbered(2), 10, 'mpeg4')
  packer()
  assert len(packer.copies()) == 5


def test_killed_preparation_goes_on(packer, monkeypatch):
  written = make_folder(packer.folder)

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
  names = {*read(builder, 'train'), *read(builder, 'validation')}
  assert names == {*written, 'run/9.avi'} - {'run/0.avi'}
  assert not kept.exists()


def test_unreadable_videos(packer):
  make_folder(packer.folder)
  (packer.folder / 'run' / 'a.mp4').write_text('<html>')
  (packer.folder / 'run' / 'b.jpg').touch()
  with pytest.raises(errors.UserError, match=(
      '1 of the 16 videos in .*clips cannot be read, more than '
      'max_unreadable_fraction=0.01 allows; .*: run/a.mp4 .no video, or its '
      'header is cut off')):
    packer()
  packer(max_unreadable_fraction=.1)
  assert packer.lines[1:4] == [
      'Resuming: 16 of 16 videos are done already.',
      'Left out 1 of 16 videos that cannot be read: run/a.mp4 (no video, or '
      'its header is cut off)',
      'Passed over 1 files: not videos: 1 (run/b.jpg).']
  with pytest.raises(errors.UserError, match='1 of the 16 videos'):
    packer()


def test_nothing_left_of_a_class(packer):
  make_folder(packer.folder, each=2)
  for path in (packer.folder / 'run').iterdir():
    path.write_bytes(b'')
  with pytest.raises(errors.UserError,
                     match='clips: no video of train can be read in run. '
                     'Remove or fill these class folders.'):
    packer(max_unreadable_fraction=1)


def test_too_few_to_hold_out(packer):
  make_folder(packer.folder, each=1)
  with pytest.raises(errors.UserError, match='too few videos to hold any out'):
    packer()


def test_disk_that_is_full(packer, monkeypatch):
  make_folder(packer.folder, each=2)

  def fail(*unused_args, **unused_options):
    raise OSError(28, 'No space left on device')

  with monkeypatch.context() as patch:
    patch.setattr(video_worker.Worker, 'decode', fail)
    with pytest.raises(errors.UserError,
                       match='No space left on the disk of .*make room'):
      packer()
  monkeypatch.setattr(tfds.core.utils, 'has_sufficient_disk_space',
                      lambda needed, directory: not needed)
  monkeypatch.setattr(folder_builder, '_SHUFFLED_IN_MEMORY', 100)
  with pytest.raises(errors.UserError, match=(
      'No space left on the disk of .*data .* to pack .*clips: .* are needed')):
    packer()


def test_data_dir_that_cannot_be_written(packer, monkeypatch):
  make_folder(packer.folder, each=2)

  def fail(*unused_args, **unused_options):
    raise PermissionError(13, 'Permission denied')

  monkeypatch.setattr(decoded_videos.os, 'makedirs', fail)
  with pytest.raises(errors.UserError, match='cannot be written: set another'):
    packer()


@pytest.mark.parametrize('options,message', [
    ({'fps': 0}, 'fps must lie in'),
    ({'short_side': 1}, 'short_side .* must lie'),
    ({'validation_fraction': 1}, 'validation_fraction must lie'),
    ({'max_unreadable_fraction': 2}, 'max_unreadable_fraction must lie')])
def test_options_out_of_range(packer, options, message):
  make_folder(packer.folder, each=1)
  with pytest.raises(errors.UserError, match=message):
    packer(**options)
