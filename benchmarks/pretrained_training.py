"""Trainings of benchmarks/pretrained.py: fine-tuning and ridge regression."""

import time
from typing import Dict, Sequence, Tuple

import numpy as np
from sklearn import metrics
import tensorflow as tf
import tf_keras

from benchmarks import pretrained_arms
from benchmarks import pretrained_models
from tf_tokenlearner.data import stratified_split
from tf_tokenlearner.evaluation import few_shot


def split(files: Sequence[str], labels: np.ndarray, share: float,
          seed: int) -> Tuple[np.ndarray, np.ndarray]:
  """Splits pictures so that each class gives the same share.

  Args:
    files: [B] names of the pictures.
    labels: [B].
    share: share that is held out.
    seed: selects another choice.

  Returns:
    Numbers of the other pictures, numbers of those held out; both ascending.
  """
  by_class = {str(label): [file for file, other in zip(files, labels)
                           if other == label] for label in np.unique(labels)}
  out = stratified_split.held_out(by_class, round(share * len(files)), seed)
  is_out = np.array([file in out for file in files])
  return np.flatnonzero(~is_out), np.flatnonzero(is_out)


def fine_tune(part: pretrained_models.Trainable, labels: np.ndarray,
              train: np.ndarray, test: np.ndarray,
              recipe: pretrained_arms.Recipe, seed: int) -> Dict[str, float]:
  """Trains the upper part of a network, and scores it once.

  Args:
    part: trained in place.
    labels: int [B], of all pictures.
    train: numbers of the pictures to train on.
    test: numbers of the pictures to score.
    recipe: hyperparameters.
    seed: order of the pictures.

  Returns:
    Scores; seconds and cpu_seconds of training.
  """
  inputs = tf.constant(part.inputs[train])
  answers = tf.constant(labels[train], tf.int32)
  counts = np.bincount(labels[train])
  weights = tf.constant(len(train) / (len(counts) * counts), tf.float32)
  steps = len(train) // recipe.batch_size
  optimizers = _optimizers(part, recipe, steps * recipe.epochs)

  @tf.function
  def step(pictures, chosen):
    with tf.GradientTape() as tape:
      logits = part.logits(tf.cast(pictures, tf.float32), training=True)
      losses = tf.nn.sparse_softmax_cross_entropy_with_logits(chosen, logits)
      loss = tf.reduce_mean(losses * tf.gather(weights, chosen))
    variables = [v for optimizer in optimizers for v in optimizer.variables]
    gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), 1.)
    for optimizer in optimizers:
      count = len(optimizer.variables)
      optimizer.apply(gradients[:count])
      gradients = gradients[count:]
    return loss

  order = np.random.default_rng(seed)
  start, cpu_start = time.monotonic(), time.process_time()
  for _ in range(recipe.epochs):
    shuffled = order.permutation(len(train))[:steps * recipe.batch_size]
    for batch in np.split(shuffled, steps):
      # A tensor that a function captures lives on after the training.
      loss = step(tf.gather(inputs, batch), tf.gather(answers, batch))
  spent = {'seconds': round(time.monotonic() - start, 1),
           'cpu_seconds': round(time.process_time() - cpu_start, 1),
           'loss': float(loss)}
  logits = _answer(part, test)
  return {**scores(labels[test], logits[:, 1] - logits[:, 0]), **spent}


class _AdamW:
  """Adam with decoupled weight decay (Loshchilov & Hutter 2019) of kernels.

  The legacy Adam updates a variable in one kernel; on a CPU the optimizer of
  few tokens would otherwise take as long as the network.
  """

  def __init__(self, variables: Sequence[tf.Variable], schedule, decay: float):
    self.variables = list(variables)
    self._schedule, self._decay = schedule, decay
    self._adam = tf_keras.optimizers.legacy.Adam(schedule)
    self._steps = self._adam.iterations  # Made outside of a graph.

  def apply(self, gradients: Sequence[tf.Tensor]) -> None:
    rate = self._schedule(self._steps)
    for variable in self.variables:
      if variable.shape.rank > 1:  # No biases, scales and shifts.
        variable.assign_sub(rate * self._decay * variable)
    self._adam.apply_gradients(zip(gradients, self.variables))


