"""TensorFlow Hub modules, also used without this package."""

import contextlib
import json
import os
import pathlib
import shutil

import numpy as np
from official.core import task_factory
import pytest
import tensorflow as tf
import tensorflow_hub as hub

from tests import hub_process
from tests.backbones import tiny_clips
from tf_tokenlearner import run_folder
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import views
from tf_tokenlearner import errors
from tf_tokenlearner.serving import hub_module
from tf_tokenlearner.serving import input_signatures
from tf_tokenlearner.serving import servable


def drawn(*shape):
  return np.random.default_rng(1).random(shape, dtype=np.float32)


def unbroken(out):
  """Returns the line that reports verification."""
  found = out[out.index('Loaded again'):]
  assert max(map(len, found.splitlines())) < 80
  return ' '.join(found.split())


@pytest.fixture(scope='module', name='found')
def fixture_found(finished_run):
  return servable.load(*servable.find(finished_run))


def test_exports_an_image_module(finished_run, found, tmp_path, capsys):
  """Exported, loaded and fine-tuned without the package."""
  folder = str(tmp_path / 'digits')
  hub_module.export(finished_run, folder, verify_examples=40)
  out = capsys.readouterr().out
  assert ' '.join(out.split()).startswith(
      f'Exported to {folder}: logits of 10 classes, for images of 8 x 8. Load')
  assert 'by TensorFlow Hub; a sample of 40 of 360 evaluation examples: ' in (
      unbroken(out))
  assert 'agreement 1.0000' in unbroken(out)
  grey = drawn(5, 8, 8, 1)
  results = hub_process.consume(folder, np.repeat(grey, 3, -1))
  expected = found.model(2 * grey - 1)
  for name in ('load', 'again', 'layer', 'frozen'):
    np.testing.assert_allclose(results[name], expected, atol=1e-5)
  assert np.abs(results['random'][0] - results['random'][1]).max() > 1e-4
  count = len(found.model.trainable_variables)
  assert results['trainable'].tolist() == [count, 0]
  assert results['losses'] == 0
  assert results['changed'].all() and len(results['changed']) == count
  assert results['loss_after'] < .5 * results['loss_before']
  assert np.isfinite(results['card_losses']).all()
  assert pathlib.Path(folder, 'labels.txt').read_text().split() == list(
      '0123456789')

  hub_module.export(finished_run, folder)
  assert 'Exported already' in capsys.readouterr().out
  with pytest.raises(errors.UserError, match='form classifier, not feature_v'):
    hub_module.export(finished_run, folder, output_type='feature_vector')


def test_exports_a_clip_module(finished_video_run, tmp_path, capsys):
  folder = str(tmp_path / 'moving')
  hub_module.export(
      finished_video_run, folder, output_type='feature_vector',
      verify_examples=20)
  out = capsys.readouterr().out
  assert 'feature vectors of 16 numbers, for clips of 4 x 16 x 16. Loaded' in (
      ' '.join(out.split()))
  assert "with the checkpoint's head on top, a sample of 20 of 50 " in (
      unbroken(out))


def test_grey_model_converts_colours_as_evaluation_does(found):
  """Equal up to the rounding to bytes, which has no gradient."""
  images = np.random.default_rng(1).integers(
      0, 256, [4, 8, 8, 3], dtype=np.uint8)
  module = hub_module.make(found, 'classifier')
  answers = module.__call__(tf.constant(images / 255, tf.float32))
  pixels = views.ImageView((8, 8, 1), 1.).to_pixels(images)
  np.testing.assert_allclose(answers, found.model(pixels), atol=1e-3)
  grey = np.repeat(images[..., :1], 3, -1)
  answers = module.__call__(tf.constant(grey / 255, tf.float32))
  pixels = views.ImageView((8, 8, 1), 1.).to_pixels(grey)
  np.testing.assert_allclose(answers, found.model(pixels), atol=1e-6)


