"""What is read of files, and at which rate."""

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
OF_TFRECORDS = views.ClipView((2, 8, 8, 3), None, 3, 'loop', 8, 24)


@pytest.fixture(name='image')
def fixture_image(tmp_path):
  path = str(tmp_path / 'a.png')
  cv2.imwrite(path, np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3))
  return path


@pytest.fixture(name='video')
def fixture_video(tmp_path):
  return video_making.write(
      tmp_path / 'a.mp4', video_making.numbered(20), rate=20)


def test_image(image):
  pixels = examples.make_reader(IMAGES, None)(image)
  assert pixels.dtype == tf.uint8
  np.testing.assert_array_equal(
      pixels, np.arange(5 * 7 * 3).reshape(5, 7, 3)[..., ::-1])
  np.testing.assert_array_equal(
      examples.view(pixels, IMAGES), IMAGES.to_pixels(pixels[tf.newaxis])[0])


def test_clip(video):
  clip = examples.make_reader(CLIPS, 10.)(video)
  assert len(clip) == 4  # Of ten; the network sees the first and the last.
  pixels = examples.pixels(clip)
  assert pixels.shape == (4, 24, 32, 3)
  np.testing.assert_allclose(
      pixels[:, -1, -1, 0], 10 + video_making.STEP * np.array([6, 8, 10, 12]),
      atol=4)
  np.testing.assert_array_equal(
      examples.view(clip, CLIPS), CLIPS.to_pixels(pixels[tf.newaxis])[0])


def test_what_cannot_be_read(image, video, tmp_path):
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


def test_one_odd_file_does_not_end_all(image, video, monkeypatch):
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


def test_rates():
  assert examples.choose_fps(IMAGES, None) is None
  assert examples.choose_fps(CLIPS, None) == 10
  assert examples.choose_fps(CLIPS, 10.) == 10
  assert examples.choose_fps(OF_TFRECORDS, 12.) == 12


@pytest.mark.parametrize('facts, fps, message', [
    (IMAGES, 5., '--fps is for videos'),
    (CLIPS, 12., 'trained on 10 frames a second, not 12'),
    (CLIPS, 0., r'--fps must lie in \(0, 240\], received 0'),
    (OF_TFRECORDS, None, 'say it with --fps')])
def test_wrong_rates(facts, fps, message):
  with pytest.raises(errors.UserError, match=message):
    examples.choose_fps(facts, fps)
