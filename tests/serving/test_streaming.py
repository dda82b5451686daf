"""Streaming exports, as a SavedModel and as a TFLite file."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner.data import video_pipeline
from tf_tokenlearner import errors
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.serving import streaming
from tf_tokenlearner.serving import verification


@pytest.fixture(name='saved_model')
def fixture_saved_model(stream_exports):
  return stream_exports['saved_model']


def test_streaming_steps_equal_the_whole_model(stream_run, saved_model):
  signatures = tf.saved_model.load(saved_model).signatures
  video = np.random.default_rng(5).integers(
      0, 256, [2, 14, 20, 31, 3], dtype=np.uint8)  # T is 2: seven steps.
  state = signatures['init_state'](batch_size=tf.constant(2))
  servable = servable_lib.load(*servable_lib.find(stream_run))
  for start in range(0, 14, 2):
    answer = signatures['step'](
        frames=tf.constant(video[:, start:start + 2]), **state)
    state = {key: answer[key] for key in state}
    # Before there are two tubelets the first one counts twice.
    places = np.maximum(np.arange(start - 2, start + 2), 0)
    if start == 0:
      places = np.array([0, 1, 0, 1])
    pixels = servable.inputs.view.to_view(video[:, places])
    np.testing.assert_allclose(
        answer['probabilities'], servable.scores(pixels)['probabilities'],
        rtol=0, atol=1e-5)
  names = signatures['label_names']()['label_names'].numpy()
  assert tuple(name.decode() for name in names) == servable.label_names
  with open(f'{saved_model}/origin.json', encoding='utf-8') as file:
    assert json.load(file)['input'].startswith(
        'the next 2 frames of a video, 2 apart, at ')


@pytest.mark.parametrize('videos, frames, message', [
    (1, [1, 4, 20, 31, 3], r'frames_any_2_any_any_3'),
    (2, [1, 4, 20, 31, 3], r'frames_any_2_any_any_3'),
    (1, [2, 2, 20, 31, 3], 'of different numbers of videos'),
])
def test_wrong_shapes_are_refused(saved_model, videos, frames, message):
  signatures = tf.saved_model.load(saved_model).signatures
  state = signatures['init_state'](batch_size=tf.constant(videos))
  with pytest.raises(tf.errors.InvalidArgumentError, match=message):
    signatures['step'](frames=tf.zeros(frames, tf.uint8), **state)


@pytest.mark.parametrize('export_format', streaming.EXPORT_FORMATS)
def test_stream_scores_equal_evaluation(
    stream_run, tmp_path, capsys, monkeypatch, export_format):
  """At the end of a clip, a stream answers as evaluation of the whole clip.

  Verification accepts that within rounding, which is added here.
  """
  streamed = {}
  ask = verification.ask

  def ask_and_round(*arguments):
    streamed.update(ask(*arguments))
    return {'probabilities': streamed['probabilities'] + np.float32(1e-5)}

  monkeypatch.setattr(verification, 'ask', ask_and_round)
  streaming.export(stream_run, str(tmp_path / 'stream'),
                   export_format=export_format, verify_examples=1000)
  found = servable_lib.load(*servable_lib.find(stream_run))
  data = found.task.validation_data
  (views, labels), = video_pipeline.build_dataset(
      data, video_pipeline.open_source(data), found.input_size, 8,
      multi_label=False).unbatch().batch(50)
  expected = found.scores(views[:, 0])['probabilities'].numpy()
  received = streamed['probabilities'][1::2]  # Two steps a clip.
  np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5)
  accuracy = f'{np.mean(expected.argmax(-1) == labels):.4f}'
  assert ('at the ends of all 50 evaluation examples: ' in (
      out := ' '.join(capsys.readouterr().out.split())))
  assert f'accuracy {accuracy} (checkpoint {accuracy}' in out


def test_tflite_file_streams(stream_run, tmp_path, capsys):
  folder = str(tmp_path / 'stream')
  streaming.export(stream_run, folder, export_format='tflite',
                   quantize='dynamic', verify_examples=3)
  out = capsys.readouterr().out
  assert max(map(len, out.splitlines())) < 80 + len(folder)
  out = ' '.join(out.split())
  assert 'float32 RGB from 0 to 255, [1, 2, 16, 16, 3].' in out
  assert ('Loaded again in a new process by LiteRT; 6 steps streamed; at the '
          'ends of a sample of 3 of 50 evaluation examples: ') in out
  assert 'accuracy 0.' in out
  streaming.export(
      stream_run, folder, export_format='tflite', quantize='dynamic')
  assert 'Exported already' in capsys.readouterr().out


def test_stream_that_fails_verification_is_removed(
    stream_run, tmp_path, monkeypatch):
  monkeypatch.setattr(
      verification, 'ask',
      lambda *arguments: {'probabilities': np.full([8, 8], .125)})
  with pytest.raises(errors.UserError, match='The answers of steps of the '
                     'reloaded export differs by .*Nothing was kept'):
    streaming.export(stream_run, str(tmp_path / 'stream'), verify_examples=4)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('options, message', [
    (dict(export_format='hub'), 'Unknown --format \'hub\''),
    (dict(quantize='int8'), 'Unknown --quantize \'int8\''),
    (dict(quantize='dynamic'), 'goes with --format=tflite only'),
    (dict(verify_examples=0), '--verify_examples must be at least 1'),
])
def test_invalid_options_are_refused(stream_run, tmp_path, options, message):
  with pytest.raises(errors.UserError, match=message):
    streaming.export(stream_run, str(tmp_path / 'stream'), **options)


def test_model_that_cannot_stream_is_refused(finished_video_run, tmp_path):
  with pytest.raises(errors.UserError, match='Streaming needs a run of videos'):
    streaming.export(finished_video_run, str(tmp_path / 'stream'))
  assert not list(tmp_path.iterdir())
