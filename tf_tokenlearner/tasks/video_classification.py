"""Video classification as a task of the Model Garden's trainer."""

import sys

import tensorflow as tf
from official.core import task_factory

from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import image_to_video
from tf_tokenlearner.checkpoints import restore
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.configs import image_classification as image_config
from tf_tokenlearner.configs import video_classification as config
from tf_tokenlearner.data import video_pipeline
from tf_tokenlearner.tasks import classification_task


@task_factory.register_task_cls(config.VideoClassificationTask)
class VideoClassificationTask(classification_task.ClassificationTask):
  """Clips in, one label or many out; a video's views are averaged."""

  PIPELINE = video_pipeline
  EXAMPLE, EXAMPLES = 'a clip', 'clips'
  SOURCE_KEYS = (
      *classification_task.ClassificationTask.SOURCE_KEYS, 'video_field_key',
      'fps', 'stored_short_side')

  @classmethod
  def check_options(cls, task: config.VideoClassificationTask):
    super().check_options(task)
    strides = task.train_data.temporal_stride, task.validation_data.temporal_stride
    if strides[0] != strides[1]:
      raise errors.UserError(
          f'task.train_data.temporal_stride={strides[0]}, but '
          f'task.validation_data.temporal_stride={strides[1]}: the same motion '
          'would look faster in one than in the other. Set both.')
    if task.init_tubelets not in image_to_video.TUBELETS:
      raise errors.unknown_name(
          'task.init_tubelets', task.init_tubelets, image_to_video.TUBELETS)

  def initialize(self, model: backbones.Classifier):
    """Starts from init_checkpoint, of a video or an image run, if given."""
    task = self.task_config
    run_dir = task.init_checkpoint and experiments.find_run(task.init_checkpoint)
    image_task = run_dir and experiments.load(run_dir).params.task
    if not isinstance(image_task, image_config.ImageClassificationTask):
      super().initialize(model)
      return
    image_model = task_factory.get_task(image_task).build_model()
    path = restore.initialize(image_model, task.init_checkpoint, 'all')
    done = image_to_video.transfer(
        image_model, model, task.init_checkpoint_modules, task.init_tubelets)
    print(f'What came from {path}:\n{done}', file=sys.stderr)

  def inference_step(self, inputs: tf.Tensor,
                     model: backbones.Classifier) -> tf.Tensor:
    """Views [B, V, T, H, W, C] -> the mean of their logits, [B, num_classes]."""
    num_views = inputs.shape[1]
    views = tf.reshape(inputs, [-1, *inputs.shape[2:]])  # [B*V, T, H, W, C]
    logits = super().inference_step(views, model)
    logits = tf.reshape(logits, [-1, num_views, logits.shape[-1]])
    return tf.reduce_mean(logits, axis=1)
