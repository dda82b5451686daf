"""Examples: files are read ahead and batches have one shape."""

import os
import threading
import time

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tests.data import video_making
from tf_tokenlearner.data import views
from tf_tokenlearner import errors
from tf_tokenlearner.prediction import examples

IMAGES = views.ImageView((8, 8, 3), 1.)
CLIPS = views.ClipView((2, 8, 8, 3), 10., 3, 'loop', 8, 24)
NO_FPS = views.ClipView((2, 8, 8, 3), None, 3, 'loop', 8, 24)


@pytest.fixture(name='image')
def fixture_image(tmp_path):
  path = str(tmp_path / 'a.png')
  cv2.imwrite(path, np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3))
  return path


@pytest.fixture(name='video')
def fixture_video(tmp_path):
  return video_making.write(
      tmp_path / 'a.mp4', video_making.numbered(20), rate=20)


def test_reads_an_image(image):
  pixels = examples.make_reader(IMAGES, None)(image)
  assert pixels.dtype == tf.uint8
  np.testing.assert_array_equal(
      pixels, np.arange(5 * 7 * 3).reshape(5, 7, 3)[..., ::-1])
  np.testing.assert_array_equal(
      examples.to_view(pixels, IMAGES), IMAGES.to_pixels(pixels[tf.newaxis])[0])


def test_reads_a_clip(video):
  clip = examples.make_reader(CLIPS, 10.)(video)
  assert len(clip) == 4  # Of ten frames; the network sees two of them.
  pixels = examples.pixels(clip)
  assert pixels.shape == (4, 24, 32, 3)
  np.testing.assert_allclose(
      pixels[:, -1, -1, 0], 10 + video_making.STEP * np.array([6, 8, 10, 12]),
      atol=4)
  np.testing.assert_array_equal(
      examples.to_view(clip, CLIPS), CLIPS.to_pixels(pixels[tf.newaxis])[0])


def test_shape_of_the_frames(image, video):
  assert examples.frame_shape(
      examples.make_reader(IMAGES, None)(image))[:2] == (5, 7)
  assert examples.frame_shape(
      examples.make_reader(CLIPS, 10.)(video))[:2] == (24, 32)


def test_unreadable_files_give_a_reason(image, video, tmp_path):
  read_image = examples.make_reader(IMAGES, None)
  read_clip = examples.make_reader(CLIPS, 10.)
  torn = tmp_path / 'torn.png'
  torn.write_bytes(open(image, 'rb').read()[:50])
  cut = tmp_path / 'cut.mp4'
  cut.write_bytes(open(video, 'rb').read()[:100])
  for read, path, reason in (
      (read_image, video, 'is a video; this model takes images'),
      (read_clip, image, 'is an image; this model takes videos'),
      (read_image, str(torn), 'content corrupt or cut off'),
      (read_clip, str(cut), 'no video, or its header is cut off')):
    with pytest.raises(examples.UnreadableError, match=f'^{reason}$'):
      read(path)


def test_unexpected_error_becomes_unreadable(image, video, monkeypatch):
  def fail(*unused_args):
    raise error
  monkeypatch.setattr(examples.image_files, 'load', fail)
  monkeypatch.setattr(examples.video_files, 'decode', fail)
  reads = [lambda: examples.make_reader(IMAGES, None)(image),
           lambda: examples.make_reader(CLIPS, 10.)(video),
           lambda: list(examples.frames(video, CLIPS, 10.))]
  for read in reads:
    error = IndexError('odd\nindex')
    with pytest.raises(examples.UnreadableError, match=(
        r'^cannot be read \(IndexError: odd index\)$')):
      read()
    error = MemoryError()  # Not the fault of the file.
    with pytest.raises(MemoryError):
      read()


def test_choose_fps():
  assert examples.choose_fps(IMAGES, None) is None
  assert examples.choose_fps(CLIPS, None) == 10
  assert examples.choose_fps(CLIPS, 10.) == 10
  assert examples.choose_fps(NO_FPS, 12.) == 12


@pytest.mark.parametrize('view, fps, message', [
    (IMAGES, 5., '--fps is for videos'),
    (CLIPS, 12., 'trained at 10 frames per second, got --fps=12'),
    (CLIPS, 0., r'--fps must be in \(0, 240\], got 0'),
    (NO_FPS, None, 'Give --fps')])
def test_contradictory_fps_is_refused(view, fps, message):
  with pytest.raises(errors.UserError, match=message):
    examples.choose_fps(view, fps)


