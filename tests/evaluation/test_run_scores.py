"""Scores of a run on other data: matched by name, each file listed."""

import csv
import json
import os

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import views
from tf_tokenlearner import errors
from tf_tokenlearner.evaluation import run_scores
from tf_tokenlearner.evaluation import score_files
from tf_tokenlearner import run_folder
from tf_tokenlearner.training import runner


def write_pictures(folder, *names):
  """Writes two pictures of each class; returns {path: pixels}."""
  written, noise = {}, np.random.default_rng(0)
  for name in names:
    (folder / name).mkdir(parents=True)
    for i in range(2):
      pixels = noise.integers(0, 256, [8, 8, 3], np.uint8)
      path = folder / name / f'{i}.png'
      path.write_bytes(tf.io.encode_png(pixels).numpy())
      written[str(path)] = pixels
  return written


@pytest.fixture(name='evaluate')
def fixture_evaluate(run_copy, data_dir):
  """Returns evaluate(data, overrides ...) for a copy of the finished run."""
  def evaluate(data, *overrides):
    before = experiments.load(run_copy)
    params = experiments.load(run_copy, [
        run_scores.on_data(before, data),
        f'task.validation_data.tfds_data_dir={data_dir}', *overrides])
    return run_scores.evaluate(params, run_copy, data=data)
  return evaluate


def test_other_data(evaluate, run_copy, tmp_path, capsys):
  """Two of ten classes; every row is what the model says of the file."""
  folder = tmp_path / 'new pictures'
  written = write_pictures(folder, '3', 'seven')
  best = os.path.join(run_copy, 'scores', 'best', 'scores.json')
  with open(best) as file:
    before = file.read()
  with pytest.raises(errors.UserError, match=(
      r'new pictures: expected some of the 10 classes of the model, got 2 '
      r'\(missing 0, 1, .*; new seven\)\. .*label_map, such as {seven: 0}')):
    evaluate(str(folder))
  scores = evaluate(
      str(folder), 'task.validation_data.label_map={seven: "7"}')
  said = capsys.readouterr().out
  assert ('has no examples of 8 of the 10 classes: 0, 1, 2, 4, 5, 6, 8, 9.'
          in said)
  assert '(4 examples)' in said and '8 without examples: 0, 1' in said

  run = run_folder.load(run_copy)
  step = run.best_scores()['best_ckpt_global_step']
  place = run.scores_folder(f'new_pictures-{step:.0f}')
  assert place in said
  assert sorted(os.listdir(place)) == [
      'classes.csv', 'confusion.csv', 'predictions.csv', 'scores.json']
  values = score_files.read(place)
  assert (values['examples'], values['data']) == (4, str(folder))
  assert values['accuracy'] == pytest.approx(scores['accuracy'])
  assert list(np.array(values['confusion']).sum(axis=1)) == [
      0, 0, 0, 2, 0, 0, 0, 2, 0, 0]
  model = runner.load_model(
      experiments.load(run_copy), run.find_checkpoint())
  view = views.ImageView((8, 8, 1), 1.)
  with open(os.path.join(place, 'predictions.csv')) as file:
    rows = {row['file']: row for row in csv.DictReader(file)}
  assert set(rows) == set(written)
  for path, pixels in written.items():
    expected = tf.nn.softmax(model(view.to_pixels(pixels[np.newaxis])))[0]
    row = rows[path]
    found = [float(row[f'probability_{name}']) for name in run.label_names]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    label = {'3': '3', 'seven': '7'}[os.path.basename(os.path.dirname(path))]
    assert row['label'] == label
    assert row['prediction'] == str(np.argmax(expected))
    assert row['correct'] == ('true' if row['prediction'] == label else 'false')
  with open(best) as file:  # The run's own scores stay.
    assert file.read() == before


def test_data_of_one_class_and_of_tfds_are_found(
    finished_run, data_dir, tmp_path):
  """Sources are complete before the model is built."""
  write_pictures(tmp_path / 'one', '3')
  params = experiments.load(finished_run)
  one = run_scores.on_data(params, str(tmp_path / 'one'))
  task = experiments.load(finished_run, [
      one, f'task.validation_data.tfds_data_dir={data_dir}']).task
  runner.classification_task.complete(
      task, tuple('0123456789'), is_training=False, by_name=True)
  named = run_scores.on_data(params, 'digits@test[:10]')['task'][
      'validation_data']
  assert (named['tfds_name'], named['tfds_split'], named['input_path']) == (
      'digits', 'test[:10]', '')
  prepared = run_scores.on_data(params, f'{data_dir}/digits/1.0.0')['task'][
      'validation_data']
  assert prepared['tfds_split'] == 'all' and not prepared['input_path']


def test_folders_of_scores_are_for_one_evaluation(tmp_path):
  run = run_folder.Run(str(tmp_path), '', {}, ())
  choose = lambda data: run_scores.choose_folder(
      run, {'step': 4, 'data': data}, data)
  assert choose('/a/test/') == f'{tmp_path}/scores/test-4'
  os.makedirs(f'{tmp_path}/scores/test-4')
  with open(f'{tmp_path}/scores/test-4/scores.json', 'w') as file:
    json.dump({'step': 4, 'data': '/a/test/', 'accuracy': 1.}, file)
  assert choose('/a/test/') == f'{tmp_path}/scores/test-4'
  assert choose('/b/test') == f'{tmp_path}/scores/test-4-2'
  assert choose('') == f'{tmp_path}/scores/validation-4'
