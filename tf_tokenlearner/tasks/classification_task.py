"""Image and video classification as tasks of the Model Garden's trainer."""

import dataclasses
import functools
from typing import Callable, List, Optional, Tuple

import numpy as np
from official.core import base_task
from official.core import config_definitions as cfg
from official.core import task_factory
from official.vision.modeling.backbones import factory
import tensorflow as tf
import tf_keras

from tf_tokenlearner import backbones
from tf_tokenlearner.checkpoints import initialization
from tf_tokenlearner.checkpoints import token_learner_init
from tf_tokenlearner.checkpoints import transfer
from tf_tokenlearner.configs import classification as config
from tf_tokenlearner.configs import image_classification as image_config
from tf_tokenlearner.configs import video_classification as video_config
from tf_tokenlearner.data import batching
from tf_tokenlearner.data import image_pipeline
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner.data import video_pipeline
from tf_tokenlearner import errors
from tf_tokenlearner.tasks import metrics as metrics_lib


class ClassificationTask(base_task.Task):
  """Examples in, one label or many out.

  The Garden's training step, optimizers and metrics loop are used as they are;
  this class gives them the model, the batches, the loss, and mean average
  precision where examples have several labels.

  A model of one label may be evaluated on examples with several, such as
  ImageNet's ReaL labels (Beyer et al. 2020, arXiv 2006.07159), each of them
  right: accuracy is the share of examples whose best class is among their
  labels, the loss takes each label as an equal share of the answer, and
  examples without a label are left out.

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

  @classmethod
  def complete(cls, task: config.ClassificationTask) -> Tuple[str, ...]:
    """Completes a config from its data, and checks one against the other.

    Sets model.num_classes, and the source of validation_data where it has none.
    Prepares the data if they are not, and says so.

    Returns:
      The names of the classes; () if the data (TFRecord) have none.

    Raises:
      UserError: data cannot be read or do not fit the config.
    """
    cls.check_options(task)
    train, validation = task.train_data, task.validation_data
    if not (validation.tfds_name or validation.input_path):
      _inherit(train, validation, task.SOURCE_KEYS)
    source = cls.open_source(train)
    if source is None:
      if not task.model.num_classes:
        raise errors.UserError(
            'TFRecord files do not tell the number of classes: set '
            'task.model.num_classes.')
      names = ()
    else:
      names = source.label_names
      if task.model.num_classes not in (0, source.num_classes):
        raise errors.UserError(
            f'task.model.num_classes={task.model.num_classes}, but '
            f'{train.tfds_name or train.input_path} has {source.num_classes} '
            'classes. Leave it out to take the data set\'s.')
      if source.multi_label and task.losses.loss != 'sigmoid':
        raise errors.UserError(
            f'{train.tfds_name} has several labels an example: set '
            'task.losses.loss=sigmoid.')
      if source.multi_label and train.mixup_and_cutmix:
        raise errors.UserError(
            f'{train.tfds_name} has several labels an example, which '
            'task.train_data.mixup_and_cutmix cannot mix.')
      task.model.num_classes = source.num_classes
      for data, its_source in (
          (train, source), (validation, cls.open_source(validation))):
        if its_source:
          its_source.num_examples(data.tfds_split)  # Refuses unknown splits.
          _require_same_labels(source, its_source)
    task.model.backbone.get().completed(tuple(task.model.input_size))
    return names

  @classmethod
  def check_options(cls, task: config.ClassificationTask):
    """Refuses options that a task would have to ignore."""
    _check_options(task)
    if len(task.model.input_size) != len(cls.INPUT_AXES):
      raise errors.UserError(
          f'task.model.input_size must be [{", ".join(cls.INPUT_AXES)}], '
          f'received {list(task.model.input_size)}.')
    for name in ('train_data', 'validation_data'):
      cls.check_data(
          name, getattr(task, name), task.model.input_size)

  def build_model(self) -> backbones.Classifier:
    model_config = self.task_config.model
    backbone = factory.build_backbone(
        input_specs=tf_keras.layers.InputSpec(
            shape=[None, *model_config.input_size]),
        backbone_config=model_config.backbone,
        norm_activation_config=None)
    backbone.trainable = not self.task_config.freeze_backbone
    return backbones.Classifier(
        backbone, model_config.num_classes, model_config.dropout_rate,
        model_config.head_bias)

  def initialize(self, model: backbones.Classifier):
    """Starts from init_checkpoint, if one is given."""
    self.start(model)

  def start(self, model: backbones.Classifier, **options):
    """As initialize; options are of checkpoints.initialize."""
    task = self.task_config
    if task.init_checkpoint:
      initialization.initialize(
          model, task.init_checkpoint, task.init_checkpoint_modules,
          examples=self.examples if task.init_token_learner == 'mean' else None,
          **options)

  def examples(self, count: int) -> np.ndarray:
    """The first training examples, as evaluation sees them.

    So they are the same on every worker, whose weights must not differ.
    """
    data = self.task_config.train_data.replace(
        is_training=False, drop_remainder=False, global_batch_size=count,
        mixup_and_cutmix=None, cache=False, enable_tf_data_service=False)
    examples, _ = next(iter(self.build_inputs(data)))
    is_one_view = examples.shape.rank == len(
        self.task_config.model.input_size) + 1
    return (examples if is_one_view else examples[:, 0]).numpy()

  def evaluation_examples(
      self, select: batching.Select = batching.select_all) -> tf.data.Dataset:
    """Returns validation examples as stored, as the network sees them, labels.

    A video gives one view, the middle one, whatever evaluation averages.

    Args:
      select: chooses among the examples before they are decoded.
    """
    params, model = self.task_config.validation_data, self.task_config.model
    source = self.open_source(params)
    return self.build_examples(
        params, source, model.input_size, model.num_classes,
        self._has_many_labels(source), select)

  def build_inputs(
      self, params,
      input_context: Optional[tf.distribute.InputContext] = None
  ) -> tf.data.Dataset:
    source = self.open_source(params)
    multi_label = self._has_many_labels(source)
    if (source and multi_label and not params.is_training
        and not self._learns_many_labels):
      source = dataclasses.replace(source, select=labelled_source.only_labelled)
    model_config = self.task_config.model
    return self.build_dataset(
        params, source, model_config.input_size, model_config.num_classes,
        multi_label=multi_label, input_context=input_context)

  @functools.cached_property
  def _learns_many_labels(self) -> bool:
    """Whether training examples have several labels."""
    with tf.init_scope():  # May be asked for while a step is traced.
      return self._has_many_labels(
          self.open_source(self.task_config.train_data))

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

  def build_losses(self, labels, model_outputs, aux_losses=None) -> tf.Tensor:
    losses = self.task_config.losses
    loss = metrics_lib.mean_loss(metrics_lib.example_losses(
        labels, model_outputs, losses.loss, losses.label_smoothing))
    return tf.add_n([loss, *aux_losses]) if aux_losses else loss

  def build_metrics(
      self, training: bool = True) -> List[tf_keras.metrics.Metric]:
    del training
    return metrics_lib.build_metrics(self.task_config.model.num_classes)

  def whole_set_scores(self) -> Tuple[str, ...]:
    """Names of the scores that reduce_aggregated_logs adds."""
    return (metrics_lib.NAMES if self._evaluates_many_labels else ())

  def validation_step(self, inputs, model, metrics=None):
    """As the base class; with many labels, what the whole set is scored by."""
    examples, labels = inputs
    logits = tf.cast(self.inference_step(examples, model), tf.float32)
    logs = {self.loss: self.build_losses(labels, logits, model.losses)}
    self.process_metrics(metrics or [], labels, logits)
    if self._evaluates_many_labels:
      logs.update(labels=labels, logits=logits)
    return logs

  def aggregate_logs(self, state=None, step_outputs=None):
    """Collects labels and logits of every batch, on the host."""
    if not self._evaluates_many_labels:
      return state
    state = state or metrics_lib.Collector()
    state.add(step_outputs['labels'], step_outputs['logits'])
    return state

  def reduce_aggregated_logs(self, aggregated_logs, global_step=None):
    del global_step
    return aggregated_logs.scores()


def _require_same_labels(train: labelled_source.LabelledSource,
                         validation: labelled_source.LabelledSource):
  """A label must mean the same in both."""
  if validation.num_classes != train.num_classes:
    raise errors.UserError(
        f'Training data have {train.num_classes} classes, validation data '
        f'{validation.num_classes}.')
  for label, (ours, theirs) in enumerate(
      zip(train.label_names, validation.label_names)):
    if ours != theirs:
      raise errors.UserError(
          f'Label {label} is {ours!r} in the training data and {theirs!r} in '
          'the validation data: both must have the same classes.')
  if train.multi_label and not validation.multi_label:
    raise errors.UserError(
        'Training data have several labels an example, validation data one: a '
        'model that answers with several cannot be scored by it.')


def _inherit(train: cfg.DataConfig, validation: cfg.DataConfig,
             keys: Tuple[str, ...]):
  """Validation data that name no source are of the training data's."""
  default = type(validation)()
  for key in keys:
    ours, theirs = getattr(validation, key), getattr(train, key)
    if ours not in (getattr(default, key), theirs):
      raise errors.UserError(
          f'task.validation_data.{key}={ours} would be ignored: without a '
          'tfds_name or input_path of their own, validation data are read with '
          f'task.train_data.{key}={theirs}. Set that.')
    setattr(validation, key, theirs)


