"""Optimizers by name: the Garden's, and those of tensorflow-addons.

In a YAML tensorflow-addons' optimizers look like the Garden's own:

    optimizer:
      type: yogi
      yogi: {beta2: 0.99}

Lookahead and SWA wrap another optimizer, whose settings stay in its own field,
so that wrapping the optimizer of a recipe takes two lines:

    optimizer:
      type: lookahead
      lookahead: {optimizer: adamw, sync_period: 6}
      adamw: {weight_decay_rate: 0.05}

The field names are those of the classes' constructors. tensorflow-addons itself
is imported by training/addons_optimizers.py, when such a type is chosen.
"""

import dataclasses
from typing import Any, Dict, List, Optional

from official.modeling.hyperparams import base_config
from official.modeling.optimization.configs import learning_rate_config
from official.modeling.optimization.configs import optimization_config
from official.modeling.optimization.configs import optimizer_config

from tf_tokenlearner import errors

ADDONS_OPTIMIZERS = (
    'lookahead', 'rectified_adam', 'novograd', 'yogi', 'lamb_addons', 'swa')
# Optimizers that lookahead and swa can wrap. They call the legacy tf_keras
# API, which the Garden's classes for these names implement.
WRAPPABLE = ('sgd', 'adam', 'adamw', 'lamb', 'lars', 'rmsprop', 'adagrad',
             'rectified_adam', 'novograd', 'yogi', 'lamb_addons')
_WRAPPERS = ('lookahead', 'swa')
# Optimizers whose steps are proportional to a learning rate for each variable.
LAYER_DECAY = ('adam', 'adamw', 'lamb', 'sgd')
_PLACEHOLDERS = {'slide': 'adamw or lamb', 'adafactor': 'adafactor_keras'}
# The Garden's ema does not support optimizers of the new API; substitutes.
_EMA_INSTEAD = {'sgd_experimental': 'sgd', 'adam_experimental': 'adam',
                'adamw_experimental': 'adamw', 'adafactor_keras': 'adamw'}


@dataclasses.dataclass
class LookaheadConfig(optimizer_config.BaseOptimizerConfig):
  """k steps forward, one step back: Zhang et al. 2019, arXiv 1907.08610.

  Attributes:
    optimizer: name of the optimizer that makes the forward steps, configured by
      the field of that name. The default pair is known as Ranger.
    sync_period: forward steps between two updates of the slow weights (k).
    slow_step_size: step size of the slow weights, in (0, 1] (alpha).
  """
  name: str = 'Lookahead'
  optimizer: str = 'rectified_adam'
  sync_period: int = 6
  slow_step_size: float = 0.5


@dataclasses.dataclass
class SWAConfig(optimizer_config.BaseOptimizerConfig):
  """Stochastic weight averaging: Izmailov et al. 2018, arXiv 1803.05407.

  Evaluation and the best checkpoint use the average of the weights; training
  continues with the weights themselves. The moving statistics of batch
  normalization are not recomputed for the average.

  Attributes:
    optimizer: name of the wrapped optimizer, configured by the field of that
      name. The default is the paper's.
    start_averaging: step of the first snapshot, counted from 0.
    average_period: steps between two snapshots.
  """
  name: str = 'SWA'
  optimizer: str = 'sgd'
  start_averaging: int = 0
  average_period: int = 10


@dataclasses.dataclass
class RectifiedAdamConfig(optimizer_config.BaseOptimizerConfig):
  """RAdam: Liu et al. 2019, arXiv 1908.03265.

  Attributes:
    weight_decay: decoupled weight decay, times the learning rate, of every
      weight.
    sma_threshold: length of the moving average above which steps are adaptive;
      at least 4, where the rectification begins.
    total_steps: above 0, the optimizer warms up and decays the learning rate
      linearly; requires a constant learning_rate and no warmup.
    warmup_proportion: fraction of total_steps.
    min_lr: learning rate after total_steps.
  """
  name: str = 'RectifiedAdam'
  beta_1: float = 0.9
  beta_2: float = 0.999
  epsilon: float = 1e-7
  weight_decay: float = 0.0
  amsgrad: bool = False
  sma_threshold: float = 5.0
  total_steps: int = 0
  warmup_proportion: float = 0.1
  min_lr: float = 0.0


@dataclasses.dataclass
class NovoGradConfig(optimizer_config.BaseOptimizerConfig):
  """Second moments per layer: Ginsburg et al. 2019, arXiv 1905.11286.

  Attributes:
    weight_decay: weight decay of every weight, added to the normalized
      gradient.
    grad_averaging: computes the first moment as a moving average, as Adam does,
      instead of a sum.
  """
  name: str = 'NovoGrad'
  beta_1: float = 0.9
  beta_2: float = 0.999
  epsilon: float = 1e-7
  weight_decay: float = 0.0
  grad_averaging: bool = False
  amsgrad: bool = False


