"""Runs one experiment: strategy, task, trainer, progress, last words."""

from typing import Dict, Iterable, Optional

import orbit
import tensorflow as tf
import tf_keras
from official.common import distribute_utils
from official.core import config_definitions as cfg
from official.core import task_factory
from official.core import train_lib
from official.core import train_utils
from official.modeling import performance

from tf_tokenlearner import errors
from tf_tokenlearner import quiet
from tf_tokenlearner import run_folder
from tf_tokenlearner.analysis import cost
from tf_tokenlearner.checkpoints import initialization
from tf_tokenlearner.checkpoints import tf_checkpoint
from tf_tokenlearner.configs import optimization
from tf_tokenlearner.tasks import classification_task
from tf_tokenlearner.training import addons_optimizers
from tf_tokenlearner.training import progress
from tf_tokenlearner.training import run_checks
from tf_tokenlearner.training import trainer as trainer_lib

_STRATEGIES = ('one_device', 'mirrored', 'multi_worker_mirrored', 'tpu')


def train(experiment: str, params: cfg.ExperimentConfig, model_dir: str,
          evaluate: bool) -> None:
  """Trains until trainer.train_steps, from the last checkpoint if there is one.

  Prints what came out. A finished run says so and does nothing.

  Args:
    experiment: registered name.
    params: its config, as experiments.parse gives it.
    model_dir: the folder of the run.
    evaluate: also evaluate every trainer.validation_interval steps, and keep
      the best checkpoint.

  Raises:
    UserError: data, config and folder do not go together, or the loss became
      NaN.
  """
  latest = run_checks.latest_of_run(experiment, model_dir)
  first_step = tf_checkpoint.global_step(latest) if latest else 0
  train_steps = params.trainer.train_steps
  if first_step >= train_steps:
    run_checks.refuse_changes(params, model_dir)
    print(f'Finished already: {latest} is at step {first_step:,} of '
          f'{train_steps:,}.')
    if evaluate and _was_killed_before_evaluation(params, model_dir, latest):
      _evaluate_each([latest], params, model_dir, keep_best=True)
    run_checks.report_best(
      run_checks.open_run(params, model_dir))
    return
  if params.task.init_checkpoint and not latest:
    initialization.find(params.task.init_checkpoint)  # Before anything slow.
  strategy = _make_strategy(params)
  label_names = classification_task.complete(params.task)
  run_checks.report_changes(params, model_dir)
  line = progress.Progress(
      train_steps, first_step, params.task.train_data.global_batch_size,
      params.trainer.validation_interval if evaluate else 0,
      unit=task_factory.get_task_cls(type(params.task)).EXAMPLES)
  line.note(f'{experiment} -> {model_dir}, ' + (
      f'continuing from step {first_step:,}' if latest
      else f'starting from {params.task.init_checkpoint or "random weights"}'))
  line.start('building the model and tracing the first step ...')
  with quiet.logging_to(model_dir, 'train.log'):
    runner = _build(
        strategy, params, model_dir,
        'train_and_eval' if evaluate else 'train', line, keep_best=evaluate)
    # Only now: a checkpoint that does not fit leaves the folder as it was.
    run_folder.save(run_folder.Run(
        model_dir, experiment, params.as_dict(), label_names))
    try:
      runner.run()
    except KeyboardInterrupt:
      runner.controller.save_checkpoint()
      step = tf_checkpoint.global_step(run_folder.latest_checkpoint(model_dir))
      line.note(f'Stopped at step {step:,}; the same command continues there.')
      raise
    except tf.errors.ResourceExhaustedError as error:
      if 'No space left' not in str(error):
        raise
      raise errors.UserError(
          f'The disk of {model_dir} is full: make room; the same command '
          'continues from the last checkpoint that was written.') from error
    except RuntimeError as error:
      if 'The loss value' not in str(error):
        raise
      raise errors.UserError(
          f'Training diverged: {error} Lower the learning rate, lengthen its '
          'warm-up or clip gradients; the last checkpoint is kept.') from error
    finally:
      line.close()
  _say_cost(params)
  run_checks.report_best(
      run_checks.open_run(params, model_dir))


def evaluate(params: cfg.ExperimentConfig, model_dir: str,
             checkpoint: str = '') -> Dict[str, float]:
  """Scores a checkpoint on the validation data and prints the scores.

  Args:
    params: the config of the run.
    model_dir: the folder of the run.
    checkpoint: path, '' for the run's best or else its latest.

  Raises:
    UserError: no checkpoint, or one that does not fit: never a score of random
      weights.
  """
  path = run_checks.open_run(params, model_dir).find_checkpoint(checkpoint)
  return _evaluate_each([path], params, model_dir)


