"""Verification: tolerances, samples and reports."""

import dataclasses

import types

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import video_pipeline
from tf_tokenlearner.serving import servable
from tf_tokenlearner.serving import verification

EXAMPLES = verification.Examples(
    [], np.zeros([4, 1]), np.array([0, 1, 1, 0]),
    np.float32([[.9, .1], [.4, .6], [.7, .3], [.8, .2]]), 2., 4)


def received(*rows):
  return np.float32(rows or EXAMPLES.probabilities)


def test_report_of_equal_outputs():
  assert verification.report(
      EXAMPLES, received(), verification.Tolerance(1e-5)) == (
          'all 4 evaluation examples: probabilities differ by at most 0.0e+00 '
          "from the checkpoint's (allowed 2.0e-05), top-1 agreement 1.0000, "
          'accuracy 0.7500 (checkpoint 0.7500, allowed 0.2525 less)')


def test_report_states_the_sample_size():
  assert verification.report(
      EXAMPLES._replace(total=1370), received(),
      verification.Tolerance(1e-5)).startswith(
          'a sample of 4 of 1,370 evaluation examples: ')


def test_samples_are_spread_evenly():
  dataset = tf.data.Dataset.range(370)
  drawn = list(verification._evenly(dataset, 370, 256).as_numpy_iterator())
  assert len(drawn) == 256 and drawn[0] == 0 and drawn[-1] >= 368
  assert set(np.diff(drawn)) == {1, 2}
  assert len(list(verification._evenly(dataset, 370, 370))) == 370
  filtered = dataset.filter(lambda number: number < 9)  # Of unknown size.
  assert verification._cardinality(filtered) == 9


def test_report_lines_fit_a_terminal():
  text = verification.in_lines('word ' * 40)
  assert max(map(len, text.splitlines())) < 80


def test_tolerance_grows_with_depth_and_scale():
  """Twelve blocks of 64 at scale 2: a difference of 1.9e-05 is allowed."""
  weights = [types.SimpleNamespace(shape=tf.TensorShape([2, 2]))] * 50
  made = types.SimpleNamespace(model=types.SimpleNamespace(weights=weights))
  tolerance = verification.tolerance(made)
  assert tolerance.allowed(2.) == pytest.approx(
      64 * 1.1920929e-07 * 50**.5 * 2)
  assert tolerance.allowed(2.) > 5 * 1.9e-5
  assert tolerance.allowed(0.) == tolerance.allowed(1.)
  made.model.weights = weights[:2]
  assert verification.tolerance(made).rounding == pytest.approx(
      tolerance.rounding / 5)


def test_equal_outputs_are_accepted():
  values = np.array([np.inf, -np.inf, np.nan, 1e30])
  verification.require_close(
      values, values.copy(), 'logits', verification.Tolerance(0.))


def test_report_of_different_outputs():
  text = verification.report(
      EXAMPLES, received([.9, .1], [.6, .4], [.3, .7], [.2, .8]),
      verification.Tolerance(1.))
  assert 'at most 6.0e-01' in text
  assert 'agreement 0.2500, accuracy 0.5000 (checkpoint 0.7500,' in text


@pytest.mark.parametrize('rows, tolerance, message', [
    ([[.8, .2], [.4, .6], [.7, .3], [.8, .2]], (1e-5,), 'allowed 2.0e-05'),
    ([[.1, .9], [.6, .4], [.7, .3], [.8, .2]], (1., .2),
     'accuracy 0.2500 .* allowed 0.2525 less'),
    ([[np.nan, .1], [.4, .6], [.7, .3], [.8, .2]], (1.,), 'differs too much'),
    ([[.9, .1]], (1.,), r'gave probabilities \[1, 2\], expected \[4, 2\]'),
])
def test_outputs_beyond_the_tolerance_are_refused(rows, tolerance, message):
  with pytest.raises(errors.UserError, match=f'(?s){message}'):
    verification.report(
        EXAMPLES, received(*rows), verification.Tolerance(*tolerance))


