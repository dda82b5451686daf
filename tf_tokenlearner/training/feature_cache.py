"""Trains on the output of the frozen blocks, computed once and kept on disk.

The features of training and of validation are in a folder each, named by a hash
of everything that they depend on: the values of the frozen weights, the data,
the view or augmentation, and types. Other weights or data have another name, so
that no stale features are used.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import random
import shutil
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

from official.core import config_definitions as cfg
import orbit
import tensorflow as tf

import tf_tokenlearner
from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner import progress
from tf_tokenlearner.data import batching
from tf_tokenlearner.data import feature_files
from tf_tokenlearner.data import file_lock
from tf_tokenlearner.data import resizing
from tf_tokenlearner.tasks import distillation
from tf_tokenlearner.tasks import frozen_features
from tf_tokenlearner.training import trainer as trainer_lib

_FOLDER = 'features'  # In the folder of a run.
_BATCH = 32  # Examples in one call of the frozen part.
_LEFT_FREE = 1e9  # Bytes that caching leaves on the disk.


@dataclasses.dataclass(frozen=True)
class _Part:
  """The features of training or of validation.

  Attributes:
    params: config of the data.
    num_copies: augmented copies of each example.
    teacher: classifier whose logits are kept as well, or None.
    info: everything that the features depend on, as plain values.
    files: the features on disk.
  """
  params: cfg.DataConfig
  num_copies: int
  teacher: Optional[backbones.Classifier]
  info: Dict[str, Any]
  files: feature_files.FeatureFiles


def use(trainer: trainer_lib.Trainer, model_dir: str, evaluate: bool,
        say: Callable[[str], None]) -> None:
  """Lets a trainer train and evaluate on cached features where that works.

  Says in a line whether it does, and why; nothing where no block is frozen.

  Args:
    trainer: with a model whose weights are restored.
    model_dir: folder of the run.
    evaluate: whether the trainer evaluates as well.
    say: takes a line for the user.

  Raises:
    UserError: task.cache_features=true, but features cannot be cached.
  """
  config = trainer.task.task_config
  if not config.freeze_below:
    return
  is_on, reason = frozen_features.decide(
      config, trainer.task.random_options(config.train_data))
  if is_on and not _is_one_host(trainer.strategy):
    is_on, reason = False, 'several workers or a TPU train'
  if is_on:
    folder = config.cache_dir or os.path.join(model_dir, _FOLDER)
    lower = _lower(trainer.model)
    parts = [
        _describe(trainer, lower, data, num_copies, folder)
        for data, num_copies in (
            (config.train_data, config.num_augmented_copies),
            (config.validation_data, 1))[:2 if evaluate else 1]]
    sizes = ' and '.join(
        part.files.layout.describe(trainer.task.EXAMPLES) for part in parts)
    problem = _space_problem(parts, folder, config.cache_limit_gb)
    if problem:
      is_on, reason = False, f'{sizes} are {problem}'
  if not is_on:
    if config.cache_features:
      raise errors.UserError(
          f'task.cache_features=true: {reason}. Change that, or set it to '
          'false.')
    say(f'Features of the frozen blocks are not cached: {reason}.')
    return
  say(f'Features of the frozen blocks are cached, as {reason}: {sizes} in '
      f'{folder}.')
  if not config.cache_dir:
    _remove_others(folder, parts, say)
  for part in parts:
    _ensure(part, trainer, lower, say)
  _draw_again(config.train_data.seed)
  _replace_datasets(trainer, parts)


def _replace_datasets(
    trainer: trainer_lib.Trainer, parts: List[_Part]) -> None:
  """Lets a trainer read the features of training and, if any, validation."""
  datasets = [
      orbit.utils.make_distributed_dataset(
          trainer.strategy, batching.batch_features, part.params, part.files)
      for part in parts]
  trainer.train_dataset = datasets[0]
  if len(datasets) > 1:
    trainer.eval_dataset = datasets[1]


def _is_one_host(strategy: tf.distribute.Strategy) -> bool:
  return not isinstance(strategy, (
      tf.distribute.TPUStrategy, tf.distribute.MultiWorkerMirroredStrategy))


def _lower(model: backbones.Classifier) -> Callable[[tf.Tensor], tf.Tensor]:
  """Returns the compiled function from pixels to the tokens of the blocks."""
  size = model.backbone.input_size

  @tf.function(input_signature=[tf.TensorSpec([None, *size], tf.float32)])
  def lower(pixels):
    return model.backbone.lower(tf.cast(pixels, model.compute_dtype))

  return lower


def _describe(trainer: trainer_lib.Trainer, lower: Any, params: cfg.DataConfig,
              num_copies: int, folder: str) -> _Part:
  """Returns the features of a data config, present or not."""
  task, model = trainer.task, trainer.model
  config = task.task_config
  teacher = task.teacher if params.is_training else None
  source = task.open(params)
  # Options of the Garden's class say how data are read, ours what they show.
  garden = {field.name for field in dataclasses.fields(cfg.DataConfig)}
  view = {name: value for name, value in params.as_dict().items()
          if name not in garden}
  is_random = bool(task.random_options(params))
  info = {
      'versions': [tf_tokenlearner.__version__, tf.__version__],
      'weights': _hash_of(
          variable.numpy() for variable in model.backbone.lower_variables()),
      'frozen_part': model.backbone.lower_options(),
      'compute_dtype': model.compute_dtype,
      'cache_dtype': config.cache_dtype,
      'data': batching.identity(params, source),
      'view': {**view, **dataclasses.asdict(resizing.of_task(config))},
      'is_training': params.is_training,
      'labels': [config.model.num_classes, list(config.label_names)],
      'copies': num_copies,
      'teacher': teacher and [
          type(teacher.backbone).__name__,
          dataclasses.asdict(teacher.backbone.spec),
          _hash_of(variable.numpy() for variable in teacher.variables)],
      'seed': (params.seed or 0) if is_random else None,
  }
  pixels, label = task.ordered_examples(params).element_spec
  tokens = lower.get_concrete_function().output_shapes[1:]
  views = pixels.shape[:-len(model.backbone.input_size)]  # Of a video.
  layout = feature_files.Layout(
      batching.count_examples(params, source) * num_copies,
      (*views, *tokens), config.cache_dtype, tuple(label.shape),
      {distillation.TEACHER_LOGITS: config.model.num_classes}
      if teacher else {})
  key = hashlib.sha256(
      json.dumps(info, sort_keys=True, default=list).encode()).hexdigest()
  name = f'{"train" if params.is_training else "validation"}-{key[:16]}'
  return _Part(params, num_copies, teacher, info, feature_files.FeatureFiles(
      os.path.join(folder, name), layout))


def _hash_of(arrays: Iterator[Any]) -> str:
  digest = hashlib.sha256()
  for array in arrays:
    digest.update(f'{array.dtype}{array.shape}'.encode())
    digest.update(array.tobytes())
  return digest.hexdigest()


def _remove_others(folder: str, parts: List[_Part],
                   say: Callable[[str], None]) -> None:
  """Removes features of other weights, data or views from a run folder."""
  wanted = {os.path.basename(part.files.folder) for part in parts}
  found = (tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else [])
  for name in sorted({name.rstrip('/') for name in found} - wanted):
    tf.io.gfile.rmtree(os.path.join(folder, name))
    say(f'Removed cached features of other weights, data or options: {name}.')


def _space_problem(parts: List[_Part], folder: str,
                   limit_gb: float) -> Optional[str]:
  """Returns why the features do not fit, or None."""
  total = sum(part.files.layout.num_bytes for part in parts)
  if total > limit_gb * 1e9:
    return f'more than task.cache_limit_gb={limit_gb:g}'
  if '://' in folder:
    return None
  missing = sum(
      (part.files.layout.count - part.files.num_done())
      * part.files.layout.record_bytes for part in parts)
  os.makedirs(folder, exist_ok=True)
  free = shutil.disk_usage(folder).free
  if missing and missing > free - _LEFT_FREE:
    return (f'too much for the disk of {folder}, which has '
            f'{feature_files.megabytes(free)} left, of which '
            f'{feature_files.megabytes(_LEFT_FREE)} must stay free')
  return None


def _ensure(part: _Part, trainer: trainer_lib.Trainer,
            lower: Callable[[tf.Tensor], tf.Tensor],
            say: Callable[[str], None]) -> None:
  """Computes the features that are missing."""
  features = part.files
  tf.io.gfile.makedirs(features.folder)
  with contextlib.nullcontext() if '://' in features.folder else (
      file_lock.alone(
          os.path.join(features.folder, '.lock'),
          lambda: say('Another process computes the same features: waiting.'))):
    done = features.num_done()
    if done == features.layout.count:
      return
    start = time.monotonic()
    with progress.Progress(
        'Computing features', features.layout.count, say, done) as counter:
      features.write(_compute(part, trainer, lower, done, counter), part.info)
    count = features.layout.count - done
    say(f'Computed features of {count:,} {trainer.task.EXAMPLES} in '
        f'{progress.duration(time.monotonic() - start)}.')


def _compute(part: _Part, trainer: trainer_lib.Trainer,
             lower: Callable[[tf.Tensor], tf.Tensor], done: int,
             counter: progress.Progress) -> Iterator[feature_files.Batch]:
  """Yields the features behind the first `done`, batch by batch."""
  layout = part.files.layout
  dtype = tf.dtypes.as_dtype(layout.dtype)
  # Draws of the augmentation follow from the seed and the place in this pass.
  tf.random.set_seed(part.info['seed'] or 0)
  examples = trainer.task.ordered_examples(part.params, part.num_copies)
  teach = tf.function(lambda x: part.teacher(x, training=False))
  batch = max(1, _BATCH // math.prod(layout.shape[:-2]))  # Videos have views.
  for pixels, labels in examples.skip(done).batch(batch).prefetch(2):
    views = tf.reshape(pixels, [-1, *trainer.model.backbone.input_size])
    tokens = tf.reshape(
        tf.cast(lower(views), dtype), [-1, *layout.shape])
    vectors = {}
    if part.teacher:
      vectors[distillation.TEACHER_LOGITS] = teach(pixels).numpy()
    yield tokens.numpy(), labels.numpy(), vectors
    counter.advance(len(tokens))


def _draw_again(seed: Optional[int]) -> None:
  """Seeds TensorFlow as if no features had been computed."""
  tf.random.set_seed(random.getrandbits(31) if seed is None else seed)
