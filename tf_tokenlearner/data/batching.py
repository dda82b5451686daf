"""Makes batches from a data config: opens, reads, shuffles and parses.

The Garden's input reader reads TFRecord files, shuffles and batches. It
shuffles encoded examples, which are decoded afterwards. If the size of a data
set is known, the shuffle buffer takes at most 1 GiB, or 16 examples.
"""

import glob
import mimetypes
import os
import sys
from typing import (
    Any, Callable, Iterable, List, Optional, Tuple, TypeVar, Union)

import numpy as np
from official.core import config_definitions as cfg
from official.core import input_reader
from official.vision.ops import augment
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_tokenlearner.data import class_sampling
from tf_tokenlearner.data import csv_listing
from tf_tokenlearner.data import feature_files
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner import errors
from tf_tokenlearner import files


def for_network(label: tf.Tensor, num_classes: int,
                multi_label: bool) -> tf.Tensor:
  """Converts the label of one example to the type and shape of the loss.

  Args:
    label: int [], or [number of labels] if multi_label.
    num_classes: number of classes.
    multi_label: whether an example has any number of labels.

  Returns:
    int32 [], or float32 [num_classes] of zeros and ones if multi_label.

  Raises:
    tf.errors.InvalidArgumentError: when executed, if a label is out of range.
  """
  in_range = tf.reduce_all((label >= 0) & (label < num_classes))
  checked = tf.debugging.Assert(in_range, [
      f'A label is not in 0..{num_classes - 1}; -1 marks a split '
      'without labels. Got:', label])
  with tf.control_dependencies([checked]):
    if not multi_label:
      return tf.cast(label, tf.int32)
    hot = tf.one_hot(tf.cast(label, tf.int32), num_classes)
    return tf.minimum(tf.reduce_sum(hot, axis=0), 1.)


def within(
    label: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor, first: tf.Tensor,
    last: tf.Tensor, fps: tf.Tensor) -> tf.Tensor:
  """Returns the labels of a video whose spans overlap a clip.

  Args:
    label: int [L].
    starts: float32 [L], start of each span in seconds.
    ends: float32 [L], end of each span in seconds.
    first: int32 [], first frame of the clip in the video.
    last: int32 [], last frame of the clip in the video.
    fps: float32 [], frames per second of the video.
  """
  begin, end = tf.cast(first, fps.dtype) / fps, tf.cast(last, fps.dtype) / fps
  return tf.boolean_mask(label, (starts <= end) & (ends >= begin))


def require(name: str, params: cfg.DataConfig,
            conditions: Iterable[Tuple[bool, str, str]]) -> None:
  """Raises UserError for the first condition of a data config that fails.

  Args:
    name: of params in the task, such as 'train_data'.
    params: data config.
    conditions: whether it holds, the key, and what is expected of the key.
  """
  for holds, key, expected in conditions:
    if not holds:
      raise errors.UserError(
          f'task.{name}.{key} {expected}; got {getattr(params, key)}.')


_SHUFFLED_BYTES = 2**30
_LEAST_SHUFFLED = 16  # Examples of any size.

_Source = TypeVar('_Source', bound=labelled_source.LabelledSource)


def open_source(params: cfg.DataConfig, open_named: Callable[[], _Source],
                open_folder: Callable[[], _Source]) -> Optional[_Source]:
  """Opens the data set that a config names; returns None for TFRecord files.

  Args:
    params: has tfds_name and input_path.
    open_named: opens the data set called tfds_name.
    open_folder: opens the folder or CSV file input_path.

  Raises:
    UserError: the config names none or two data sets, the path does not exist,
      or an opener refuses.
  """
  if bool(params.tfds_name) == bool(params.input_path):
    raise errors.UserError(
        'Give either task.train_data.tfds_name (a TFDS data set) or '
        'task.train_data.input_path (a folder of class folders, a CSV file or '
        f'TFRecord files); got tfds_name={params.tfds_name!r} and '
        f'input_path={params.input_path!r}.')
  if params.tfds_name:
    return open_named()
  if holds_files(str(params.input_path)):
    return open_folder()
  mime_type, _ = mimetypes.guess_type(str(params.input_path))
  if mime_type and mime_type.startswith(('image/', 'video/')):
    raise errors.UserError(
        'Expected a folder of class folders or a CSV file, got the single file '
        f'input_path={params.input_path}.')
  if not tfrecord_paths(str(params.input_path)):
    raise errors.UserError(
        f'There is no folder {os.path.abspath(str(params.input_path))}, and no '
        f'TFRecord files match input_path={params.input_path}.')
  return None


def holds_files(input_path: str) -> bool:
  """Returns whether a path is a folder or CSV file, no TFRecord files."""
  return tf.io.gfile.isdir(input_path) or csv_listing.is_csv(input_path)


