"""Few-shot evaluation of tiny runs, from data sets to table and file."""

import json
import os
import shutil

import numpy as np
import pytest
from sklearn import linear_model
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_tokenlearner import run_folder
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import views
from tf_tokenlearner import errors
from tf_tokenlearner.evaluation import few_shot
from tf_tokenlearner.evaluation import few_shot_run
from tf_tokenlearner.training import runner


class FewShotColours(tfds.core.GeneratorBasedBuilder):
  """Two classes of larger colour images; the test has no labels."""

  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self, features=tfds.features.FeaturesDict({
            'image': tfds.features.Image(shape=(11, 13, 3)),
            'label': tfds.features.ClassLabel(num_classes=2)}))

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples(16, True),
            'validation': self._generate_examples(12, True),
            'test': self._generate_examples(3, False)}

  def _generate_examples(self, count, labelled):
    generator = np.random.default_rng(count)
    for i in range(count):
      label = int(i % 4 == 0)  # A quarter.
      image = generator.integers(0, 156, [11, 13, 3]) + 100 * label
      yield i, {'image': image.astype(np.uint8),
                'label': label if labelled else -1}


@pytest.fixture(scope='module', name='colours')
def fixture_colours(tmp_path_factory):
  builder = FewShotColours(data_dir=str(tmp_path_factory.mktemp('colours')))
  builder.download_and_prepare()
  return builder.data_dir


@pytest.fixture(name='evaluate')
def fixture_evaluate(finished_run, tmp_path):
  """Returns evaluate(data sets, shots) for a copy of the finished run."""
  shutil.copytree(finished_run, tmp_path, dirs_exist_ok=True)
  params = experiments.load(str(tmp_path))
  checkpoint = run_folder.load(finished_run).find_checkpoint()
  def evaluate(*data_sets, shots=(2, 5), **kwargs):
    return few_shot_run.evaluate(
        params, str(tmp_path), data_sets, shots,
        **{'checkpoint': checkpoint, **kwargs})
  return evaluate


def read_results(folder):
  with open(os.path.join(folder, few_shot_run.RESULTS)) as file:
    return json.load(file)


def test_five_shots_agree_with_scikit_learn(finished_run, evaluate):
  """Reference: images of TFDS, features of the model, Ridge of scikit-learn."""
  score, = evaluate('digits', shots=[5])
  params = experiments.load(finished_run)
  data = params.task.validation_data
  model = runner.load_model(
      params, run_folder.load(finished_run).find_checkpoint())
  builder = tfds.builder('digits', data_dir=data.tfds_data_dir)
  def read(split):
    examples = list(builder.as_dataset(split).as_numpy_iterator())
    pixels = views.ImageView((8, 8, 1), 1.).to_pixels(
        tf.stack([example['image'] for example in examples]))
    return (model.backbone(pixels)['pre_logits'].numpy().astype(np.float64),
            np.array([example['label'] for example in examples]))

  (x, y), (x_test, y_test) = read('train'), read('test')
  drawn = few_shot.draw(y, 10, 5, seed=0)
  x, y = x[drawn], y[drawn]
  mean, std = x.mean(0), x.std(0) + 1e-5
  assert (score.trial.num_train, score.trial.num_test) == (50, 360)
  for l2, accuracy in zip(
      few_shot.L2S, score.trial.sweep.accuracies, strict=True):
    theirs = linear_model.Ridge(alpha=l2, solver='svd').fit(
        (x - mean) / std, np.where(y[:, None] == np.arange(10), 1., -1.))
    predicted = theirs.predict((x_test - mean) / std).argmax(-1)
    # The features of single images differ in their last digit from batches'.
    assert accuracy == pytest.approx(np.mean(predicted == y_test), abs=2 / 360)
  assert max(score.trial.sweep.accuracies) > .2  # Chance is 0.1.


