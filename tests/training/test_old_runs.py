"""Runs of version 0.1.0 give the numbers that they gave then."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner.configs import experiments
from tf_tokenlearner.serving import saved_model
from tf_tokenlearner.training import runner

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'


@pytest.fixture(params=['run_before', 'run_before_video'], name='old')
def fixture_old(request, tmp_path):
  """(folder of a copy of the run, expected values)."""
  folder = tmp_path / 'run'
  shutil.copytree(GOLDEN / request.param, folder)
  return str(folder), json.loads((folder / 'expected.json').read_text())


def test_scores_and_probabilities(old, data_dir, tmp_path):
  folder, expected = old
  params = experiments.load(folder, [
      {'task': {name: {'tfds_data_dir': data_dir}
                for name in ('train_data', 'validation_data')}}])
  scores = runner.evaluate(params, folder)
  for name in ('accuracy', 'top_5_accuracy', 'validation_loss'):
    np.testing.assert_allclose(scores[name], expected['best'][name], rtol=1e-5)
  exported = str(tmp_path / 'exported')
  saved_model.export(folder, exported, verify=False)
  pixels = np.random.default_rng(expected['sample_seed']).integers(
      0, 256, [4, *expected['sample_shape']], np.uint8)
  serve = tf.saved_model.load(exported).signatures['serving_default']
  name, = serve.structured_input_signature[1]
  answers = serve(**{name: tf.constant(pixels)})
  np.testing.assert_allclose(
      answers['probabilities'], expected['probabilities'], atol=1e-5)
