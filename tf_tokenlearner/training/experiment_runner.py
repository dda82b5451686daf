"""Builds strategy, task, trainer and controller of an experiment."""

import math
from typing import Any, Callable, Dict, Optional

import orbit
import tensorflow as tf
import tf_keras
from official.common import distribute_utils
from official.core import actions
from official.core import config_definitions as cfg
from official.core import task_factory
from official.core import train_lib
from official.modeling import performance

from tf_tokenlearner import errors
from tf_tokenlearner import files
from tf_tokenlearner import run_folder
from tf_tokenlearner.checkpoints import tf_checkpoint
from tf_tokenlearner.evaluation import score_files
from tf_tokenlearner.training import early_stopping
from tf_tokenlearner.training import optimizers
from tf_tokenlearner.training import progress
from tf_tokenlearner.training import trainer as trainer_lib

_STRATEGIES = ('one_device', 'mirrored', 'multi_worker_mirrored', 'tpu')


class ExperimentRunner(train_lib.OrbitExperimentRunner):
  """The Model Garden's runner, for folders of any name."""

  def _maybe_build_checkpoint_manager(self):
    theirs = super()._maybe_build_checkpoint_manager()
    return trainer_lib.CheckpointManager(
        self.trainer.checkpoint, theirs.directory,
        max_to_keep=self.params.trainer.max_to_keep,
        step_counter=self.trainer.global_step,
        checkpoint_interval=self.params.trainer.checkpoint_interval,
        init_fn=self.trainer.initialize)

  def run_to_end(self) -> str:
    """Runs to the end or an early stop; returns the reason for the latter."""
    try:
      self.run()
    except early_stopping.Stopped as stopped:
      self.controller.save_checkpoint()
      return str(stopped)
    return ''


class _Controller(orbit.Controller):
  """A controller that Ctrl-C does not stop between two actions' halves.

  The Model Garden saves moving averages in an action that swaps them with the
  weights, saves, and swaps them back.

  Attributes:
    stopping: counts evaluations in vain; None for none.
  """
  stopping: Optional[early_stopping.EarlyStopping] = None

  def __init__(self, *args, eval_actions=(), **kwargs):
    for action in eval_actions:
      if isinstance(action, actions.EMACheckpointing):
        theirs = action._checkpoint_manager  # pylint: disable=protected-access
        action._checkpoint_manager = trainer_lib.CheckpointManager(
            theirs.checkpoint, theirs.directory, max_to_keep=1,
            checkpoint_name='average_weights')
    super().__init__(
        *args, eval_actions=list(map(_uninterrupted, eval_actions)), **kwargs)


  def evaluate(self, steps: int = -1):
    output = super().evaluate(steps)
    if self.stopping:
      self.stopping.add(int(self.global_step.numpy()), output)
    return output


def _uninterrupted(action: Callable[[Any], None]) -> Callable[[Any], None]:
  def run(logs):
    with trainer_lib.uninterrupted():
      action(logs)
  return run


class _Divergence:
  """Train action that ends training when the loss is lost.

  The Model Garden would raise a RuntimeError after its attempts to recover.
  """

  def __init__(self, config: cfg.TrainerConfig):
    self._config = config
    self._failures = 0

  def __call__(self, step: int, loss: float) -> None:
    """Raises UserError if the loss is no number or too large too often."""
    config = self._config
    is_large = (step >= config.recovery_begin_steps
                and loss > config.loss_upper_bound)
    if not (math.isnan(loss) or is_large):
      return
    self._failures += 1
    if 0 <= config.recovery_max_trials < self._failures:
      raise errors.UserError(
          f'Training diverged: at step {step:,} the loss is {loss:g}, above '
          f'trainer.loss_upper_bound={config.loss_upper_bound:g}. Lower the '
          'learning rate, lengthen its warm-up or clip gradients; the last '
          'checkpoint is kept.')


