"""Predictions of every export equal those of the run."""

import csv
import json
import os
import shutil

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tests import phone_pictures
from tests.data import video_making
from tf_tokenlearner.data import video_files
from tf_tokenlearner import errors
from tf_tokenlearner.evaluation import score_files
from tf_tokenlearner.prediction import examples
from tf_tokenlearner.prediction import predictors
from tf_tokenlearner.prediction import run
from tf_tokenlearner import progress
from tf_tokenlearner.serving import saved_model
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.serving import streaming
from tf_tokenlearner.serving import tflite_file

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, [height, 12, 3], np.uint8)
          for height in (10, 14, 10, 14, 10)]


@pytest.fixture(scope='module', name='images')
def fixture_images(tmp_path_factory):
  """A folder of images of two sizes, 2 of which cannot be read."""
  folder = tmp_path_factory.mktemp('images')
  for i, image in enumerate(IMAGES):
    cv2.imwrite(str(folder / f'{i}.png'), image[..., ::-1])
  (folder / '2b.png').write_bytes(b'')
  (folder / '9.jpg').write_bytes(b'text')
  (folder / 'notes.txt').write_bytes(b'text')
  return str(folder)


@pytest.fixture(scope='module', name='videos')
def fixture_videos(tmp_path_factory):
  """A folder of two videos of different sizes and rates."""
  folder = tmp_path_factory.mktemp('videos')
  video_making.write(folder / 'a.mp4', video_making.numbered(20), rate=8)
  video_making.write(
      folder / 'b.mp4', video_making.numbered(24, 48, 96), rate=16)
  return str(folder)


def ask(capsys, model, paths, code=0, **options):
  """Returns the objects of --format=json, and stderr."""
  options = run.Options('json', **{'top': 99, **options})
  assert run.predict(model, paths, options) == code
  out, err = capsys.readouterr()
  return list(map(json.loads, out.splitlines())), err


def by_class(said, names):
  """Probabilities in the order of the classes, [N, classes]."""
  found = [{c['name']: c['probability'] for c in answer['classes']}
           for answer in said]
  return np.array([[f[name] for name in names] for f in found])


@pytest.mark.parametrize('export_format, batch_size', [
    ('any', 2), ('any', 16), ('fixed', 16), ('tflite', 4)])
def test_predicts_images(
    finished_run, image_export, tflite_export, images, tmp_path, capsys,
    export_format, batch_size):
  model = image_export
  if export_format == 'fixed':
    model = str(tmp_path / 'fixed')
    saved_model.export(finished_run, model, batch_size=2, verify=False)
  elif export_format == 'tflite':
    model = os.path.join(tflite_export, 'model.tflite')
  capsys.readouterr()
  said, err = ask(capsys, model, [images], code=1, batch_size=batch_size)
  assert [os.path.basename(answer['file']) for answer in said] == [
      '0.png', '1.png', '2.png', '2b.png', '3.png', '4.png', '9.jpg']
  assert said[3] == {
      'file': f'{images}/2b.png', 'classes': [], 'error': 'empty file'}
  assert err == (
      'Passed over: 1 neither images nor videos (notes.txt).\n'
      '2 of 7 files could not be read:\n'
      f'  {images}/2b.png: empty file\n'
      f'  {images}/9.jpg: content is no JPEG, PNG, GIF, BMP or WebP\n')
  servable = servable_lib.load(*servable_lib.find(finished_run))
  expected = np.concatenate([
      servable.scores(servable.inputs.to_pixels(image[np.newaxis]))[
          'probabilities'] for image in IMAGES])
  read = [answer for answer in said if not answer['error']]
  np.testing.assert_allclose(
      by_class(read, servable.label_names), expected, rtol=0, atol=1e-5)
  top, _ = ask(capsys, model, [f'{images}/0.png'], top=2)
  assert top[0]['classes'] == said[0]['classes'][:2]


@pytest.mark.parametrize('export_format', ['saved_model', 'tflite'])
def test_predicts_videos(
    finished_video_run, video_export, videos, tmp_path, capsys, export_format):
  model = video_export
  if export_format == 'tflite':
    model = str(tmp_path / 'tflite')
    tflite_file.export(finished_video_run, model, verify=False)
    capsys.readouterr()
  said, err = ask(capsys, model, [videos])
  assert err == ''
  servable = servable_lib.load(*servable_lib.find(finished_video_run))
  facts = servable.inputs.view
  assert facts.fps == 8
  for answer, name, length in zip(said, ('a', 'b'), (20, 12)):
    frames = list(examples.frames(f'{videos}/{name}.mp4', facts, 8))
    assert len(frames) == length  # Whole, as the data would be stored.
    pixels = servable.inputs.to_pixels(examples.pixels(frames)[tf.newaxis])
    np.testing.assert_allclose(
        by_class([answer], servable.label_names),
        servable.scores(pixels)['probabilities'], rtol=0, atol=1e-5)


