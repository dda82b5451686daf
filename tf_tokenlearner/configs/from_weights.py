"""Configs whose architecture follows the pretrained weights to start from."""

import math
from typing import Any, Collection, Dict, Sequence

from official.core import config_definitions as cfg

from tf_tokenlearner.backbones import specs
from tf_tokenlearner.backbones import variants
from tf_tokenlearner.checkpoints import hub_files
from tf_tokenlearner.checkpoints import pretrained_arrays
from tf_tokenlearner.checkpoints import pretrained_config
from tf_tokenlearner.configs import classification
from tf_tokenlearner import errors

# Options of the blocks, the pooler and the head, the same for all backbones.
_TAKEN = (
    'num_layers', 'hidden_size', 'mlp_dim', 'num_heads', 'pooler',
    'num_class_tokens', 'num_registers', 'activation', 'norm_epsilon',
    'pooled_norm_epsilon', 'pre_norm', 'final_norm', 'representation_size')
_TUBELET_FRAMES = 2  # Of a video model that starts from an image model.
FIRST_TOKEN_LEARNER = 'auto'  # Of task.freeze_below.


def take_source(params: cfg.ExperimentConfig, stated: Collection[str]) -> None:
  """Replaces backbone.from_pretrained by the two keys that it stands for.

  These are task.init_checkpoint and variant=auto.

  Args:
    params: config; changed.
    stated: keys that the user has set.

  Raises:
    UserError: one of the two keys has another value.
  """
  task, backbone = params.task, params.task.model.backbone
  source = backbone.from_pretrained
  if not source:
    return
  key = f'task.model.backbone.{backbone.type}.variant'
  variant = getattr(backbone.get(), 'variant', None)
  for name, value, expected in (
      ('task.init_checkpoint', task.init_checkpoint, ('', source)),
      (key, variant, (variants.AUTO,) if key in stated else (variant,))):
    if value not in expected:
      raise errors.UserError(
          f'task.model.backbone.from_pretrained={source} stands for '
          f'task.init_checkpoint={source} and variant=auto, got {name}='
          f'{value}. Set one of them.')
  if variant is None:
    raise errors.UserError(
        'task.model.backbone.from_pretrained starts a transformer, got '
        f'backbone {backbone.type}. Choose another task.model.backbone.type.')
  task.init_checkpoint = source
  backbone.get().variant = variants.AUTO
  backbone.from_pretrained = ''


