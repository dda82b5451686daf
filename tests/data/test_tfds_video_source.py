"""TFDS video data sets: keys, frames as stored, what comes beside them."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.data import tiny_videos
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner.data import prepare_dataset
from tf_tokenlearner.data import tfds_source
from tf_tokenlearner import errors

F = tfds.features


def read(source, split='train'):
  dataset = source.as_dataset(
      split, read_config=tfds.ReadConfig(), shuffle_files=False)
  return sorted(dataset.as_numpy_iterator(), key=lambda x: x['name'])


def test_our_own_data_sets(tmp_path):
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
  first, second = read(source)
  assert list(first['video']) == frames[0] and first['name'] == b'a'
  assert list(second['video']) == frames[1] and second['fps'] == 5
  np.testing.assert_array_equal(first['label'], [0, 2])
  np.testing.assert_array_equal(first['label_end'], [1, 3])
  assert second['label'].shape == second['label_start'].shape == (0,)
  assert first['fps'].dtype == first['label_start'].dtype == np.float32


def test_other_names_and_numbers(tmp_path):
  """Fields that happen to be called like ours are passed over."""
  folder = tiny_videos.store(
      tmp_path, [{'clip': tiny_videos.encode(tiny_videos.numbered_frames(2)),
                  'action': 1, 'fps': 'many', 'label_start': 3, 'other': 0}],
      {'clip': F.Sequence(F.Image(encoding_format='png')),
       'action': F.ClassLabel(num_classes=2), 'fps': F.Text(),
       'label_start': np.int64, 'other': F.ClassLabel(num_classes=5)})
  with pytest.raises(errors.UserError, match='has several labels: set '
                     'task.train_data.label_field_key to one of (action, '
                     'other|other, action)'):
    tfds_source.open_video_source(folder)
  source = tfds_source.open_video_source(folder, label_key='action')
  assert source.video_key == 'clip' and not source.has_spans
  example, = read(source)
  assert set(example) == {'video', 'label', 'name'} and example['label'] == 1
  # Made up by TFDS, of the file and the place in it.
  assert example['name'] == b'tiny_videos-train.tfrecord-00000-of-00001__0'


def test_whole_numbers_are_seconds_too(tmp_path):
  folder = tiny_videos.store(
      tmp_path, [{'video': [], 'label': [1], 'fps': 25, 'label_start': [2],
                  'label_end': [4]}],
      {'video': tiny_videos.video_feature(), **tiny_videos.MANY_LABELS,
       'fps': np.int32, 'label_start': F.Sequence(np.int64),
       'label_end': F.Sequence(np.int64)})
  source = tfds_source.open_video_source(folder)
  example, = read(source)
  assert source.has_spans and example['video'].shape == (0,)
  assert example['fps'] == np.float32(25) and example['fps'].dtype == np.float32
  np.testing.assert_array_equal(example['label_start'], np.float32([2]))


def test_plain_tensors(tmp_path):
  frames = tiny_videos.numbered_frames(4)
  folder = tiny_videos.store(
      tmp_path, [{'pixels': frames, 'label': 2}],
      {'pixels': F.Tensor(shape=(None, 6, 8, 3), dtype=np.uint8),
       **tiny_videos.ONE_LABEL})
  source = tfds_source.open_video_source(folder)
  assert source.video_key == 'pixels' and not source.is_encoded
  np.testing.assert_array_equal(read(source)[0]['video'], frames)


VIDEO, LABEL = tiny_videos.video_feature(), F.ClassLabel(num_classes=3)


@pytest.mark.parametrize('features, keys, message', [
    ({'a': VIDEO, 'b': VIDEO, 'label': LABEL}, (),
     'has several videos: set task.train_data.video_field_key to one of a, b'),
    ({'image': F.Image(), 'label': LABEL}, (),
     'is no data set of labelled videos, it has no video to train on; its '
     r'features are: image \(Image\), label \(ClassLabel\)'),
    ({'video': VIDEO, 'note': F.Text()}, (),
     'is no data set of labelled videos, it has no label to train on'),
    ({'video': VIDEO, 'label': LABEL}, ('vidoe',),
     "Unknown task.train_data.video_field_key for .* 'vidoe'. Known: video"),
    ({'video': VIDEO, 'label': LABEL}, ('label',),
     'task.train_data.video_field_key=label of .* is no video'),
    ({'masks': F.Sequence(F.LabeledImage(labels=3, shape=(None, None, 1))),
      'label': LABEL}, (), 'has no video to train on'),
    ({'video': F.Tensor(shape=(None, 4, 5, 3), dtype=np.float32),
      'label': LABEL}, (),
     "Videos of .* are float32 in 'video'; expected uint8 pixels"),
])
def test_features_that_do_not_fit(
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