def test_video_refused_by_the_export_is_reported(
    video_export, videos, tmp_path, capsys, monkeypatch):
  """It is reported and not drawn; the other video is answered."""
  decode = video_files.decode

  def spoil(path, *args):
    frames = decode(path, *args)
    return [b'text' for _ in frames] if path.endswith('a.mp4') else frames

  monkeypatch.setattr(video_files, 'decode', spoil)
  said, err = ask(capsys, video_export, [videos], code=1,
                  attention_dir=str(tmp_path))
  reason = 'refused by the export: content is no JPEG, PNG, GIF or WebP'
  assert said[0] == {
      'file': f'{videos}/a.mp4', 'classes': [], 'error': reason}
  assert said[1]['classes'] and not said[1]['error']
  assert err == (
      f'1 of 2 files could not be read:\n  {videos}/a.mp4: {reason}\n')
  assert os.listdir(tmp_path) == ['b.mp4.gif']


def test_attention_dir_that_is_a_file_is_refused(image_export, images, capsys):
  """Refused before the model runs."""
  file = os.path.join(images, 'notes.txt')
  with pytest.raises(errors.UserError, match=(
      f'^--attention={file} cannot be created: File exists')):
    run.predict(image_export, [images], run.Options(attention_dir=file))
  assert not capsys.readouterr().out


def test_attention_maps_are_written(
    image_export, video_export, images, videos, tmp_path, capsys):
  folder = tmp_path / 'maps'
  ask(capsys, image_export, [f'{images}/0.png', f'{images}/1.png'],
      attention_dir=str(folder))
  assert sorted(os.listdir(folder)) == ['0.png.png', '1.png.png']
  drawn = cv2.imread(str(folder / '0.png.png'))
  assert drawn.shape[1] == 4 * 160 + 3 * 4  # Three tokens.
  grey = drawn[36:196, :160]
  assert (grey[..., 0] == grey[..., 2]).all() and grey.std() > 10
  ask(capsys, video_export, [videos], attention_dir=str(folder))
  assert {'a.mp4.gif', 'b.mp4.gif'} < set(os.listdir(folder))


def test_scores_of_class_folders(image_export, tmp_path, capsys):
  """Two classes of ten; the answers are those without scores."""
  folder, place = tmp_path / 'pictures', str(tmp_path / 'scores')
  for name, image in zip(('3/a.png', '3/b.png', '7/c.png'), IMAGES):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / name), image[..., ::-1])
  (folder / '3' / 'bad.png').write_bytes(b'')
  plain, _ = ask(capsys, image_export, [str(folder)], code=1)
  said, err = ask(capsys, image_export, [str(folder)], code=1, scores_dir=place)
  assert said == plain
  assert 'no files of 8 of the 10 classes: 0, 1, 2, 4, ' in err
  assert '(3 examples)' in err and err.endswith(f'are in\n{place}\n')
  values = score_files.read(place)
  best = [answer['classes'][0]['name'] for answer in said
          if not answer['error']]
  assert values['accuracy'] == pytest.approx(
      np.mean([name == label for name, label in zip(best, '337')]))
  with open(f'{place}/predictions.csv') as file:
    rows = list(csv.DictReader(file))
  assert [(row['file'], row['label'], row['prediction']) for row in rows] == [
      (str(folder / name), label, prediction) for name, label, prediction in
      zip(('3/a.png', '3/b.png', '7/c.png'), '337', best)]
  (folder / '7').rename(folder / 'x')
  for paths, message in (
      ([str(folder)], r'expected some of the 10 .* new x\).*classes\.$'),
      ([str(folder / 'x' / 'c.png')], '--scores: expected folders of class')):
    with pytest.raises(errors.UserError, match=message):
      run.predict(image_export, paths, run.Options(scores_dir=place))


def test_exif_orientation_is_applied(image_export, tmp_path, capsys):
  """Probabilities and drawings are those of the upright image."""
  for tag in (2, 6):
    tagged = phone_pictures.encode(IMAGES[0], tag)
    (tmp_path / f'{tag}.png').write_bytes(tagged)
    cv2.imwrite(str(tmp_path / f'{tag}-turned.png'),
                phone_pictures.upright(tagged)[..., ::-1])
  said, _ = ask(capsys, image_export, [str(tmp_path)],
                attention_dir=str(tmp_path / 'maps'))
  found = {
      os.path.basename(answer['file']): numbers for answer, numbers in zip(
          said, by_class(said, list('0123456789')))}
  drawn = {name: np.int32(cv2.imread(str(tmp_path / 'maps' / f'{name}.png')))
           for name in found}
  for tag in (2, 6):
    for values, atol in ((found, 1e-6), (drawn, 1)):
      np.testing.assert_allclose(
          values[f'{tag}.png'], values[f'{tag}-turned.png'], atol=atol)
  assert np.abs(found['2.png'] - found['6.png']).max() > 1e-3
  assert np.abs(drawn['2.png'] - drawn['6.png']).max() > 50


