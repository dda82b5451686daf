"""TFDS data sets of images and videos: keys, labels, splits, stored bytes."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.data import tiny_videos
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner.data import prepare_dataset
from tf_tokenlearner.data import tfds_source
from tf_tokenlearner import errors

F = tfds.features
SIZES = {'train': 20, 'val': 6}


def pixels(split, i):
  return np.full([4, 5, 3], 10 * i + len(split), np.uint8)


def jpeg(split, i):
  """Returns JPEG data of an unusual quality."""
  return tf.io.encode_jpeg(pixels(split, i), quality=37).numpy()


class _SourceBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Examples that fit whatever features a subclass has."""

  VERSION = tfds.core.Version('1.0.0')
  FEATURES = {}
  SUPERVISED_KEYS = None

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self, features=F.FeaturesDict(self.FEATURES),
        supervised_keys=self.SUPERVISED_KEYS)

  def _split_generators(self, dl_manager):
    return {split: self._generate_examples(split) for split in SIZES}

  def _generate_examples(self, split):
    for i in range(SIZES[split]):
      yield i, {name: self._value(feature, split, i)
                for name, feature in self.FEATURES.items()}

  def _value(self, feature, split, i):
    if isinstance(feature, F.Image):
      return io.BytesIO(jpeg(split, i))
    if isinstance(feature, F.ClassLabel):
      return i % 3
    if isinstance(feature, F.Text):
      return 'text'
    return list(range(i % 3)) if feature.shape == (None,) else pixels(split, i)


def make_builder(class_name, features, supervised_keys=None):
  """Registers a TFDS data set and returns its name."""
  cls = type(class_name, (_SourceBuilder,), {
      'FEATURES': features, 'SUPERVISED_KEYS': supervised_keys})
  return cls.name


ODD = make_builder('SourceOdd', {
    'picture': F.Image(), 'thumbnail': F.Image(), 'note': F.Text(),
    'coarse': F.ClassLabel(num_classes=3),
    'fine': F.ClassLabel(names=['ant', 'bee', 'cow'])}, ('picture', 'fine'))
MANY = make_builder('SourceMany', {
    'picture': F.Image(), 'tags': F.Sequence(F.ClassLabel(num_classes=3))})
PLAIN = make_builder('SourcePlain', {
    'values': F.Tensor(shape=(4, 5, 3), dtype=np.uint8),
    'label': F.ClassLabel(num_classes=3)})


@pytest.fixture(scope='module', name='data_dir')
def fixture_data_dir(tmp_path_factory):
  return str(tmp_path_factory.mktemp('data'))


def open_source(name, data_dir, *keys):
  return tfds_source.open_image_source(
      name, data_dir, *keys, announce=lambda line: None)


def read(source, split, **config):
  dataset = source.as_dataset(
      split, read_config=tfds.ReadConfig(**config), shuffle_files=False)
  return list(dataset.as_numpy_iterator())


def test_keys_come_from_the_data_set(data_dir):
  source = open_source(ODD, data_dir)
  assert (source.image_key, source.label_key) == ('picture', 'fine')
  assert source.num_classes == 3 and not source.multi_label
  assert source.label_names == ('ant', 'bee', 'cow')
  source = open_source(ODD, data_dir, 'thumbnail', 'coarse')
  assert (source.image_key, source.label_key) == ('thumbnail', 'coarse')
  assert source.label_names == ('0', '1', '2')


def test_images_are_the_bytes_that_were_stored(data_dir):
  source = open_source(ODD, data_dir)
  assert source.is_encoded
  dataset = source.as_dataset(
      'train', read_config=tfds.ReadConfig(), shuffle_files=False)
  assert dataset.element_spec == {
      'image': tf.TensorSpec([], tf.string),
      'label': tf.TensorSpec([], tf.int64)}
  examples = {x['image']: x['label'] for x in dataset.as_numpy_iterator()}
  assert examples == {jpeg('train', i): i % 3 for i in range(20)}


def test_several_labels(data_dir):
  source = open_source(MANY, data_dir)
  assert source.multi_label and source.num_classes == 3
  assert source.label_names == ('0', '1', '2') and source.label_key == 'tags'
  examples = {x['image']: x['label'].tolist() for x in read(source, 'train')}
  assert examples == {jpeg('train', i): list(range(i % 3)) for i in range(20)}
  dataset = source.as_dataset(
      'train', read_config=tfds.ReadConfig(), shuffle_files=False)
  assert dataset.element_spec['label'] == tf.TensorSpec([None], tf.int64)
  selected = dataclasses.replace(source, select=labelled_source.only_labelled)
  assert {x['image'] for x in read(selected, 'train')} == {
      jpeg('train', i) for i in range(20) if i % 3}
  assert selected.num_examples('train') == 20