def _optimizers(part: pretrained_models.Trainable,
                recipe: pretrained_arms.Recipe, steps: int):
  """Returns the optimizers of pretrained and of fresh layers."""
  fresh = {id(v) for layer in part.layers
           if layer.name == 'head' or layer.name.startswith('learn_')
           for v in layer.trainable_variables}
  groups = [], []
  for variable in part.variables():
    groups[id(variable) in fresh].append(variable)
  return [
      _AdamW(variables, _Schedule(rate, steps, recipe.warmup),
             recipe.weight_decay)
      for variables, rate in zip(
          groups, (recipe.learning_rate, recipe.new_learning_rate))]


class _Schedule(tf_keras.optimizers.schedules.LearningRateSchedule):
  """Linear warm-up, then a cosine to 0."""

  def __init__(self, peak: float, steps: int, warmup: float):
    super().__init__()
    self._peak, self._steps = peak, steps
    self._warmup = max(warmup * steps, 1.)

  def __call__(self, step):
    step = tf.cast(step, tf.float32)
    share = (step - self._warmup) / max(self._steps - self._warmup, 1.)
    cosine = .5 + .5 * tf.cos(np.pi * tf.clip_by_value(share, 0., 1.))
    return self._peak * tf.minimum((step + 1) / self._warmup, cosine)


def _answer(part: pretrained_models.Trainable, numbers: np.ndarray,
            size: int = 32) -> np.ndarray:
  """Returns the logits of pictures, [b, num_classes]."""
  function = tf.function(part.logits, reduce_retracing=True)
  return np.concatenate([
      function(tf.cast(part.inputs[numbers[i:i + size]], tf.float32)).numpy()
      for i in range(0, len(numbers), size)])


def ridge(features: np.ndarray, labels: np.ndarray, train: np.ndarray,
          test: np.ndarray) -> Dict[str, float]:
  """Scores a ridge regression on frozen features.

  Strength and features, of the class token, of the mean of the patches or of
  both, are those with the best AUC of predictions that leave one training
  picture out.

  Args:
    features: float32 [B, 2 C]; the class token, then the mean.
    labels: int [B], 0 or 1.
    train: numbers of the pictures to train on.
    test: numbers of the pictures to score.
  """
  start, cpu_start = time.monotonic(), time.process_time()
  features = (features - features[train].mean(0)) / (
      features[train].std(0) + 1e-6)
  width = features.shape[1] // 2
  best = -1., None, None
  for columns in (slice(width), slice(width, None), slice(None)):
    regression = few_shot.Ridge(
        features[train, columns], 2. * labels[train, np.newaxis] - 1)
    for l2 in few_shot.L2S:
      auc = metrics.roc_auc_score(
          labels[train], regression.left_out_predictions(l2)[:, 0])
      if auc > best[0]:
        answers, = regression.predictions(features[test, columns], [l2])
        best = auc, l2, answers[:, 0]
  _, l2, answers = best
  return {**scores(labels[test], answers), 'l2': l2,
          'seconds': round(time.monotonic() - start, 1),
          'cpu_seconds': round(time.process_time() - cpu_start, 1)}


def scores(labels: np.ndarray, answers: np.ndarray) -> Dict[str, float]:
  """Returns accuracy, balanced accuracy and AUC.

  Args:
    labels: int [B], 0 or 1.
    answers: float [B]; above 0 means 1.
  """
  predicted = (answers > 0).astype(int)
  return {'accuracy': float(metrics.accuracy_score(labels, predicted)),
          'balanced_accuracy': float(
              metrics.balanced_accuracy_score(labels, predicted)),
          'auc': float(metrics.roc_auc_score(labels, answers))}
