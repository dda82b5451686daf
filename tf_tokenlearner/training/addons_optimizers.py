"""tensorflow-addons' optimizers in the Model Garden's optimizer factory.

tensorflow-addons reached its end of life in May 2024: its last release, 0.23,
is for TensorFlow 2.13 to 2.15 and Python 3.9 to 3.11. Its optimizers are plain
TensorFlow on top of tf_keras' legacy optimizers and run on TensorFlow 2.20,
once imported as here. Nothing else in this project needs it.
"""

import contextlib
import importlib
import inspect
import platform
import sys
import types
from typing import Any, Callable, Iterator
import warnings

import tensorflow as tf
import tf_keras
from official.modeling.optimization import optimizer_factory

from tf_tokenlearner import errors
from tf_tokenlearner.configs import optimization


def register(optimizer_type: str) -> None:
  """Adds all ADDONS_OPTIMIZERS to the Garden's factory, unless it has them.

  Args:
    optimizer_type: the chosen optimizer, for the message.

  Raises:
    UserError: tensorflow-addons cannot be imported.
  """
  if optimizer_type in optimizer_factory.LEGACY_OPTIMIZERS_CLS:
    return
  try:
    addons = import_addons().optimizers
  except ImportError as error:
    raise errors.UserError(
        f'optimizer {optimizer_type!r} comes from tensorflow-addons, which '
        f'cannot be imported ({error}): pip install '
        "'tf_tokenlearner[addons]' (Python 3.10 or 3.11; this is "
        f'{platform.python_version()}), or choose another optimizer such as '
        'adamw.') from error
  mended = lambda ours, theirs: type(ours.__name__, (ours, theirs), {})
  constructors = {
      'lookahead': _around_another(mended(Lookahead, addons.Lookahead)),
      'swa': _around_another(mended(SWA, addons.SWA)),
      'rectified_adam': addons.RectifiedAdam,
      'novograd': mended(NovoGrad, addons.NovoGrad),
      'yogi': addons.Yogi,
      'lamb_addons': addons.LAMB,
  }
  for name, constructor in constructors.items():
    optimizer_factory.register_optimizer_cls(name, constructor)


def import_addons() -> types.ModuleType:
  """Imports tensorflow_addons so that it uses tf_keras, and returns it.

  Raises:
    ImportError: it is not installed, or not for this Python.
  """
  with _names_of_tensorflow_2_15(), warnings.catch_warnings():
    warnings.simplefilter('ignore')  # End of life, and TensorFlow's version.
    return importlib.import_module('tensorflow_addons')


def swap_averages(optimizer: Any, model: tf_keras.Model) -> bool:
  """Swaps the model's weights with SWA's averages of them, if there are any.

  To be called before an evaluation and again after it and after what it saves;
  the second call restores the weights to the last bit. Under a strategy: in its
  scope, outside of replicas. The optimizer's slots must exist (build it before
  a checkpoint is restored), else there is nothing to swap.

  Args:
    optimizer: any optimizer, inside a LossScaleOptimizer or not.
    model: what it trains.

  Returns:
    False if nothing was done: another optimizer, or no snapshot so far.
  """
  optimizer = getattr(optimizer, 'inner_optimizer', optimizer)
  return isinstance(optimizer, SWA) and optimizer.swap_averages(model)


class _Wrapper:
  """Mixin for tensorflow-addons' wrappers that completes them.

  The wrappers call the inner optimizer's update of each variable directly, and
  so skip its gradient clipping. They create their step counter inside the
  training function, which fails with two replicas.
  """

  def apply_gradients(self, grads_and_vars, name=None, **kwargs):
    with tf.init_scope():
      _ = self.iterations
    return super().apply_gradients(grads_and_vars, name, **kwargs)

  def _transform_unaggregated_gradients(self, grads_and_vars):
    norm = getattr(self._optimizer, 'gradient_clip_norm', 0)
    if norm > 0:  # The Garden's adamw clips here, before aggregation.
      gradients, variables = zip(*grads_and_vars)
      gradients, _ = tf.clip_by_global_norm(gradients, norm)
      grads_and_vars = list(zip(gradients, variables))
    return super()._transform_unaggregated_gradients(grads_and_vars)

  def _transform_gradients(self, grads_and_vars):
    grads_and_vars = self._optimizer._transform_gradients(grads_and_vars)
    return super()._transform_gradients(grads_and_vars)

  def _get_hyper(self, name, dtype=None):
    if name == 'learning_rate':  # The Garden's ema reads it so.
      return self._optimizer._get_hyper(name, dtype)
    return super()._get_hyper(name, dtype)