def test_plain_tensors(data_dir):
  source = open_source(PLAIN, data_dir)
  assert source.image_key == 'values' and not source.is_encoded
  values = sorted(x['image'][0, 0, 0] for x in read(source, 'train'))
  assert values == sorted(pixels('train', i)[0, 0, 0] for i in range(20))
  dataset = source.as_dataset(
      'train', read_config=tfds.ReadConfig(), shuffle_files=False)
  assert dataset.element_spec['image'] == tf.TensorSpec([4, 5, 3], tf.uint8)


def test_prepared_folder_and_second_opening(data_dir, monkeypatch):
  first = open_source(ODD, data_dir)
  monkeypatch.setattr(
      prepare_dataset.file_lock, 'alone', lambda *unused_args: 1 / 0)
  lines = []
  for name in (ODD, first.builder.data_dir, f'{ODD}:1.*.*'):
    source = tfds_source.open_image_source(
        name, data_dir, announce=lines.append)
    assert source.label_names == ('ant', 'bee', 'cow') and not lines
    assert read(source, 'val') == read(first, 'val')


def test_splits(data_dir):
  source = open_source(ODD, data_dir)
  for split, number in [('train', 20), ('train[:90%]', 18), ('val[2:4]', 2),
                        ('train[50%:]+val', 16), ('validation', 6),
                        ('train + validation[:50%]', 23), ('all', 26),
                        ('train[-25%:]', 5)]:
    assert source.num_examples(split) == number == len(read(source, split))
    assert source.num_files(split) == (2 if '+' in split or split == 'all'
                                       else 1)


def test_reading_options_are_handed_on(data_dir):
  source = open_source(ODD, data_dir)
  context = tf.distribute.InputContext(
      num_input_pipelines=1, input_pipeline_id=0)
  assert len(read(source, 'train', input_context=context)) == 20
  dataset = source.as_dataset(
      'val', read_config=tfds.ReadConfig(repeat_filenames=True,
                                         assert_cardinality=False),
      shuffle_files=True)
  assert len(list(dataset.take(20))) == 20
  assert int(source.as_dataset(
      'train[:5]', read_config=tfds.ReadConfig(),
      shuffle_files=False).cardinality()) == 5


@pytest.mark.parametrize('split,message', [
    ('tset', "Unknown split of source_odd/1.0.0 'tset'. Known: "),
    ('train+tset[:3]', "Unknown split of source_odd/1.0.0 'tset'"),
    ('train[', "Split 'train\\[' of source_odd/1.0.0 is invalid. Write "
               r'train, train\[:90%\], train\[100:200\] or train\+test. Known '
               'splits: '
               'train, val'),
    ('train[:900%]', 'is invalid'), ('train[:21]', 'is invalid'),
    ('', "Split '' of source_odd/1.0.0 is invalid"),
    ('train[:0%]', r"Split 'train\[:0%\]' of source_odd/1.0.0 has no"
     ' examples'),
    ('train[5:2]', 'has no examples'),
])
def test_split_mistakes(data_dir, split, message):
  source = open_source(ODD, data_dir)
  for use in (source.num_examples, source.num_files,
              lambda split: read(source, split)):
    with pytest.raises(errors.UserError, match=message):
      use(split)


IMAGE, LABEL = F.Image(), F.ClassLabel(num_classes=3)


