"""Ends training when a score of the evaluation no longer improves."""

import json
import os
from typing import Mapping, Optional

import tensorflow as tf

from tf_tokenlearner import files
from tf_tokenlearner.configs import trainer_config

_FILE = 'early_stopping.json'


class Stopped(Exception):
  """Training is over; the message says why."""


class EarlyStopping:
  """The scores of a run so far, kept in its folder.

  Args:
    config: settings of the trainer.
    folder: run folder. Its scores are read, so that a restart goes on counting.
  """

  def __init__(self, config: trainer_config.TrainerConfig, folder: str):
    self.metric = (
        config.early_stopping.metric or config.best_checkpoint_eval_metric)
    self._patience = config.early_stopping.patience
    self._path = os.path.join(folder, _FILE)
    self._scores = self._read()  # By step.

  def _read(self) -> Mapping[int, float]:
    if not tf.io.gfile.exists(self._path):
      return {}
    with tf.io.gfile.GFile(self._path) as file:
      values = json.load(file)
    if values['metric'] != self.metric:
      return {}
    return {int(step): score for step, score in values['scores'].items()}

  def add(self, step: int, scores: Mapping[str, float]) -> None:
    """Keeps the scores of an evaluation.

    Raises:
      Stopped: the metric has not improved for too long.
    """
    # A restart may repeat steps that were evaluated before.
    self._scores = {
        before: score for before, score in self._scores.items()
        if before < step}
    self._scores[step] = float(scores[self.metric])
    files.write_json(
        self._path, {'metric': self.metric, 'scores': self._scores})
    reason = self.reason()
    if reason:
      raise Stopped(reason)

  def reason(self) -> Optional[str]:
    """Returns why training is over; None if it is not."""
    if not self._scores:
      return None
    sign = -1 if self.metric.endswith('loss') else 1
    # max keeps the first of equal scores.
    best = max(self._scores, key=lambda step: sign * self._scores[step])
    in_vain = sum(step > best for step in self._scores)
    if in_vain < self._patience:
      return None
    return (f'Stopped early at step {max(self._scores):,}: {self.metric} has '
            f'not improved on {self._scores[best]:.4f}, of step {best:,}, in '
            f'{in_vain} evaluations.')


def reason_to_stop(
    config: trainer_config.TrainerConfig, folder: str) -> Optional[str]:
  """Returns why the training in a folder is over early; None if it is not."""
  if config.early_stopping is None:
    return None
  return EarlyStopping(config, folder).reason()