def first_trained_block(task: classification.ClassificationTask) -> int:
  """Returns task.freeze_below as a number.

  Raises:
    UserError: it is neither a number nor 'auto'.
  """
  if isinstance(task.freeze_below, int):
    return task.freeze_below
  if task.freeze_below != FIRST_TOKEN_LEARNER:
    raise errors.unknown_name(
        'task.freeze_below', task.freeze_below, [FIRST_TOKEN_LEARNER])
  spec = task.model.backbone.get()
  if not isinstance(spec, specs.TransformerSpec):
    raise errors.UserError(
        'task.freeze_below counts the blocks of a transformer: expected 0 for '
        f'{task.model.backbone.type}, got {task.freeze_below}.')
  spec = spec.completed(tuple(task.model.input_size))
  locations = [location for location, _ in spec.token_learners()]
  return min(locations, default=spec.num_layers // 2)


def complete(params: cfg.ExperimentConfig, stated: Collection[str]) -> None:
  """Fills in what variant=auto takes from the weights, and blocks by number.

  Args:
    params: config; changed.
    stated: keys that the user has set; see _follow_weights.

  Raises:
    UserError: as _follow_weights.
  """
  _follow_weights(params, stated)
  task, spec = params.task, params.task.model.backbone.get()
  task.freeze_below = first_trained_block(task)
  if getattr(spec, 'token_learner_location', None) == specs.MIDDLE:
    spec.token_learner_location = spec.completed(
        tuple(task.model.input_size)).token_learner_location


def _follow_weights(params: cfg.ExperimentConfig,
                    stated: Collection[str]) -> None:
  """Fills in what variant=auto takes from the weights.

  These are the options of the backbone, the size of its input, and how pictures
  get this size: the interpolation, the share of the picture that evaluation
  sees and, for images, crop or stretch. The head is left fresh.

  Args:
    params: config; changed.
    stated: keys, such as 'task.model.input_size', that the user has set and
      that are kept. A saved config states all of them, so that a run needs the
      weights to start only.

  Raises:
    UserError: there are no pretrained weights, or they cannot start this model.
  """
  task = params.task
  choice = task.model.backbone.type
  spec = task.model.backbone.get()
  if getattr(spec, 'variant', None) != variants.AUTO:
    return
  prefix = f'task.model.backbone.{choice}.'
  if all(prefix + name in stated for name in _TAKEN):
    return
  path = task.init_checkpoint
  if not (hub_files.is_address(path) or hub_files.is_pretrained(path)):
    raise errors.UserError(
        f'{prefix}variant=auto takes the architecture from pretrained weights '
        'in task.init_checkpoint: expected hf://OWNER/NAME, or a folder or '
        f'file of safetensors, got {path!r}. Set it, or another variant.')
  files = hub_files.read(path)
  source = pretrained_arrays.convert(files, needs_head=False)
  values: Dict[str, Any] = {
      prefix + name: getattr(source.spec, name) for name in _TAKEN}
  values.update(_sizes(spec, source, task.model.input_size, prefix,
                       pretrained_config.Config(files).picture_size()))
  values['task.init_checkpoint_modules'] = 'backbone'
  values.update(_preprocessing(
      pretrained_config.Config(files), task.train_data,
      task.model.input_size if 'task.model.input_size' in stated
      else values['task.model.input_size']))
  if isinstance(spec, specs.FactorizedViViTSpec) and (
      spec.token_learner_location is not None):
    # Its temporal transformer sees the learned tokens alone.
    values[f'{prefix}num_class_tokens'] = 0
    if source.spec.pooler == 'token':
      values[f'{prefix}pooler'] = 'gap'
  for key, value in values.items():
    if key not in stated:
      _set(params, key, value)


def _sizes(spec: specs.TransformerSpec, source: pretrained_arrays.Pretrained,
           input_size, prefix: str, picture_size) -> Dict[str, Any]:
  """Returns the size of the input and of its patches or tubelets.

  An image model sees pictures of the size that its preprocessing makes, if its
  patches tile them, else of the size that its positions are for.
  """
  height, width, channels = source.input_size[-3:]
  if (picture_size and isinstance(source.spec, specs.ViTSpec)
      and not any(n % step for n, step in zip(
          picture_size, source.spec.patch_size))):
    height, width = picture_size
  if isinstance(spec, specs.ViTSpec):
    if not isinstance(source.spec, specs.ViTSpec):
      raise errors.UserError(
          'The pretrained weights are of clips and cannot start an image model.'
          ' Use an experiment for videos.')
    return {f'{prefix}patch_size': list(source.spec.patch_size),
            'task.model.input_size': [height, width, channels]}
  key = f'{prefix}tubelet_size'
  if isinstance(source.spec, specs.VideoSpec):
    return {key: list(source.spec.tubelet_size),
            'task.model.input_size': list(source.input_size)}
  frames = spec.tubelet_size[0] if spec.tubelet_size else _TUBELET_FRAMES
  return {key: [frames, *source.spec.patch_size],
          'task.model.input_size': [input_size[0], height, width, channels]}


def _preprocessing(config: pretrained_config.Config, data: cfg.DataConfig,
                   input_size: Sequence[int]) -> Dict[str, Any]:
  """Returns how pictures and frames get the size of the input."""
  options = config.resizing()
  fraction = config.crop_fraction()
  values = {}
  if hasattr(data, 'min_image_size'):  # Videos.
    # A model of images does not tell whether whole frames should be stretched.
    options.pop('resize', None)
    # The shorter side before the crop, rounded down as timm does.
    side = math.floor(min(input_size[1:3]) / fraction + 1e-6)
    values = {f'task.{name}.min_image_size': side
              for name in ('train_data', 'validation_data')}
  elif data.aug_crop:  # Where training sees whole pictures, so does evaluation.
    values = {'task.validation_data.center_crop_fraction': fraction}
  return {**values,
          **{f'task.{name}': value for name, value in options.items()}}


def _set(params: cfg.ExperimentConfig, key: str, value: Any) -> None:
  *parents, name = key.split('.')
  config = params
  for parent in parents:
    config = getattr(config, parent)
  setattr(config, name, value)