def _check_options(task: config.ClassificationTask):
  """What is the same for images and videos."""
  if task.losses.loss not in metrics_lib.LOSSES:
    raise errors.unknown_name(
        'task.losses.loss', task.losses.loss, metrics_lib.LOSSES)
  if not 0 <= task.losses.label_smoothing < 1:
    raise errors.UserError(
        'task.losses.label_smoothing must lie in [0, 1), received '
        f'{task.losses.label_smoothing}.')
  if task.init_checkpoint_modules not in initialization.MODULES:
    raise errors.unknown_name(
        'task.init_checkpoint_modules', task.init_checkpoint_modules,
        initialization.MODULES)
  if task.init_token_learner not in token_learner_init.STARTS:
    raise errors.unknown_name(
        'task.init_token_learner', task.init_token_learner,
        token_learner_init.STARTS)
  if task.allow_image_summary:
    raise errors.UserError(
        'task.allow_image_summary is not offered: it is for detection models.')
  for name, data in (('train_data', task.train_data),
                     ('validation_data', task.validation_data)):
    for key in ('tfds_as_supervised', 'tfds_skip_decoding_feature'):
      if getattr(data, key):
        raise errors.UserError(
            f'task.{name}.{key} cannot be set: pictures are always read by '
            'feature name and decoded once.')
    if data.is_training != (name == 'train_data'):
      raise errors.UserError(
          f'task.{name}.is_training must be {name == "train_data"}, received '
          f'{data.is_training}.')
    if data.global_batch_size < 1:
      raise errors.UserError(
          f'task.{name}.global_batch_size must be at least 1, received '
          f'{data.global_batch_size}.')
    default = type(data)()
    for key in ('fps', 'stored_short_side', 'validation_fraction',
                'max_unreadable_fraction'):
      if data.tfds_name and getattr(data, key, None) != getattr(
          default, key, None):
        raise errors.UserError(
            f'task.{name}.{key} is for the files of a folder (input_path); '
            f'{data.tfds_name} is read as it was prepared. Leave it out.')
    if data.deterministic and data.seed is None:
      raise errors.UserError(
          f'task.{name}.deterministic needs a seed, received '
          f'{data.deterministic}.')
  if task.freeze_backbone and not task.init_checkpoint:
    raise errors.UserError(
        'task.freeze_backbone would leave the backbone random for good: set '
        'task.init_checkpoint.')
  mix = task.train_data.mixup_and_cutmix
  if mix and mix.label_smoothing and task.losses.label_smoothing:
    raise errors.UserError(
        'Labels would be smoothed twice: set one of task.losses.label_smoothing'
        ' and task.train_data.mixup_and_cutmix.label_smoothing to 0.')
  if task.validation_data.mixup_and_cutmix:
    raise errors.UserError(
        'task.validation_data.mixup_and_cutmix cannot be set: evaluation looks '
        'at examples as they are.')