@dataclasses.dataclass
class YogiConfig(optimizer_config.BaseOptimizerConfig):
  """Yogi: Zaheer et al., NeurIPS 2018, algorithm 2.

  Attributes:
    beta1: decay rate of the first moment; the class spells it this way.
    beta2: decay rate of the second moment.
    initial_accumulator_value: initial second moment, above 0.
    activation: 'sign', as in the paper, or 'tanh'.
  """
  name: str = 'Yogi'
  beta1: float = 0.9
  beta2: float = 0.999
  epsilon: float = 1e-3
  l1_regularization_strength: float = 0.0
  l2_regularization_strength: float = 0.0
  initial_accumulator_value: float = 1e-6
  activation: str = 'sign'


@dataclasses.dataclass
class LAMBAddonsConfig(optimizer_config.BaseOptimizerConfig):
  """LAMB: You et al. 2019, arXiv 1904.00962, as in tensorflow-addons.

  The Garden's own `lamb` takes the same steps, needs no extra and calls
  weight_decay weight_decay_rate.

  Attributes:
    weight_decay: decoupled weight decay, times the learning rate.
    exclude_from_weight_decay: regular expressions of weight names.
    exclude_from_layer_adaptation: regular expressions of weight names; None
      uses exclude_from_weight_decay.
  """
  name: str = 'LAMB'
  beta_1: float = 0.9
  beta_2: float = 0.999
  epsilon: float = 1e-6
  weight_decay: float = 0.0
  exclude_from_weight_decay: Optional[List[str]] = None
  exclude_from_layer_adaptation: Optional[List[str]] = None


@dataclasses.dataclass
class OptimizerConfig(optimization_config.OptimizerConfig):
  """The optimizer: the Garden's ones and those of tensorflow-addons, by `type`.

  For lookahead and swa, as_dict and get include the wrapped optimizer.
  """
  lookahead: LookaheadConfig = dataclasses.field(
      default_factory=LookaheadConfig)
  rectified_adam: RectifiedAdamConfig = dataclasses.field(
      default_factory=RectifiedAdamConfig)
  novograd: NovoGradConfig = dataclasses.field(default_factory=NovoGradConfig)
  yogi: YogiConfig = dataclasses.field(default_factory=YogiConfig)
  lamb_addons: LAMBAddonsConfig = dataclasses.field(
      default_factory=LAMBAddonsConfig)
  swa: SWAConfig = dataclasses.field(default_factory=SWAConfig)

  def as_dict(self) -> Dict[str, Any]:
    return {**super().as_dict(), **self.wrapped()}

  def get(self) -> Optional[base_config.Config]:
    """Returns the chosen config; a wrapper's `optimizer` is a whole config."""
    chosen = super().get()
    wrapped = self.wrapped()
    if not wrapped:
      return chosen
    return chosen.replace(optimizer={'type': chosen.optimizer, **wrapped})

  def wrapped(self) -> Dict[str, Any]:
    """Returns {name: settings} of the wrapped optimizer; {} if there is none.

    Raises:
      UserError: lookahead and swa cannot wrap the named optimizer.
    """
    if self.type not in _WRAPPERS:
      return {}
    name = getattr(self, self.type).optimizer
    if name not in WRAPPABLE:
      raise errors.unknown_name(
          f'optimizer.{self.type}.optimizer', name, WRAPPABLE)
    return {name: getattr(self, name).as_dict()}


@dataclasses.dataclass
class OptimizationConfig(optimization_config.OptimizationConfig):
  """Optimizer, moving average of weights, learning rate and warm-up.

  Attributes:
    layer_decay: factor, in (0, 1], between the learning rates of one
      transformer block and the block before it. The head and everything that
      stands in no block has the full rate, the last block layer_decay times
      that, and the embedding the lowest. Weight decay follows the rate.
  """
  optimizer: OptimizerConfig = dataclasses.field(
      default_factory=OptimizerConfig)
  layer_decay: float = 1.


_FRACTION = ('in [0, 1)', lambda x: 0 <= x < 1)
_NOT_NEGATIVE = ('at least 0', lambda x: x >= 0)
_POSITIVE = ('above 0', lambda x: x > 0)
_COUNT = ('at least 1', lambda x: x >= 1)
_LIMITS = {
    'beta_1': _FRACTION, 'beta_2': _FRACTION,
    'beta1': _FRACTION, 'beta2': _FRACTION,
    'epsilon': _POSITIVE, 'initial_accumulator_value': _POSITIVE,
    'weight_decay': _NOT_NEGATIVE, 'min_lr': _NOT_NEGATIVE,
    'l1_regularization_strength': _NOT_NEGATIVE,
    'l2_regularization_strength': _NOT_NEGATIVE,
    'total_steps': _NOT_NEGATIVE, 'start_averaging': _NOT_NEGATIVE,
    'sync_period': _COUNT, 'average_period': _COUNT,
    'warmup_proportion': ('in [0, 1]', lambda x: 0 <= x <= 1),
    'slow_step_size': ('in (0, 1]', lambda x: 0 < x <= 1),
    'sma_threshold': ('at least 4', lambda x: x >= 4),
}