def evaluate_continuously(params: cfg.ExperimentConfig, model_dir: str) -> None:
  """Scores every new checkpoint of a run beside it, until it has finished.

  Waits up to trainer.continuous_eval_timeout seconds for each, the first
  included, and keeps the best.

  Raises:
    UserError: none came in time, or one does not fit.
  """
  paths = tf.train.checkpoints_iterator(
      model_dir, timeout=params.trainer.continuous_eval_timeout)
  def until_finished():
    for path in paths:
      yield path
      if tf_checkpoint.global_step(path) >= params.trainer.train_steps:
        return

  if not _evaluate_each(until_finished(), params, model_dir, keep_best=True):
    raise errors.UserError(
        f'No checkpoint came to {model_dir} within '
        f'{params.trainer.continuous_eval_timeout} seconds.')
  run_checks.report_best(
      run_checks.open_run(params, model_dir))


def _evaluate_each(
    paths: Iterable[str], params: cfg.ExperimentConfig, model_dir: str,
    keep_best: bool = False) -> Dict[str, float]:
  """Scores of the last path, all printed."""
  strategy = _make_strategy(params)
  classification_task.complete(params.task)
  line = progress.Progress(params.trainer.train_steps, 0, 1)
  line.start('building the model ...')
  scores = {}
  with quiet.logging_to(model_dir, 'eval.log'):
    runner = _build(strategy, params, model_dir, 'eval', line, keep_best)
    trainer = runner.trainer
    for path in paths:
      tf_checkpoint.require_fit(path, trainer.model)
      with strategy.scope():
        runner.controller.restore_checkpoint(path)
        if run_folder.is_averaged(path):
          # Written while the averages stood in: evaluation swaps them again.
          _swap_averages(trainer)
        line.note(path)
        scores = runner.controller.evaluate(
            steps=params.trainer.validation_steps)
  return scores


def load_model(params: cfg.ExperimentConfig, path: str,
               policy: str = 'float32') -> tf_keras.Model:
  """The model of a run with the weights that evaluation would use.

  Args:
    params: the run's config.
    path: a checkpoint of it.
    policy: of Keras, in which types the model computes; weights are float32.

  Raises:
    UserError: the checkpoint does not fit.
  """
  before = tf_keras.mixed_precision.global_policy()
  tf_keras.mixed_precision.set_global_policy(policy)
  try:
    return _load_model(params, path)
  finally:
    tf_keras.mixed_precision.set_global_policy(before)


def _load_model(params: cfg.ExperimentConfig, path: str) -> tf_keras.Model:
  task = task_factory.get_task(params.task)
  averages = (params.trainer.optimizer_config.ema is not None
              or params.trainer.optimizer_config.optimizer.type == 'swa')
  if run_folder.is_averaged(path) or not averages:
    model = task.build_model()
    tf_checkpoint.require_fit(path, model)
    tf_checkpoint.read(path, model)
    return model
  # The averages are slots of the optimizer, which only a trainer restores.
  with tf.distribute.OneDeviceStrategy('/cpu:0').scope():  # EMA wants one.
    trainer = _build_trainer(task, params, train=False, evaluate=False)
    tf_checkpoint.require_fit(path, trainer.model)
    with tf_checkpoint.readable(path) as readable_path:
      trainer.checkpoint.restore(readable_path).expect_partial()
      _swap_averages(trainer)
  return trainer.model


def _build(strategy: tf.distribute.Strategy, params: cfg.ExperimentConfig,
           model_dir: str, mode: str, line: progress.Progress,
           keep_best: bool) -> train_lib.OrbitExperimentRunner:
  """The Garden's runner around our trainer."""
  _set_up(params)
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
  with strategy.scope():
    trainer = _build_trainer(
        task, params, train=is_training, evaluate=is_evaluating,
        checkpoint_exporter=(
            _make_exporter(params, model_dir) if keep_best else None),
        **datasets)
  latest = run_folder.latest_checkpoint(model_dir)
  if latest:  # The runner is about to restore it.
    tf_checkpoint.require_fit(latest, trainer.model)
  step = lambda: int(trainer.global_step.numpy())
  return train_lib.OrbitExperimentRunner(
      strategy, task, mode, params, model_dir, trainer=trainer,
      train_actions=[lambda logs: line.train(step(), _numbers(logs))],
      eval_actions=[lambda logs: line.evaluate(step(), _numbers(logs))])