@pytest.mark.parametrize('export_format', streaming.EXPORT_FORMATS)
def test_streams_videos(
    stream_run, stream_exports, videos, tmp_path, capsys, monkeypatch,
    export_format):
  model = stream_exports[export_format]
  capsys.readouterr()
  said, err = ask(capsys, model, [videos], stream=True)
  assert err == ''
  steps = [answer['seconds'] for answer in said]
  assert steps == [.25, .75, 1.25, 1.75, 2.25, .25, .75, 1.25]
  servable = servable_lib.load(*servable_lib.find(stream_run))
  facts = servable.inputs.view
  frames = list(examples.frames(f'{videos}/b.mp4', facts, 8))[2::2]
  view = servable.inputs.view.to_view(examples.pixels(frames[-4:])[tf.newaxis])
  np.testing.assert_allclose(
      by_class(said[-1:], servable.label_names)[0][:8],
      servable.scores(view)['probabilities'][0], rtol=0, atol=1e-5)
  empty = tmp_path / 'empty.mp4'
  empty.write_bytes(b'')
  odd = shutil.copy(f'{videos}/a.mp4', tmp_path / 'odd.mp4')
  decode = video_files.decode

  def fail(path, *args):
    yield from decode(path, *args)
    if path == str(odd):
      raise IndexError('odd')

  monkeypatch.setattr(video_files, 'decode', fail)
  monkeypatch.setattr(progress, '_PLAIN_SECONDS', 0)  # Or tests are slow.
  said, err = ask(
      capsys, model, [str(empty), str(odd), f'{videos}/b.mp4'], code=1,
      stream=True)
  assert [answer['error'] for answer in said] == [
      'empty file', *5 * [None], 'cannot be read (IndexError: odd)',
      *3 * [None]]
  assert err == (
      'Streamed: 1 of 3\nStreamed: 2 of 3\nStreamed: 3 of 3\n'
      '2 of 3 files could not be read:\n'
      f'  {empty}: empty file\n  {odd}: cannot be read (IndexError: odd)\n')
  for options, message in (
      (run.Options(), 'is a streaming model. Give --stream'),
      (run.Options(stream=True, attention_dir='x'), 'does not go with')):
    with pytest.raises(errors.UserError, match=message):
      run.predict(model, [videos], options)


def test_interrupt_prints_the_finished_answers(
    image_export, images, capsys, monkeypatch):
  """Answers that wait for earlier files are printed, too."""
  answered = []

  def interrupt(self, batch, unused_batch_size):
    if answered:
      raise KeyboardInterrupt
    answered.append(len(batch))
    return np.full([len(batch), 10], .1)

  monkeypatch.setattr(predictors.Predictor, 'probabilities', interrupt)
  paths = [f'{images}/{name}.png' for name in (0, 1, '2b', 3)]  # 1, 3: 14 high.
  with pytest.raises(KeyboardInterrupt):
    run.predict(image_export, paths, run.Options('json', batch_size=2))
  out, err = capsys.readouterr()
  assert [json.loads(line)['file'] for line in out.splitlines()] == paths[1:]
  assert '1 of 4 files could not be read' in err


@pytest.mark.parametrize('change, message', [
    (None, 'There is no .*/export. Give the folder that export/'),
    ({}, 'has no origin.json'),
    ({'kind': 'tfhub'}, 'is an export of the format tfhub. Give'),
    ({'kind': 'saved_model'}, 'as an older version wrote it. Export again'),
    ({'kind': 'saved_model', 'preprocessing': {
        'inputs': 'images', 'input_size': [8, 8, 1],
        'center_crop_fraction': 1.}}, '/export cannot be loaded: ')])
def test_invalid_exports_are_refused(images, tmp_path, change, message):
  folder = tmp_path / 'export'
  if change is not None:
    folder.mkdir()
  if change:
    (folder / 'origin.json').write_text(json.dumps(change))
  with pytest.raises(errors.UserError, match=message):
    run.predict(str(folder), [images], run.Options())


def test_contradictory_options_are_refused(
    image_export, tflite_export, images, videos):
  with pytest.raises(errors.UserError, match='--stream needs an export of'):
    run.predict(image_export, [images], run.Options(stream=True))
  with pytest.raises(errors.UserError, match='found none in .* only 2 videos'):
    run.predict(image_export, [videos], run.Options())
  with pytest.raises(errors.UserError, match='TFLite file has no attention'):
    run.predict(tflite_export, [images], run.Options(attention_dir='x'))
  assert not os.path.exists('x')
  predictor = predictors.Export(image_export).load()
  predictor._signatures = {}  # pylint: disable=protected-access
  with pytest.raises(errors.UserError, match='has no TokenLearner'):
    predictor.require_attention_maps()
