"""Files of features: the tokens that leave a frozen part, once per example.

A folder holds info.json, which tells what the features were computed from, and
shards of TFRecord, 00000-of-00008.tfrecord and so on. Each shard appears whole
or not at all, so that an interrupted computation continues behind the last one.
"""

import dataclasses
import itertools
import math
import os
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple

import numpy as np
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner import files

DTYPES = ('float16', 'bfloat16', 'float32')
_SHARD_EXAMPLES = 256
_PARTIAL = '.partial'  # The ending of names of files.replacing.

# Tokens, label and further values of each example of a batch.
Batch = Tuple[np.ndarray, np.ndarray, Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Layout:
  """The shape of features.

  Attributes:
    count: number of examples, copies included.
    shape: of the tokens of an example: (M, C), or (views, M, C).
    dtype: one of DTYPES, the type of the stored tokens.
    label_shape: (), a class number; or (num_classes,).
    vectors: {name: length} of further float32 values of each example.
  """
  count: int
  shape: Tuple[int, ...]
  dtype: str
  label_shape: Tuple[int, ...] = ()
  vectors: Mapping[str, int] = dataclasses.field(default_factory=dict)

  @property
  def record_bytes(self) -> int:
    """Bytes of the tokens of an example."""
    return math.prod(self.shape) * tf.dtypes.as_dtype(self.dtype).size

  @property
  def num_bytes(self) -> int:
    """Bytes of all tokens."""
    return self.count * self.record_bytes

  def describe(self, examples: str) -> str:
    """Returns '2,000 images x 257 x 384 float16 = 395 MB'."""
    shape = ' x '.join(map(str, self.shape))
    return (f'{self.count:,} {examples} x {shape} {self.dtype} = '
            f'{megabytes(self.num_bytes)}')

  def serialize(self, tokens: np.ndarray, label: np.ndarray,
                vectors: Mapping[str, np.ndarray]) -> bytes:
    """Returns the record of an example.

    Raises:
      UserError: the stored type cannot hold the tokens.
    """
    if not np.isfinite(tokens).all():
      raise errors.UserError(
          f'Features exceed the range of {self.dtype}. Set '
          'task.cache_dtype=bfloat16 or float32.')
    feature = {
        'tokens': tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[tokens.tobytes()])),
        'label': _floats(label) if self.label_shape else tf.train.Feature(
            int64_list=tf.train.Int64List(value=[int(label)])),
        **{name: _floats(values) for name, values in vectors.items()}}
    return tf.train.Example(
        features=tf.train.Features(feature=feature)).SerializeToString()

  def parse(self, record: tf.Tensor) -> Tuple[Dict[str, tf.Tensor], tf.Tensor]:
    """Returns ({'tokens', names of vectors}, label) of a record."""
    label_type = tf.float32 if self.label_shape else tf.int64
    values = tf.io.parse_single_example(record, {
        'tokens': tf.io.FixedLenFeature([], tf.string),
        'label': tf.io.FixedLenFeature(self.label_shape, label_type),
        **{name: tf.io.FixedLenFeature([length], tf.float32)
           for name, length in self.vectors.items()}})
    tokens = tf.io.decode_raw(values['tokens'], self.dtype)
    values['tokens'] = tf.reshape(tokens, self.shape)
    label = values.pop('label')
    return values, label if self.label_shape else tf.cast(label, tf.int32)


@dataclasses.dataclass(frozen=True)
class FeatureFiles:
  """The features of a data set in a folder, complete or not.

  Attributes:
    folder: path of the folder.
    layout: shape of the features.
  """
  folder: str
  layout: Layout

  @property
  def paths(self) -> List[str]:
    """Paths of all shards, first to last."""
    count = math.ceil(self.layout.count / _SHARD_EXAMPLES)
    return [os.path.join(self.folder, f'{i:05d}-of-{count:05d}.tfrecord')
            for i in range(count)]

  def num_done(self) -> int:
    """Returns the number of examples in front of the first missing shard."""
    exists = map(tf.io.gfile.exists, self.paths)
    whole = sum(1 for _ in itertools.takewhile(bool, exists))
    return min(whole * _SHARD_EXAMPLES, self.layout.count)

  def write(self, batches: Iterable[Batch], info: Mapping[str, Any]) -> None:
    """Writes the missing shards; one process at a time may do so.

    Args:
      batches: of the examples behind the first `num_done()`, in order.
      info: what the features are computed from, for readers of info.json.

    Raises:
      UserError: there are too few examples, the stored type cannot hold them,
        or the disk is full.
    """
    tf.io.gfile.makedirs(self.folder)
    for name in tf.io.gfile.listdir(self.folder):
      if name.endswith(_PARTIAL):  # Of a process that was killed.
        tf.io.gfile.remove(os.path.join(self.folder, name))
    files.write_json(os.path.join(self.folder, 'info.json'), info)
    records = self._records_of(batches)
    for start in range(self.num_done(), self.layout.count, _SHARD_EXAMPLES):
      self._write_shard(start, records)

  def _write_shard(self, start: int, records: Iterator[bytes]) -> None:
    wanted = min(_SHARD_EXAMPLES, self.layout.count - start)
    path = self.paths[start // _SHARD_EXAMPLES]
    written = 0
    try:
      with files.replacing(path) as beside:
        with tf.io.TFRecordWriter(beside) as writer:
          for record in itertools.islice(records, wanted):
            writer.write(record)
            written += 1
        if written < wanted:
          raise errors.UserError(
              f'Expected {self.layout.count:,} examples, got '
              f'{start + written:,}: the data have changed. Start again.')
    except tf.errors.ResourceExhaustedError as error:  # The disk is full.
      raise errors.UserError(
          f'The disk of {self.folder} is full. Make room, or set '
          'task.cache_features=false.') from error

  def _records_of(self, batches: Iterable[Batch]) -> Iterator[bytes]:
    for tokens, labels, vectors in batches:
      for i in range(len(tokens)):
        yield self.layout.serialize(
            tokens[i], labels[i],
            {name: values[i] for name, values in vectors.items()})

  def records(self, is_training: bool, shuffle_files: bool,
              seed: Optional[int]) -> tf.data.Dataset:
    """Returns the records, endless in training.

    Args:
      is_training: whether to repeat them.
      shuffle_files: whether each pass draws a new order of the shards.
      seed: of that order.
    """
    paths = tf.data.Dataset.from_tensor_slices(self.paths)
    if is_training and shuffle_files:
      paths = paths.shuffle(len(self.paths), seed=seed)
    if is_training:
      paths = paths.repeat()
    return paths.flat_map(tf.data.TFRecordDataset)


def megabytes(num_bytes: float) -> str:
  """Returns '395 MB'."""
  return f'{num_bytes / 1e6:,.{0 if num_bytes >= 1e6 else 3}f} MB'


def _floats(values: np.ndarray) -> tf.train.Feature:
  return tf.train.Feature(float_list=tf.train.FloatList(value=values))
