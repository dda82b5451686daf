"""Class weights against NumPy and scikit-learn."""

import numpy as np
import pytest
from sklearn.utils import class_weight
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.configs import image_classification as config
from tf_tokenlearner.data import class_sampling
from tf_tokenlearner.tasks import class_weights
from tf_tokenlearner.tasks import classification_task
from tf_tokenlearner.tasks import metrics as metrics_lib

NAMES = ('ant', 'bee', 'cow', 'dog')
LABELS = np.repeat(np.arange(3), [12, 3, 1])  # No dog.
COUNTS = np.bincount(LABELS, minlength=4)
SEVERAL = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0],
                    [1, 0, 1, 0]], np.float32)  # Always ant, never dog.


def make(chosen, loss, counts=COUNTS, num_examples=len(LABELS)):
  return class_weights.make(chosen, NAMES, counts, num_examples, loss)


def rows(labels):
  return np.eye(4, dtype=np.float32)[labels]


def test_balanced_softmax_equals_scikit_learn():
  weights = make('balanced', 'softmax')
  np.testing.assert_allclose(
      weights.positive[:3], class_weight.compute_class_weight(
          'balanced', classes=np.arange(3), y=LABELS), rtol=1e-6)
  assert weights.positive[3] == 1
  assert weights.describe() == (
      'Class weights: from 0.444 (ant) to 5.33 (cow).')


def test_balanced_sigmoid_is_the_ratio_of_negatives_to_positives():
  weights = make('balanced', 'sigmoid', SEVERAL.sum(0), 5)
  np.testing.assert_allclose(
      weights.positive / weights.negative, [1, 4 / 1, 3 / 2, 1], rtol=1e-6)
  np.testing.assert_allclose(  # Of each class.
      weights.of(tf.constant(SEVERAL)).numpy().mean(0), 1., rtol=1e-6)


@pytest.mark.parametrize('chosen', ['balanced', {'cow': 10, 'ant': .5}])
@pytest.mark.parametrize('loss', ['softmax', 'sigmoid'])
def test_mean_over_the_training_data_is_one(chosen, loss):
  weights = make(chosen, loss)
  of_each = weights.of(tf.constant(rows(LABELS))).numpy()
  mean = of_each.sum(-1).mean() if loss == 'softmax' else of_each.mean()
  assert mean == pytest.approx(1., rel=1e-6)
  if chosen != 'balanced':
    relative = (weights.positive if loss == 'softmax'
                else weights.positive / weights.negative)
    np.testing.assert_allclose(
        relative / relative[1], [.5, 1, 10, 1], rtol=1e-6)


@pytest.mark.parametrize('smoothing', [0., .2])
def test_softmax_loss_equals_numpy(smoothing):
  generator = np.random.default_rng(0)
  logits = generator.normal(size=[16, 4]).astype(np.float32)
  log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  targets = rows(LABELS) * (1 - smoothing) + smoothing / 4
  weight = np.array([16 / 36, 16 / 9, 16 / 3])[LABELS]
  losses = metrics_lib.example_losses(
      tf.constant(LABELS), tf.constant(logits), 'softmax', smoothing,
      make('balanced', 'softmax')).numpy()
  np.testing.assert_allclose(
      losses, -weight * (targets * log_p).sum(-1), rtol=1e-5)


@pytest.mark.parametrize('smoothing', [0., .2])
def test_sigmoid_loss_equals_numpy(smoothing):
  generator = np.random.default_rng(0)
  logits = generator.normal(size=[5, 4]).astype(np.float32)
  p = 1 / (1 + np.exp(-logits))
  targets = SEVERAL * (1 - smoothing) + smoothing / 2
  mean = (SEVERAL.sum(0) * [1, 4, 1.5, 1] + (1 - SEVERAL).sum(0)) / 5
  weight = np.where(SEVERAL > 0, [1, 4, 1.5, 1], 1.) / mean
  expected = -weight * (targets * np.log(p) + (1 - targets) * np.log(1 - p))
  losses = metrics_lib.example_losses(
      tf.constant(SEVERAL), tf.constant(logits), 'sigmoid', smoothing,
      make('balanced', 'sigmoid', SEVERAL.sum(0), 5)).numpy()
  np.testing.assert_allclose(losses, expected.sum(-1), rtol=1e-5)


