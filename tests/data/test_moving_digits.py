"""The moving digits: the motion is there, and no single frame tells it."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn import linear_model

from tf_tokenlearner.data.builders import digits


@pytest.fixture(scope='module', name='clips')
def fixture_clips(tmp_path_factory):
  """{split: (frames, labels)}, and the names of the classes."""
  builder = digits.MovingDigits(
      data_dir=str(tmp_path_factory.mktemp('data')))
  builder.download_and_prepare()
  read = {}
  for split in ('train', 'test'):
    examples = list(tfds.as_numpy(builder.as_dataset(split)))
    read[split] = (np.stack([example['video'] for example in examples]),
                   np.array([example['label'] for example in examples]))
  return read, builder.info.features['label'].names


def test_sizes(clips):
  read, names = clips
  assert len(names) == 8
  for split, count in (('train', 5748), ('test', 720)):
    frames, labels = read[split]
    assert frames.shape == (count, 16, 32, 32, 1)
    shares = np.bincount(labels, minlength=8) / count
    assert shares.min() > .1 and shares.max() < .15


def test_no_frame_tells_the_class(clips):
  read, _ = clips
  for t in (0, 8, 15):
    frames = {split: (x[:, t].reshape(len(x), -1) / 255, y)
              for split, (x, y) in read.items()}
    classifier = linear_model.LogisticRegression(max_iter=30)
    classifier.fit(*frames['train'])
    assert classifier.score(*frames['test']) < .2  # Chance is .125.


def test_motion_is_the_label(clips):
  (frames, labels), names = clips[0]['test'], clips[1]
  for name, expected in (('right', (0, 1)), ('left', (0, -1)), ('up', (-1, 0)),
                         ('down', (1, 0)), ('still', (0, 0))):
    clip = frames[labels == names.index(name)][0, ..., 0].astype(float)
    shift = np.sum([_shift(a, b) for a, b in zip(clip, clip[1:])], axis=0) / 15
    if any(expected):
      speed = np.abs(shift).max()
      assert 1.4 < speed < 3.1
      shift /= speed
    np.testing.assert_allclose(shift, expected, atol=.01)


def _shift(before, after):
  """(rows, columns) by which a frame moved, from their correlation."""
  correlation = np.fft.ifft2(
      np.conj(np.fft.fft2(before)) * np.fft.fft2(after)).real
  place = np.array(np.unravel_index(correlation.argmax(), correlation.shape))
  return (place + 16) % 32 - 16


@pytest.mark.parametrize('name', ['right_and_left', 'up_and_down', 'circle'])
def test_swings_come_back(name):
  image = digits.load('test')[0][0]
  clip = digits.render(image, name, np.random.default_rng(3))[..., 0]
  shifts = [_shift(a, b) for a, b in zip(clip, np.roll(clip, -1, axis=0))]
  np.testing.assert_array_equal(np.sum(shifts, axis=0), [0, 0])
  moved = np.abs(shifts).sum(axis=0) > 0
  np.testing.assert_array_equal(
      moved, [name != 'right_and_left', name != 'up_and_down'])


def test_always_the_same_clip():
  image = digits.load('train')[0][5]
  a, b = (digits.render(image, 'circle', np.random.default_rng([5, 1]))
          for _ in range(2))
  np.testing.assert_array_equal(a, b)
  assert a.dtype == np.uint8 and a.max() == image.max()


def test_test_digits_are_held_out():
  train, test = (set(digits.load(split)[2]) for split in ('train', 'test'))
  assert not train & test and len(train | test) == 1797