@pytest.mark.parametrize('features,keys,message', [
    ({'a': IMAGE, 'b': IMAGE, 'label': LABEL}, (),
     'has several images. Set task.train_data.image_field_key to one of a, b'),
    ({'a': IMAGE, 'b': LABEL, 'c': LABEL}, (),
     'has several labels. Set task.train_data.label_field_key to one of b, c'),
    ({'text': F.Text(), 'label': LABEL}, (),
     'Expected a data set of labelled images, but .* has no image to train on'
     r'; features: text \(Text\), label \(ClassLabel\)'),
    ({'video': F.Video(shape=(None, 4, 4, 3)), 'label': LABEL}, (),
     r'has no image to train on; features: video \(Video\), label'),
    ({'mask': F.LabeledImage(labels=3, shape=(None, None, 1)), 'label': LABEL},
     (), 'has no image to train on'),
    ({'image': IMAGE, 'note': F.Text()}, (),
     r'has no label to train on; features: image \(Image\), note'),
    ({'image': IMAGE, 'label': LABEL}, ('imgae',),
     "Unknown task.train_data.image_field_key for .* 'imgae'. Known: image"),
    ({'image': IMAGE, 'label': LABEL}, ('label',),
     'task.train_data.image_field_key=label of .* is not of type image; feat'),
    ({'image': IMAGE, 'label': LABEL}, ('', 'lable'),
     "Unknown task.train_data.label_field_key for .* 'lable'. Known: label"),
    ({'image': IMAGE, 'label': LABEL}, ('', 'image'),
     'task.train_data.label_field_key=image of .* is not of type label'),
    ({'image': IMAGE, 'label': F.ClassLabel()}, (),
     "does not give the number of classes of 'label'"),
    ({'depth': F.Image(shape=(4, 5, 1), dtype=np.float32), 'label': LABEL}, (),
     "Images of .* are float32 in 'depth'; expected uint8 pixels"),
    ({'values': F.Tensor(shape=(4, 5, 3), dtype=np.uint16), 'label': LABEL}, (),
     "Images of .* are uint16 in 'values'; expected uint8 pixels"),
])
def test_features_that_do_not_fit(
    tmp_path, monkeypatch, features, keys, message):
  """Refused before anything is downloaded."""
  builder_cls = type('SourceRefused', (_SourceBuilder,), {
      'FEATURES': features}, skip_registration=True)
  monkeypatch.setattr(
      labelled_source, 'find_builder',
      lambda name, data_dir: builder_cls(data_dir=data_dir))
  monkeypatch.setattr(prepare_dataset, 'ensure_prepared', lambda *args: 1 / 0)
  with pytest.raises(errors.UserError, match=message) as error:
    open_source('source_refused', str(tmp_path), *keys)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('supervised_keys', [
    ('low', 'high'), ('label', 'high'), ({'x': 'high'}, 'label'), None])
def test_supervised_keys_of_other_tasks_are_passed_over(
    tmp_path, monkeypatch, supervised_keys):
  builder_cls = type('SourceOther', (_SourceBuilder,), {
      'FEATURES': {'high': IMAGE, 'low': F.Text(), 'label': LABEL},
      'SUPERVISED_KEYS': supervised_keys}, skip_registration=True)
  monkeypatch.setattr(
      labelled_source, 'find_builder',
      lambda name, data_dir: builder_cls(data_dir=data_dir))
  source = open_source('source_other', str(tmp_path))
  assert (source.image_key, source.label_key) == ('high', 'label')


def test_features_without_names(tmp_path, monkeypatch):
  class Bare(_SourceBuilder, skip_registration=True):

    def _info(self):
      return tfds.core.DatasetInfo(builder=self, features=None)

  monkeypatch.setattr(labelled_source, 'find_builder',
                      lambda name, data_dir: Bare(data_dir=data_dir))
  with pytest.raises(errors.UserError, match='features: none'):
    open_source('bare', str(tmp_path))


def test_sixteen_bits_are_decoded_to_eight(tmp_path, monkeypatch):
  class Deep(_SourceBuilder, skip_registration=True):
    FEATURES = {'image': F.Image(shape=(4, 5, 3), dtype=np.uint16,
                                 encoding_format='png'), 'label': LABEL}

    def _value(self, feature, split, i):
      if isinstance(feature, F.Image):
        return pixels(split, i).astype(np.uint16) * 257
      return 0

  monkeypatch.setattr(labelled_source, 'find_builder',
                      lambda name, data_dir: Deep(data_dir=data_dir))
  example = read(open_source('deep', str(tmp_path)), 'val[:1]')[0]
  decoded = tf.io.decode_image(example['image']).numpy()
  assert decoded.dtype == np.uint8 and decoded[0, 0, 0] % 10 == 3


def read_videos(source, split='train'):
  dataset = source.as_dataset(
      split, read_config=tfds.ReadConfig(), shuffle_files=False)
  return sorted(dataset.as_numpy_iterator(), key=lambda x: x['name'])


def test_videos_of_own_builders(tmp_path):
  frames = [tiny_videos.encode(tiny_videos.numbered_frames(n)) for n in (3, 1)]
  folder = tiny_videos.store(
      tmp_path, [
          {'video': frames[0], 'label': [0, 2], 'fps': 2.5, 'name': 'a',
           'label_start': [0., 1.], 'label_end': [1., 3.]},
          {'video': frames[1], 'label': [], 'fps': 5., 'name': 'b',
           'label_start': [], 'label_end': []}],
      {'video': tiny_videos.video_feature(), **tiny_videos.MANY_LABELS,
       **tiny_videos.SPANS, **tiny_videos.NAME})
  source = tfds_source.open_video_source(folder)
  assert (source.video_key, source.label_key) == ('video', 'label')
  assert source.is_encoded and source.multi_label and source.has_spans
  assert source.label_names == ('ant', 'bee', 'cow') and source.num_classes == 3
  assert source.num_examples('train[:50%]') == 1 == source.num_files('train')
  first, second = read_videos(source)
  assert list(first['video']) == frames[0] and first['name'] == b'a'
  assert list(second['video']) == frames[1] and second['fps'] == 5
  np.testing.assert_array_equal(first['label'], [0, 2])
  np.testing.assert_array_equal(first['label_end'], [1, 3])
  assert second['label'].shape == second['label_start'].shape == (0,)
  assert first['fps'].dtype == first['label_start'].dtype == np.float32


