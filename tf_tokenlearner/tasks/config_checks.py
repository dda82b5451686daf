"""Checks of task configs that images and videos share."""

from typing import Tuple

from official.core import config_definitions as cfg

from tf_tokenlearner.backbones import specs
from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import initialization
from tf_tokenlearner.checkpoints import token_learner_init
from tf_tokenlearner.configs import classification as config
from tf_tokenlearner.data import class_sampling
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner.data import resizing
from tf_tokenlearner.tasks import metrics as metrics_lib

_CHANNELS = (1, 3)  # Grey, RGB.


def inherit_source(train: cfg.DataConfig, validation: cfg.DataConfig,
                   keys: Tuple[str, ...]) -> None:
  """Copies the source of training data to validation data that name none.

  Args:
    train: training data.
    validation: validation data; changed.
    keys: of both, which make up the source.

  Raises:
    UserError: validation sets one of the keys to another value.
  """
  if validation.tfds_name or validation.input_path:
    return
  default = type(validation)()
  for key in keys:
    ours, theirs = getattr(validation, key), getattr(train, key)
    if ours not in (getattr(default, key), theirs):
      raise errors.UserError(
          f'task.validation_data.{key}={ours} would be ignored: without a '
          'tfds_name or input_path of their own, validation data are read with '
          f'task.train_data.{key}={theirs}. Set that.')
    setattr(validation, key, theirs)


def check_frozen(task: config.ClassificationTask,
                 spec: specs.TransformerSpec) -> None:
  """Refuses freeze_below for what a completed spec cannot freeze."""
  if not task.freeze_below:
    return
  if not isinstance(spec, specs.TransformerSpec):
    raise errors.UserError(
        'task.freeze_below counts the blocks of a transformer: expected 0 for '
        f'{task.model.backbone.type}, got {task.freeze_below}.')
  if task.freeze_backbone or not task.init_checkpoint:
    raise errors.UserError(
        'task.freeze_below keeps the weights of task.init_checkpoint: set that,'
        ' and not task.freeze_backbone, which freezes all blocks.')
  locations = [location for location, _ in spec.token_learners()]
  limit = min([spec.num_layers, *locations])
  if not 0 < task.freeze_below <= limit:
    raise errors.UserError(
        f'task.freeze_below: expected 0 to {limit}, the number of blocks before'
        f' the first TokenLearner, got {task.freeze_below}.')


def check_labels(task: config.ClassificationTask,
                 source: labelled_source.LabelledSource) -> None:
  """Refuses options that do not go with several labels an example.

  Args:
    task: config of the task.
    source: of its training data.
  """
  train = task.train_data
  data = train.tfds_name or train.input_path
  if source.multi_label and task.losses.loss != 'sigmoid':
    raise errors.UserError(
        f'{data} has several labels an example: set task.losses.loss=sigmoid.')
  if source.multi_label and train.mixup_and_cutmix:
    raise errors.UserError(
        f'{data} has several labels an example, which '
        'task.train_data.mixup_and_cutmix cannot mix.')


def check(task: config.ClassificationTask, axes: Tuple[str, ...]) -> None:
  """Refuses values that do not work, and options that would be ignored.

  Args:
    task: config of the task.
    axes: names of the axes of model.input_size.

  Raises:
    UserError: names the key, what was expected and what is set.
  """
  size = list(task.model.input_size)
  if len(size) != len(axes):
    raise errors.UserError(
        f'task.model.input_size must be [{", ".join(axes)}], got {size}.')
  if size[-1] not in _CHANNELS or min(size) < 1:
    raise errors.UserError(
        'task.model.input_size: expected sizes of at least 1 and then 1 '
        f'channel (grey) or 3 (RGB), got {size}.')
  if task.losses.loss not in metrics_lib.LOSSES:
    raise errors.unknown_name(
        'task.losses.loss', task.losses.loss, metrics_lib.LOSSES)
  if not 0 <= task.losses.label_smoothing < 1:
    raise errors.UserError(
        'task.losses.label_smoothing must lie in [0, 1), got '
        f'{task.losses.label_smoothing}.')
  resizing.of_task(task).check()
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
          f'task.{name}.is_training must be {name == "train_data"}, got '
          f'{data.is_training}.')
    if data.global_batch_size is not None and data.global_batch_size < 1:
      raise errors.UserError(
          f'task.{name}.global_batch_size must be at least 1, got '
          f'{data.global_batch_size}.')
    if data.sampling not in class_sampling.NAMES:
      raise errors.unknown_name(
          f'task.{name}.sampling', data.sampling, class_sampling.NAMES)
    default = type(data)()
    for key in ('fps', 'stored_short_side', 'files_dir', 'validation_fraction',
                'max_unreadable_fraction'):
      if data.tfds_name and getattr(data, key, None) != getattr(
          default, key, None):
        raise errors.UserError(
            f'task.{name}.{key} is for the files of a folder (input_path); '
            f'{data.tfds_name} is read as it was prepared. Leave it out.')
    if data.deterministic and data.seed is None:
      raise errors.UserError(
          f'task.{name}.deterministic needs a seed, got '
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
  for key, default in (('mixup_and_cutmix', None), ('sampling', 'natural')):
    if getattr(task.validation_data, key) != default:
      raise errors.UserError(
          f'task.validation_data.{key} cannot be set: evaluation looks at '
          'examples as they are.')