def build(strategy: tf.distribute.Strategy, params: cfg.ExperimentConfig,
          run: run_folder.Run, mode: str, line: progress.Progress,
          keep_best: bool, after_loop: Callable[[int], None] = lambda step: None
          ) -> ExperimentRunner:
  """Builds the Model Garden's runner around our trainer.

  Args:
    strategy: of make_strategy.
    params: complete config.
    run: with its folder and class names.
    mode: 'train', 'train_and_eval' or 'eval'.
    line: receives the progress.
    keep_best: keep the best checkpoint and its scores by class.
    after_loop: called with the step after each loop of training steps.

  Raises:
    UserError: the latest checkpoint of the run does not fit the config.
  """
  _set_up(params)
  model_dir = run.folder
  params = params.replace(runtime=params.runtime.replace(
      num_gpus=_num_gpus(params)))  # The Garden compares it with 0 for XLA.
  task = task_factory.get_task(params.task, logging_dir=model_dir)
  is_training, is_evaluating = 'train' in mode, 'eval' in mode
  # Made here, not inside the trainer: gin wraps that, and garbles errors.
  datasets = {}
  if is_training:
    datasets['train_dataset'] = orbit.utils.make_distributed_dataset(
        strategy, task.build_inputs, params.task.train_data)
  if is_evaluating:
    datasets['validation_dataset'] = orbit.utils.make_distributed_dataset(
        strategy, task.build_inputs, params.task.validation_data)
  exporter = make_exporter(params, model_dir) if keep_best else None
  if is_training and task.class_weights:
    line.note(task.class_weights.describe())
  with strategy.scope():
    trainer = build_trainer(
        task, params, train=is_training, evaluate=is_evaluating,
        checkpoint_exporter=exporter, **datasets)
    if is_training:
      task.load_teacher(trainer.model)
  latest = run_folder.latest_checkpoint(model_dir)
  if latest:  # The runner is about to restore it.
    tf_checkpoint.require_fit(latest, trainer.model)
  step = lambda: int(trainer.global_step.numpy())
  divergence = _Divergence(params.trainer)
  if exporter and strategy.extended.should_checkpoint:
    exporter.on_better = lambda: score_files.write(
        run.scores_folder(), trainer.predictions.by_class.as_dict(
            run.names_of(params.task.model.num_classes)),
        {'step': step()})

  def after_train_loop(logs):
    logs = _numbers(logs)
    line.train(step(), logs)
    after_loop(step())
    divergence(step(), logs['training_loss'])

  runner = ExperimentRunner(
      strategy, task, mode, params, model_dir, trainer=trainer,
      # Evaluation of a run on a disk that cannot be written leaves no traces.
      save_summary=files.is_writable(model_dir),
      train_actions=[after_train_loop],
      eval_actions=[lambda logs: line.evaluate(step(), _numbers(logs))],
      controller_cls=_Controller)
  if is_training and is_evaluating and params.trainer.early_stopping:
    runner.controller.stopping = early_stopping.EarlyStopping(
        params.trainer, model_dir)
  return runner


def build_trainer(task, params: cfg.ExperimentConfig,
                  **kwargs) -> trainer_lib.Trainer:
  """Builds a trainer with a new model; kwargs are the trainer's."""
  model = task.build_model()
  return trainer_lib.Trainer(
      params, task, model, optimizers.create(task, params, model), **kwargs)


def make_strategy(params: cfg.ExperimentConfig) -> tf.distribute.Strategy:
  """Returns the strategy of a config.

  Raises:
    UserError: it is unknown, or the batch cannot be divided among its replicas.
  """
  runtime = params.runtime
  if runtime.distribution_strategy not in _STRATEGIES:
    raise errors.unknown_name(
        'runtime.distribution_strategy', runtime.distribution_strategy,
        _STRATEGIES)
  strategy = distribute_utils.get_distribution_strategy(
      distribution_strategy=runtime.distribution_strategy,
      all_reduce_alg=runtime.all_reduce_alg, num_packs=runtime.num_packs,
      num_gpus=_num_gpus(params), tpu_address=runtime.tpu)
  replicas = strategy.num_replicas_in_sync
  parts = params.trainer.gradient_accumulation_steps
  for name, data, divisor, what in (
      ('train_data', params.task.train_data, replicas * parts,
       f'{replicas} replicas'
       + (f' times trainer.gradient_accumulation_steps={parts}'
          if parts > 1 else '')),
      ('validation_data', params.task.validation_data, replicas,
       f'{replicas} replicas')):
    # None is fitted to the data later.
    if data.global_batch_size and data.global_batch_size % divisor:
      raise errors.UserError(
          f'task.{name}.global_batch_size={data.global_batch_size} must be a '
          f'multiple of the {what}.')
  return strategy


def _num_gpus(params: cfg.ExperimentConfig) -> int:
  """Returns runtime.num_gpus, or the number of GPUs if it is -1."""
  present = len(tf.config.list_physical_devices('GPU'))
  asked = params.runtime.num_gpus
  if asked > present:
    raise errors.UserError(
        f'runtime.num_gpus={asked}, but TensorFlow sees {present}.')
  return present if asked < 0 else asked


def _set_up(params: cfg.ExperimentConfig):
  """Sets precision and random seeds, which are global to the process."""
  if params.runtime.mixed_precision_dtype:
    performance.set_mixed_precision_policy(
        params.runtime.mixed_precision_dtype)
  if params.task.train_data.seed is not None:
    tf_keras.utils.set_random_seed(params.task.train_data.seed)
  if params.task.train_data.deterministic:
    # Else random augmentation in parallel draws in whatever order it runs.
    tf.config.experimental.enable_op_determinism()


def make_exporter(
    params: cfg.ExperimentConfig,
    model_dir: str) -> Optional[trainer_lib.BestCheckpointExporter]:
  """Returns the exporter of the best checkpoint; None if it is turned off."""
  trainer = params.trainer
  if not (trainer.best_checkpoint_export_subdir
          and trainer.best_checkpoint_eval_metric):
    return None
  return trainer_lib.BestCheckpointExporter(
      run_folder.Run(model_dir, '', params.as_dict(), ()).best_folder,
      trainer.best_checkpoint_eval_metric, trainer.best_checkpoint_metric_comp)


def _numbers(logs: orbit.runner.Output) -> Dict[str, float]:
  """Returns the scalars of nested logs as Python numbers."""
  flat = {name: value for name, value in logs.items()
          if not isinstance(value, dict) and not name.startswith('best_')}
  return {name: value if isinstance(value, int)
          else float(orbit.utils.get_value(value))
          for name, value in flat.items()}