def _build_trainer(task, params: cfg.ExperimentConfig,
                   **kwargs) -> trainer_lib.Trainer:
  optimizer = params.trainer.optimizer_config.optimizer.type
  if optimizer in optimization.ADDONS_OPTIMIZERS:
    addons_optimizers.register(optimizer)
  return trainer_lib.Trainer(
      params, task, task.build_model(),
      train_utils.create_optimizer(task, params), **kwargs)


def _make_strategy(params: cfg.ExperimentConfig) -> tf.distribute.Strategy:
  runtime = params.runtime
  if runtime.distribution_strategy not in _STRATEGIES:
    raise errors.unknown_name(
        'runtime.distribution_strategy', runtime.distribution_strategy,
        _STRATEGIES)
  strategy = distribute_utils.get_distribution_strategy(
      distribution_strategy=runtime.distribution_strategy,
      all_reduce_alg=runtime.all_reduce_alg, num_packs=runtime.num_packs,
      num_gpus=_num_gpus(params), tpu_address=runtime.tpu)
  for name, data in (('train_data', params.task.train_data),
                     ('validation_data', params.task.validation_data)):
    if data.global_batch_size % strategy.num_replicas_in_sync:
      raise errors.UserError(
          f'task.{name}.global_batch_size={data.global_batch_size} must be a '
          f'multiple of the {strategy.num_replicas_in_sync} replicas.')
  return strategy


def _num_gpus(params: cfg.ExperimentConfig) -> int:
  """runtime.num_gpus, or all there are for -1, which a run saves as it is."""
  present = len(tf.config.list_physical_devices('GPU'))
  asked = params.runtime.num_gpus
  if asked > present:
    raise errors.UserError(
        f'runtime.num_gpus={asked}, but TensorFlow sees {present}.')
  return present if asked < 0 else asked


def _set_up(params: cfg.ExperimentConfig):
  """What is global to a process: precision and randomness."""
  if params.runtime.mixed_precision_dtype:
    performance.set_mixed_precision_policy(
        params.runtime.mixed_precision_dtype)
  if params.task.train_data.seed is not None:
    tf_keras.utils.set_random_seed(params.task.train_data.seed)
  if params.task.train_data.deterministic:
    # Else random augmentation in parallel draws in whatever order it runs.
    tf.config.experimental.enable_op_determinism()


def _make_exporter(
    params: cfg.ExperimentConfig,
    model_dir: str) -> Optional[trainer_lib.BestCheckpointExporter]:
  trainer = params.trainer
  if not (trainer.best_checkpoint_export_subdir
          and trainer.best_checkpoint_eval_metric):
    return None
  return trainer_lib.BestCheckpointExporter(
      run_checks.open_run(params, model_dir).best_folder,
      trainer.best_checkpoint_eval_metric, trainer.best_checkpoint_metric_comp)


def _was_killed_before_evaluation(
    params: cfg.ExperimentConfig, model_dir: str, latest: str) -> bool:
  exporter = _make_exporter(params, model_dir)
  return (exporter is not None
          and exporter.last_step() < tf_checkpoint.global_step(latest))


def _say_cost(params: cfg.ExperimentConfig):
  model = params.task.model
  count = lambda spec: cost.classifier_cost(
      spec, model.input_size, model.num_classes)
  spec = model.backbone.get().completed(tuple(model.input_size))
  ours = count(spec)
  example = task_factory.get_task_cls(type(params.task)).EXAMPLE
  text = (f'{ours.parameters:,} parameters, {ours.macs / 1e6:,.2f} M '
          f'multiply-accumulates {example}')
  plain = cost.without_token_learner(spec)
  if plain is not None:
    macs = count(plain).macs
    text += (f';\nthe same model without TokenLearner: {macs / 1e6:,.2f} M, '
             f'{macs / ours.macs:.1f} times as many')
  print(text + '.')


def _swap_averages(trainer: trainer_lib.Trainer):
  """Puts averaged weights, if there are any, where the others were."""
  if hasattr(trainer.optimizer, 'swap_weights'):  # The Garden's EMA.
    trainer.optimizer.swap_weights()
  addons_optimizers.swap_averages(trainer.optimizer, trainer.model)


def _numbers(logs: orbit.runner.Output) -> Dict[str, float]:
  """Scalars of nested logs as Python numbers."""
  flat = {name: value for name, value in logs.items()
          if not isinstance(value, dict) and not name.startswith('best_')}
  return {name: value if isinstance(value, int)
          else float(orbit.utils.get_value(value))
          for name, value in flat.items()}
