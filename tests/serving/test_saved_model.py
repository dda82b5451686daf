"""SavedModels: signatures equal the model; wrong exports are not kept."""

import contextlib
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests import phone_pictures
from tf_tokenlearner import run_folder
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import views
from tf_tokenlearner.data import video_pipeline
from tf_tokenlearner import errors
from tf_tokenlearner.serving import input_signatures
from tf_tokenlearner.serving import manifest
from tf_tokenlearner.serving import saved_model
from tf_tokenlearner.serving import servable
from tf_tokenlearner.training import runner


@pytest.fixture(scope='module', name='digits')
def fixture_digits(image_export):
  return tf.saved_model.load(image_export).signatures


@pytest.fixture(scope='module', name='moving_digits')
def fixture_moving_digits(video_export):
  return tf.saved_model.load(video_export).signatures


@pytest.fixture(scope='module', name='model')
def fixture_model(finished_run):
  return servable.load(*servable.find(finished_run)).model


@pytest.fixture(scope='module', name='video_model')
def fixture_video_model(finished_video_run):
  return servable.load(*servable.find(finished_video_run)).model


def images(height, width, count=2):
  return tf.constant(np.random.default_rng(1).integers(
      0, 256, [count, height, width, 3], dtype=np.uint8))


@pytest.mark.parametrize('size', [(8, 8), (31, 20), (5, 64)])
def test_scores_equal_those_of_the_model(digits, model, size):
  pixels = views.ImageView((8, 8, 1), 1.).to_pixels(images(*size))
  answers = digits['serving_default'](images=images(*size))
  np.testing.assert_allclose(answers['logits'], model(pixels), atol=1e-5)
  np.testing.assert_allclose(
      answers['probabilities'], tf.nn.softmax(model(pixels)), atol=1e-6)


def test_outputs_hold_the_five_likeliest_classes(digits):
  answers = digits['serving_default'](images=images(8, 8))
  order = np.argsort(-answers['probabilities'].numpy(), axis=-1)[:, :5]
  np.testing.assert_array_equal(answers['top_classes'], order)
  np.testing.assert_array_equal(
      answers['top_probabilities'],
      np.take_along_axis(answers['probabilities'].numpy(), order, -1))
  np.testing.assert_array_equal(
      answers['top_names'].numpy().astype(str), order.astype(str))


def test_features_and_attention_maps_equal_those_of_the_model(digits, model):
  pixels = views.ImageView((8, 8, 1), 1.).to_pixels(images(8, 8))
  np.testing.assert_allclose(
      digits['features'](images=images(8, 8))['pre_logits'],
      model.backbone(pixels)['pre_logits'], atol=1e-5)
  maps = digits['attention_maps'](images=images(8, 8))['attention_maps']
  assert maps.shape == [2, 3, 4, 4]
  np.testing.assert_allclose(
      maps, model.backbone.attention_maps(pixels)[:, 0], atol=1e-6)


def test_label_names_are_stored_in_the_model(image_export, digits):
  names = digits['label_names']()['label_names'].numpy()
  assert [name.decode() for name in names] == list('0123456789')
  with open(os.path.join(image_export, 'assets', 'labels.txt')) as file:
    assert file.read().split() == list('0123456789')
  assert not os.path.exists(os.path.join(image_export, 'labels.txt'))


def png(image):
  return tf.io.encode_png(image).numpy()


def test_unreadable_file_does_not_affect_the_others(digits):
  pictures = images(20, 31)
  expected = digits['serving_default'](images=pictures)
  answers = digits['image_bytes'](image_bytes=tf.constant(
      [png(pictures[0]), b'GIF', png(pictures[1])]))
  assert answers['errors'].numpy().tolist() == [
      b'', b'content is no JPEG, PNG, GIF or WebP', b'']
  for key in ('probabilities', 'logits', 'top_probabilities'):
    np.testing.assert_allclose(
        answers[key].numpy()[[0, 2]], expected[key], atol=1e-6)
    assert not answers[key][1].numpy().any()
  assert answers['top_classes'][1].numpy().tolist() == [-1] * 5
  assert answers['top_names'][1].numpy().tolist() == [b''] * 5


@pytest.mark.parametrize('tag', [2, 6])
def test_exif_orientation_is_applied(digits, tag):
  """A file with an orientation tag scores as the upright image."""
  tagged = phone_pictures.encode(images(20, 31)[0].numpy(), tag)
  answers = digits['image_bytes'](image_bytes=tf.constant([tagged]))
  expected = digits['serving_default'](
      images=phone_pictures.upright(tagged)[np.newaxis])
  assert answers['errors'].numpy().tolist() == [b'']
  np.testing.assert_allclose(answers['logits'], expected['logits'], atol=1e-5)
  lying = digits['serving_default'](
      images=tf.io.decode_image(tagged)[tf.newaxis])
  assert np.abs(lying['logits'] - expected['logits']).max() > 1e-3


