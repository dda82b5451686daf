"""The Model Garden's trainer, made safe to interrupt, restart and compare."""

import contextlib
import json
import os
import signal
import threading
from typing import Callable, Iterator

import tensorflow as tf
import tf_keras
from official.core import base_trainer
from official.core import train_utils

from tf_tokenlearner import errors
from tf_tokenlearner import files
from tf_tokenlearner import run_folder
from tf_tokenlearner.training import accumulation
from tf_tokenlearner.training import addons_optimizers

_LAST_STEP = 'last_evaluation.json'


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
  """Delays Ctrl-C until the block is done; in the main thread only."""
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  received = []
  before = signal.signal(signal.SIGINT, lambda *args: received.append(args))
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, before)
  if received and callable(before):
    before(*received[0])


class Trainer(base_trainer.Trainer):
  """Trainer that builds the optimizer at once and weighs all examples equally.

  The Model Garden lets the optimizer create its slots inside the first step,
  which is then traced twice, and restores them late; and it averages the
  validation loss over batches, so that a small last batch counts as much as a
  full one.

  Attributes:
    uses_averages: whether the model holds the averages of the weights (EMA or
      SWA), and the optimizer's slots the weights. Evaluation switches both
      ways; a checkpoint of training is to be written while it is False.
    predictions: labels and logits of the last evaluation; None before it.
  """

  def __init__(self, *args, **kwargs):
    super().__init__(*args, **kwargs)
    self.uses_averages = False
    self.predictions = None
    if self.optimizer is not None:
      _create_slots(self.optimizer, self.model.trainable_variables)
    if kwargs.get('evaluate', True):
      self._check_metrics()

  def _check_metrics(self):
    """Tells the task the scores that decide; refuses unknown ones."""
    config = self.config.trainer
    names = {'best_checkpoint_eval_metric': config.best_checkpoint_eval_metric}
    if config.early_stopping and config.early_stopping.metric:
      names['early_stopping.metric'] = config.early_stopping.metric
    of_whole_set = self.task.whole_set_scores()
    chosen = tuple(
        metric for metric in names.values() if metric in of_whole_set)
    if chosen:
      self.task.selected_by = chosen
    known = [m.name for m in self.validation_metrics]
    known += [self.validation_loss.name, *of_whole_set]
    for key, metric in names.items():
      if self.checkpoint_exporter and metric not in known:
        raise errors.unknown_name(f'trainer.{key}', metric, known)

  def train_step(self, iterator):
    """Trains on a batch, in parts if gradients are accumulated."""
    num_parts = self.config.trainer.gradient_accumulation_steps
    if num_parts == 1:
      super().train_step(iterator)
      return

    def step(inputs):
      train = lambda inputs: accumulation.train_step(
          self.task, inputs, self.model, self.optimizer, self.train_metrics,
          num_parts)
      if self.config.runtime.enable_xla and self.config.runtime.num_gpus > 0:
        train = tf.function(train, jit_compile=True)
      self.train_loss.update_state(train(inputs)[self.task.loss])
      self.global_step.assign_add(1)

    self.strategy.run(
        step, args=(self.next_train_inputs(iterator),),
        options=self._runtime_options)

  def use_averages(self, wanted: bool) -> None:
    """Puts the averages of the weights, or the weights, into the model.

    Optimizers without averages make no difference. To be called in the scope of
    the strategy.
    """
    if wanted == self.uses_averages:
      return
    with uninterrupted():
      if hasattr(self.optimizer, 'swap_weights'):  # The Model Garden's EMA.
        self.optimizer.swap_weights()
      addons_optimizers.swap_averages(self.optimizer, self.model)
      self.uses_averages = wanted

  def eval_begin(self):
    for metric in (*self.validation_metrics, self.validation_loss):
      metric.reset_states()
    self.use_averages(True)

  def eval_end(self, aggregated_logs=None):
    self.predictions = aggregated_logs
    with uninterrupted():
      # Saves the best checkpoint, and then swaps an EMA back.
      logs = super().eval_end(aggregated_logs)
      addons_optimizers.swap_averages(self.optimizer, self.model)
      self.uses_averages = False
    return logs

  def eval_step(self, iterator):
    """Evaluates a batch; its loss counts by the number of its examples.

    Labels and logits are gathered from all workers, each of which sees its own
    share of the examples only.
    """
    def step(inputs):
      logs = self.task.validation_step(
          inputs, model=self.model, metrics=self.validation_metrics)
      labels = inputs[1]
      self._validation_loss.update_state(
          logs.pop(self.task.loss), tf.cast(tf.shape(labels)[0], tf.float32))
      return logs

    inputs, passthrough = self.next_eval_inputs(iterator)
    outputs = self.strategy.run(step, args=(inputs,))
    logs = tf.nest.map_structure(
        lambda value: self.strategy.gather(value, axis=0), outputs)
    return {**passthrough, **logs}