def test_fields_of_other_types_are_ignored(tmp_path):
  """Fields that happen to be called like ours are passed over."""
  folder = tiny_videos.store(
      tmp_path, [{'clip': tiny_videos.encode(tiny_videos.numbered_frames(2)),
                  'action': 1, 'fps': 'many', 'label_start': 3, 'other': 0}],
      {'clip': F.Sequence(F.Image(encoding_format='png')),
       'action': F.ClassLabel(num_classes=2), 'fps': F.Text(),
       'label_start': np.int64, 'other': F.ClassLabel(num_classes=5)})
  with pytest.raises(errors.UserError, match='has several labels. Set '
                     'task.train_data.label_field_key to one of (action, '
                     'other|other, action)'):
    tfds_source.open_video_source(folder)
  source = tfds_source.open_video_source(folder, label_key='action')
  assert source.video_key == 'clip' and not source.has_spans
  example, = read_videos(source)
  assert set(example) == {'video', 'label', 'name'} and example['label'] == 1
  # Made up by TFDS, of the file and the place in it.
  assert example['name'] == b'tiny_videos-train.tfrecord-00000-of-00001__0'


def test_integer_seconds_become_floats(tmp_path):
  folder = tiny_videos.store(
      tmp_path, [{'video': [], 'label': [1], 'fps': 25, 'label_start': [2],
                  'label_end': [4]}],
      {'video': tiny_videos.video_feature(), **tiny_videos.MANY_LABELS,
       'fps': np.int32, 'label_start': F.Sequence(np.int64),
       'label_end': F.Sequence(np.int64)})
  source = tfds_source.open_video_source(folder)
  example, = read_videos(source)
  assert source.has_spans and example['video'].shape == (0,)
  assert example['fps'] == np.float32(25) and example['fps'].dtype == np.float32
  np.testing.assert_array_equal(example['label_start'], np.float32([2]))


def test_videos_as_tensors(tmp_path):
  frames = tiny_videos.numbered_frames(4)
  folder = tiny_videos.store(
      tmp_path, [{'pixels': frames, 'label': 2}],
      {'pixels': F.Tensor(shape=(None, 6, 8, 3), dtype=np.uint8),
       **tiny_videos.ONE_LABEL})
  source = tfds_source.open_video_source(folder)
  assert source.video_key == 'pixels' and not source.is_encoded
  np.testing.assert_array_equal(read_videos(source)[0]['video'], frames)


VIDEO = tiny_videos.video_feature()


@pytest.mark.parametrize('features, keys, message', [
    ({'a': VIDEO, 'b': VIDEO, 'label': LABEL}, (),
     'has several videos. Set task.train_data.video_field_key to one of a, b'),
    ({'image': F.Image(), 'label': LABEL}, (),
     'Expected a data set of labelled videos, but .* has no video to train on'
     r'; features: image \(Image\), label \(ClassLabel\)'),
    ({'video': VIDEO, 'note': F.Text()}, (),
     'Expected a data set of labelled videos, but .* has no label to train on'),
    ({'video': VIDEO, 'label': LABEL}, ('vidoe',),
     "Unknown task.train_data.video_field_key for .* 'vidoe'. Known: video"),
    ({'video': VIDEO, 'label': LABEL}, ('label',),
     'task.train_data.video_field_key=label of .* is not of type video'),
    ({'masks': F.Sequence(F.LabeledImage(labels=3, shape=(None, None, 1))),
      'label': LABEL}, (), 'has no video to train on'),
    ({'video': F.Tensor(shape=(None, 4, 5, 3), dtype=np.float32),
      'label': LABEL}, (),
     "Videos of .* are float32 in 'video'; expected uint8 pixels"),
])
def test_video_features_that_do_not_fit(
    tmp_path, monkeypatch, features, keys, message):
  """Refused before anything is downloaded."""
  monkeypatch.setattr(
      labelled_source, 'find_builder',
      lambda name, data_dir: tiny_videos.TinyVideos(
          features=features, examples=[], data_dir=data_dir))
  monkeypatch.setattr(prepare_dataset, 'ensure_prepared', lambda *args: 1 / 0)
  with pytest.raises(errors.UserError, match=message) as error:
    tfds_source.open_video_source('tiny_videos', str(tmp_path), *keys)
  assert '\n' not in str(error.value)
