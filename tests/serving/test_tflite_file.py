"""TFLite files equal the model and need only LiteRT's built-in operations."""

import contextlib
import os
import zipfile

from ai_edge_litert import interpreter
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import goldens
from tf_tokenlearner import errors
from tf_tokenlearner.analysis import cost
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.serving import input_signatures
from tf_tokenlearner.serving import saved_model
from tf_tokenlearner.serving import servable
from tf_tokenlearner.serving import tflite_file
from tf_tokenlearner.serving import tflite_inputs
from tf_tokenlearner.serving import tflite_metadata
from tf_tokenlearner.tasks import classification_task


@pytest.fixture(scope='module', name='found')
def fixture_found(finished_run):
  """The run with larger weights in the head, so that classes differ."""
  loaded = servable.load(*servable.find(finished_run))
  kernel = loaded.model.head.kernel
  kernel.assign(np.random.default_rng(0).normal(0, .5, kernel.shape))
  return loaded


def digits(count=20):
  """Images with sharp edges, as digits have."""
  grey = np.float32(255 * (np.random.default_rng(1).random(
      [count, 8, 8, 1]) > .6))
  return np.repeat(grey, 3, axis=-1)


@pytest.mark.parametrize('quantize, difference, smallest_type', [
    ('none', 1e-5, np.float32), ('float16', 5e-3, np.float16),
    ('dynamic', .1, np.int8), ('int8', .15, np.int8),
    ('int16x8', .15, np.int8)])
def test_quantized_scores_are_close_to_the_model(
    found, quantize, difference, smallest_type):
  data = tflite_file.make(found, quantize)
  loaded = interpreter.Interpreter(
      model_content=data, experimental_op_resolver_type=(
          interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES))
  runner = loaded.get_signature_runner('serving_default')
  expected = found.scores(tf.constant(digits()[..., :1] / 127.5 - 1.))
  answers = [runner(images=digits()[i:i + 1]) for i in range(20)]
  probabilities = np.concatenate([a['probabilities'] for a in answers])
  assert probabilities.dtype == np.float32
  assert expected['probabilities'].numpy().std() > .1
  np.testing.assert_allclose(
      probabilities, expected['probabilities'], atol=difference)
  types = {detail['dtype'] for detail in loaded.get_tensor_details()}
  assert smallest_type in types
  assert tflite_metadata.operations(data).custom == ()
  softmax_inputs = {
      # pylint: disable-next=protected-access
      loaded._get_tensor_details(op['inputs'][0], 0)['dtype']
      # pylint: disable-next=protected-access
      for op in loaded._get_ops_details() if op['op_name'] == 'SOFTMAX'}
  assert softmax_inputs == {
      np.int16 if quantize == 'int16x8' else np.float32}


@pytest.mark.parametrize('name, pooled, macs_after', [
    # Class token, LayerNorm before the blocks, quick GELU.
    ('hf_clip_vision', 1, 0),
    # Attention pooling of 4 tokens: q, k, v, two products, out, MLP.
    ('hf_siglip', 1, 24 * 24 * (1 + 2 * 4 + 1) + 2 * 4 * 24 + 2 * 24 * 48),
    # Registers; class token and mean.
    ('hf_dinov2_registers', 2, 0)])
def test_exports_models_of_public_weights(tmp_path, name, pooled, macs_after):
  """Each with a TokenLearner after the first of three blocks."""
  weights = str(goldens.FOLDER / 'pretrained' / name)
  task = experiments.parse('tokenlearner_image_folder', [{'task': {
      'init_checkpoint': weights, 'model': {'num_classes': 5, 'backbone': {
          'token_learner_vit': {
              'variant': 'auto', 'token_learner_location': 1, 'num_tokens': 4,
              'token_learner': {'bottleneck_dim': 8}}}}}}]).task
  tf_keras.utils.set_random_seed(0)
  made = classification_task.make(task)
  model = made.build_model()
  made.initialize(model)
  rng = np.random.default_rng(0)
  model.head.kernel.assign(rng.normal(0, .5, model.head.kernel.shape))
  found = servable.Servable(
      task, tuple('abcde'), model, input_signatures.of_task(task))
  images = rng.integers(0, 256, [2, 32, 32, 3], np.uint8)
  expected = found.scores(found.inputs.to_pixels(images))['probabilities']
  assert np.std(expected, axis=0).max() > .003

  data = tflite_file.make(found)
  assert tflite_metadata.operations(data).custom == ()
  runner = interpreter.Interpreter(
      model_content=data).get_signature_runner('serving_default')
  for image, probabilities in zip(images, expected):
    np.testing.assert_allclose(
        runner(images=np.float32(image[np.newaxis]))['probabilities'][0],
        probabilities, atol=1e-5)
  signatures, _ = saved_model.make_signatures(found)
  saved_model.save(
      model.variables, {'serving_default': signatures['serving_default']},
      found.label_names, str(tmp_path))
  loaded = tf.saved_model.load(str(tmp_path))
  np.testing.assert_allclose(
      loaded.signatures['serving_default'](images=tf.constant(images))[
          'probabilities'], expected, atol=1e-6)

  spec, width, mlp = task.model.backbone.get(), 24, 48
  assert (spec.hidden_size, spec.mlp_dim, spec.num_layers) == (width, mlp, 3)
  prefix = spec.num_class_tokens + spec.num_registers
  block = lambda n: 4 * n * width**2 + 2 * n * n * width + 2 * n * width * mlp
  patches = 16
  assert cost.classifier_cost(spec, task.model.input_size, 5).macs == (
      patches * 8 * 8 * 3 * width + block(prefix + patches)
      + patches * (width * 8 + 8 * 4 + 4 * width) + 2 * block(prefix + 4)
      + macs_after + pooled * width * 5)