def tfrecord_paths(input_path: str) -> List[str]:
  """Returns the sorted files that comma-separated paths or patterns name.

  An existing file or folder is taken literally, so `[`, `*` and `?` in its name
  do not act as wildcards.
  """
  paths = set()
  for part in map(str.strip, input_path.split(',')):
    folder, name = os.path.split(part)
    if tf.io.gfile.exists(part):
      paths.add(part)
    elif folder and tf.io.gfile.isdir(folder):
      paths.update(tf.io.gfile.glob(os.path.join(glob.escape(folder), name)))
    else:
      paths.update(tf.io.gfile.glob(part))
  return sorted(paths)


def _for_garden(
    params: cfg.DataConfig, source: Optional[_Source]) -> Union[str, List[str]]:
  """Returns an input_path whose files the Garden's reader takes literally."""
  if not params.input_path:
    return params.input_path
  paths = [str(params.input_path)] if source else tfrecord_paths(
      str(params.input_path))
  # The reader expands a path that contains * or ?, and only such a path.
  return [glob.escape(path) if '*' in path or '?' in path else path
          for path in paths]


def make_batches(
    params: cfg.DataConfig, source: Optional[labelled_source.LabelledSource],
    decoder: Callable[[tf.Tensor], Any], parser: Callable[[Any], Any],
    num_classes: int, input_context: Optional[tf.distribute.InputContext]
) -> tf.data.Dataset:
  """Makes batches for one replica; endless in training.

  Args:
    params: also has mixup_and_cutmix. If its shuffle_buffer_size takes more
      than 1 GiB, it is reduced and a line is printed.
    source: result of `open_source` for params.
    decoder: converts a TFRecord to an example of the source.
    parser: converts an example to (pixels, label).
    num_classes: number of classes.
    input_context: from tf.distribute.

  Raises:
    UserError: params.cache is set for TFRecord files.
  """
  if params.cache and source is None:
    raise errors.UserError(
        'cache is not supported for TFRecord files, as it would store '
        'augmented examples. Set cache=false.')
  mix = params.mixup_and_cutmix if params.is_training else None
  reader = input_reader.InputReader(
      params.replace(
          cache=False,  # read_source caches, before the augmentation.
          input_path=_for_garden(params, source),
          shuffle_buffer_size=_shuffle_buffer_size(params, source)),
      decoder_fn=None if source else decoder,
      parser_fn=parser,
      postprocess_fn=mix and augment.MixupAndCutmix(
          num_classes, **mix.as_dict()))
  dataset = source and read_source(params, source, input_context)
  dataset = reader.read(input_context, dataset)
  # Examples are parsed in parallel. Parallelism inside their ops on top of that
  # costs more synchronization than it saves.
  options = tf.data.Options()
  options.threading.max_intra_op_parallelism = 1
  return dataset.with_options(options)


Select = Callable[[tf.data.Dataset], tf.data.Dataset]


