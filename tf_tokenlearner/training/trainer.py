"""The Garden's trainer, with what it lacks to be restarted and compared."""

import json
import os

import tensorflow as tf
import tf_keras
from official.core import base_trainer
from official.core import train_utils

from tf_tokenlearner import errors
from tf_tokenlearner import files
from tf_tokenlearner import run_folder
from tf_tokenlearner.training import addons_optimizers

_LAST_STEP = 'last_evaluation.json'


class Trainer(base_trainer.Trainer):
  """Builds the optimizer at once and weighs every example alike.

  The Garden lets the optimizer make its slots inside the first step, which is
  then traced twice, and restores them late; and it averages the validation loss
  over batches, so that a small last batch counts as much as a full one.
  """

  def __init__(self, *args, **kwargs):
    super().__init__(*args, **kwargs)
    if self.optimizer is not None:
      _create_slots(self.optimizer, self.model.trainable_variables)
    self._check_best_metric()

  def _check_best_metric(self):
    if not self.checkpoint_exporter:
      return
    metric = self.config.trainer.best_checkpoint_eval_metric
    known = [m.name for m in self.validation_metrics]
    known += [self.validation_loss.name, *self.task.whole_set_scores()]
    if metric not in known:
      raise errors.unknown_name(
          'trainer.best_checkpoint_eval_metric', metric, known)

  def eval_begin(self):
    super().eval_begin()
    addons_optimizers.swap_averages(self.optimizer, self.model)

  def eval_end(self, aggregated_logs=None):
    logs = super().eval_end(aggregated_logs)
    addons_optimizers.swap_averages(self.optimizer, self.model)
    return logs

  def eval_step(self, iterator):
    """As in the base class, but the loss weighs by the size of the batch.

    What the task scores the whole set by is gathered from all workers: each of
    them sees its own share of the examples only.
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


class BestCheckpointExporter(train_utils.BestCheckpointExporter):
  """Keeps the best checkpoint; survives being killed at any moment.

  The Garden writes the score first and the checkpoint after, so that a kill in
  between leaves a score without weights that no later one may beat.
  """

  def _get_checkpoint_manager(self, checkpoint):
    if self._checkpoint_manager is None:
      self._checkpoint_manager = run_folder.CheckpointManager(
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
    files.write_json(os.path.join(self._export_dir, _LAST_STEP),
                     {'last_step': int(global_step)})
    return is_better

  def last_step(self) -> int:
    """The step that was evaluated last, better or not; -1 if none was."""
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
  """Makes the optimizer's variables now; each kind has its own way."""
  inner = getattr(optimizer, 'inner_optimizer', optimizer)  # Loss scaling.
  if isinstance(inner, tf_keras.optimizers.legacy.Optimizer):
    inner._create_all_weights(variables)  # pylint: disable=protected-access
  else:
    inner.build(variables)