def bottleneck(data_dir):
  """An untrained colour model with batch normalization."""
  backbone = {'type': 'token_learner_bottleneck',
              'token_learner_bottleneck': vars(tiny_clips.spec())}
  model = {'num_classes': 8, 'input_size': tiny_clips.CLIP,
           'backbone': backbone}
  task = experiments.parse('tokenlearner_moving_digits', [
      f'task.validation_data.tfds_data_dir={data_dir},'
      'task.validation_data.tfds_name=moving_digits',
      json.dumps({'task': {'model': model}})]).task
  model = task_factory.get_task(task).build_model()
  tiny_clips.draw_weights(model)
  return servable.Servable(
      task, tuple('abcdefgh'), model, input_signatures.of_task(task))


def test_batch_norm_statistics_change_in_training_only(data_dir, tmp_path):
  made = bottleneck(data_dir)
  made.model.backbone.trainable = False  # Frozen in its run, free in a module.
  module = hub_module.make(made, 'feature_vector')
  tf.saved_model.save(module, str(tmp_path / 'out'))
  layer = hub.KerasLayer(str(tmp_path / 'out'), trainable=True)
  assert len(layer.trainable_weights) == len(
      made.model.backbone.trainable_variables) > 0
  statistics = layer.non_trainable_weights
  assert len(statistics) == 2 * sum(
      'moving_mean' in weight.name for weight in made.model.weights) > 0
  clips = drawn(3, *tiny_clips.CLIP)
  before = [weight.numpy() for weight in statistics]
  expected = made.model.backbone(2 * clips - 1, training=False)['pre_logits']
  np.testing.assert_allclose(
      layer(clips, training=False), expected, rtol=1e-4, atol=1e-5)
  for weight, old in zip(statistics, before):
    np.testing.assert_array_equal(weight, old)
  in_training = layer(clips, training=True)
  assert np.abs(in_training - expected).max() > 1e-3
  assert all(np.any(weight.numpy() != old)
             for weight, old in zip(statistics, before))
  # Keras' own model moves them to the same place.
  moved = made.model.backbone(2 * clips - 1, training=True)['pre_logits']
  np.testing.assert_allclose(in_training, moved, rtol=1e-4, atol=1e-5)
  ours = [weight for weight in made.model.backbone.weights
          if 'moving' in weight.name]
  for weight, other in zip(statistics, ours):
    np.testing.assert_allclose(weight, other, rtol=1e-4, atol=1e-5)


def test_module_has_regularization_losses(found, tmp_path):
  model = type(found.model).from_config(found.model.get_config())
  model.add_loss(lambda: tf.reduce_sum(model.head.bias**2))
  made = servable.Servable(
      found.task, found.label_names, model, found.inputs)
  tf.saved_model.save(
      hub_module.make(made, 'classifier'), str(tmp_path / 'out'))
  layer = hub.KerasLayer(str(tmp_path / 'out'), trainable=True)
  assert len(layer.losses) == 1
  bias, = [weight for weight in layer.trainable_weights
           if weight.name.endswith('head/bias:0')]
  bias.assign([2.] * 10)
  np.testing.assert_allclose(layer.losses[0], 40.)
  tf.saved_model.save(
      hub_module.make(made, 'feature_vector'), str(tmp_path / 'features'))
  assert not hub.KerasLayer(str(tmp_path / 'features'), trainable=True).losses


def test_module_of_a_bfloat16_run_computes_in_float32(
    finished_run, found, tiny_digits, tmp_path, capsys):
  """Without verification, the card claims no accuracy."""
  params = experiments.parse('tokenlearner_digits', [
      tiny_digits, 'runtime.mixed_precision_dtype=bfloat16,'
      'task.model.num_classes=10'])
  run_folder.save(run_folder.Run(
      str(tmp_path / 'run'), 'tokenlearner_digits', params.as_dict(),
      tuple('0123456789')))
  hub_module.export(
      str(tmp_path / 'run'), str(tmp_path / 'out'),
      servable.find(finished_run)[1], verify=False)
  assert 'Loaded' not in capsys.readouterr().out
  grey = drawn(2, 8, 8, 1)
  logits = hub.load(str(tmp_path / 'out'))(np.repeat(grey, 3, -1))
  np.testing.assert_allclose(logits, found.model(2 * grey - 1), atol=1e-5)
  card = (tmp_path / 'out' / 'README.md').read_text()
  assert 'trained in bfloat16; the module computes in float32' in card
  assert '## Accuracy\n\n- Not measured.\n' in card


