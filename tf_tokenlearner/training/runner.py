"""Trains and evaluates experiments, and reports progress and results."""

import itertools
import time
from typing import Any, Dict, Iterable, Iterator, Optional, Sequence, Tuple

import tensorflow as tf
import tf_keras
from official.core import config_definitions as cfg
from official.core import task_factory

from tf_tokenlearner import cli
from tf_tokenlearner import errors
from tf_tokenlearner import quiet
from tf_tokenlearner import run_folder
from tf_tokenlearner.analysis import cost
from tf_tokenlearner.checkpoints import initialization
from tf_tokenlearner.checkpoints import tf_checkpoint
from tf_tokenlearner.configs import epochs
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import class_lists
from tf_tokenlearner.tasks import classification_task
from tf_tokenlearner.tasks import metrics
from tf_tokenlearner.tasks import mirroring
from tf_tokenlearner.training import early_stopping
from tf_tokenlearner.training import experiment_runner
from tf_tokenlearner.training import feature_cache
from tf_tokenlearner.training import memory
from tf_tokenlearner.training import progress
from tf_tokenlearner.training import run_checks


_RECORD_SECONDS = 30.  # Between two updates of the record of training.


class _Record:
  """The record of a training in its run folder: time, cost, step.

  Args:
    run: the run.
    first_step: step at which training starts; above 0 after a restart, which
      continues the record.
    is_written: False for a worker whose chief writes it.
    **cost: what else to record.
  """

  def __init__(self, run: run_folder.Run, first_step: int, is_written: bool,
               **cost: int):
    before = run.training().get('seconds') if first_step else 0.
    self._folder, self._is_written, self._cost = run.folder, is_written, cost
    self._seconds_before = before  # None: an older version did not record it.
    self._start, self._last_time = time.monotonic(), float('-inf')

  def update(self, step: int) -> None:
    """Writes the record, unless it was written a moment ago."""
    if time.monotonic() - self._last_time > _RECORD_SECONDS:
      self.write(step)

  def write(self, step: int, is_finished: bool = False) -> None:
    """Writes the record; is_finished says that training ended by itself."""
    self._last_time = time.monotonic()
    seconds = {} if self._seconds_before is None else {'seconds': round(
        self._seconds_before + self._last_time - self._start, 1)}
    if self._is_written:
      run_folder.write_training(self._folder, {
          'step': step, 'is_finished': is_finished, **seconds, **self._cost})


def train(experiment: str, params: cfg.ExperimentConfig, model_dir: str,
          evaluate: bool) -> None:
  """Trains to the end or an early stop, from the latest checkpoint if any.

  Prints the result. A finished run is reported and left as it is.

  Args:
    experiment: registered name.
    params: its config, from experiments.parse.
    model_dir: the folder of the run.
    evaluate: also evaluate every trainer.validation_interval steps, and keep
      the best checkpoint.

  Raises:
    UserError: data, config and folder do not go together, another process
      trains in the folder, or the loss diverged.
  """
  latest = run_checks.latest_of_run(experiment, model_dir)
  first_step = tf_checkpoint.global_step(latest) if latest else 0
  run = run_checks.open_run(params, model_dir, experiment)
  if latest:
    experiments.continue_run(params, run)
  finished = _finished(params, model_dir, first_step, evaluate)
  if latest and finished is not None:
    _report_finished(params, run, latest, evaluate, finished)
    return
  start = run.start
  if params.task.init_checkpoint and not latest:
    initialization.find(params.task.init_checkpoint)  # Before anything slow.
    start = initialization.origin(params.task.init_checkpoint)
  strategy = experiment_runner.make_strategy(params)
  with run_folder.training_lock(
      model_dir, is_needed=strategy.extended.should_checkpoint):
    label_names = classification_task.complete(params.task, run.label_names)
    num_examples = run.num_examples
    has_epochs = params.trainer.epochs and not num_examples
    if has_epochs or epochs.unknown(params):
      num_examples = classification_task.num_training_examples(params.task)
      experiments.complete(
          params, num_examples, strategy.num_replicas_in_sync)
    run_checks.report_changes(params, model_dir)
    line = progress.Progress(
        params.trainer.train_steps, first_step,
        params.task.train_data.global_batch_size,
        params.trainer.validation_interval if evaluate else 0,
        unit=_task_class(params).EXAMPLES)
    line.note(f'{experiment} -> {model_dir}, ' + (
        f'continuing from step {first_step:,}' if latest else
        f'starting from {params.task.init_checkpoint or "random weights"}'))
    if label_names:
      line.note(class_lists.describe(label_names))
    if num_examples:
      line.note(epochs.describe(params, num_examples))
    if params.trainer.early_stopping and not evaluate:
      line.note('trainer.early_stopping needs evaluations: it has no effect '
                'with --mode=train.')
    note = mirroring.note(params.task.train_data, label_names)
    if note:
      line.note(note)
    model_arguments = _model_arguments(params)
    counted = cost.classifier_cost(*model_arguments)
    record = _Record(
        run, first_step, is_written=strategy.extended.should_checkpoint,
        macs=counted.macs, parameters=counted.parameters)
    with quiet.logging_to(model_dir, 'train.log'):
      _train(run_folder.Run(model_dir, experiment, params.as_dict(),
                            label_names, start=start,
                            num_examples=num_examples),
             params, strategy, line, record, first_step, evaluate)
  print(cost.summary(
      counted, *model_arguments, example=_task_class(params).EXAMPLE))
  run_checks.report_best(run_checks.open_run(params, model_dir))