def select_all(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Returns the data set itself."""
  return dataset


def stored_examples(
    params: cfg.DataConfig, source: Optional[labelled_source.LabelledSource],
    decoder: Callable[[tf.Tensor], Any],
    select: Select = select_all) -> tf.data.Dataset:
  """Returns examples of evaluation as they are stored, always in order.

  Args:
    params: as for make_batches, not of training.
    source: the result of open_source for params.
    decoder: converts a TFRecord to an example of the source.
    select: chooses among the examples.
  """
  if source:
    return select(source.as_dataset(
        params.tfds_split, read_config=tfds.ReadConfig(), shuffle_files=False))
  paths = tfrecord_paths(str(params.input_path))
  return select(tf.data.TFRecordDataset(paths).map(decoder))


def ordered_examples(
    params: cfg.DataConfig, source: Optional[labelled_source.LabelledSource],
    decoder: Callable[[tf.Tensor], Any], parser: Callable[[Any], Any],
    num_copies: int, is_random: bool) -> tf.data.Dataset:
  """Returns the parsed examples in order, the whole set num_copies times.

  Args:
    params: as for make_batches; those of training augment.
    source: the result of open_source for params.
    decoder: as for make_batches.
    parser: as for make_batches.
    num_copies: passes over the set.
    is_random: whether parser draws random numbers. It then runs on one example
      after the other, so that each draw belongs to an example.
  """
  stored = stored_examples(params, source, decoder).repeat(num_copies)
  if is_random:
    return stored.map(parser)
  return stored.map(parser, tf.data.AUTOTUNE, deterministic=True)


def count_examples(
    params: cfg.DataConfig,
    source: Optional[labelled_source.LabelledSource]) -> int:
  """Returns the number of examples that stored_examples returns."""
  if source and not source.select:
    return source.num_examples(params.tfds_split)
  stored = stored_examples(params, source, lambda record: record)
  return int(stored.reduce(tf.constant(0), lambda count, _: count + 1))


def identity(params: cfg.DataConfig,
             source: Optional[labelled_source.LabelledSource]) -> List[Any]:
  """Returns plain values that differ if the stored examples do."""
  if source:
    return source.identity(params.tfds_split)
  return [files.state(path) for path in tfrecord_paths(str(params.input_path))]


def batch_features(
    params: cfg.DataConfig, features: feature_files.FeatureFiles,
    input_context: Optional[tf.distribute.InputContext] = None
) -> tf.data.Dataset:
  """Makes batches of features for one replica; endless in training.

  The shuffle buffer takes at most 1 GiB. If it does not hold all features,
  their files are shuffled as well.
  """
  held = max(_LEAST_SHUFFLED, _SHUFFLED_BYTES // features.layout.record_bytes)
  buffer = min(params.shuffle_buffer_size, held, features.layout.count)
  records = features.records(
      params.is_training, buffer < features.layout.count, params.seed)
  # The reader opens no data set of its own, but wants to know a split.
  return input_reader.InputReader(
      params.replace(
          cache=False, input_path='', tfds_name='', tfds_split='features',
          shuffle_buffer_size=buffer),
      parser_fn=features.layout.parse).read(input_context, records)


def read_source(
    params: cfg.DataConfig, source: labelled_source.LabelledSource,
    input_context: Optional[tf.distribute.InputContext]) -> tf.data.Dataset:
  """Reads this worker's share of the examples of a source.

  The data set is endless in training. In evaluation its order is always the
  same.
  """
  has_file_each = input_context is None or (
      source.num_files(params.tfds_split) >= input_context.num_input_pipelines)
  read_config = _read_config(
      params, input_context if has_file_each else None)
  dataset = source.as_dataset(
      params.tfds_split, read_config=read_config,
      shuffle_files=params.is_training)
  if not has_file_each:
    dataset = dataset.shard(
        input_context.num_input_pipelines, input_context.input_pipeline_id)
  if params.cache:
    dataset = dataset.cache()
    if params.is_training:
      dataset = dataset.repeat()
  if params.is_training and params.sampling == 'balanced':
    counts, _ = class_sampling.count_labels(source, params.tfds_split)
    dataset = class_sampling.balance(dataset, counts)
  return dataset


def read_files(
    params: cfg.DataConfig, source: labelled_source.LabelledSource
) -> Tuple[List[str], List[np.ndarray]]:
  """Returns file names and labels in the order in which evaluation reads.

  Args:
    params: of evaluation.
    source: result of `open_source` for params.
  """
  dataset = source.as_files(params.tfds_split, _read_config(params, None))
  examples = list(dataset.as_numpy_iterator())
  return ([os.fsdecode(example['file']) for example in examples],
          [example['label'] for example in examples])


def _read_config(
    params: cfg.DataConfig,
    input_context: Optional[tf.distribute.InputContext]) -> tfds.ReadConfig:
  repeat = params.is_training and not params.cache
  return tfds.ReadConfig(
      interleave_cycle_length=params.cycle_length,
      interleave_block_length=params.block_length,
      input_context=input_context,
      shuffle_seed=params.seed,
      repeat_filenames=repeat,
      assert_cardinality=not repeat,
      skip_prefetch=True)


def _shuffle_buffer_size(
    params: cfg.DataConfig,
    source: Optional[labelled_source.LabelledSource]) -> int:
  """Returns the configured buffer size, reduced if it takes too much memory."""
  wanted = params.shuffle_buffer_size
  builder = getattr(source, 'builder', None)  # TFRecord files have none.
  # A cache holds the examples in memory anyway.
  if not params.is_training or params.cache or builder is None:
    return wanted
  # An average over all splits, as slices of a split do not know their bytes.
  splits = builder.info.splits.values()
  num_bytes = sum(split.num_bytes for split in splits)
  num_examples = sum(split.num_examples for split in splits)
  if not num_bytes or not num_examples:
    return wanted
  held = max(_LEAST_SHUFFLED, _SHUFFLED_BYTES * num_examples // num_bytes)
  if wanted <= held:
    return wanted
  mebibytes = num_bytes / num_examples / 2**20
  print(f'shuffle_buffer_size is {held:,} instead of {wanted:,}: examples of '
        f'{builder.info.full_name} take {mebibytes:,.1f} MiB each, and the '
        f'buffer at most {_SHUFFLED_BYTES / 2**30:g} GiB.', file=sys.stderr)
  return held