def test_repeated_evaluation_prints_and_writes_the_same(
    evaluate, colours, tmp_path, capsys):
  data_sets = ('digits', f'{colours}@train@validation')
  scores = evaluate(*data_sets)
  captured = capsys.readouterr()
  lines = captured.out.splitlines()
  assert lines[0] == 'Few-shot evaluation, seed 0, of'
  assert 'best_ckpt-' in lines[1]
  assert max(map(len, lines[2:])) <= 80
  table = [line.split() for line in lines[5:11]]
  assert [row[:3] for row in table] == [
      ['digits', '2', '20'], ['...' + colours[-21:], '2', '4'],
      ['mean', 'of', '2'],
      ['digits', '5', '50'], ['...' + colours[-21:], '5', '9'],
      ['mean', 'of', '2']]
  assert float(table[2][4]) == pytest.approx(
      (scores[0].accuracy + scores[1].accuracy) / 2, abs=1e-4)
  assert ('1 of 2 classes have fewer than 5 training images (the rarest 4)'
          in captured.err)

  written = read_results(tmp_path)
  assert written['seed'] == 0 and os.path.exists(
      written['checkpoint'] + '.index')
  assert written['l2s'] == list(few_shot.L2S)
  assert [(each['data_set'], each['test_split'], each['shots'],
           each['num_train'], each['num_test']) for each in written['scores']
          ] == [('digits', 'test', 2, 20, 360),
                (colours, 'validation', 2, 4, 12),
                ('digits', 'test', 5, 50, 360),
                (colours, 'validation', 5, 9, 12)]
  for each, score in zip(written['scores'], scores, strict=True):
    by_l2 = dict(zip(written['l2s'], each['accuracies'], strict=True))
    assert each['accuracy'] == by_l2[each['l2']] == score.accuracy
    assert by_l2[each['shared_l2']] == score.shared_accuracy
  assert len({each['shared_l2'] for each in written['scores'][:2]}) == 1

  assert evaluate(*data_sets) == scores
  assert read_results(tmp_path) == written
  assert evaluate('digits', seed=1) != scores[::2]


def test_scores_of_a_run_on_a_read_only_disk(evaluate, read_only, tmp_path):
  read_only(tmp_path)
  score, = evaluate('digits', shots=[2])
  assert score.trial.num_test == 360


def test_mean_needs_several_data_sets(evaluate, capsys):
  evaluate('digits@train[:50%]@test[:40]', shots=[3, 3])
  lines = capsys.readouterr().out.splitlines()[3:]
  assert len(lines) == 7
  assert lines[2].split()[:3] == ['digits', '3', '30']


@pytest.mark.parametrize('data_sets, shots, message', [
    (['digits'], [1, 5], 'at least 2 shots .*; got 1, 5'),
    (['digits'], [], 'got none'),
    (['digit'], [5], "Unknown TFDS data set 'digit'. .*digits"),
    (['digits@train'], [5], "'digits@train' is not a data set for few-shot"),
    (['digits@train@@'], [5], 'name@train@test'),
    ([''], [5], "'' is not a data set"),
    (['digits@train@val'], [5], "Unknown split of digits/.* 'val'. Known: "),
])
def test_invalid_data_sets_and_shots_are_refused(
    evaluate, data_sets, shots, message):
  with pytest.raises(errors.UserError, match=message):
    evaluate(*data_sets, shots=shots)


def test_images_without_a_label_are_refused(evaluate, colours):
  with pytest.raises(errors.UserError, match=(
      "Split 'test' of .* has images without a label. Its splits are: .*train.*"
      'choose with .*@train@test')):
    evaluate(colours)
  with pytest.raises(errors.UserError, match="Split 'test' of .* without"):
    evaluate(f'{colours}@test@train')


def test_several_labels_are_refused(evaluate, real_labels):
  with pytest.raises(errors.UserError, match='has several labels per image'):
    evaluate(real_labels)


def test_clips_are_refused(finished_video_run):
  params = experiments.load(finished_video_run)
  with pytest.raises(errors.UserError, match='is for images; .* run of clips'):
    few_shot_run.evaluate(params, finished_video_run, ['digits'], [5])


def test_drawn_features_belong_to_the_drawn_images(finished_run, colours):
  """Both passes over the data read in the same order."""
  params = experiments.load(finished_run)
  data = few_shot_run.open_data_set(
      f'{colours}@train@validation', params.task.validation_data)
  labels = few_shot_run.read_labels(data)
  assert sorted(labels) == [0] * 12 + [1] * 4
  extractor = few_shot_run.Extractor(
      runner.load_model(
          params, run_folder.load(finished_run).find_checkpoint()))
  everything, all_labels = extractor.train(data, np.arange(16))
  np.testing.assert_array_equal(all_labels, labels)
  indices = np.array([1, 2, 7, 13])
  features, its_labels = extractor.train(data, indices)
  np.testing.assert_array_equal(its_labels, labels[indices])
  np.testing.assert_allclose(features, everything[indices], atol=1e-5)
  assert np.abs(features[0] - features[1]).max() > 1e-3