def test_read_all_keeps_order_and_limits_read_ahead():
  started, may_go = [], threading.Event()

  def read(path):
    started.append(path)
    if path == 'a':
      may_go.wait(10)
    return [path.encode() * 2]

  answers = examples.read_all('abcdefgh', read, ahead=3)
  timer = threading.Timer(.2, may_go.set)
  timer.start()
  assert next(answers) == [b'aa']
  assert set(started) <= set('abcd')
  assert [example[0] for example in answers] == [
      b'bb', b'cc', b'dd', b'ee', b'ff', b'gg', b'hh']


def test_large_files_limit_read_ahead(monkeypatch):
  monkeypatch.setattr(examples, '_MAX_BYTES_AHEAD', 10)
  started = []

  def read(path):
    started.append(path)
    time.sleep(.01 if path == 'c' else 0)  # Later ones are there before it.
    return [path.encode() * 6]

  paths = 'abcdefghijkl'
  for number, answer in enumerate(examples.read_all(paths, read, ahead=9)):
    assert answer == [paths[number].encode() * 6]
    time.sleep(.02)
    # Two fill the room; each thread may have begun one before it was full.
    assert len(started) <= number + 1 + 2 + os.cpu_count()
  assert len(started) == len(paths)


def test_closed_reader_reads_no_more_files():
  started = []
  answers = examples.read_all('ab' * 50, lambda path: started.append(path) or
                             [b'a'], ahead=3)
  next(answers)
  answers.close()
  assert len(started) <= 4


def test_unreadable_files_yield_their_error():
  def read(path):
    raise {'a': examples.UnreadableError('torn'),
           'b': examples.UnreadableError('empty')}[path]
  assert list(map(str, examples.read_all('ab', read, 1))) == ['torn', 'empty']


def test_other_errors_are_raised():
  def read(path):
    raise MemoryError(path)
  with pytest.raises(MemoryError):
    list(examples.read_all('a', read, 1))


def test_rare_shape_is_batched_before_the_end():
  """Answers keep the order of files, so all others would wait for it."""
  batches = examples.Batches(2)
  found = {}
  for number in range(20):
    example = image(9, 9, 3) if number in (0, 13) else image(2, 2, 3)
    for numbers, _ in batches.add(number, example):
      found[number] = found.get(number, []) + [numbers]
  assert found[2] == [[1, 2]] and found[8] == [[7, 8]]
  assert found[9] == [[0]]  # After more than four batches of others.
  assert found[10] == [[9, 10]]
  assert [numbers for numbers, _ in batches.rest()] == [[13]]


def test_full_size_shrinks_for_large_images(monkeypatch):
  monkeypatch.setattr(examples, '_MAX_BATCH_BYTES', 100)
  assert examples.full_size(16, image(2, 4, 3)) == 5
  assert examples.full_size(4, image(2, 4, 3)) == 4
  assert examples.full_size(4, image(9, 9, 3)) == 1
  assert examples.full_size(16, [b'a clip']) == 16
  batches = examples.Batches(16)
  sizes = [len(numbers) for i in range(10)
           for numbers, _ in batches.add(i, image(2, 4, 3))]
  assert sizes == [5, 5]


def image(*shape):
  return tf.constant(np.zeros(shape, np.uint8))


def test_batches_group_examples_by_shape(monkeypatch):
  batches = examples.Batches(2)
  given = [image(2, 2, 3), image(2, 4, 3), image(2, 2, 3), image(9, 9, 3)]
  found = [numbers for i, example in enumerate(given)
           for numbers, _ in batches.add(i, example)]
  assert found == [[0, 2]]
  assert [numbers for numbers, _ in batches.rest()] == [[1], [3]]
  assert not list(batches.rest())
  monkeypatch.setattr(examples, '_MAX_WAITING_BYTES', 30)
  assert not list(batches.add(4, image(2, 4, 3)))
  (numbers, members), = batches.add(5, image(2, 2, 3))
  assert numbers == [4] and members[0].shape == (2, 4, 3)
  monkeypatch.setattr(examples, '_MAX_BATCH_BYTES', 12)
  assert list(examples.Batches(9).add(6, image(2, 2, 3)))
  clips = examples.Batches(2)
  assert not list(clips.add(0, [b'abc']))
  assert list(clips.add(1, [b'de'])) == [([0, 1], [[b'abc'], [b'de']])]