def test_mixed_labels_weigh_by_their_shares():
  """Also where the Garden's mixup has smoothed them."""
  shares = np.array([[.7, 0, .3, 0], [0, 1, 0, 0]], np.float32)
  smoothed = shares * .9 + .1 / 4
  weights = make('balanced', 'softmax')._replace(smoothing=.1)
  np.testing.assert_allclose(
      weights.of(tf.constant(smoothed)).numpy().sum(-1),
      [.7 * 16 / 36 + .3 * 16 / 3, 16 / 9], rtol=1e-5)


@pytest.mark.parametrize('text, message', [
    ('balancd', "expected none, balanced, or weights such as .* got 'balancd'"),
    ('{"cat": 0}', 'expected a weight above 0 for cat, got 0'),
    ('{"cat": "2"}', "above 0 for cat, got '2'"),
    ('{"cat": true}', 'above 0 for cat, got True')])
def test_other_values_are_refused(text, message):
  with pytest.raises(errors.UserError, match=message):
    class_weights.parse(text)


@pytest.fixture(name='task_config')
def fixture_task_config(tiny_digits):
  return experiments.parse('tokenlearner_digits', [tiny_digits]).task


@pytest.mark.parametrize('values, message', [
    (dict(class_weights='{"thre": 2}'), "class in task.class_weights 'thre'"),
    (dict(class_weights='balanced', sampling='balanced'), 'Set one of them'),
    (dict(sampling='even'), "Unknown task.train_data.sampling 'even'")])
def test_options_that_do_not_fit_are_refused(task_config, values, message):
  sampling = values.pop('sampling', 'natural')
  task_config.override(values)
  task_config.train_data.sampling = sampling
  with pytest.raises(errors.UserError, match=message):
    classification_task.complete(task_config)


def test_data_that_cannot_be_counted_are_refused():
  task = config.ImageClassificationTask(class_weights='balanced')
  with pytest.raises(errors.UserError, match='got TFRecord files'):
    class_weights.check(task, None, ())


def test_training_is_weighted_and_evaluation_is_not(task_config):
  """By the digits of the first 300 training images, 27 to 34 of each."""
  task_config.class_weights = 'balanced'
  task_config.train_data.tfds_split = 'train[:300]'
  classification_task.complete(task_config)
  task = classification_task.make(task_config)
  source = task.open_source(task_config.train_data)
  labels = np.array([
      int(example['label']) for example in
      source.builder.as_dataset('train[:300]').as_numpy_iterator()])
  counts, num_examples = class_sampling.count_labels(source, 'train[:300]')
  np.testing.assert_array_equal(counts, np.bincount(labels, minlength=10))
  assert num_examples == 300 and counts.min() < counts.max()
  logits = np.random.default_rng(0).normal(size=[300, 10]).astype(np.float32)
  losses = metrics_lib.example_losses(
      tf.constant(labels), tf.constant(logits), 'softmax', .1).numpy()
  weighted = task.build_losses(tf.constant(labels), tf.constant(logits))
  assert float(weighted) == pytest.approx(
      (losses * (300 / 10 / counts)[labels]).mean(), rel=1e-5)
  # Replicas average the losses of their parts.
  halves = [task.build_losses(tf.constant(labels[i::2]),
                              tf.constant(logits[i::2])) for i in range(2)]
  assert np.mean(halves) == pytest.approx(float(weighted), rel=1e-5)
  model = lambda pixels, training: pixels
  model.losses = []
  logs = task.validation_step((tf.constant(logits), tf.constant(labels)), model)
  assert float(logs['loss']) == pytest.approx(losses.mean(), rel=1e-5)
