"""Inputs of exports: their description, and parsing of tf.train.Examples."""

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import tfds_source
from tf_tokenlearner.serving import input_signatures


def test_description_states_the_frame_rate(finished_video_run, tmp_path):
  task = experiments.load(finished_video_run).task
  assert input_signatures.of_task(task).description == (
      'RGB frames of whole videos of any length and size, at 8 frames a '
      'second, 0 to 255; the network looks at 4 of them in the middle, 2 apart')
  task.validation_data.override({
      'tfds_name': '', 'input_path': str(tmp_path), 'fps': 12.5})
  assert 'at 12.5 frames a second' in input_signatures.of_task(task).description
  task.validation_data.input_path = str(tmp_path / '*.tfrecord')
  assert 'at the frame rate at which the training data are stored' in (
      input_signatures.of_task(task).description)


def test_unprepared_data_set_has_no_frame_rate(tmp_path):
  assert tfds_source.find_fps('moving_digits', str(tmp_path)) is None


@pytest.mark.parametrize('pixels', [True, False])
def test_parse_inverts_serialize(finished_run, finished_video_run, pixels):
  image = np.random.default_rng(0).integers(0, 256, [5, 4, 3], np.uint8)
  file = tf.io.encode_png(image).numpy()
  example = image if pixels else file
  for folder, given, expected in (
      (finished_run, example, file),
      (finished_video_run, [example] * 2, [file] * 2)):
    raw = input_signatures.of_task(experiments.load(folder).task)
    parsed = raw.parse(raw.serialize(given)).numpy()
    assert np.array(parsed).tolist() == expected