@pytest.mark.parametrize('name', ['image_bytes', 'tf_example'])
def test_batch_of_unreadable_files_gives_reasons(digits, name):
  bad = [b'', png(np.zeros([3, 3, 3], np.uint8))[:40]]
  for files in ([bad[0]], bad):
    answers = digits[name](**{name: tf.constant(files)})
    assert (answers['errors'].numpy() != b'').all()
    assert not answers['probabilities'].numpy().any()
    assert (answers['top_classes'].numpy() == -1).all()
  if name == 'image_bytes':
    assert answers['errors'].numpy().tolist() == [
        b'empty', b'content corrupt or cut off']


def test_tf_example_signature_parses_garden_examples(digits):
  picture = images(9, 9, 1)
  features = {'image/encoded': tf.train.Feature(
      bytes_list=tf.train.BytesList(value=[png(picture[0])])),
              'other': tf.train.Feature()}
  example = tf.train.Example(features=tf.train.Features(feature=features))
  answers = digits['tf_example'](tf_example=tf.constant(
      [b'garbage', example.SerializeToString(),
       tf.train.Example().SerializeToString()]))
  np.testing.assert_allclose(
      answers['probabilities'][1:2],
      digits['serving_default'](images=picture)['probabilities'], atol=1e-6)
  reason = b'is no tf.train.Example with image/encoded'
  assert answers['errors'].numpy().tolist() == [reason, b'', reason]


