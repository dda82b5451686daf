"""Facts of preprocessing do what the run's evaluation does."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import views
from tf_tokenlearner.serving import input_signatures
from tf_tokenlearner.serving import manifest


@pytest.mark.parametrize('run, export, shape', [
    ('finished_run', 'image_export', [2, 13, 19, 3]),
    ('finished_video_run', 'video_export', [2, 11, 20, 31, 3])])
def test_export_keeps_them(request, run, export, shape):
  task = experiments.load(request.getfixturevalue(run)).task
  facts = manifest.read_origin(request.getfixturevalue(export))
  kept = views.from_json(facts['preprocessing'])
  assert kept == input_signatures.of_task(task).view
  examples = tf.constant(
      np.random.default_rng(0).integers(0, 256, shape, np.uint8))
  np.testing.assert_array_equal(
      kept.to_pixels(examples),
      input_signatures.of_task(task).to_pixels(examples))


def test_there_and_back():
  for facts in (
      views.ImageView((8, 9, 1), .875),
      views.ClipView((4, 8, 9, 3), None, 2, 'pad', 10, 96)):
    text = json.dumps(views.to_json(facts))
    assert views.from_json(json.loads(text)) == facts


@pytest.mark.parametrize('short_videos', ['loop', 'pad'])
@pytest.mark.parametrize('stride', [0, 1, 3])
@pytest.mark.parametrize('length', [1, 3, 9, 10, 11, 24])
def test_window_is_enough(length, stride, short_videos):
  facts = views.ClipView((4, 8, 8, 3), 8., stride, short_videos, 8, 8)
  video = np.arange(length)[np.newaxis]
  window = video[:, facts.window(length)]
  assert window.shape == (1, 3 * stride + 1)
  np.testing.assert_array_equal(facts.middle(window), facts.middle(video))