class Lookahead(_Wrapper):
  """Mixin for tensorflow-addons' Lookahead that starts the slow weights right.

  tensorflow-addons copies the weights when it builds the optimizer, before a
  checkpoint is restored. Here the slow weights start as the weights at the
  first step.
  """

  def _resource_apply_dense(self, grad, var, apply_state=None):
    return self._step_and_look(
        self._optimizer._resource_apply_dense, apply_state, grad, var)

  def _resource_apply_sparse(self, grad, var, indices, apply_state=None):
    return self._step_and_look(
        self._optimizer._resource_apply_sparse, apply_state, grad, var, indices)

  def _step_and_look(self, apply, apply_state, grad, var, *indices):
    kwargs = {}
    if 'apply_state' in inspect.signature(apply).parameters:
      kwargs['apply_state'] = apply_state
    slow = self.get_slot(var, 'slow')
    start = slow.assign(tf.where(self.iterations == 0, var, slow))
    with tf.control_dependencies([start]):
      step = apply(grad, var, *indices, **kwargs)
    with tf.control_dependencies([step]):
      return self._look_ahead_op(var)


class SWA(_Wrapper):
  """Mixin for tensorflow-addons' SWA that counts its snapshots.

  tensorflow-addons derives the number of snapshots from the step, so a snapshot
  that loss scaling skips enters the average as zeros.
  """

  def _create_slots(self, var_list):
    super()._create_slots(var_list)
    for var in var_list:
      self.add_slot(var, 'snapshots', tf.zeros([], var.dtype))

  def average_op(self, var, average_var, local_apply_state):
    del local_apply_state
    steps = self.iterations - self._get_hyper('start_averaging', tf.int64)
    period = self._get_hyper('average_period', tf.int64)
    is_due = tf.cast((steps >= 0) & (steps % period == 0), var.dtype)
    count = self.get_slot(var, 'snapshots').assign_add(is_due)
    share = is_due / tf.maximum(count, 1)
    return average_var.assign_add(share * (var - average_var))

  def swap_averages(self, model: tf_keras.Model) -> bool:
    """Swaps weights and averages; returns whether there are averages."""
    swapped = False
    for var in model.trainable_variables:
      try:
        average = self.get_slot(var, 'average')
      except KeyError:  # No gradient ever reached it.
        continue
      if self.get_slot(var, 'snapshots').numpy():
        weight = tf.identity(var)
        var.assign(tf.identity(average))
        average.assign(weight)
        swapped = True
    return swapped


class NovoGrad:
  """Mixin for tensorflow-addons' NovoGrad that keeps checkpoints restorable.

  tensorflow-addons stores grad_averaging as a boolean variable, which a
  checkpoint cannot restore. Here it stays a Python value.
  """

  def _set_hyper(self, name, value):
    super()._set_hyper(
        name, (lambda: value) if isinstance(value, bool) else value)


def _around_another(wrapper: Callable[..., Any]) -> Callable[..., Any]:
  """Returns a constructor that builds the inner optimizer from its config.

  Its argument `optimizer` is the dict that OptimizerConfig.get returns.
  """

  def construct(optimizer, learning_rate, **kwargs):
    config = optimization.OptimizationConfig({
        'optimizer': optimizer, 'learning_rate': {'type': 'constant'}})
    inner = optimizer_factory.OptimizerFactory(config).build_optimizer(
        learning_rate)
    return wrapper(inner, **kwargs)

  return construct


@contextlib.contextmanager
def _names_of_tensorflow_2_15() -> Iterator[None]:
  """Makes `tensorflow.keras` and `keras` names of tf_keras inside the block.

  Modules imported in the block keep a copy of `tensorflow` that holds tf_keras.
  Other modules and Keras 3 do not change.
  """
  tensorflow = types.ModuleType('tensorflow')
  tensorflow.__dict__.update(tf.__dict__)
  tensorflow.keras = tf_keras
  names = {'tensorflow': tensorflow}
  for name, module in list(sys.modules.items()):
    if name == 'tf_keras' or name.startswith('tf_keras.'):
      for parent in ('keras', 'tensorflow.keras'):
        names[parent + name.removeprefix('tf_keras')] = module
  before = {name: sys.modules.get(name) for name in names}
  sys.modules.update(names)
  try:
    yield
  finally:
    for name, module in before.items():
      if module is None:
        del sys.modules[name]
      else:
        sys.modules[name] = module