def test_saved_model_cli_runs_the_model(image_export):
  done = subprocess.run(
      [os.path.join(os.path.dirname(sys.executable), 'saved_model_cli'), 'run',
       '--dir', image_export, '--tag_set', 'serve', '--signature_def',
       'image_bytes', '--input_exprs',
       f'image_bytes=[{png(np.zeros([8, 8, 3], np.uint8))!r}]'],
      capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  assert 'Result for output key top_names' in done.stdout


def test_repeated_export_reports_the_existing_one(
    image_export, finished_run, capsys):
  saved_model.export(finished_run, image_export)
  assert 'Exported already' in capsys.readouterr().out


def test_existing_folder_is_not_overwritten(
    image_export, finished_run, tmp_path):
  (tmp_path / 'mine').mkdir()
  (tmp_path / 'mine' / 'notes').write_text('')
  with pytest.raises(errors.UserError, match='exists already and is no export'):
    saved_model.export(finished_run, str(tmp_path / 'mine'))
  latest = run_folder.latest_checkpoint(finished_run)
  with pytest.raises(errors.UserError, match='another .* run: checkpoint '):
    saved_model.export(finished_run, image_export, latest)
  with pytest.raises(errors.UserError, match='batch_size 0, not 4'):
    saved_model.export(finished_run, image_export, batch_size=4)


@pytest.mark.parametrize('options, message', [
    (dict(precision='float23'),
     "Unknown --precision 'float23'. Known: float32, bfloat16"),
    (dict(batch_size=-1), '--batch_size must be at least 0, got -1'),
    (dict(verify_examples=-1), '--verify_examples must be at least 0'),
])
def test_invalid_options_are_refused(options, message):
  with pytest.raises(errors.UserError, match=message):
    saved_model.export('run', 'out', **options)


def test_folder_without_a_run_is_refused(tmp_path):
  with pytest.raises(errors.UserError, match='not the folder of a training'):
    saved_model.export(str(tmp_path), str(tmp_path / 'out'))
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('options', [
    'task.model.num_classes=11', 'task.model.num_classes=10,'
    'task.model.backbone.token_learner_vit.hidden_size=32'])
def test_checkpoint_of_another_config_is_refused(
    finished_run, tmp_path, tiny_digits, options):
  params = experiments.parse('tokenlearner_digits', [tiny_digits, options])
  run_folder.save(run_folder.Run(
      str(tmp_path / 'run'), 'tokenlearner_digits', params.as_dict(), ()))
  with pytest.raises(errors.UserError, match='other shape'):
    saved_model.export(
        str(tmp_path / 'run'), str(tmp_path / 'out'), finished_run)
  assert os.listdir(tmp_path) == ['run']


def test_run_without_checkpoint_is_refused(tmp_path, tiny_digits):
  params = experiments.parse('tokenlearner_digits', [tiny_digits])
  run_folder.save(run_folder.Run(
      str(tmp_path / 'run'), 'tokenlearner_digits', params.as_dict(), ()))
  with pytest.raises(errors.UserError, match='no checkpoint'):
    saved_model.export(str(tmp_path / 'run'), str(tmp_path / 'out'))


@pytest.fixture(scope='module', name='verified')
def fixture_verified(finished_run):
  """Returns a servable, its examples and the client's outputs for them."""
  found = servable.load(*servable.find(finished_run))
  examples = saved_model.verification.draw(found, 10)
  pixels = found.inputs.to_pixels(tf.constant(found.inputs.sample(3)))
  answers = {'label_names/label_names': np.array(found.label_names),
             'probabilities': examples.probabilities}
  scores = saved_model.make_signatures(found)[0]['serving_default'](
      tf.constant(found.inputs.sample(3)))
  for name, outputs in (('serving_default', scores), ('image_bytes', scores),
                        ('features', found.features(pixels))):
    answers.update({
        f'{name}/{key}': (value.numpy().astype(str) if key == 'top_names'
                          else value.numpy())
        for key, value in outputs.items()})
  return found, examples, answers


@pytest.mark.parametrize('change, message', [
    ('answers["label_names/label_names"][0] = "x"', 'other class names'),
    ('answers["features/pre_logits"] += 2e-5', ''),  # Rounding: accepted.
    ('answers["features/pre_logits"] += 1e-2',
     'features/pre_logits of the .* diff'),
    ('answers["image_bytes/logits"] += 1', 'image_bytes/logits of the .* diff'),
    ('answers["serving_default/top_names"][0, 1] = "x"', 'names other classes'),
    ('answers["serving_default/top_classes"][1] += 1', 'names other classes'),
    ('answers["probabilities"] += .1', 'differs too much'),
])
def test_export_with_wrong_outputs_is_refused(
    finished_run, verified, tmp_path, monkeypatch, change, message):
  """The client's outputs equal the model's, plus a change."""
  found, examples, outputs = verified
  answers = {name: array.copy() for name, array in outputs.items()}
  exec(change, {'answers': answers})  # pylint: disable=exec-used
  monkeypatch.setattr(servable, 'load', lambda *arguments: found)
  for name, result in (('draw', examples), ('ask', answers)):
    monkeypatch.setattr(
        saved_model.verification, name, lambda *arguments, x=result: x)
  monkeypatch.setattr(saved_model, 'save', lambda *arguments: None)
  with (pytest.raises(errors.UserError, match=f'(?s){message}') if message
        else contextlib.nullcontext()):
    saved_model.export(finished_run, str(tmp_path / 'out'), verify_examples=10)
  assert bool(message) == (not os.listdir(tmp_path))


def test_fixed_batch_of_compiled_bfloat16(
    finished_run, tmp_path, capsys, ask_in_process):
  folder = str(tmp_path / 'out')
  saved_model.export(
      finished_run, folder, precision='bfloat16', jit_compile=True,
      batch_size=4, verify_examples=6)
  assert 'a sample of 6 of 360 evaluation' in ' '.join(
      capsys.readouterr().out.split())
  signature = tf.saved_model.load(folder).signatures['serving_default']
  assert signature.structured_input_signature[1]['images'].shape == [
      4, None, None, 3]
  found = servable.load(*servable.find(finished_run), 'bfloat16')
  assert found.model.backbone.compute_dtype == 'bfloat16'
  assert {v.dtype for v in found.model.trainable_variables} == {tf.float32}
  answers = signature(images=images(8, 8, 4))
  assert answers['probabilities'].dtype == tf.float32
  np.testing.assert_allclose(
      tf.reduce_sum(answers['probabilities'], -1), [1] * 4, rtol=1e-5)


def test_sigmoid_model_without_token_learner(tiny_digits, tmp_path, capsys):
  """Probabilities are independent; a message explains the missing maps."""
  folder = str(tmp_path / 'run')
  params = experiments.parse('tokenlearner_digits', [
      tiny_digits, 'task.losses.loss=sigmoid,trainer.train_steps=2,'
      'task.model.backbone.token_learner_vit.token_learner_location=null'])
  runner.train('tokenlearner_digits', params, folder, evaluate=False)
  saved_model.export(folder, str(tmp_path / 'out'), verify=False)
  out = ' '.join(capsys.readouterr().out.split())
  assert ('Without the signature attention_maps: ' in out
          and 'has no TokenLearner' in out and 'Loaded' not in out)
  signatures = tf.saved_model.load(str(tmp_path / 'out')).signatures
  assert 'attention_maps' not in signatures and 'features' in signatures
  total = tf.reduce_sum(signatures['serving_default'](
      images=images(8, 8))['probabilities'], -1)
  assert (np.abs(total - 1) > .5).all()  # About a half for each of 10 classes.


@pytest.mark.parametrize('size', [(16, 32, 32), (5, 20, 31), (40, 50, 18)])
def test_clips_of_any_length_and_size(moving_digits, video_model, size):
  clips = tf.constant(np.random.default_rng(1).integers(
      0, 256, [2, *size, 3], dtype=np.uint8))
  answers = moving_digits['serving_default'](clips=clips)
  pixels = views.ClipView(
      (4, 16, 16, 1), None, 2, 'loop', 18, None).to_pixels(clips)
  np.testing.assert_allclose(
      answers['probabilities'], tf.nn.softmax(video_model(pixels)), atol=1e-6)
  maps = moving_digits['attention_maps'](clips=clips)['attention_maps']
  np.testing.assert_allclose(
      maps, video_model.backbone.attention_maps(pixels), atol=1e-6)
  assert answers['top_names'].numpy()[0, 0] in (
      moving_digits['label_names']()['label_names'].numpy())


def test_image_in_place_of_a_clip_is_refused(moving_digits):
  with pytest.raises(tf.errors.InvalidArgumentError, match=(
      r'clips_any_any_any_any_3 \[2,8,8,3\] is not compatible with expected '
      r'shape \[\?,\?,\?,\?,3\]')):
    moving_digits['serving_default'](clips=images(8, 8))


def test_image_bytes_takes_files_of_frames(moving_digits, finished_video_run):
  raw = input_signatures.of_task(experiments.load(finished_video_run).task)
  clips = tf.constant(np.random.default_rng(1).integers(
      0, 256, [2, 9, 20, 31, 3], dtype=np.uint8))
  files = [[png(frame) for frame in clip] for clip in clips]
  expected = moving_digits['serving_default'](clips=clips)['probabilities']
  answers = moving_digits['image_bytes'](image_bytes=tf.constant(files))
  np.testing.assert_allclose(answers['probabilities'], expected, atol=1e-6)
  files[0][5] = b'x'  # In the middle, where the clip is.
  answers = moving_digits['image_bytes'](image_bytes=tf.constant(files))
  np.testing.assert_allclose(
      answers['probabilities'][1], expected[1], atol=1e-6)
  assert answers['errors'][0] == b'content is no JPEG, PNG, GIF or WebP'
  answers = moving_digits['image_bytes'](
      image_bytes=tf.zeros([1, 0], tf.string))
  assert answers['errors'].numpy().tolist() == [b'has no frames']
  answers = moving_digits['tf_example'](tf_example=tf.constant([
      b'garbage', raw.serialize(clips[0].numpy())]))
  np.testing.assert_allclose(
      answers['probabilities'][1], expected[0], atol=1e-6)
  assert answers['errors'][0] == (
      b'is no tf.train.SequenceExample with image/encoded')


def test_manifest_states_the_frame_rate(video_export):
  with open(os.path.join(video_export, 'origin.json')) as file:
    assert 'at 8 frames a second' in file.read()


def test_stored_video_gives_the_logits_of_evaluation(
    moving_digits, video_model, finished_video_run):
  """A stored video, fully decoded, gives the logits of its single view."""
  data = experiments.load(finished_video_run).task.validation_data
  source = video_pipeline.open_source(data)
  views = video_pipeline.build_dataset(
      data, source, (4, 16, 16, 1), 8, multi_label=False)
  examples = source.as_dataset(
      data.tfds_split, read_config=tfds.ReadConfig(), shuffle_files=False)
  for example, view in zip(examples.take(3), views.unbatch()):
    frames = tf.stack([
        tf.io.decode_jpeg(frame, channels=3) for frame in example['video']])
    answers = moving_digits['serving_default'](clips=frames[tf.newaxis])
    np.testing.assert_allclose(
        answers['probabilities'], tf.nn.softmax(video_model(view[0])),
        atol=1e-5)


@pytest.mark.parametrize('run, export', [
    ('finished_run', 'image_export'), ('finished_video_run', 'video_export')])
def test_manifest_holds_the_view_of_evaluation(request, run, export):
  task = experiments.load(request.getfixturevalue(run)).task
  facts = manifest.read_origin(request.getfixturevalue(export))
  assert views.from_json(facts['preprocessing']) == (
      input_signatures.of_task(task).view)
