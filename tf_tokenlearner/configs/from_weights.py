"""Configs whose architecture follows the pretrained weights to start from."""

from typing import Any, Collection, Dict

from official.core import config_definitions as cfg

from tf_tokenlearner.backbones import specs
from tf_tokenlearner.backbones import variants
from tf_tokenlearner.checkpoints import hub_files
from tf_tokenlearner.checkpoints import pretrained_arrays
from tf_tokenlearner.checkpoints import pretrained_config
from tf_tokenlearner import errors

# Options of the blocks, the pooler and the head, the same for all backbones.
_TAKEN = (
    'num_layers', 'hidden_size', 'mlp_dim', 'num_heads', 'pooler',
    'num_class_tokens', 'num_registers', 'activation', 'norm_epsilon',
    'pooled_norm_epsilon', 'pre_norm', 'final_norm', 'representation_size')
_TUBELET_FRAMES = 2  # Of a video model that starts from an image model.


def complete(params: cfg.ExperimentConfig, stated: Collection[str]) -> None:
  """Fills in what variant=auto takes from the weights.

  These are the options of the backbone, the size of its input and, for images,
  the share of the picture that evaluation sees. The head is left fresh.

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
  source = pretrained_arrays.convert(files)
  values: Dict[str, Any] = {
      prefix + name: getattr(source.spec, name) for name in _TAKEN}
  values.update(_sizes(spec, source, task.model.input_size, prefix))
  values['task.init_checkpoint_modules'] = 'backbone'
  if isinstance(spec, specs.ViTSpec):
    values['task.validation_data.center_crop_fraction'] = (
        pretrained_config.Config(files).crop_fraction())
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
           input_size, prefix: str) -> Dict[str, Any]:
  """Returns the size of the input and of its patches or tubelets."""
  if isinstance(spec, specs.ViTSpec):
    if not isinstance(source.spec, specs.ViTSpec):
      raise errors.UserError(
          'The pretrained weights are of clips and cannot start an image model.'
          ' Use an experiment for videos.')
    return {f'{prefix}patch_size': list(source.spec.patch_size),
            'task.model.input_size': list(source.input_size)}
  key = f'{prefix}tubelet_size'
  if isinstance(source.spec, specs.VideoSpec):
    return {key: list(source.spec.tubelet_size),
            'task.model.input_size': list(source.input_size)}
  frames = spec.tubelet_size[0] if spec.tubelet_size else _TUBELET_FRAMES
  return {key: [frames, *source.spec.patch_size],
          'task.model.input_size': [input_size[0], *source.input_size]}


def _set(params: cfg.ExperimentConfig, key: str, value: Any) -> None:
  *parents, name = key.split('.')
  config = params
  for parent in parents:
    config = getattr(config, parent)
  setattr(config, name, value)
