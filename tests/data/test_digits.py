"""Digits and moving digits: counts, pixels, splits and motions."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from sklearn import datasets
from sklearn import linear_model

from tf_tokenlearner.data.builders import digits as builders
from tf_tokenlearner.data import tfds_source


@pytest.fixture(scope='module', name='digits')
def fixture_digits(data_dir):
  """{split: (uint8 [N, 8, 8, 1], int [N])}."""
  source = tfds_source.open_image_source(
      'digits', data_dir, announce=lambda _: None)
  assert source.is_encoded
  arrays = {}
  for split in source.builder.info.splits:
    examples = list(source.as_dataset(
        split, read_config=tfds.ReadConfig(), shuffle_files=False))
    arrays[split] = (
        np.stack([tf.io.decode_png(x['image']).numpy() for x in examples]),
        np.array([x['label'].numpy() for x in examples]))
  return arrays


def test_splits_are_stratified(digits):
  train, test = digits['train'][1], digits['test'][1]
  assert (len(train), len(test)) == (1437, 360)
  whole = np.bincount(datasets.load_digits().target)
  assert np.array_equal(np.bincount(train) + np.bincount(test), whole)
  assert np.abs(np.bincount(test) - whole * 360 / 1797).max() < 1


def test_images_are_those_of_scikit_learn(digits):
  images = np.concatenate([digits['train'][0], digits['test'][0]])
  labels = np.concatenate([digits['train'][1], digits['test'][1]])
  assert images.shape == (1797, 8, 8, 1) and images.max() == 255
  expected = datasets.load_digits()
  ours = sorted(
      (label, *np.rint(image.ravel() / 255 * 16).astype(int))
      for label, image in zip(labels, images))
  theirs = sorted(
      (label, *image.ravel().astype(int))
      for label, image in zip(expected.target, expected.images))
  assert ours == theirs


def test_split_is_the_same_everywhere(digits):
  """The held-out digits do not depend on versions of libraries."""
  images, labels = digits['test']
  assert np.bincount(labels).tolist() == [
      36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
  assert images.sum(dtype=np.int64) == 1784785
  assert labels[:10].tolist() == [8, 4, 7, 4, 4, 4, 0, 3, 6, 6]


@pytest.fixture(scope='module', name='clips')
def fixture_clips():
  """{split: (uint8 [N, 16, 32, 32], names of motions)} as they are rendered."""
  clips = {}
  for split, count in builders.CLIPS_PER_DIGIT.items():
    images, _, indices = builders.load(split)
    frames, motions = zip(*(
        builders.make_clip(image, index, repeat)
        for image, index in zip(images, indices) for repeat in range(count)))
    clips[split] = np.stack(frames)[..., 0], np.array(motions)
  return clips


def test_motions_are_balanced(clips):
  for split, count in (('train', 5748), ('test', 720)):
    frames, motions = clips[split]
    assert frames.shape == (count, 16, 32, 32)
    _, counts = np.unique(motions, return_counts=True)
    assert len(counts) == 8
    assert counts.min() / count > .1 and counts.max() / count < .15


def test_single_frame_does_not_reveal_the_motion(clips):
  for t in (0, 8, 15):
    frames = {split: (x[:, t].reshape(len(x), -1) / 255, y)
              for split, (x, y) in clips.items()}
    classifier = linear_model.RidgeClassifier()
    classifier.fit(*frames['train'])
    assert classifier.score(*frames['test']) < .2  # Chance is .125.


def test_motion_is_the_label(clips):
  frames, motions = clips['test']
  for name, expected in (('right', (0, 1)), ('left', (0, -1)), ('up', (-1, 0)),
                         ('down', (1, 0)), ('still', (0, 0))):
    clip = frames[motions == name][0].astype(float)
    shift = np.sum([_shift(a, b) for a, b in zip(clip, clip[1:])], axis=0) / 15
    if any(expected):
      speed = np.abs(shift).max()
      assert 1.4 < speed < 3.1
      shift /= speed
    np.testing.assert_allclose(shift, expected, atol=.01)


def test_stored_clips_are_those_rendered(tmp_path, monkeypatch):
  """Packs the clips of two digits of each split."""
  load = builders.load
  monkeypatch.setattr(
      builders, 'load', lambda split: [part[:2] for part in load(split)])
  builder = builders.MovingDigits(data_dir=str(tmp_path))
  builder.download_and_prepare()
  names = builder.info.features['label'].names
  assert len(names) == 8
  for split, count in (('train', 8), ('test', 4)):
    images, _, indices = builders.load(split)
    stored = list(tfds.as_numpy(builder.as_dataset(split)))
    assert len(stored) == count
    for example in stored:
      index, motion = example['name'].decode()[len('digit '):].split(', ')
      assert names[example['label']] == motion and example['fps'] == 8
      image = images[indices.index(int(index))]
      candidates = [builders.make_clip(image, int(index), repeat)
                    for repeat in range(builders.CLIPS_PER_DIGIT[split])]
      distance = min(
          np.abs(clip.astype(int) - example['video']).max()
          for clip, name in candidates if name == motion)
      assert distance <= 40  # Of JPEG.


def _shift(before, after):
  """(rows, columns) by which a frame moved, from their correlation."""
  correlation = np.fft.ifft2(
      np.conj(np.fft.fft2(before)) * np.fft.fft2(after)).real
  place = np.array(np.unravel_index(correlation.argmax(), correlation.shape))
  return (place + 16) % 32 - 16


@pytest.mark.parametrize('name', ['right_and_left', 'up_and_down', 'circle'])
def test_swings_return_to_the_start(name):
  image = builders.load('test')[0][0]
  clip = builders.render(image, name, np.random.default_rng(3))[..., 0]
  shifts = [_shift(a, b) for a, b in zip(clip, np.roll(clip, -1, axis=0))]
  np.testing.assert_array_equal(np.sum(shifts, axis=0), [0, 0])
  moved = np.abs(shifts).sum(axis=0) > 0
  np.testing.assert_array_equal(
      moved, [name != 'right_and_left', name != 'up_and_down'])


def test_rendering_is_deterministic():
  image = builders.load('train')[0][5]
  a, b = (builders.render(image, 'circle', np.random.default_rng([5, 1]))
          for _ in range(2))
  np.testing.assert_array_equal(a, b)
  assert a.dtype == np.uint8 and a.max() == image.max()


def test_test_digits_are_held_out():
  train, test = (set(builders.load(split)[2]) for split in ('train', 'test'))
  assert not train & test and len(train | test) == 1797
