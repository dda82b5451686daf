"""Video classification as a task of the Model Garden's trainer."""

import tensorflow as tf
from official.core import task_factory

from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import transfer
from tf_tokenlearner.configs import video_classification as config
from tf_tokenlearner.data import video_pipeline
from tf_tokenlearner.tasks import classification_task


@task_factory.register_task_cls(config.VideoClassificationTask)
class VideoClassificationTask(classification_task.ClassificationTask):
  """Clips in, one label or many out; a video's views are averaged."""

  INPUT_AXES = ('frames', 'height', 'width', 'channels')
  PIPELINE = video_pipeline
  EXAMPLE, EXAMPLES = 'a clip', 'clips'
  SOURCE_KEYS = (
      *classification_task.ClassificationTask.SOURCE_KEYS, 'video_field_key',
      'fps', 'stored_short_side')

  @classmethod
  def check_options(cls, task: config.VideoClassificationTask):
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
