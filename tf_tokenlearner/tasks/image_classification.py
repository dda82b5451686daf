"""Image classification as a task of the Model Garden's trainer."""

from official.core import task_factory

from tf_tokenlearner.configs import image_classification as config
from tf_tokenlearner.data import image_pipeline
from tf_tokenlearner.tasks import classification_task


@task_factory.register_task_cls(config.ImageClassificationTask)
class ImageClassificationTask(classification_task.ClassificationTask):
  """Images in, one label or many out."""

  INPUT_AXES = ('height', 'width', 'channels')
  PIPELINE = image_pipeline
  EXAMPLE, EXAMPLES = 'an image', 'images'
  SOURCE_KEYS = (
      *classification_task.ClassificationTask.SOURCE_KEYS, 'image_field_key')
