"""The data of classification tasks: completed configs and input pipelines."""

import functools
from typing import Callable, List, Optional, Sequence, Tuple

import numpy as np
from official.core import base_task
from official.core import config_definitions as cfg
import tensorflow as tf

from tf_tokenlearner.configs import classification as config
from tf_tokenlearner.data import batching
from tf_tokenlearner.data import class_lists
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner.data import resizing
from tf_tokenlearner import errors
from tf_tokenlearner.tasks import class_names
from tf_tokenlearner.tasks import class_weights
from tf_tokenlearner.tasks import config_checks
from tf_tokenlearner.tasks import distillation
from tf_tokenlearner.tasks import frozen_features
from tf_tokenlearner.tasks import mirroring


class DataTask(base_task.Task):
  """Base class of tasks: opens, completes and batches labelled examples.

  Attributes:
    INPUT_AXES: names of the axes of model.input_size.
    EXAMPLE: an example in words, with its article.
    EXAMPLES: several examples in words.
  """

  INPUT_AXES: Tuple[str, ...]
  EXAMPLE: str
  EXAMPLES: str

  # The input pipeline of the subclass: functions of one module of data/.
  open_source: Callable[..., Optional[labelled_source.LabelledSource]]
  check_data: Callable[..., None]
  build_dataset: Callable[..., tf.data.Dataset]
  build_examples: Callable[..., tf.data.Dataset]
  build_ordered: Callable[..., tf.data.Dataset]
  random_options: Callable[..., List[str]]

  @classmethod
  def complete(cls, task: config.ClassificationTask,
               label_names: Sequence[str] = (), is_training: bool = True,
               by_name: bool = False) -> Tuple[str, ...]:
    """Completes a config from its data, and checks one against the other.

    Sets model.num_classes, the source of validation_data where it has none,
    aug_rand_hflip where it is None, and label_names if there is a label_map.
    Prepares the data if they are not, and says so.

    Args:
      task: config; changed.
      label_names: classes of the run so far; () for a new run.
      is_training: False opens the training data only if they are needed.
      by_name: the validation data may lack classes, and may have them in
        another order; classes are matched by name.

    Returns:
      The names of the model's classes; () if the data (TFRecord) have none.

    Raises:
      UserError: data cannot be read or do not fit the config.
    """
    cls.check_options(task)
    train, validation = task.train_data, task.validation_data
    config_checks.inherit_source(train, validation, task.SOURCE_KEYS)
    names = tuple(label_names) or tuple(task.label_names)
    source = None
    # Evaluation does without the training data if it can: they may be gone.
    if is_training or not names or task.losses.loss == 'sigmoid':
      source = cls.open_source(train)
      if source:
        config_checks.check_labels(task, source)
        names = class_names.check('train_data', train, source, names)
      elif not task.model.num_classes:
        raise errors.UserError(
            'TFRecord files do not tell the number of classes: set '
            'task.model.num_classes.')
      class_weights.check(task, source, names)
    validation_source = cls.open_source(validation)
    if by_name and not names:
      raise errors.UserError(
          'Expected a run with class names, got one of TFRecord files. Set '
          'task.label_names to the names in the order of the labels.')
    if validation_source and names:
      if by_name:
        class_names.match_by_name(validation, validation_source, names)
      class_names.check('validation_data', validation, validation_source, names)
      if source and source.multi_label and not validation_source.multi_label:
        raise errors.UserError(
            'Training data have several labels an example, validation data '
            'one: a model that answers with several cannot be scored by it.')
    if names:
      if task.model.num_classes not in (0, len(names)):
        raise errors.UserError(
            f'task.model.num_classes={task.model.num_classes}, but '
            f'{train.tfds_name or train.input_path} has {len(names)} classes. '
            'Leave it out to take the data set\'s.')
      task.model.num_classes = len(names)
    if train.label_map or validation.label_map:
      task.label_names = list(names)
    for data in (train, validation):
      if data.aug_rand_hflip is None:
        data.aug_rand_hflip = mirroring.may_mirror(data, names)
    config_checks.check_frozen(task, task.model.backbone.get().completed(
        tuple(task.model.input_size)))
    frozen_features.check(task, cls.random_options(train))
    if is_training:
      distillation.check(task, names)
    return names

  @classmethod
  def check_options(cls, task: config.ClassificationTask):
    """Refuses values that do not work, and options that would be ignored."""
    config_checks.check(task, cls.INPUT_AXES)
    for name in ('train_data', 'validation_data'):
      cls.check_data(name, getattr(task, name), task.model.input_size,
                     resizing.of_task(task))

  def examples(self, count: int) -> np.ndarray:
    """Returns the first training examples, as evaluation sees them.

    They are the same on every worker: the workers' weights must not differ.
    """
    data = self.task_config.train_data.replace(
        is_training=False, drop_remainder=False, global_batch_size=count,
        mixup_and_cutmix=None, cache=False, enable_tf_data_service=False)
    examples, _ = next(iter(self.build_inputs(data)))
    is_one_view = examples.shape.rank == len(
        self.task_config.model.input_size) + 1
    return (examples if is_one_view else examples[:, 0]).numpy()

  def evaluation_examples(
      self, select: batching.Select = batching.select_all,
      label_names: Sequence[str] = ()) -> tf.data.Dataset:
    """Returns validation examples as stored, as the network sees them, labels.

    A video gives one view, the middle one, whatever evaluation averages.

    Args:
      select: chooses among the examples before they are decoded.
      label_names: classes of the model; () if they have no names.

    Raises:
      UserError: the data have other classes.
    """
    params, model = self.task_config.validation_data, self.task_config.model
    source = self._open(params)
    if source and label_names:
      class_lists.require_same(
          source.label_names, label_names, 'task.validation_data',
          'task.validation_data.label_map')
    return self.build_examples(
        params, source, model.input_size, model.num_classes,
        self._has_many_labels(source), select,
        resizing.of_task(self.task_config))

  def build_inputs(
      self, params,
      input_context: Optional[tf.distribute.InputContext] = None
  ) -> tf.data.Dataset:
    source = self.open(params)
    if params.aug_rand_hflip is None:  # The config was not completed.
      params = params.replace(aug_rand_hflip=mirroring.may_mirror(
          params, source.label_names if source else ()))
    model_config = self.task_config.model
    return self.build_dataset(
        params, source, model_config.input_size, model_config.num_classes,
        multi_label=self._has_many_labels(source), input_context=input_context,
        resizing=resizing.of_task(self.task_config))

  def ordered_examples(self, params: cfg.DataConfig,
                       num_copies: int = 1) -> tf.data.Dataset:
    """Returns (pixels, label) of each example in order, num_copies times.

    Pixels are those of build_inputs, of training or of evaluation.
    """
    source = self.open(params)
    model_config = self.task_config.model
    return self.build_ordered(
        params, source, model_config.input_size, model_config.num_classes,
        self._has_many_labels(source), num_copies,
        resizing.of_task(self.task_config))

  def open(
      self, params: cfg.DataConfig) -> Optional[labelled_source.LabelledSource]:
    """Returns the examples that training or evaluation uses, with our labels.

    TFRecord files have no source.
    """
    source = self._open(params)
    if (source and self._has_many_labels(source) and not params.is_training
        and not self._learns_many_labels):
      source = class_names.only_labelled(source)
    return source

  def _open(
      self, params: cfg.DataConfig) -> Optional[labelled_source.LabelledSource]:
    """Opens a source; its labels are the model's, whatever they are called."""
    source = self.open_source(params)
    return source and class_names.as_model(
        params, source, self.task_config.label_names)

  @functools.cached_property
  def _learns_many_labels(self) -> bool:
    """Whether training examples have several labels."""
    with tf.init_scope():  # May be asked for while a step is traced.
      # Training data with several labels need the sigmoid loss.
      return (self.task_config.losses.loss == 'sigmoid'
              and self._has_many_labels(
                  self.open_source(self.task_config.train_data)))

  @functools.cached_property
  def _evaluates_many_labels(self) -> bool:
    """Whether evaluation scores the whole set, of several labels an example."""
    with tf.init_scope():
      return self._learns_many_labels and self._has_many_labels(
          self.open_source(self.task_config.validation_data))

  def _has_many_labels(
      self, source: Optional[labelled_source.LabelledSource]) -> bool:
    # TFRecord files do not say how many labels an example has.
    return (source.multi_label if source
            else self.task_config.losses.loss == 'sigmoid')
