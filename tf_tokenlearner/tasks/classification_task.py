"""Image and video classification as tasks of the Model Garden's trainer."""

import functools
from typing import List, Optional, Sequence, Tuple

from official.core import task_factory
from official.vision.modeling.backbones import factory
import tensorflow as tf
import tf_keras

from tf_tokenlearner import backbones
from tf_tokenlearner.checkpoints import initialization
from tf_tokenlearner.checkpoints import transfer
from tf_tokenlearner.configs import classification as config
from tf_tokenlearner.configs import from_weights
from tf_tokenlearner.configs import image_classification as image_config
from tf_tokenlearner.configs import video_classification as video_config
from tf_tokenlearner.data import image_pipeline
from tf_tokenlearner.data import video_pipeline
from tf_tokenlearner import errors
from tf_tokenlearner.evaluation import class_scores
from tf_tokenlearner.tasks import class_weights
from tf_tokenlearner.tasks import distillation
from tf_tokenlearner.tasks import frozen_features
from tf_tokenlearner.tasks import metrics as metrics_lib
from tf_tokenlearner.tasks import task_data


class ClassificationTask(task_data.DataTask):
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
    selected_by: names in whole_set_scores that evaluation logs, to select the
      best checkpoint.
    teacher: classifier that training learns from; None without distillation.
  """

  selected_by: Tuple[str, ...] = ()
  teacher: Optional[backbones.Classifier] = None

  def build_model(self) -> backbones.Classifier:
    model_config = self.task_config.model
    if not model_config.num_classes:
      raise errors.UserError(
          'task.model.num_classes: expected the number of classes, got 0. Set '
          'it: only this project\'s train.py reads it from the data.')
    if model_config.backbone.from_pretrained:
      raise errors.UserError(
          'task.model.backbone.from_pretrained is read by this project\'s '
          'train.py only. Set task.init_checkpoint and the sizes.')
    backbone = factory.build_backbone(
        input_specs=tf_keras.layers.InputSpec(
            shape=[None, *model_config.input_size]),
        backbone_config=model_config.backbone,
        norm_activation_config=None)
    backbone.trainable = not self.task_config.freeze_backbone
    first_trained = from_weights.first_trained_block(self.task_config)
    if first_trained:
      backbone.freeze_below(first_trained)
    return backbones.Classifier(
        backbone, model_config.num_classes, model_config.dropout_rate,
        model_config.head_bias)

  def load_teacher(self, model: backbones.Classifier) -> None:
    """Loads the teacher that a model is trained with, if one is given."""
    path = self.task_config.distillation.teacher
    if path:
      self.teacher = distillation.load_teacher(path, model)

  def initialize(self, model: backbones.Classifier):
    """Restores init_checkpoint, if one is given."""
    self._restore(model)

  def _restore(self, model: backbones.Classifier, **options):
    """Restores init_checkpoint with options of checkpoints.initialize."""
    task = self.task_config
    if task.init_checkpoint:
      initialization.initialize(
          model, task.init_checkpoint, task.init_checkpoint_modules,
          examples=self.examples if task.init_token_learner == 'mean' else None,
          **options)

  @functools.cached_property
  def class_weights(self) -> Optional[class_weights.ClassWeights]:
    """Weights of the classes in training; None weighs all the same."""
    with tf.init_scope():  # May be asked for while a step is traced.
      return class_weights.of_data(
          self.task_config, lambda: self._open(self.task_config.train_data))

  def build_losses(self, labels, model_outputs, aux_losses=None,
                   weighted: bool = True) -> tf.Tensor:
    losses = self.task_config.losses
    labels, teacher_logits = distillation.split(labels)
    loss = metrics_lib.mean_loss(metrics_lib.example_losses(
        labels, model_outputs, losses.loss, losses.label_smoothing,
        self.class_weights if weighted else None))
    if teacher_logits is not None:
      loss = distillation.blend(
          loss, model_outputs, teacher_logits, losses.loss,
          self.task_config.distillation)
    return tf.add_n([loss, *aux_losses]) if aux_losses else loss

  def build_metrics(
      self, training: bool = True) -> List[tf_keras.metrics.Metric]:
    del training
    return metrics_lib.build_metrics(self.task_config.model.num_classes)

  def whole_set_scores(self) -> Tuple[str, ...]:
    """Returns names of scores that need all predictions of an evaluation."""
    return (class_scores.MANY_LABELS if self._evaluates_many_labels
            else class_scores.ONE_LABEL)

  def train_step(self, inputs, model, optimizer, metrics=None):
    """As the base class, on pixels or cached features, with or without teacher.
    """
    inputs, network = self.training_inputs(inputs, model)
    return super().train_step(inputs, network, optimizer, metrics)

  def training_inputs(self, inputs, model: backbones.Classifier):
    """Returns (examples, targets) of a batch, and the network that takes them.

    Args:
      inputs: (pixels or cached features, labels).
      model: the whole model.
    """
    examples, labels = inputs
    targets = distillation.with_teacher(examples, labels, self.teacher)
    examples, network = frozen_features.route(examples, model)
    return (examples, targets), network

  def process_metrics(self, metrics, labels, model_outputs, **kwargs):
    labels, _ = distillation.split(labels)
    super().process_metrics(metrics, labels, model_outputs, **kwargs)

  def validation_step(self, inputs, model, metrics=None):
    """Adds labels and logits to the result of the base class."""
    examples, labels = inputs
    examples, model = frozen_features.route(examples, model)
    logits = tf.cast(self.inference_step(examples, model), tf.float32)
    self.process_metrics(metrics or [], labels, logits)
    loss = self.build_losses(labels, logits, model.losses, weighted=False)
    return {self.loss: loss, 'labels': labels, 'logits': logits}

  def aggregate_logs(self, state=None, step_outputs=None):
    """Collects labels and logits of every batch, on the host."""
    state = state or metrics_lib.Predictions(
        self.task_config.losses.loss, self._learns_many_labels)
    # The Model Garden's own trainer gives one item per replica.
    for labels, logits in zip(tf.nest.flatten(step_outputs['labels']),
                              tf.nest.flatten(step_outputs['logits'])):
      state.add(labels, logits)
    return state

  def reduce_aggregated_logs(self, aggregated_logs, global_step=None):
    """Returns the scores of all predictions that are logged."""
    del global_step
    wanted = list(self.selected_by)
    if self._evaluates_many_labels:
      wanted += ['mean_average_precision', 'classes_without_positive']
    return {name: getattr(aggregated_logs.by_class, name) for name in wanted}


@task_factory.register_task_cls(image_config.ImageClassificationTask)
class ImageClassificationTask(ClassificationTask):
  """Images in, one label or many out."""

  INPUT_AXES = ('height', 'width', 'channels')
  EXAMPLE, EXAMPLES = 'an image', 'images'
  open_source = staticmethod(image_pipeline.open_source)
  check_data = staticmethod(image_pipeline.check_options)
  build_dataset = staticmethod(image_pipeline.build_dataset)
  build_examples = staticmethod(image_pipeline.evaluation_examples)
  build_ordered = staticmethod(image_pipeline.ordered_examples)
  random_options = staticmethod(image_pipeline.random_options)


@task_factory.register_task_cls(video_config.VideoClassificationTask)
class VideoClassificationTask(ClassificationTask):
  """Clips in, one label or many out; a video's views are averaged."""

  INPUT_AXES = ('frames', 'height', 'width', 'channels')
  EXAMPLE, EXAMPLES = 'a clip', 'clips'
  open_source = staticmethod(video_pipeline.open_source)
  check_data = staticmethod(video_pipeline.check_options)
  build_dataset = staticmethod(video_pipeline.build_dataset)
  build_examples = staticmethod(video_pipeline.evaluation_examples)
  build_ordered = staticmethod(video_pipeline.ordered_examples)
  random_options = staticmethod(video_pipeline.random_options)

  @classmethod
  def check_options(cls, task: video_config.VideoClassificationTask):
    super().check_options(task)
    train, validation = task.train_data, task.validation_data
    for key, why in (
        ('temporal_stride', 'the same motion would look faster in one'),
        ('short_videos', 'short videos would look different'),
        *([('fps', 'the same motion would look faster in one')]
          if train.input_path and validation.input_path else ())):
      ours, theirs = getattr(train, key), getattr(validation, key)
      if ours != theirs:
        raise errors.UserError(
            f'task.train_data.{key}={ours}, but task.validation_data.{key}='
            f'{theirs}: {why}. Set both.')
    if task.init_tubelets not in transfer.TUBELETS:
      raise errors.unknown_name(
          'task.init_tubelets', task.init_tubelets, transfer.TUBELETS)

  def initialize(self, model: backbones.Classifier):
    """Restores init_checkpoint, of clips or of images, if one is given."""
    self._restore(model, tubelets=self.task_config.init_tubelets)

  def inference_step(self, inputs: tf.Tensor,
                     model: backbones.Classifier) -> tf.Tensor:
    """Views [B, V, T, H, W, C] -> their mean logits, [B, num_classes]."""
    num_views = inputs.shape[1]
    views = tf.reshape(inputs, [-1, *inputs.shape[2:]])  # [B*V, T, H, W, C]
    logits = super().inference_step(views, model)
    logits = tf.reshape(logits, [-1, num_views, logits.shape[-1]])
    return tf.reduce_mean(logits, axis=1)


def complete(task: config.ClassificationTask, label_names: Sequence[str] = (),
             **options) -> Tuple[str, ...]:
  """Completes the config of a task as ClassificationTask.complete does."""
  return task_factory.get_task_cls(type(task)).complete(
      task, label_names, **options)


def num_training_examples(task: config.ClassificationTask) -> int:
  """Returns the number of training examples of a completed config.

  Raises:
    UserError: the data (TFRecord) do not tell it.
  """
  data = task.train_data
  source = task_factory.get_task_cls(type(task)).open_source(data)
  if source is None:
    raise errors.UserError(
        'TFRecord files do not tell the number of examples: expected '
        'trainer.train_steps, intervals and batch sizes as numbers, got null. '
        'Set them, and trainer.epochs=null.')
  return source.num_examples(data.tfds_split)


def make(task: config.ClassificationTask) -> ClassificationTask:
  """Returns the task of a config."""
  return task_factory.get_task(task)