@pytest.mark.parametrize('options, message', [
    (dict(output_type='features'),
     "Unknown --form 'features'. Known: feature_vector, classifier."),
    (dict(verify_examples=0), '--verify_examples must be at least 1, got '
     '0. Give --noverify to skip verification'),
])
def test_invalid_options_are_refused(options, message):
  with pytest.raises(errors.UserError, match=message):
    hub_module.export('run', 'out', **options)


def test_user_mistakes_give_one_line(finished_run, tmp_path):
  with pytest.raises(errors.UserError, match=(
      f'^{tmp_path}/none is not the folder of a training run: it has no '
      'run.yaml.$')):
    hub_module.export(f'{tmp_path}/none', str(tmp_path / 'out'))
  for name in ('params.yaml', 'run.yaml'):
    shutil.copy(os.path.join(finished_run, name), tmp_path)
  with pytest.raises(errors.UserError, match='no checkpoint'):
    hub_module.export(str(tmp_path), str(tmp_path / 'out'))
  (tmp_path / 'mine').mkdir()
  (tmp_path / 'mine' / 'notes').write_text('')
  with pytest.raises(errors.UserError, match='exists already and is no export'):
    hub_module.export(finished_run, str(tmp_path / 'mine'))


@pytest.fixture(scope='module', name='verified')
def fixture_verified(found):
  """Returns modules by output type, and the examples for both."""
  return ({output_type: hub_module.make(found, output_type)
           for output_type in ('classifier', 'feature_vector')},
          hub_module.verification.draw(found, 20))


@pytest.mark.parametrize('output_type, change, message', [
    # Rounding, which is accepted.
    ('classifier', dict(load=2e-5, layer=-2e-5), ''),
    ('feature_vector', dict(load=2e-5, layer=-2e-5), ''),
    ('classifier', dict(load=1e-2), 'The result of hub.load of .* differs by'),
    ('feature_vector', dict(layer=1e-2), 'The result of hub.KerasLayer of the'),
    ('classifier', dict(counts=1), 'The number of variables or losses of the'),
    ('feature_vector', dict(layer_in_training=np.nan),
     'The number of infinite results in training of'),
    ('classifier', dict(rest=1.), 'differs too much .*Nothing was kept'),
    ('feature_vector', dict(rest=1.), 'differs too much .*Nothing was kept'),
])
def test_module_that_fails_verification_is_removed(
    finished_run, found, verified, tmp_path, monkeypatch, output_type, change,
    message):
  """The client's outputs equal the model's, plus a change."""
  modules, examples = verified
  def ask(client, folder, inputs):
    assert client.endswith('hub_client.py') and os.path.isdir(folder)
    np.testing.assert_allclose(
        2 * np.load(inputs)[..., :1] - 1, examples.pixels, atol=1e-6)
    network = (found.model if output_type == 'classifier' else lambda pixels:
               found.model.backbone(pixels)['pre_logits'])
    load = network(examples.pixels).numpy()
    variables = (found.model if output_type == 'classifier'
                 else found.model.backbone).trainable_variables
    answers = dict(load=load, layer=load[:16], layer_in_training=load[:16],
                   counts=np.array([len(variables), 0, 0]))
    for name, wrong in change.items():
      if name == 'rest':
        answers['load'] = load.copy()
        answers['load'][16:] += 50 * wrong * np.arange(load.shape[1])
      else:
        answers[name] = answers[name] + wrong
    return answers
  monkeypatch.setattr(hub_module.verification, 'ask', ask)
  monkeypatch.setattr(
      hub_module.verification, 'draw', lambda *arguments: examples)
  monkeypatch.setattr(servable, 'load', lambda *arguments: found)
  monkeypatch.setattr(
      hub_module, 'make', lambda servable, output_type: modules[output_type])
  # The module itself is not asked.
  monkeypatch.setattr(tf.saved_model, 'save', lambda *arguments: None)
  with (pytest.raises(errors.UserError, match=f'(?s){message}') if message
        else contextlib.nullcontext()):
    hub_module.export(
        finished_run, str(tmp_path / 'out'), output_type=output_type,
        verify_examples=20)
  assert bool(message) == (not os.listdir(tmp_path))