def test_exports_an_image_model(finished_run, tmp_path, capsys):
  folder = tmp_path / 'out'
  tflite_file.export(finished_run, str(folder), quantize='dynamic')
  out = ' '.join(capsys.readouterr().out.split())
  size = os.path.getsize(folder / 'model.tflite')
  assert f'model.tflite: {size:,} bytes' in out
  assert 'by LiteRT; a sample of 256 of 360 evaluation' in out
  assert sorted(os.listdir(folder)) == [
      'labels.txt', 'model.tflite', 'origin.json']
  with zipfile.ZipFile(folder / 'model.tflite') as archive:
    assert archive.read('labels.txt') == (folder / 'labels.txt').read_bytes()
  tflite_file.export(finished_run, str(folder), quantize='dynamic')
  assert 'Exported already' in capsys.readouterr().out
  with pytest.raises(errors.UserError, match='quantize dynamic, not int8'):
    tflite_file.export(finished_run, str(folder), quantize='int8')


def test_exports_a_video_model_for_any_batch_size(finished_video_run, tmp_path):
  folder = tmp_path / 'out'
  tflite_file.export(
      finished_video_run, str(folder), batch_size=0, verify_examples=9)
  assert 'clips: float32 RGB from 0 to 255, 4 x 16 x 16; resized and' in (
      folder / 'origin.json').read_text()
  runner = interpreter.Interpreter(
      model_path=str(folder / 'model.tflite')).get_signature_runner()
  grey = np.float32(np.random.default_rng(0).random([5, 4, 16, 16, 1]) * 255)
  clips = np.repeat(grey, 3, axis=-1)
  expected = servable.load(*servable.find(finished_video_run)).scores(
      tf.constant(grey / 127.5 - 1.))
  np.testing.assert_allclose(
      runner(clips=clips)['logits'], expected['logits'], atol=1e-5)
  np.testing.assert_allclose(
      runner(clips=clips[:2])['logits'], expected['logits'][:2], atol=1e-5)


def test_flex_operations_are_refused_by_name():
  @tf.function(input_signature=[tf.TensorSpec([1, 8, 8, 3], name='images')])
  def patches(images):
    return {'patches': tf.image.extract_patches(
        images, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], 'VALID')}
  with pytest.raises(errors.UserError, match=(
      '^The model cannot be converted without Flex or custom operations: '
      'ExtractImagePatches')):
    tflite_file.convert(tf.Module(), {'serving_default': patches})
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
      [patches.get_concrete_function()], tf.Module())
  converter.allow_custom_ops = True
  with pytest.raises(errors.UserError, match=(
      'without Flex or custom operations: ExtractImagePatches')):
    tflite_file._require_builtins(converter.convert())


@pytest.fixture(scope='module', name='verified')
def fixture_verified(finished_run):
  """Returns a servable, its examples and the client's outputs for them."""
  loaded = servable.load(*servable.find(finished_run))
  examples = tflite_file.verification.draw(loaded, 20)
  scores = loaded.scores(tf.constant(examples.pixels))
  return loaded, examples, {
      'signature': 'serving_default', 'label_names': loaded.label_names,
      **{key: value.numpy() for key, value in scores.items()}}


@pytest.mark.parametrize('lie, message', [
    (dict(signature='other'), 'another signature or other class names'),
    (dict(label_names=['a'] * 10), 'another signature or other class names'),
    (dict(logits=2e-5), ''),  # Rounding, which is accepted.
    (dict(logits=1e-2), 'logits of the reloaded export differs'),
    (dict(probabilities=1e-2), '(?s)differs too much.*allowed')])
def test_export_with_wrong_outputs_is_refused(
    finished_run, verified, tmp_path, monkeypatch, lie, message):
  """The change is added to the right outputs."""
  loaded, examples, outputs = verified
  answers = dict(outputs)
  for name, value in lie.items():
    answers[name] = (
        answers[name] + value if isinstance(value, float) else value)
  monkeypatch.setattr(tflite_file, 'make', lambda *arguments: b'')
  monkeypatch.setattr(servable, 'load', lambda *arguments: loaded)
  for name, result in (('draw', examples), ('ask', answers)):
    monkeypatch.setattr(
        tflite_file.verification, name, lambda *arguments, x=result: x)
  with (pytest.raises(errors.UserError, match=message) if message
        else contextlib.nullcontext()):
    tflite_file.export(finished_run, str(tmp_path / 'out'), verify_examples=20)
  assert bool(message) == (not os.listdir(tmp_path))


@pytest.mark.parametrize('options, message', [
    (dict(quantize='int4'), "Unknown --quantize 'int4'. Known: int8"),
    (dict(batch_size=-1), '--batch_size must be at least 0, got -1'),
    (dict(verify_examples=0), '--verify_examples must be at least 1, got'),
])
def test_invalid_options_are_refused(options, message):
  with pytest.raises(errors.UserError, match=message):
    tflite_file.export('run', 'out', **options)


def test_missing_litert_error_names_the_extra(monkeypatch):
  monkeypatch.setattr(
      tflite_inputs.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(errors.UserError, match=r"install 'tf_tokenlearner\[tfl"):
    tflite_file.export('run', 'out')