def _report_finished(params: cfg.ExperimentConfig, run: run_folder.Run,
                     latest: str, evaluate: bool, reason: str) -> None:
  """Prints the result of a finished run; makes up for its last evaluation.

  Args:
    params: config of the run.
    run: the run.
    latest: its latest checkpoint.
    evaluate: whether to make up for a last evaluation.
    reason: why it ended before its last step; '' if it did not.

  Raises:
    UserError: the config or the classes of the data differ from the run's, or
      another process writes to the folder.
  """
  run_checks.refuse_changes(params, run.folder)
  train_data = params.task.train_data
  # Data by name keep their classes, and need not be prepared again.
  if tf.io.gfile.exists(str(train_data.input_path or train_data.tfds_name)):
    classification_task.complete(params.task, run.label_names)
  step = tf_checkpoint.global_step(latest)
  print(f'Finished already: {latest} is at step {step:,} of '
        f'{params.trainer.train_steps:,}. {reason}'.rstrip())
  exporter = experiment_runner.make_exporter(params, run.folder)
  if evaluate and exporter and exporter.last_step() < step:
    _evaluate_each([latest], params, run, keep_best=True, lock=True)
  run_checks.report_best(run)


def _finished(params: cfg.ExperimentConfig, model_dir: str, step: int,
              evaluate: bool) -> Optional[str]:
  """Returns the reason why a run is over, '' if it is complete; else None."""
  if params.trainer.train_steps and step >= params.trainer.train_steps:
    return ''
  return early_stopping.reason_to_stop(
      params.trainer, model_dir) if evaluate else None


def _train(run: run_folder.Run, params: cfg.ExperimentConfig,
           strategy: tf.distribute.Strategy, line: progress.Progress,
           record: _Record, first_step: int, evaluate: bool) -> None:
  """Runs the training loop; saves the weights if Ctrl-C ends it."""
  line.wait('building the model ...')
  try:
    runner = experiment_runner.build(
        strategy, params, run, 'train_and_eval' if evaluate else 'train', line,
        keep_best=evaluate, after_loop=record.update)
    # Only now: a checkpoint that does not fit leaves the folder as it was.
    run_folder.save(run)
    feature_cache.use(runner.trainer, run.folder, evaluate, line.note)
    line.wait('tracing the first step ...')
    line.count(lambda: int(runner.trainer.global_step.numpy()))
    cli.set_interrupt_notice(
        'Waiting for the steps that run, then saving a checkpoint ...')
    try:
      with memory.advice(params):
        reason = runner.run_to_end()
      if reason:
        line.note(reason)
      record.write(int(runner.trainer.global_step.numpy()), is_finished=True)
    except KeyboardInterrupt:
      with strategy.scope():  # Evaluation may have been interrupted.
        runner.trainer.use_averages(False)
      step = int(runner.trainer.global_step.numpy())
      if step > first_step:
        runner.controller.save_checkpoint()
      record.write(step)
      line.note(f'Stopped at step {step:,}; the same command continues there.')
      raise
    finally:
      cli.set_interrupt_notice('Stopping ...')
  finally:
    line.close()


def evaluate(params: cfg.ExperimentConfig, model_dir: str,
             checkpoint: str = '') -> Dict[str, float]:
  """Scores a checkpoint on the validation data and prints the scores.

  Args:
    params: config of the run, perhaps with other validation data.
    model_dir: the folder of the run; need not be writable.
    checkpoint: path; '' for the run's best checkpoint or else its latest.

  Raises:
    UserError: there is no checkpoint, it does not fit, or the data have other
      classes than the run.
  """
  run = run_checks.open_run(params, model_dir)
  return evaluate_predictions(params, run, run.find_checkpoint(checkpoint))[0]


