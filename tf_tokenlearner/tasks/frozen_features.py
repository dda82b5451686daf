"""Features of the frozen part: whether training caches them, and their route.

The forward pass of a backbone splits behind its frozen blocks: `lower` makes
tokens of pixels, `upper` goes on from them. Cached features are such tokens.
"""

from typing import Any, Optional, Sequence, Tuple

import tensorflow as tf

from tf_tokenlearner import backbones
from tf_tokenlearner.configs import classification as config
from tf_tokenlearner.data import feature_files
from tf_tokenlearner import errors

TOKENS = 'tokens'  # Key of cached features in a batch.


def check(task: config.ClassificationTask,
          random_options: Sequence[str]) -> None:
  """Refuses options of cached features that do not work or would be ignored.

  Args:
    task: config of the task.
    random_options: what augmentation draws at random.

  Raises:
    UserError: names the key, what was expected and what is set.
  """
  if task.cache_dtype not in feature_files.DTYPES:
    raise errors.unknown_name(
        'task.cache_dtype', task.cache_dtype, feature_files.DTYPES)
  if task.num_augmented_copies < 1:
    raise errors.UserError(
        'task.num_augmented_copies: expected at least 1, got '
        f'{task.num_augmented_copies}.')
  obstacle = _obstacle(task)
  if task.cache_features and obstacle:
    raise errors.UserError(
        f'task.cache_features=true: {obstacle}. Change that, or set '
        'task.cache_features=false.')
  if task.num_augmented_copies > 1:
    if task.cache_features is False or obstacle:
      raise errors.UserError(
          f'task.num_augmented_copies={task.num_augmented_copies} counts copies'
          ' of cached features, but '
          f'{obstacle or "task.cache_features=false"}. Leave it at 1.')
    if not random_options:
      raise errors.UserError(
          f'task.num_augmented_copies={task.num_augmented_copies} copies would '
          'be the same, as task.train_data has no random augmentation. Leave '
          'it at 1, or augment.')


def decide(task: config.ClassificationTask,
           random_options: Sequence[str]) -> Tuple[bool, str]:
  """Returns whether features are cached, and why.

  Args:
    task: config of the task, checked.
    random_options: what augmentation draws at random.
  """
  if task.cache_features is False:
    return False, 'task.cache_features=false'
  obstacle = _obstacle(task)
  if obstacle:
    return False, obstacle
  copies = task.num_augmented_copies
  if not random_options:
    return True, 'each epoch sees the same pictures'
  if copies > 1:
    return True, f'epochs take {copies} augmented copies in turn'
  drawn = ', '.join(random_options)
  if task.cache_features:
    return True, f'each epoch sees the same draw of {drawn}'
  return False, (
      f'each epoch draws {drawn} anew; task.num_augmented_copies=8 would cache '
      'eight draws')


def _obstacle(task: config.ClassificationTask) -> Optional[str]:
  """Returns why features cannot be cached, or None."""
  if not task.freeze_below:
    return 'task.freeze_below=0 freezes no block'
  if task.train_data.mixup_and_cutmix:
    return 'task.train_data.mixup_and_cutmix mixes the pixels of each batch'
  if task.train_data.sampling != 'natural':
    return 'task.train_data.sampling=balanced repeats pictures as they are read'
  if task.train_data.enable_tf_data_service:
    return 'a tf.data service serves pixels'
  return None


class UpperPart:
  """A classifier above its frozen blocks: tokens in, logits out.

  Everything else is the classifier's: variables, losses, metrics.

  Args:
    model: the classifier.
  """

  def __init__(self, model: backbones.Classifier):
    self._model = model

  def __call__(self, tokens: tf.Tensor, training: Optional[bool] = None):
    return self._model.upper(tokens, training=training)

  def __getattr__(self, name: str) -> Any:
    return getattr(self._model, name)


def route(examples: Any, model: backbones.Classifier) -> Tuple[tf.Tensor, Any]:
  """Returns the inputs of a batch and what takes them.

  Args:
    examples: pixels, or {TOKENS: cached features}.
    model: the classifier.
  """
  if isinstance(examples, dict):
    return examples[TOKENS], UpperPart(model)
  return examples, model
