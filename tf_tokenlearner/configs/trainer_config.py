"""Settings of the training loop."""

import dataclasses
from typing import Optional

from official.core import config_definitions as cfg
from official.modeling.hyperparams import base_config

from tf_tokenlearner.configs import optimization


@dataclasses.dataclass
class EarlyStopping(base_config.Config):
  """End of training when a score of the evaluation no longer improves.

  Attributes:
    patience: number of evaluations in a row without an improvement.
    metric: the score; '' for trainer.best_checkpoint_eval_metric. The lower of
      two losses is better, and the higher of two other scores.
  """
  patience: int = 5
  metric: str = ''


@dataclasses.dataclass
class TrainerConfig(cfg.TrainerConfig):
  """The Garden's trainer settings, with lengths in epochs.

  Attributes:
    best_checkpoint_eval_metric: score that selects the best checkpoint:
      accuracy, top_5_accuracy, validation_loss, balanced_accuracy, macro_f1 or
      auc; with several labels an example also mean_average_precision, but not
      balanced_accuracy.
    train_steps: number of training steps; None takes it from epochs.
    epochs: passes over the training data; None uses train_steps.
    warmup_epochs: length of a warm-up whose warmup_steps are None, in epochs.
    validation_interval: training steps between two evaluations; None is one
      epoch.
    checkpoint_interval: training steps between two checkpoints; None is one
      epoch.
    summary_interval: training steps between two summaries; None is a quarter of
      an epoch.
    steps_per_loop: training steps between two updates of the status line; None
      is a quarter of an epoch.
    learning_rate_scaling: 'none', or a rule by which the learning rate grows
      with the batch size: 'linear' multiplies it by global_batch_size /
      learning_rate_batch_size, 'sqrt' by the square root of that.
    learning_rate_batch_size: the batch size that the learning rate is stated
      for.
    gradient_accumulation_steps: parts in which a batch passes through the
      network one after the other. A step needs the memory of one part and has
      the gradients of the whole batch; only dropout and batch normalization
      differ.
    early_stopping: ends training when a score no longer improves; None trains
      to the end.
  """
  optimizer_config: optimization.OptimizationConfig = dataclasses.field(
      default_factory=optimization.OptimizationConfig)
  train_steps: Optional[int] = 0
  epochs: Optional[float] = None
  warmup_epochs: float = 0.
  validation_interval: Optional[int] = 1000
  checkpoint_interval: Optional[int] = 1000
  summary_interval: Optional[int] = 1000
  steps_per_loop: Optional[int] = 1000
  learning_rate_scaling: str = 'none'
  learning_rate_batch_size: int = 64
  gradient_accumulation_steps: int = 1
  early_stopping: Optional[EarlyStopping] = None