@task_factory.register_task_cls(image_config.ImageClassificationTask)
class ImageClassificationTask(ClassificationTask):
  """Images in, one label or many out."""

  INPUT_AXES = ('height', 'width', 'channels')
  EXAMPLE, EXAMPLES = 'an image', 'images'
  open_source = staticmethod(image_pipeline.open_source)
  check_data = staticmethod(image_pipeline.check_options)
  build_dataset = staticmethod(image_pipeline.build_dataset)
  build_examples = staticmethod(image_pipeline.evaluation_examples)


@task_factory.register_task_cls(video_config.VideoClassificationTask)
class VideoClassificationTask(ClassificationTask):
  """Clips in, one label or many out; a video's views are averaged."""

  INPUT_AXES = ('frames', 'height', 'width', 'channels')
  EXAMPLE, EXAMPLES = 'a clip', 'clips'
  open_source = staticmethod(video_pipeline.open_source)
  check_data = staticmethod(video_pipeline.check_options)
  build_dataset = staticmethod(video_pipeline.build_dataset)
  build_examples = staticmethod(video_pipeline.evaluation_examples)

  @classmethod
  def check_options(cls, task: video_config.VideoClassificationTask):
    super().check_options(task)
    train, validation = task.train_data, task.validation_data
    for key, why in (
        ('temporal_stride', 'the same motion would look faster in one'),
        ('short_videos', 'short videos would look different'),
        *([('fps', 'the same motion would look faster in one')]
          if validation.input_path else ())):
      ours, theirs = getattr(train, key), getattr(validation, key)
      if ours != theirs:
        raise errors.UserError(
            f'task.train_data.{key}={ours}, but task.validation_data.{key}='
            f'{theirs}: {why}. Set both.')
    if task.init_tubelets not in transfer.TUBELETS:
      raise errors.unknown_name(
          'task.init_tubelets', task.init_tubelets, transfer.TUBELETS)

  def initialize(self, model: backbones.Classifier):
    """Starts from init_checkpoint, of clips or of images, if one is given."""
    self.start(model, tubelets=self.task_config.init_tubelets)

  def inference_step(self, inputs: tf.Tensor,
                     model: backbones.Classifier) -> tf.Tensor:
    """Views [B, V, T, H, W, C] -> their mean logits, [B, num_classes]."""
    num_views = inputs.shape[1]
    views = tf.reshape(inputs, [-1, *inputs.shape[2:]])  # [B*V, T, H, W, C]
    logits = super().inference_step(views, model)
    logits = tf.reshape(logits, [-1, num_views, logits.shape[-1]])
    return tf.reduce_mean(logits, axis=1)


def complete(task: config.ClassificationTask) -> Tuple[str, ...]:
  """Completes the config of a task as ClassificationTask.complete does."""
  return task_factory.get_task_cls(type(task)).complete(task)


def make(task: config.ClassificationTask) -> ClassificationTask:
  """Returns the task of a config."""
  return task_factory.get_task(task)