def check_optimizer(
    config: OptimizationConfig, train_steps: Optional[int] = None,
    mixed_precision_dtype: Optional[str] = None) -> None:
  """Refuses options that the Garden would ignore or fail on later.

  Args:
    config: trainer.optimizer_config.
    train_steps: trainer.train_steps, if known.
    mixed_precision_dtype: runtime.mixed_precision_dtype.

  Raises:
    UserError: unknown or unusable optimizer, a value out of range, or a
      combination that does not work.
  """
  optimizer = config.optimizer
  known = [field.name for field in dataclasses.fields(optimizer)
           if field.name != 'type']
  if optimizer.type not in known:
    raise errors.unknown_name('optimizer.type', optimizer.type,
                              set(known) - set(_PLACEHOLDERS))
  if optimizer.type in _PLACEHOLDERS:
    raise errors.UserError(
        f'optimizer.type {optimizer.type!r} is an empty placeholder in the '
        f'Model Garden. Use {_PLACEHOLDERS[optimizer.type]}.')
  for name in (optimizer.type, *optimizer.wrapped()):
    if name in ADDONS_OPTIMIZERS:
      _check_values(name, getattr(optimizer, name))
    if name == 'rectified_adam' and optimizer.rectified_adam.total_steps and (
        config.learning_rate.type != 'constant' or config.warmup.type):
      raise errors.UserError(
          'optimizer.rectified_adam.total_steps would warm up and decay the '
          'learning rate a second time. Leave it 0, or set learning_rate.type '
          'to constant and warmup.type to null.')
  if not 0 < config.layer_decay <= 1:
    raise errors.UserError(
        'optimizer_config.layer_decay: expected a number in (0, 1], got '
        f'{config.layer_decay}.')
  if config.layer_decay != 1 and optimizer.type not in LAYER_DECAY:
    raise errors.UserError(
        f'optimizer_config.layer_decay: expected 1 with {optimizer.type}, got '
        f'{config.layer_decay}. Use one of {", ".join(LAYER_DECAY)}.')
  if config.ema is not None:
    _check_moving_average(optimizer.type, mixed_precision_dtype)
  if config.learning_rate.type == 'step_cosine_with_offset':
    _check_step_cosine(
        config.learning_rate.step_cosine_with_offset, train_steps)


def _check_values(name: str, config: base_config.Config) -> None:
  """Raises UserError for a value of the wrong type or out of range."""
  accepted = {float: (float, int), int: (int,), bool: (bool,)}
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    path = f'optimizer.{name}.{field.name}'
    if field.type in accepted and (
        not isinstance(value, accepted[field.type])
        or isinstance(value, bool) != (field.type is bool)):
      raise errors.UserError(
          f'{path} must be of type {field.type.__name__}, got {value!r}.')
    limit, holds = _LIMITS.get(field.name, ('', lambda x: True))
    if not holds(value):
      raise errors.UserError(f'{path} must be {limit}, got {value!r}.')
  if name == 'yogi' and config.activation not in ('sign', 'tanh'):
    raise errors.unknown_name(
        'optimizer.yogi.activation', config.activation, ('sign', 'tanh'))


def _check_moving_average(
    optimizer_type: str, mixed_precision_dtype: Optional[str]) -> None:
  """Raises UserError if the Garden's ema does not work with these options."""
  if optimizer_type == 'swa':
    raise errors.UserError(
        'ema and optimizer.type swa both average the weights. Use one: '
        'ema: null, or the optimizer of swa itself.')
  if optimizer_type in _EMA_INSTEAD:
    raise errors.UserError(
        f'ema does not work with optimizer.type {optimizer_type!r}. Use '
        f'{_EMA_INSTEAD[optimizer_type]}, or ema: null.')
  if mixed_precision_dtype == 'float16':
    raise errors.UserError(
        'ema does not work with mixed_precision_dtype float16, whose loss '
        'scaling hides it from the trainer. Use bfloat16, or ema: null.')


def _check_step_cosine(
    schedule: learning_rate_config.StepCosineLrConfig,
    train_steps: Optional[int]) -> None:
  """Raises UserError if the Garden's schedule would rise or become NaN."""
  path = 'learning_rate.step_cosine_with_offset'
  boundaries, values = schedule.boundaries or [], schedule.values or []
  if len(boundaries) != len(values) or boundaries[:1] != [0]:
    raise errors.UserError(
        f'{path} needs as many values as boundaries, the first boundary 0; '
        f'got boundaries={boundaries} and values={values}.')
  end = schedule.offset + boundaries[-1]
  if train_steps and train_steps > end:
    raise errors.UserError(
        f'{path} is not a number from step {end}, its last boundary, on, but '
        f'train_steps is {train_steps}. Set the last boundary to train_steps.')
