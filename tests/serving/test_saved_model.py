"""A SavedModel answers as the model does, or is not kept."""

import os

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_tokenlearner import errors
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import image_pipeline
from tf_tokenlearner.data import video_pipeline
from tf_tokenlearner.serving import saved_model
from tf_tokenlearner.training import run_folder
from tf_tokenlearner.training import runner


@pytest.fixture(scope='module', name='exported')
def fixture_exported(finished_run, tmp_path_factory):
  folder = str(tmp_path_factory.mktemp('exported') / 'digits')
  saved_model.export(finished_run, folder)
  return folder


@pytest.fixture(scope='module', name='exported_video')
def fixture_exported_video(finished_video_run, tmp_path_factory):
  folder = str(tmp_path_factory.mktemp('exported') / 'moving_digits')
  saved_model.export(finished_video_run, folder)
  return folder


def images(height, width, count=2):
  return tf.constant(np.random.default_rng(1).integers(
      0, 256, [count, height, width, 3], dtype=np.uint8))


@pytest.mark.parametrize('size', [(8, 8), (31, 20), (5, 64)])
def test_probabilities_equal_the_model(exported, finished_run, size):
  params = experiments.load(finished_run).params
  model = runner.load_model(params, run_folder.find_checkpoint(params, finished_run))
  pixels = image_pipeline.evaluation_pixels(images(*size), (8, 8, 1), 1.)
  signature = tf.saved_model.load(exported).signatures['serving_default']
  probabilities = signature(images=images(*size))['probabilities']
  np.testing.assert_allclose(
      probabilities, tf.nn.softmax(model(pixels)), atol=1e-6)
  np.testing.assert_allclose(tf.reduce_sum(probabilities, -1), [1, 1],
                             rtol=1e-5)


def test_label_names_are_inside(exported):
  loaded = tf.saved_model.load(exported)
  names = loaded.signatures['label_names']()['label_names'].numpy()
  assert [name.decode() for name in names] == list('0123456789')
  with open(os.path.join(exported, 'assets', 'labels.txt')) as file:
    assert file.read().split() == list('0123456789')
  assert not os.path.exists(os.path.join(exported, 'labels.txt'))


def test_second_time_says_so(exported, finished_run, capsys):
  saved_model.export(finished_run, exported)
  assert 'Exported already' in capsys.readouterr().out


def test_existing_folders_are_left_alone(exported, finished_run, tmp_path):
  (tmp_path / 'mine').mkdir()
  with pytest.raises(errors.UserError, match='exists already and is no export'):
    saved_model.export(finished_run, str(tmp_path / 'mine'))
  latest = tf.train.latest_checkpoint(finished_run)
  with pytest.raises(errors.UserError, match='holds another checkpoint'):
    saved_model.export(finished_run, exported, latest)


def test_not_a_run(tmp_path):
  with pytest.raises(errors.UserError, match='not the folder of a training'):
    saved_model.export(str(tmp_path), str(tmp_path / 'out'))
  assert not (tmp_path / 'out').exists()


def test_unwritable_place(finished_run, tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(errors.UserError, match='cannot be written'):
    saved_model.export(finished_run, str(tmp_path / 'file' / 'out'))


@pytest.mark.parametrize('fault, message', [
    ('import sys; sys.exit("no such op")', 'could not be loaded.*no such op'),
    ('import sys, numpy; numpy.savez(sys.argv[3], probabilities='
     'numpy.zeros([3, 10]), label_names=list("0123456789"))', 'differs by'),
])
def test_what_does_not_verify_is_not_kept(
    finished_run, tmp_path, monkeypatch, fault, message):
  impostor = tmp_path / 'reload.py'
  impostor.write_text(fault)
  monkeypatch.setattr(
      saved_model.reload_saved_model, '__file__', str(impostor))
  with pytest.raises(errors.UserError, match=f'(?s){message}'):
    saved_model.export(finished_run, str(tmp_path / 'out'))
  assert os.listdir(tmp_path) == ['reload.py']


def test_sigmoid_model_gives_independent_probabilities(tiny_digits, tmp_path):
  folder = str(tmp_path / 'run')
  params = experiments.parse('tokenlearner_digits', [
      tiny_digits, 'task.losses.loss=sigmoid,trainer.train_steps=2'])
  runner.train('tokenlearner_digits', params, folder, evaluate=False)
  saved_model.export(folder, str(tmp_path / 'out'))
  signature = tf.saved_model.load(str(tmp_path / 'out')).signatures[
      'serving_default']
  total = tf.reduce_sum(signature(images=images(8, 8))['probabilities'], -1)
  assert (np.abs(total - 1) > .5).all()  # About a half for each of 10 classes.


@pytest.mark.parametrize('size', [(16, 32, 32), (5, 20, 31), (40, 50, 18)])
def test_clips_of_any_length_and_size(exported_video, finished_video_run, size):
  params = experiments.load(finished_video_run).params
  model = runner.load_model(
      params, run_folder.find_checkpoint(params, finished_video_run))
  clips = tf.constant(np.random.default_rng(1).integers(
      0, 256, [2, *size, 3], dtype=np.uint8))
  signature = tf.saved_model.load(exported_video).signatures['serving_default']
  probabilities = signature(clips=clips)['probabilities']
  pixels = video_pipeline.serving_clip(clips, (4, 16, 16, 1), 2, 'loop', 18)
  np.testing.assert_allclose(
      probabilities, tf.nn.softmax(model(pixels)), atol=1e-6)


def test_video_label_names(exported_video):
  loaded = tf.saved_model.load(exported_video)
  names = loaded.signatures['label_names']()['label_names'].numpy()
  assert [name.decode() for name in names][:2] == ['right', 'left']


def test_frames_of_the_data_set_are_seen_as_in_evaluation(
    exported_video, finished_video_run):
  """Decoded whole, a stored video gives the logits of its one view."""
  params = experiments.load(finished_video_run).params
  data = params.task.validation_data
  source = video_pipeline.open_source(data)
  signature = tf.saved_model.load(exported_video).signatures['serving_default']
  model = runner.load_model(
      params, run_folder.find_checkpoint(params, finished_video_run))
  views = video_pipeline.build_dataset(
      data, source, (4, 16, 16, 1), 8, multi_label=False)
  examples = source.as_dataset(
      data.tfds_split, read_config=tfds.ReadConfig(), shuffle_files=False)
  for example, view in zip(examples.take(3), views.unbatch()):
    frames = tf.stack([
        tf.io.decode_jpeg(frame, channels=3) for frame in example['video']])
    probabilities = signature(clips=frames[tf.newaxis])['probabilities']
    np.testing.assert_allclose(
        probabilities, tf.nn.softmax(model(view[0])), atol=1e-5)
