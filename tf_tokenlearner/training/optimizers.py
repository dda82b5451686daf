"""Optimizers with learning rates that follow the batch size and the depth."""

from typing import Any, Dict

from official.core import config_definitions as cfg
from official.core import train_utils
from official.modeling import optimization as garden
from official.modeling import performance
from official.modeling.optimization import optimizer_factory
import tensorflow as tf
import tf_keras
from tf_keras.src.optimizers.legacy import optimizer_v2

from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner import layers
from tf_tokenlearner.backbones import vision_transformer
from tf_tokenlearner.configs import epochs
from tf_tokenlearner.configs import optimization
from tf_tokenlearner.training import addons_optimizers

_SUFFIX = '_layer_decay'  # Of optimizers' names in the Garden's factory.


def create(task, params: cfg.ExperimentConfig,
           model: backbones.Classifier) -> tf_keras.optimizers.Optimizer:
  """Returns the optimizer of a config for a model.

  Raises:
    UserError: layer_decay is set for a backbone without transformer blocks.
  """
  config = params.trainer.optimizer_config
  if config.optimizer.type in optimization.ADDONS_OPTIMIZERS:
    addons_optimizers.register(config.optimizer.type)
  factor = epochs.learning_rate_factor(params)
  if factor == 1 and config.layer_decay == 1:
    return train_utils.create_optimizer(task, params)
  factory = garden.OptimizerFactory(config)
  if config.layer_decay != 1:
    factory = _LayerDecayFactory(config)
  rate = factory.build_learning_rate()
  optimizer = factory.build_optimizer(
      _Scaled(rate, factor) if callable(rate) else rate * factor)
  if config.layer_decay != 1:
    inner = getattr(optimizer, '_optimizer', optimizer)  # Below an average.
    inner.rate_factors = rate_factors(model, config.layer_decay)
  return performance.configure_optimizer(
      optimizer, use_float16=params.runtime.mixed_precision_dtype == 'float16',
      loss_scale=params.runtime.loss_scale)


def rate_factors(
    model: backbones.Classifier, layer_decay: float) -> Dict[str, float]:
  """Returns the factor of the learning rate of each variable, by its key.

  With L blocks, the embedding has layer_decay ** (L + 1), block k, counted from
  0, layer_decay ** (L - k), and all other variables, such as those of a
  TokenLearner and of the head, 1. Source: Bao et al. 2021 (arXiv 2106.08254),
  code. The blocks of a temporal encoder follow those of the spatial one.

  Raises:
    UserError: the backbone has no transformer blocks.
  """
  backbone = model.backbone
  if not isinstance(backbone, vision_transformer.TransformerBackbone):
    raise errors.UserError(
        'optimizer_config.layer_decay counts the blocks of a transformer: '
        f'expected 1 for this backbone, got {layer_decay}.')
  stages = [stage for encoder in backbone.encoders for stage in encoder.stages]
  blocks = [getattr(stage, 'block', stage) for stage in stages]
  blocks = [block for block in blocks
            if isinstance(block, layers.TransformerEncoderBlock)]
  factors = {_key(variable): 1. for variable in model.variables}
  for k, block in enumerate(blocks):
    for variable in block.variables:
      factors[_key(variable)] = layer_decay ** (len(blocks) - k)
  for layer in backbone.embedding_layers:
    for variable in layer.variables:
      factors[_key(variable)] = layer_decay ** (len(blocks) + 1)
  return factors


def _key(variable: tf.Variable) -> str:
  """Returns a key that the copies of a variable on all replicas share."""
  # pylint: disable-next=protected-access
  return optimizer_v2._var_key(variable)  # By which slots are found, too.


class _LayerDecay:
  """Put before a legacy optimizer: a learning rate for each variable.

  A gradient cannot be scaled instead, as Adam's steps do not depend on its
  size.

  Attributes:
    rate_factors: factor of the learning rate, by _key.
  """
  rate_factors: Dict[str, float] = {}

  def _resource_apply_dense(self, grad, var, apply_state=None):
    return super()._resource_apply_dense(
        grad, var, self._scaled_state(var, apply_state))

  def _resource_apply_sparse(self, grad, var, indices, apply_state=None):
    return super()._resource_apply_sparse(
        grad, var, indices, self._scaled_state(var, apply_state))

  def _scaled_state(self, var, apply_state):
    place = (var.device, var.dtype.base_dtype)
    factor = self.rate_factors[_key(var)]
    return {place: {
        name: value * factor if name in ('lr', 'lr_t') else value
        for name, value in apply_state[place].items()}}


class _LayerDecayFactory(garden.OptimizerFactory):
  """The Garden's factory, of optimizers with _LayerDecay."""

  def __init__(self, config: optimization.OptimizationConfig):
    super().__init__(config)
    self._optimizer_type += _SUFFIX


for _name in optimization.LAYER_DECAY:
  _theirs = optimizer_factory.LEGACY_OPTIMIZERS_CLS[_name]
  optimizer_factory.register_optimizer_cls(
      _name + _SUFFIX,
      type(f'LayerDecay{_theirs.__name__}', (_LayerDecay, _theirs), {}))


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class _Scaled(tf_keras.optimizers.schedules.LearningRateSchedule):
  """A schedule times a factor."""

  def __init__(self, schedule: Any, factor: float):
    super().__init__()
    self._schedule = schedule
    self._factor = factor

  def __call__(self, step):
    return self._factor * self._schedule(step)

  def get_config(self):
    return {'schedule': self._schedule, 'factor': self._factor}
