"""Kinetics, Charades and AViD: label files and packed videos."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.data import video_making
from tf_tokenlearner.data.builders import labelled_videos
from tf_tokenlearner.data.builders import public_videos
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner.data import prepare_dataset
from tf_tokenlearner import errors

KINETICS_HEADER = 'label,youtube_id,time_start,time_end,split,is_cc\n'
TRAIN = (KINETICS_HEADER + 'zumba,-3B32lodo2M,59,69,train,0\n'
         '"air drumming",_dbcJuKJQNs,1,11,train,0\n'
         'archery,abcdefghijk,100,110,train,1\n')
VALIDATE = KINETICS_HEADER + 'zumba,bcdefghijkl,0,10,validate,0\n'
TEST = 'youtube_id,time_start,time_end,split\nqqqqqqqqqqq,0,10,test\n'

CHARADES_HEADER = ('id,subject,scene,quality,relevance,verified,script,objects,'
                   'descriptions,actions,length\n')


def video(folder, path, count=4):
  (folder / path).parent.mkdir(parents=True, exist_ok=True)
  return video_making.write(
      folder / path, video_making.numbered(count), 10, 'mpeg4')


class Preparer:
  """Writes the files of a data set to tmp_path/'files' and prepares them."""

  def __init__(self, tmp_path):
    self.folder = tmp_path / 'files'
    self.folder.mkdir()
    self.data_dir = tmp_path / 'data'
    self.lines = []

  def write(self, **texts):
    for name, text in texts.items():
      (self.folder / name.replace('__', '.')).write_text(text)

  def write_kinetics(self):
    self.write(train__csv=TRAIN, validate__csv=VALIDATE)
    for i, path in enumerate((
        'train/-3B32lodo2M_000059_000069.mp4', '_dbcJuKJQNs_000001_000011.mp4',
        'train/archery/abcdefghijk_000100_000110.mp4',
        'val/bcdefghijkl_000000_000010.mp4')):
      video(self.folder, path, i + 2)

  def write_charades(self):
    action = 'c{:03d} {}'.format
    self.write(
        Charades_v1_classes__txt=''.join(
            f'c{i:03d} Doing thing {i}\n' for i in range(157)),
        Charades_v1_train__csv=CHARADES_HEADER + ''.join(
            f'{name},,,,,,"a script, with a comma",,,{actions},24.83\n'
            for name, actions in (
                ('46GP8', action(92, '11.90 21.20;') + action(147, '0 12.60')),
                ('N11GT', ''))),
        Charades_v1_test__csv=CHARADES_HEADER +
        f'YSKX3,,,,,,,,,{action(4, "1.5 2.5")},10\n')
    for name in ('46GP8', 'N11GT', 'YSKX3'):
      video(self.folder, f'Charades_v1_480/{name}.mp4')

  def write_avid(self):
    self.write(
        avid_train__json=json.dumps({
            'aaaaaaaa.mp4': 'playing harmonica', 'bbbbbbbb.mp4': 'none'}),
        avid_val__json=json.dumps({'cccccccc.mp4': 'none'}))
    for name in ('aaaaaaaa', 'bbbbbbbb', 'cccccccc'):
      video(self.folder, f'videos/{name}.mp4')

  def __call__(self, name, **options):
    self.lines.clear()
    builder = labelled_source.find_builder(
        name, str(self.data_dir), from_dir=str(self.folder),
        announce=self.lines.append, **options)
    prepare_dataset.ensure_prepared(builder, self.lines.append)
    return builder

  def fails(self, name, **options):
    """The message."""
    with pytest.raises(errors.UserError) as error:
      self(name, **options)
    assert '\n' not in str(error.value)
    assert not list(self.data_dir.rglob('*.tfrecord*'))
    return str(error.value)


@pytest.fixture(name='preparer')
def fixture_preparer(tmp_path, monkeypatch):
  monkeypatch.setattr(public_videos.Kinetics400, 'NUM_CLASSES', 3)
  return Preparer(tmp_path)


def read(builder, split):
  """{name: example} with frames as JPEG files."""
  return {example['name'].decode(): example for example in tfds.as_numpy(
      builder.as_dataset(split, decoders={
          'video': tfds.decode.SkipDecoding()}))}


def test_kinetics(preparer):
  preparer.write_kinetics()
  preparer.write(test__csv=TEST)
  builder = preparer('kinetics400/10fps')
  names = builder.info.features['label'].names
  assert names == ['air drumming', 'archery', 'zumba']
  train = read(builder, 'train')
  assert {name: (names[example['label']], len(example['video']))
          for name, example in train.items()} == {
              '-3B32lodo2M_000059_000069': ('zumba', 2),
              '_dbcJuKJQNs_000001_000011': ('air drumming', 3),
              'abcdefghijk_000100_000110': ('archery', 4)}
  example, = read(builder, 'validation').values()
  assert example.keys() == {'video', 'label', 'fps', 'name'}
  assert example['fps'] == 10 and example['label'] == 2
  assert video_making.numbers(example['video']) == list(range(5))
  assert set(builder.info.splits) == {'train', 'validation'}
  assert preparer.lines[:2] == [
      f'Preparing kinetics400/10fps/1.0.0 in {preparer.data_dir}, once; '
      'nothing is downloaded.',
      f'{preparer.folder}/test.csv has no labels: its videos are left out.']
  # The folder is no longer needed, nor is its name.
  again = labelled_source.find_builder(
      'kinetics400/10fps', str(preparer.data_dir))
  prepare_dataset.ensure_prepared(again)
  assert again.info.features['label'].names == names
  # What was decoded is gone.
  assert not list((preparer.data_dir / 'kinetics400').glob('*.decoded'))


def test_names_of_kinetics_files(preparer):
  preparer.write_kinetics()
  for old, new in (('train.csv', 'annotations/kinetics_400_train.csv'),
                   ('validate.csv', 'annotations/kinetics-400_val.csv')):
    (preparer.folder / 'annotations').mkdir(exist_ok=True)
    (preparer.folder / old).rename(preparer.folder / new)
  builder = preparer('kinetics400/10fps')
  assert set(builder.info.splits) == {'train', 'validation'}


def test_split_without_videos(preparer):
  preparer.write_kinetics()
  preparer.write(test__csv=VALIDATE.replace('validate', 'test').replace(
      'bcdefghijkl', 'lkjihgfedcb'))
  builder = preparer('kinetics400/10fps')
  assert set(builder.info.splits) == {'train', 'validation'}
  assert preparer.lines[1] == (
      f'No video of test is in {preparer.folder}: it is left out.')


@pytest.mark.parametrize('texts,message', [
    (dict(train__csv=TRAIN.replace('59,69', '59.5,69')),
     "train.csv:2: expected a youtube_id and whole seconds, got "
     "'-3B32lodo2M', '59.5', '69'."),
    (dict(train__csv=TRAIN.replace('_dbcJuKJQNs', '')),
     "train.csv:3: expected a youtube_id and whole seconds, got ''"),
    (dict(train__csv=TRAIN.replace('train,1', 'test,1')),
     "train.csv:4: expected a row of train, got 'test'."),
    (dict(validate__csv=VALIDATE.replace('zumba', 'samba')),
     "validate.csv:2: the label 'samba' does not occur in train."),
    (dict(train__csv=TRAIN.replace('zumba', 'archery')),
     'train.csv names 2 classes, kinetics400 has 3.'),
    (dict(train__csv=TEST),
     'kinetics400: found no train.csv with the columns label, youtube_id, '
     'time_start, time_end, split. Put the CSV files'),
    (dict(kinetics_train__csv=TRAIN), 'several files of split train: '),
])
def test_bad_kinetics_files(preparer, texts, message):
  preparer.write_kinetics()
  preparer.write(**texts)
  assert message in preparer.fails('kinetics400/10fps')


def test_missing_videos(preparer):
  preparer.write_kinetics()
  (preparer.folder / '_dbcJuKJQNs_000001_000011.mp4').unlink()
  said = ('1 of the 4 videos that the label files of kinetics400 name are not '
          f'in {preparer.folder}')
  assert preparer.fails('kinetics400/10fps') == (
      f'{said}, more than max_missing_fraction=0.01 allows: '
      '_dbcJuKJQNs_000001_000011.')
  builder = preparer('kinetics400/10fps', max_missing_fraction=.3)
  assert preparer.lines[1] == f'{said}: _dbcJuKJQNs_000001_000011'
  assert builder.info.splits['train'].num_examples == 2
  # A class stays a class.
  assert builder.info.features['label'].num_classes == 3


def test_many_missing_videos_are_cut_short(preparer):
  preparer.write_kinetics()
  preparer.write(train__csv=TRAIN + ''.join(
      f'zumba,{i:011d},0,10,train,0\n' for i in range(12)))
  assert preparer.fails('kinetics400/10fps').endswith('9_000000_000010, ....')


def test_no_video_at_all(preparer):
  preparer.write(train__csv=TRAIN)
  assert preparer.fails('kinetics400/10fps') == (
      f'No video of train is in {preparer.folder}.')


def test_unreadable_videos(preparer):
  preparer.write_kinetics()
  path = preparer.folder / '_dbcJuKJQNs_000001_000011.mp4'
  path.write_bytes(b'')
  assert preparer.fails('kinetics400/10fps').startswith(
      '1 of the 4 videos of kinetics400 cannot be read, more than '
      'max_unreadable_fraction=0.01 allows. Remove them or raise '
      '--max_unreadable_fraction of data.prepare: ')
  builder = preparer('kinetics400/10fps', max_unreadable_fraction=.3)
  assert preparer.lines[1:3] == [
      'Resuming: 4 of 4 videos are done already.',
      f'Left out 1 of 4 videos that cannot be read: {path} (empty file)']
  assert builder.info.splits['train'].num_examples == 2
  builder.refuse_unreadable()
  with pytest.raises(errors.UserError, match='1 of the 4 videos of kinetics'):
    preparer('kinetics400/10fps').refuse_unreadable()


def test_no_video_can_be_read(preparer):
  preparer.write_kinetics()
  for path in preparer.folder.rglob('*.mp4'):
    path.write_bytes(b'')
  assert preparer.fails('kinetics400/10fps', max_unreadable_fraction=1) == (
      'No video of train is readable.')


def test_changed_files_are_refused(preparer):
  preparer.write_kinetics()
  preparer('kinetics400/10fps').refuse_other_files()
  preparer('kinetics400/10fps').refuse_other_files()
  video(preparer.folder, '_dbcJuKJQNs_000001_000011.mp4', 9)
  with pytest.raises(errors.UserError, match=(
      'kinetics400/10fps/1.0.0 was prepared from other files than .*files '
      'holds now: remove it')):
    preparer('kinetics400/10fps').refuse_other_files()


def test_charades(preparer):
  preparer.write_charades()
  builder = preparer('charades/6fps')
  features = builder.info.features
  assert features['label'].feature.num_classes == 157
  assert features['label'].feature.names[147] == 'Doing thing 147'
  train = read(builder, 'train')
  example = train['46GP8']
  assert example['label'].tolist() == [92, 147]
  np.testing.assert_allclose(example['label_start'], [11.9, 0])
  np.testing.assert_allclose(example['label_end'], [21.2, 12.6])
  assert example['label_start'].dtype == np.float32 and example['fps'] == 6
  assert video_making.numbers(example['video']) == [0, 1, 3]
  assert train['N11GT']['label'].tolist() == []
  example, = read(builder, 'test').values()
  assert example['label'].tolist() == [4]


def test_actions_that_end_before_they_start(preparer):
  preparer.write_charades()
  path = preparer.folder / 'Charades_v1_train.csv'
  path.write_text(path.read_text().replace('11.90 21.20', '21.20 11.90'))
  builder = preparer('charades/6fps')
  assert read(builder, 'train')['46GP8']['label'].tolist() == [147]
  assert preparer.lines[1] == (
      'Left out 1 actions that end before they start, the first in '
      f'{path}:2.')


@pytest.mark.parametrize('name,old,new,message', [
    ('train.csv', 'c092', 'c157', 'train.csv:2: c157 is not among the 157 '
     'classes of Charades_v1_classes.txt.'),
    ('train.csv', '11.90 21.20', '11.90', "train.csv:2: expected actions such "
     "as 'c092 11.90 21.20', got 'c092 11.90'."),
    ('test.csv', 'actions', 'acts', 'test.csv:1: expected the columns id, '
     'actions, got id, subject'),
    ('classes.txt', 'c003 ', 'c004 ', "classes.txt:4: expected 'c003 name', "
     "got 'c004 Doing thing 3'."),
    ('classes.txt', 'c156 Doing thing 156\n', '',
     'classes.txt names 156 classes, charades has 157.'),
])
def test_bad_charades_files(preparer, name, old, new, message):
  preparer.write_charades()
  path = preparer.folder / f'Charades_v1_{name}'
  path.write_text(path.read_text().replace(old, new))
  assert message in preparer.fails('charades/12fps')


def test_missing_charades_files(preparer):
  assert preparer.fails('charades/6fps').startswith(
      'charades: found no Charades_v1_train.csv, Charades_v1_test.csv, '
      'Charades_v1_classes.txt. Put the annotations')


def test_avid(preparer):
  preparer.write_avid()
  builder = preparer('avid')
  assert builder.info.full_name == 'avid/25fps/1.0.0'
  assert builder.info.features['label'].names == ['none', 'playing harmonica']
  assert {name: example['label'] for name, example in read(
      builder, 'train').items()} == {'aaaaaaaa': 1, 'bbbbbbbb': 0}
  assert set(read(builder, 'validation')) == {'cccccccc'}
  assert preparer.lines[1] == (
      f'{preparer.folder}/avid_train.json has 2 classes; the paper has 887.')


def test_bad_avid_files(preparer):
  assert preparer.fails('avid').startswith(
      'avid: found no avid_train.json, avid_val.json. Put avid_train.json')
  preparer.write_avid()
  preparer.write(avid_val__json='{"cccccccc.mp4": "sleeping"}')
  assert preparer.fails('avid') == (
      f'{preparer.folder}/avid_val.json has labels that avid_train.json '
      'lacks: sleeping.')


@pytest.mark.parametrize('name,fps,short_side', [
    ('kinetics400', 25, 256), ('kinetics600', 25, 256), ('avid', 25, 256),
    ('charades', 12, 256), ('charades/6fps', 6, 256),
    ('kinetics400/12.5fps_128px', 12.5, 128)])
def test_configs(tmp_path, name, fps, short_side):
  builder = labelled_source.find_builder(name, str(tmp_path))
  assert (builder.fps, builder.short_side) == (fps, short_side)
  assert builder.builder_config.name == labelled_videos.config_name(
      fps, short_side)


@pytest.mark.parametrize('name,message', [
    ('charades/fast', "Unknown config of charades 'fast'. Known: .*12fps"),
    ('charades/6.0fps', 'Unknown config of charades'),
    ('charades/6fps_256px', 'Unknown config of charades'),
    ('charades/900fps', r'fps must lie in \(0, 240\], got 900'),
    ('charades/6fps_4px', r'short_side .* must lie in \[8, 4096\], got 4'),
    ('video_folder',
     'video_folder cannot be opened by name. Set task.train_data.'
                     'input_path to the folder')])
def test_unknown_configs(tmp_path, name, message):
  with pytest.raises(errors.UserError, match=message):
    labelled_source.find_builder(name, str(tmp_path))


@pytest.mark.parametrize('option', [
    'max_missing_fraction', 'max_unreadable_fraction'])
def test_fractions_out_of_range(tmp_path, option):
  with pytest.raises(errors.UserError, match=fr'{option} must lie in \[0, 1\]'):
    labelled_source.find_builder('avid', str(tmp_path), **{option: 2})


def test_sizes_of_the_official_sets():
  assert public_videos.Charades.NUM_CLASSES == 157
  assert public_videos.Kinetics400.NUM_CLASSES == 400
  assert public_videos.Kinetics600.NUM_CLASSES == 600
  assert public_videos.Avid.NUM_CLASSES is None


def test_files_in_the_manual_dir(preparer):
  preparer.write_avid()
  manual = preparer.data_dir / 'downloads' / 'manual'
  builder = lambda: labelled_source.find_builder(
      'avid', str(preparer.data_dir), announce=preparer.lines.append)
  with pytest.raises(errors.UserError, match=(
      'avid is not prepared yet, and its files must be downloaded by hand. Put '
      'avid_train.json, .* Then python -m tf_tokenlearner.data.prepare '
      '--dataset=avid/25fps --from_dir=<the folder>')):
    prepare_dataset.ensure_prepared(builder(), preparer.lines.append)
  manual.mkdir(parents=True)
  preparer.folder.rename(manual / 'avid')
  prepare_dataset.ensure_prepared(builder(), preparer.lines.append)
  assert preparer.lines[-1].endswith('s: train 2, validation 1.')


def test_decode_example_of_beam_workers(preparer):
  path = video(preparer.folder, 'a.mp4', 3)
  clip = labelled_videos.Clip('a', (1, 2), ((0., 1.), (2., 3.)))
  (key, example), = labelled_videos.decode_example(
      (7, (path, clip)), fps=10, short_side=24, has_spans=True)
  assert key == '7-a' and example['name'] == 'a' and example['fps'] == 10
  assert example['label'] == [1, 2] and example['label_end'] == [1., 3.]
  frames = [frame.getvalue() for frame in example['video']]
  assert video_making.read_jpegs(frames).shape == (3, 24, 32, 3)
  assert not list(labelled_videos.decode_example(
      (7, ('none.mp4', clip)), fps=10, short_side=24, has_spans=True))


def test_beam(preparer):
  """TFDS offers this; Apache Beam is not among our dependencies."""
  pytest.importorskip('apache_beam')
  preparer.write_kinetics()
  (preparer.folder / '_dbcJuKJQNs_000001_000011.mp4').write_bytes(b'')
  config = tfds.download.DownloadConfig(beam_runner='DirectRunner')
  build = lambda fraction: labelled_source.find_builder(
      'kinetics400/10fps', str(preparer.data_dir),
      from_dir=str(preparer.folder), announce=preparer.lines.append,
      max_unreadable_fraction=fraction)
  with pytest.raises(errors.UserError, match='1 of the 4 videos of kinetics'):
    build(.01).download_and_prepare(download_config=config)
  builder = build(.3)
  builder.download_and_prepare(download_config=config)
  assert preparer.lines[-1] == (
      'Left out 1 of 4 videos that cannot be read: the log of Beam names them')
  train = read(builder, 'train')
  assert {name: len(example['video']) for name, example in train.items()} == {
      '-3B32lodo2M_000059_000069': 2, 'abcdefghijk_000100_000110': 4}
