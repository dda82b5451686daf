"""Crop, letterbox and stretch against NumPy and Pillow."""

import fractions
import types

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.data import resizing
from tf_tokenlearner.data import views

# Portrait, landscape, square, thin either way, enlarged.
SHAPES = [(23, 12), (11, 40), (16, 16), (1, 30), (70, 1), (3, 4)]
SIZES = [(8, 8), (6, 10)]
PILLOW = {'bilinear': Image.Resampling.BILINEAR,
          'bicubic': Image.Resampling.BICUBIC,
          'lanczos3': Image.Resampling.LANCZOS}


def noise(height, width):
  return np.random.default_rng(0).integers(
      0, 256, [height, width, 3], dtype=np.uint8)


def linear(image, size):
  """Interpolates between pixel centres, first along columns, then rows."""
  for axis, (have, want) in enumerate(zip(image.shape, size)):
    places = (np.arange(want) + .5) * have / want - .5
    image = np.apply_along_axis(
        lambda line: np.interp(places, np.arange(len(line)), line), axis,
        image)
  return image


def pillow(image, size, method):
  return np.stack([np.asarray(Image.fromarray(np.float32(channel)).resize(
      size[::-1], PILLOW[method])) for channel in np.moveaxis(image, -1, 0)],
                  axis=-1).clip(0, 255)


def expected(image, size, mode, resize):
  """Returns the input by exact fractions, from 0 to 255."""
  if mode == 'stretch':
    return resize(image, size)
  scale = min(fractions.Fraction(b, a) for a, b in zip(image.shape, size))
  fitted = [max(int(side * scale + fractions.Fraction(1, 2)), 1)
            for side in image.shape[:2]]
  canvas = np.full([*size, 3], 127.5)
  top, left = ((b - a) // 2 for a, b in zip(fitted, size))
  canvas[top:top + fitted[0], left:left + fitted[1]] = resize(image, fitted)
  return canvas


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('mode', ['letterbox', 'stretch'])
def test_whole_pictures_against_numpy(mode, size):
  view = views.ImageView((*size, 3), 1., resizing.Resizing(mode))
  for shape in SHAPES:
    image = noise(*shape)
    pixels = view.to_pixels(tf.constant(image[np.newaxis]))[0]
    np.testing.assert_allclose(
        (pixels + 1) * 127.5, expected(image, size, mode, linear), atol=1e-3)


@pytest.mark.parametrize('method', list(PILLOW))
@pytest.mark.parametrize('mode', ['letterbox', 'stretch'])
def test_antialiased_pictures_against_pillow(mode, method):
  view = views.ImageView((8, 8, 3), 1., resizing.Resizing(mode, method, True))
  for shape in SHAPES:
    image = noise(*shape)
    np.testing.assert_allclose(
        (view.to_pixels(tf.constant(image)) + 1) * 127.5,
        expected(image, (8, 8), mode, lambda x, to: pillow(x, to, method)),
        atol=.01)


def test_crop_is_interpolated_as_pillow_does():
  image = noise(30, 40)
  view = views.ImageView((8, 8, 3), .8, resizing.Resizing(
      'crop', 'bicubic', True))
  np.testing.assert_allclose(
      (view.to_pixels(tf.constant(image)) + 1) * 127.5,
      pillow(image[3:27, 8:32], (8, 8), 'bicubic'), atol=.01)


def test_default_is_the_crop_of_older_versions():
  image = tf.constant(noise(30, 40))
  np.testing.assert_array_equal(
      views.ImageView((8, 8, 3), .8).to_pixels(image),
      tf.image.resize(image[3:27, 8:32], (8, 8)) / 127.5 - 1.)


@pytest.mark.parametrize('mode', resizing.MODES)
def test_placement(mode):
  options = resizing.Resizing(mode)
  found = [options.placement((height, width, 3), (8, 8))
           for height, width in ((40, 10), (10, 30), (7, 7), (1, 1000))]
  whole, fitted = (0, 0, 8, 8), [(8, 2), (3, 8), (8, 8), (1, 8)]
  assert found == {
      'crop': [(whole, (8, 8))] * 4,
      'letterbox': [((0, 3, 8, 2), (8, 2)), ((2, 0, 3, 8), (3, 8)),
                    (whole, (8, 8)), ((3, 0, 1, 8), (1, 8))],
      'stretch': [(whole, size) for size in fitted]}[mode]


@pytest.mark.parametrize('options, message', [
    (dict(resize='pad'), 'Unknown task.resize .pad.. Known: '),
    (dict(interpolation='cubic'), 'Unknown task.interpolation .cubic.'),
    (dict(interpolation='nearest', antialias=True),
     'task.antialias: expected false with interpolation=nearest')])
def test_unknown_options(options, message):
  task = types.SimpleNamespace(**{
      'resize': 'crop', 'interpolation': 'bilinear', 'antialias': False,
      **options})
  with pytest.raises(errors.UserError, match=message):
    resizing.of_task(task).check()