def test_outputs_within_the_tolerance_are_accepted():
  tolerance = verification.Tolerance(.1)
  verification.require_close(
      np.array([100., 1.]), np.array([100., 9.]), 'logits', tolerance)
  with pytest.raises(errors.UserError, match=(
      r'^logits of the reloaded .* differs by 2.000e\+01 .*allowed: 1.000e')):
    verification.require_close(
        np.array([100., 1.]), np.array([100., 21.]), 'logits', tolerance)
  with pytest.raises(errors.UserError, match=r'of shape \[1\], expected \[2\]'):
    verification.require_close(np.ones(1), np.ones(2), 'logits', tolerance)


def test_failed_client_is_reported(tmp_path, monkeypatch):
  client = tmp_path / 'client.py'
  client.write_text('import sys; sys.exit("no such op")')
  with pytest.raises(
      errors.UserError, match='(?s)not be used in a new process.*no such op'):
    verification.ask(str(client), 'model')
  client.write_text('import time; time.sleep(99)')
  monkeypatch.setattr(verification, '_SECONDS_ALLOWED', .1)
  with pytest.raises(errors.UserError, match='did not answer within 0'):
    verification.ask(str(client), 'model')
  monkeypatch.undo()
  client.write_text(
      'import sys, numpy; numpy.savez(sys.argv[2], words=sys.argv[1])')
  assert verification.ask(str(client), 'model')['words'] == 'model'


def test_clips_are_those_of_evaluation(
    finished_video_run, monkeypatch):
  """Batches are limited by memory."""
  found = servable.load(*servable.find(finished_video_run))
  monkeypatch.setattr(verification, '_MAX_BYTES', 25 * 4 * 16 * 16 * 4 + 1)
  examples = verification.draw(found, 50)
  assert not examples.stored
  assert (len(examples.labels), examples.total) == (25, 50)
  stored = verification.draw(found, 50, with_stored=True).stored
  assert 0 < len(stored) < 25  # They count as well.
  data = found.task.validation_data
  (views, labels), = video_pipeline.build_dataset(
      data, video_pipeline.open_source(data), (4, 16, 16, 1), 8,
      multi_label=False).take(1)
  np.testing.assert_array_equal(examples.pixels[:8], views[::2, 0])
  np.testing.assert_array_equal(examples.labels[:8], labels[::2])
  np.testing.assert_allclose(
      examples.probabilities[:8], tf.nn.softmax(found.model(views[::2, 0])),
      atol=1e-6)
  assert [type(frame) for frame in stored[0][:2]] == [bytes, bytes]


def test_examples_are_drawn_from_tfrecord_files(finished_run, tmp_path):
  """TFRecord files, with other classes than the run's."""
  run, path = servable.find(finished_run)
  png = tf.io.encode_png(np.full([8, 8, 3], 255, np.uint8)).numpy()
  features = {
      'image/encoded': tf.train.Feature(
          bytes_list=tf.train.BytesList(value=[png])),
      'image/class/label': tf.train.Feature(
          int64_list=tf.train.Int64List(value=[3]))}
  record = tf.train.Example(features=tf.train.Features(feature=features))
  for name in 'ab':
    with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
      writer.write(record.SerializeToString())
  params = experiments.load(finished_run)
  params.task.validation_data.override(
      {'tfds_name': '', 'input_path': str(tmp_path / '*')})
  examples = verification.draw(
      servable.load(dataclasses.replace(
          run, params=params.as_dict()), path), 50, with_stored=True)
  assert examples.stored == [png, png]
  np.testing.assert_allclose(examples.pixels, np.ones([2, 8, 8, 1]), rtol=1e-5)
  np.testing.assert_array_equal(examples.labels, [3, 3])


def test_reference_disables_tensor_float_32(finished_run):
  tf.config.experimental.enable_tensor_float_32_execution(True)
  servable.load(*servable.find(finished_run))
  assert not tf.config.experimental.tensor_float_32_execution_enabled()
