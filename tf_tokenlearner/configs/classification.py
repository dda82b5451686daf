"""What the configs and experiments of images and of videos share."""

import dataclasses

from official.core import config_definitions as cfg
from official.modeling import hyperparams

from tf_tokenlearner.configs import optimization


@dataclasses.dataclass
class Classifier(hyperparams.Config):
  """A network, less its backbone and the size of its input.

  Attributes:
    num_classes: 0 lets the data set say.
    dropout_rate: before the head.
    head_bias: first bias of the head.
  """
  num_classes: int = 0
  dropout_rate: float = 0.
  head_bias: float = 0.


@dataclasses.dataclass
class Losses(hyperparams.Config):
  """The loss.

  Attributes:
    loss: 'softmax', one label an example; or 'sigmoid', any number of them,
      each class a question of its own.
    label_smoothing: in [0, 1).
  """
  loss: str = 'softmax'
  label_smoothing: float = 0.


@dataclasses.dataclass
class ClassificationTask(cfg.TaskConfig):
  """A task, less its model and data.

  Attributes:
    init_checkpoint: checkpoint or folder to start from, '' for none: of a run
      of this project, public ViT weights (.npz), of Scenic (msgpack or Orbax),
      or of the Model Garden's ViT.
    init_checkpoint_modules: 'all', or 'backbone' to leave the head fresh.
    init_token_learner: how TokenLearners start that the checkpoint lacks:
      'random'; or 'mean', each token as the mean of its own part of the map,
      fitted on a few training examples, so that a short fine-tuning suffices.
    freeze_backbone: train the head alone.
  """
  losses: Losses = dataclasses.field(default_factory=Losses)
  init_checkpoint: str = ''
  init_checkpoint_modules: str = 'all'
  init_token_learner: str = 'random'
  freeze_backbone: bool = False


def experiment(
    task: ClassificationTask, *, optimizer: dict, learning_rate: dict,
    train_steps: int, validation_interval: int, warmup_steps: int = 0,
    best_metric: str = 'accuracy') -> cfg.ExperimentConfig:
  """An experiment around a task.

  Args:
    task: what is learned from which data.
    optimizer: {type: options that differ from the defaults}.
    learning_rate: the schedule, in the same form.
    train_steps: in all.
    validation_interval: in steps; a checkpoint is written as often.
    warmup_steps: of linear warm-up.
    best_metric: decides which checkpoint is the best.
  """
  (optimizer_type, optimizer_options), = optimizer.items()
  (schedule_type, schedule_options), = learning_rate.items()
  interval = min(validation_interval, train_steps)
  optimizer_config = {
      'optimizer': {'type': optimizer_type, optimizer_type: optimizer_options},
      'learning_rate': {'type': schedule_type, schedule_type: schedule_options},
  }
  if warmup_steps:
    optimizer_config['warmup'] = {
        'type': 'linear', 'linear': {'warmup_steps': warmup_steps}}
  return cfg.ExperimentConfig(
      runtime=cfg.RuntimeConfig(num_gpus=-1),  # As many as there are.
      task=task,
      trainer=optimization.TrainerConfig(
          train_steps=train_steps,
          steps_per_loop=min(interval, 100),
          summary_interval=min(interval, 100),
          checkpoint_interval=interval,
          validation_interval=interval,
          best_checkpoint_export_subdir='best_ckpt',
          best_checkpoint_eval_metric=best_metric,
          optimizer_config=optimization.OptimizationConfig(optimizer_config)),
      restrictions=[
          'task.train_data.is_training != None',
          'task.validation_data.is_training != None',
      ])