class CheckpointManager(tf.train.CheckpointManager):
  """A manager for folders of any name, which reports a full disk in one line.

  TensorFlow reads paths as patterns: with brackets, * or ? in the name of the
  folder, it would not find old checkpoints to remove.
  """

  def restore_or_initialize(self):
    latest = self.latest_checkpoint
    if latest is None:
      return super().restore_or_initialize()
    self.checkpoint.restore(run_folder.readable(latest))
    if self.checkpoint_interval is not None:
      self._last_checkpoint_step = self._step_counter.numpy()
    return latest

  def save(self, *args, **kwargs):
    try:
      return super().save(*args, **kwargs)
    except tf.errors.ResourceExhaustedError as error:  # The disk is full.
      raise errors.UserError(
          f'The disk of {self.directory} is full: make room; the same command '
          'continues from the last checkpoint that was written.') from error

  def _sweep(self):
    before = self.checkpoints
    super()._sweep()
    for prefix in set(before) - set(self.checkpoints):
      folder, name = os.path.split(prefix)
      for file in tf.io.gfile.listdir(folder or '.'):
        if file.startswith((f'{name}.index', f'{name}.data-')):
          tf.io.gfile.remove(os.path.join(folder, file))


class BestCheckpointExporter(train_utils.BestCheckpointExporter):
  """Exporter of the best checkpoint that may be killed at any moment.

  The Model Garden writes the score before the checkpoint, so that a kill in
  between leaves a score without weights that no later one may beat.

  Attributes:
    on_better: called when a better checkpoint has been saved.
  """

  on_better: Callable[[], None] = staticmethod(lambda: None)

  def _get_checkpoint_manager(self, checkpoint):
    if self._checkpoint_manager is None:
      self._checkpoint_manager = CheckpointManager(
          checkpoint, self._export_dir, max_to_keep=1,
          checkpoint_name=train_utils.BEST_CHECKPOINT_NAME)
    return self._checkpoint_manager

  def maybe_export_checkpoint(
      self, checkpoint, eval_logs, global_step, write_logs=True) -> bool:
    is_better = self._best_ckpt_logs is None or self._new_metric_is_better(
        self._best_ckpt_logs, eval_logs)
    if is_better:
      self._get_checkpoint_manager(checkpoint).save()
      self._best_ckpt_logs = eval_logs
      if write_logs:
        self.export_best_eval_metric(eval_logs, global_step)
      self.on_better()
    files.write_json(os.path.join(self._export_dir, _LAST_STEP),
                     {'last_step': int(global_step)})
    return is_better

  def last_step(self) -> int:
    """Returns the step of the last evaluation; -1 without one."""
    path = os.path.join(self._export_dir, _LAST_STEP)
    if not tf.io.gfile.exists(path):
      return -1
    with tf.io.gfile.GFile(path) as file:
      return json.load(file)['last_step']

  def export_best_eval_metric(self, eval_logs, global_step):
    scores = {
        name: float(value.numpy() if hasattr(value, 'numpy') else value)
        for name, value in eval_logs.items() if tf.rank(value) == 0}
    scores['best_ckpt_global_step'] = int(global_step)
    run_folder.write_best_scores(self._export_dir, scores)

  def _maybe_load_best_eval_metric(self):
    return run_folder.read_best_scores(self._export_dir)


def _create_slots(optimizer, variables):
  """Creates the optimizer's variables; the two APIs differ in how."""
  inner = getattr(optimizer, 'inner_optimizer', optimizer)  # Loss scaling.
  if isinstance(inner, tf_keras.optimizers.legacy.Optimizer):
    inner._create_all_weights(variables)  # pylint: disable=protected-access
  else:
    inner.build(variables)
