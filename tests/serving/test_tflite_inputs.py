"""TFLite files with image metadata score as evaluation does."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import views
from tf_tokenlearner.prediction import predictors
from tf_tokenlearner import run_folder
from tf_tokenlearner.serving import input_signatures
from tf_tokenlearner.serving import manifest
from tf_tokenlearner.serving import saved_model
from tf_tokenlearner.serving import servable
from tf_tokenlearner.serving import tflite_file
from tf_tokenlearner.serving import tflite_inputs

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
VIEW = views.ImageView((8, 8, 1), .5)


def photos(count, side):
  """Smooth colour images [count, side, side, 3]."""
  small = np.random.default_rng(2).integers(0, 256, [count, 4, 4, 3])
  return np.uint8(tf.image.resize(small, (side, side)).numpy())


@pytest.fixture(scope='module', name='cropping')
def fixture_cropping():
  """A trained grey model whose evaluation leaves out half of each side."""
  loaded = servable.load(*servable.find(str(GOLDEN / 'run_before')))
  task = experiments.of_run(run_folder.load(str(GOLDEN / 'run_before'))).task
  task.validation_data.center_crop_fraction = .5
  return servable.Servable(task, loaded.label_names, loaded.model,
                           input_signatures.of_task(task))


def test_input_has_the_margin_of_the_view():
  assert tflite_inputs.input_shape(VIEW) == (16, 16, 3)
  assert tflite_inputs.input_shape(
      views.ImageView((224, 224, 3), .875)) == (256, 256, 3)


@pytest.mark.parametrize('shape', [(16, 16, 3), (9, 8, 3)])
def test_to_pixels_inverts_from_pixels(shape):
  pixels = np.random.default_rng(0).uniform(-1, 1, [2, 8, 8, 1])
  inputs = tflite_inputs.from_pixels(np.float32(pixels), shape)
  assert inputs.shape == (2, *shape) and inputs.dtype == np.float32
  np.testing.assert_allclose(
      tflite_inputs.to_pixels(tf.constant(inputs), (8, 8, 1)), pixels,
      atol=1e-5)


def test_resized_whole_image_gives_the_evaluation_view():
  """For square images, whose shape resizing preserves."""
  images = photos(3, 64)
  whole = tf.image.resize(images, (16, 16))
  np.testing.assert_allclose(
      tflite_inputs.to_pixels(whole, (8, 8, 1)), VIEW.to_pixels(images),
      atol=.01)


@pytest.mark.parametrize('options, words', [
    (dict(resize='letterbox', interpolation='bicubic', antialias=True),
     'a whole picture resized (bicubic, antialiased) to fit into 8 x 8 with '
     'the same aspect ratio and padded on both sides with grey, 127.5'),
    (dict(resize='stretch'),
     'a whole picture resized (bilinear), each side by its own factor, to '
     '8 x 8')])
def test_whole_pictures_have_one_score_everywhere(tmp_path, options, words):
  """In evaluation, SavedModel, TFLite and predict, of any shape."""
  run = run_folder.load(str(GOLDEN / 'run_before'))
  loaded = servable.load(*servable.find(run.folder))
  task = experiments.of_run(run, [{'task': options}]).task
  found = servable.Servable(task, loaded.label_names, loaded.model,
                            input_signatures.of_task(task))
  view = found.inputs.view
  facts = {'kind': 'tflite', 'label_names': found.label_names, 'batch_size': 1,
           'preprocessing': views.to_json(view)}
  with manifest.writing(str(tmp_path / 'export'), facts) as folder:
    tflite_file.write_file(tflite_file.make(found), folder)
  predictor = predictors.Export(str(tmp_path / 'export')).load()
  signatures, _ = saved_model.make_signatures(found)
  assert predictor.view == view
  assert tflite_file.describe(found) == (
      f'images: float32 RGB from 0 to 255, 8 x 8; {words}')
  assert words.removeprefix('a whole picture ') in found.inputs.preparation
  scores = []
  for shape in ((20, 9), (7, 30), (12, 12), (1, 40)):
    # Grey, since evaluation rounds grey made of colours to bytes.
    image = tf.constant(np.random.default_rng(3).integers(
        0, 256, [*shape, 1], np.uint8).repeat(3, -1))
    file = tf.io.encode_png(image)
    pixels = view.read(file)[tf.newaxis]  # As the pipeline of evaluation.
    expected = found.scores(pixels)['probabilities']
    for answers in (signatures['serving_default'](image[tf.newaxis]),
                    signatures['image_bytes'](file[tf.newaxis])):
      np.testing.assert_allclose(
          answers['probabilities'], expected, atol=1e-6)
    np.testing.assert_allclose(
        predictor.probabilities([image], 1), expected, atol=1e-5)
    scores.append(expected[0])
  assert np.std(scores, axis=0).max() > .05


def test_export_of_version_0_1_0_is_read():
  """Its input is grey and of the network's own size."""
  expected = json.loads((GOLDEN / 'run_before' / 'expected.json').read_text())
  images = np.random.default_rng(0).integers(
      0, 256, [4, *expected['sample_shape']], np.uint8)
  predictor = predictors.Export(str(GOLDEN / 'export_before')).load()
  assert predictor.label_names == tuple('0123456789')
  np.testing.assert_allclose(
      predictor.probabilities([tf.constant(image) for image in images], 4),
      expected['probabilities'], atol=1e-4)


@pytest.fixture(scope='module', name='mediapipe_python')
def fixture_mediapipe_python(tmp_path_factory):
  """A Python with MediaPipe, whose pins conflict with this package."""
  folder = tmp_path_factory.mktemp('mediapipe')
  python = folder / 'bin' / 'python'
  for command in (['venv', '--quiet', '--python', sys.executable, folder],
                  ['pip', 'install', '--quiet', '--python', python,
                   'mediapipe']):
    done = subprocess.run(
        [sys.executable, '-m', 'uv', *map(str, command)], capture_output=True,
        text=True, check=False)
    if done.returncode:
      pytest.skip(f'MediaPipe cannot be installed: {done.stderr[-200:]}')
  return str(python)


def test_mediapipe_scores_equal_evaluation(
    mediapipe_python, cropping, tmp_path):
  """MediaPipe aligns corners in resizing, so larger images would differ."""
  # Grey, since evaluation rounds grey made of colours to bytes.
  small, large = (np.repeat(photos(8, side)[..., :1], 3, axis=-1)
                  for side in (16, 64))
  (tmp_path / 'model.tflite').write_bytes(tflite_file.make(cropping))
  np.savez(tmp_path / 'images.npz', *small, *large)
  done = subprocess.run(
      [mediapipe_python, str(
          pathlib.Path(__file__).with_name('mediapipe_consumer.py')),
       *(str(tmp_path / name) for name in (
           'model.tflite', 'images.npz', 'out.json'))],
      capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  answers = json.loads((tmp_path / 'out.json').read_text())
  received = np.array([
      [answer[name] for name in cropping.label_names] for answer in answers])
  expected = cropping.scores(cropping.inputs.to_pixels(np.concatenate(
      [small, large[:, ::4, ::4]])))['probabilities'].numpy()
  assert expected.std() > .1
  np.testing.assert_allclose(received, expected, atol=.01)