def evaluate_predictions(
    params: cfg.ExperimentConfig, run: run_folder.Run, checkpoint: str,
    by_name: bool = False) -> Tuple[Dict[str, float], metrics.Predictions]:
  """Scores a checkpoint as `evaluate` does; also returns its predictions.

  Args:
    params: config of the run, perhaps with other validation data; completed.
    run: the run.
    checkpoint: path.
    by_name: as in ClassificationTask.complete.

  Raises:
    UserError: the checkpoint does not fit, or the data have other classes.
  """
  return _evaluate_each([checkpoint], params, run, by_name=by_name)


def evaluate_continuously(params: cfg.ExperimentConfig, model_dir: str) -> None:
  """Scores every new checkpoint of a run beside it, until it has finished.

  Waits up to trainer.continuous_eval_timeout seconds for each checkpoint, the
  first included, and keeps the best.

  Raises:
    UserError: no checkpoint was written in time, or one does not fit.
  """
  timeout = params.trainer.continuous_eval_timeout
  late = errors.UserError(
      f'No checkpoint came to {model_dir} within {timeout} seconds.')
  if epochs.unknown(params):  # The run will know its data.
    deadline = time.monotonic() + timeout
    while not run_folder.exists(model_dir):
      if time.monotonic() > deadline:
        raise late
      time.sleep(min(1., timeout))
    experiments.continue_run(params, run_folder.load(model_dir))
  paths = _until_finished(model_dir, timeout, params.trainer.train_steps)
  first = next(paths, None)
  if first is None:
    raise late
  # Only now: the class names are saved before the first checkpoint.
  run = run_checks.open_run(params, model_dir)
  _evaluate_each(itertools.chain([first], paths), params, run, keep_best=True)
  run_checks.report_best(run_checks.open_run(params, model_dir))


def _until_finished(
    folder: str, timeout: float, train_steps: int) -> Iterator[str]:
  """Yields each new checkpoint in a folder, the last one at train_steps."""
  path = None
  while path is None or tf_checkpoint.global_step(path) < train_steps:
    deadline = time.monotonic() + timeout
    before = path
    while (path := run_folder.latest_checkpoint(folder)) in (None, before):
      if time.monotonic() > deadline:
        return
      time.sleep(min(1., timeout))
    yield path


def _evaluate_each(
    paths: Iterable[str], params: cfg.ExperimentConfig, run: run_folder.Run,
    keep_best: bool = False, by_name: bool = False, lock: bool = False
) -> Tuple[Dict[str, float], metrics.Predictions]:
  """Prints the scores of each path; returns scores, predictions of the last."""
  strategy = experiment_runner.make_strategy(params)
  classification_task.complete(
      params.task, run.label_names, is_training=False, by_name=by_name)
  line = progress.Progress(params.trainer.train_steps, 0, 1)
  line.wait('building the model ...')
  try:
    with run_folder.training_lock(
        run.folder, is_needed=lock and strategy.extended.should_checkpoint
    ), quiet.logging_to(run.folder, 'eval.log', optional=not keep_best):
      runner = experiment_runner.build(
          strategy, params, run, 'eval', line, keep_best)
      trainer = runner.trainer
      for path in paths:
        tf_checkpoint.require_fit(path, trainer.model)
        with strategy.scope():
          runner.controller.restore_checkpoint(run_folder.readable(path))
          trainer.uses_averages = run_folder.is_averaged(path)
          line.note(path)
          line.wait('evaluating ...')
          scores = runner.controller.evaluate(
              steps=params.trainer.validation_steps)
  finally:
    line.close()
  return scores, trainer.predictions


def load_model(params: cfg.ExperimentConfig, path: str,
               policy: str = 'float32') -> tf_keras.Model:
  """Returns the model of a run with the weights that evaluation uses.

  Args:
    params: config of the run.
    path: a checkpoint of the run.
    policy: Keras policy for the types of computation; weights are float32.

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
    trainer = experiment_runner.build_trainer(
        task, params, train=False, evaluate=False)
    tf_checkpoint.require_fit(path, trainer.model)
    trainer.checkpoint.restore(run_folder.readable(path)).expect_partial()
    trainer.use_averages(True)
  return trainer.model


def _model_arguments(params: cfg.ExperimentConfig) -> Sequence[Any]:
  """Returns the spec, the input size and the number of classes of a model."""
  model = params.task.model
  return model.backbone.get(), model.input_size, model.num_classes


def _task_class(params: cfg.ExperimentConfig) -> type:
  return task_factory.get_task_cls(type(params.task))
