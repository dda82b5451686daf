"""Labelled data sets of TFDS: what those of images and of videos share."""

import dataclasses
import importlib
import os
import re
from typing import (
    Any, Callable, Dict, Mapping, Optional, Sequence, Tuple)

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import naming
from tensorflow_datasets.core import registered

from tf_tokenlearner import errors


# Importing the module makes the name known to TFDS.
OWN_BUILDERS = {
    'avid': 'tf_tokenlearner.data.builders.public_videos',
    'charades': 'tf_tokenlearner.data.builders.public_videos',
    'digits': 'tf_tokenlearner.data.builders.digits',
    'kinetics400': 'tf_tokenlearner.data.builders.public_videos',
    'kinetics600': 'tf_tokenlearner.data.builders.public_videos',
    'moving_digits': 'tf_tokenlearner.data.builders.digits',
}
_FOLDER_BUILDERS = ('image_folder', 'video_folder')
_INFO_FILE = 'dataset_info.json'


def find_builder(
    tfds_name: str, data_dir: str = '',
    **options: object) -> tfds.core.DatasetBuilder:
  """The builder of a data set, prepared or not; nothing is downloaded.

  Args:
    tfds_name: 'name', 'name/config', 'name:version' and what else TFDS takes,
      one of OWN_BUILDERS, or the folder of a prepared data set.
    data_dir: where data sets lie; '' is TFDS's own place.
    **options: of the builder's constructor; not for a folder.

  Raises:
    UserError: unknown name, config or version, or no prepared data set there.
  """
  if is_folder(tfds_name):
    return _find_in_folder(os.path.expanduser(tfds_name))
  try:
    name, written_options = naming.parse_builder_name_kwargs(tfds_name)
  except ValueError as error:
    raise errors.UserError(
        f'{tfds_name!r} is not the name of a TFDS data set, such as cifar10, '
        'name/config or name:1.2.3, and not an absolute path.') from error
  if str(name) in _FOLDER_BUILDERS:
    raise errors.UserError(
        f'{name} is not opened by name: set task.train_data.input_path to '
        'the folder of class folders, and no tfds_name.')
  if str(name) in OWN_BUILDERS:
    importlib.import_module(OWN_BUILDERS[str(name)])
  try:
    return tfds.builder(
        tfds_name,
        data_dir=os.path.expanduser(data_dir) if data_dir else None, **options)
  except errors.UserError:
    raise
  except registered.DatasetNotFoundError as error:
    raise errors.unknown_name('TFDS data set', str(name), {
        *tfds.list_builders(with_community_datasets=False), *OWN_BUILDERS,
    }) from error
  except ImportError as error:
    raise errors.UserError(
        f'{tfds_name} needs a package that is not installed: {error}.'
    ) from error
  except (AssertionError, TypeError, ValueError) as error:
    raise _explain(error, tfds_name, str(name), written_options) from error


def is_folder(tfds_name: str) -> bool:
  """Whether a name is the path of a folder rather than the name of a data set.

  'cifar10' and 'name/config' are names even if a folder is called so, unless
  it holds a prepared data set.
  """
  return (tfds_name.startswith(('/', './', '../', '~'))
          or '://' in tfds_name
          or os.path.exists(os.path.join(tfds_name, _INFO_FILE)))


def _find_in_folder(folder: str) -> tfds.core.DatasetBuilder:
  path = tfds.core.Path(folder)
  if not (path / _INFO_FILE).exists():
    if not path.exists():
      raise errors.UserError(f'There is no folder {folder}.')
    # Not by glob, which would read brackets in the folder's name as a pattern.
    children = [child for child in path.iterdir() if child.is_dir()]
    grandchildren = [
        grandchild for child in children for grandchild in child.iterdir()]
    inside = sorted(
        os.fspath(found) for found in [*children, *grandchildren]
        if (found / _INFO_FILE).exists())
    raise errors.UserError(
        f'{folder} holds no prepared TFDS data set, which has a {_INFO_FILE}. '
        + (f'Inside are: {", ".join(inside[:5])}.' if inside else
           'A folder of class folders is given by task.train_data.input_path.'))
  try:
    return tfds.builder_from_directory(folder)
  except (AssertionError, ValueError) as error:
    raise errors.UserError(
        f'{folder} cannot be read as a TFDS data set: '
        f'{_first_line(error)}') from error


def _explain(error: Exception, tfds_name: str, name: str,
             options: dict) -> errors.UserError:
  """What TFDS disliked about a name that it knows."""
  config, version = options.get('config'), options.get('version')
  builder_cls = tfds.builder_cls(name)
  if config is not None and config not in builder_cls.builder_configs:
    return errors.unknown_name(
        f'config of {name}', config, builder_cls.builder_configs)
  if version is not None:
    return errors.UserError(
        f'{name} cannot be had in version {version}; without :{version} the '
        'newest one is taken.')
  return errors.UserError(
      f'TFDS does not take {tfds_name!r}: {_first_line(error)}')


def _first_line(error: Exception) -> str:
  return str(error).strip().split('\n', maxsplit=1)[0]


_VALIDATION = ('validation', 'val', 'valid')


@dataclasses.dataclass(frozen=True)
class LabelledSource:
  """A prepared data set of labelled examples.

  Attributes:
    builder: can be read.
    label_key: feature of the label.
    num_classes: labels are below it.
    label_names: of the classes; '0', '1', ... if they have no names.
    multi_label: an example has any number of labels.
    select: takes a split's examples, {'label', ...}, and gives those to read;
      None for all. num_examples counts all.
  """
  builder: tfds.core.DatasetBuilder
  label_key: str
  num_classes: int
  label_names: Tuple[str, ...]
  multi_label: bool
  select: Optional[Callable[[tf.data.Dataset], tf.data.Dataset]] = (
      dataclasses.field(default=None, kw_only=True))

  def num_examples(self, split: str) -> int:
    """Examples of a split, such as 'train' or 'train[:90%]+test'.

    Raises:
      UserError: no such split, or an empty one.
    """
    return self._resolve(split)[1]

  def num_files(self, split: str) -> int:
    """Files that a split is read from: so many workers can share it by file."""
    return len(
        self.builder.info.splits[self._resolve(split)[0]].file_instructions)

  def _read(self, split: str, keys: Mapping[str, str], encoded: Sequence[str],
            read_config: tfds.ReadConfig,
            shuffle_files: bool) -> tf.data.Dataset:
    """Reads a split; nothing but the named features is parsed.

    Args:
      split: as for num_examples.
      keys: features of TFDS by the name that they get.
      encoded: those of the features whose pixels stay as they are stored.
      read_config: as in TFDS; an id that it adds gets the name 'id'.
      shuffle_files: as in TFDS.
    """
    decoders = {key: _AsStored() for key in encoded}
    dataset = self.builder.as_dataset(
        self._resolve(split)[0],
        decoders=tfds.decode.PartialDecoding(
            {key: True for key in keys.values()}, decoders=decoders or None),
        read_config=read_config, shuffle_files=shuffle_files)
    names = dict(keys, id='tfds_id') if read_config.add_tfds_id else keys
    dataset = dataset.map(
        lambda example: {name: example[key] for name, key in names.items()})
    return self.select(dataset) if self.select else dataset

  def _resolve(self, split: str) -> Tuple[str, int]:
    """The split as the builder calls it, and its number of examples.

    'validation', 'val' and 'valid' mean the same where only one of them exists.
    """
    known, name = self.builder.info.splits, self.builder.info.full_name
    present = [word for word in _VALIDATION if word in known]
    if len(present) == 1:
      split = re.sub(rf'\b({"|".join(_VALIDATION)})\b', present[0], split)
    for word in re.findall(r'(?:^|\+)\s*([\w-]+)', split):
      if word not in known and word != 'all':
        raise errors.unknown_name(f'split of {name}', word, known)
    try:
      num_examples = known[split].num_examples
    except (AssertionError, KeyError, ValueError) as error:
      raise errors.UserError(
          f'Split {split!r} of {name} is not understood: write train, '
          'train[:90%], train[100:200] or train+test; known: '
          f'{", ".join(known)}.') from error
    if num_examples < 1:
      raise errors.UserError(f'Split {split!r} of {name} holds no example.')
    return split, num_examples


class _AsStored(tfds.decode.SkipDecoding):
  """Skips decoding; of a sequence, too, which TFDS would copy one by one."""

  def decode_batch_example(self, serialized_example):
    return serialized_example


def only_labelled(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Leaves out the examples that have no label."""
  return dataset.filter(lambda example: tf.size(example['label']) > 0)


def label_facts(info: tfds.core.DatasetInfo, label_key: str) -> Dict[str, Any]:
  """What a LabelledSource says of its labels, by argument."""
  feature = info.features[label_key]
  label = _class_label(feature)
  return dict(label_key=label_key, num_classes=label.num_classes,
              label_names=tuple(label.names), multi_label=label is not feature)


def find_label(
    info: tfds.core.DatasetInfo, requested: str, examples: str) -> str:
  """The feature of the label, checked.

  Args:
    info: of the data set.
    requested: name of the feature; '' lets the data set say.
    examples: what is labelled, 'images' or 'videos'.
  """
  candidates = {name: feature for name, feature in features_of(info).items()
                if _class_label(feature)}
  key = choose(info, 'label', requested, candidates, candidates, supervised=1,
               examples=examples)
  if not _class_label(candidates[key]).num_classes:
    raise errors.UserError(
        f'{info.full_name} does not say how many classes {key!r} has.')
  return key


def _class_label(feature: object) -> Optional[tfds.features.ClassLabel]:
  """The ClassLabel that a feature is, or is a sequence of."""
  if isinstance(feature, tfds.features.Sequence):
    feature = feature.feature
  return feature if isinstance(feature, tfds.features.ClassLabel) else None


def find_pixels(
    info: tfds.core.DatasetInfo, kind: str, requested: str,
    is_of_files: Callable[[object], bool], rank: int) -> str:
  """The feature that is looked at, checked.

  Args:
    info: of the data set.
    kind: of feature: 'image' or 'video'.
    requested: name of the feature; '' lets the data set say.
    is_of_files: whether a feature holds encoded images; such are preferred.
    rank: of one that holds arrays.

  Raises:
    UserError: there is none, or several, or no such one, or none of bytes.
  """
  features = features_of(info)
  of_files = {
      name: feature for name, feature in features.items()
      if is_of_files(feature)}
  arrays = {
      name: feature for name, feature in features.items()
      if feature.__class__ is tfds.features.Tensor  # A ClassLabel is one, too.
      and len(feature.shape) == rank}
  key = choose(
      info, kind, requested, of_files or arrays, {**of_files, **arrays},
      supervised=0, examples=f'{kind}s')
  # Files of 16 bits a channel decode to 8; arrays come as they are.
  dtype = np.dtype(features[key].np_dtype)
  if dtype != np.uint8 and (key in arrays or dtype != np.uint16):
    raise errors.UserError(
        f'{kind.capitalize()}s of {info.full_name} are {dtype.name} in '
        f'{key!r}; expected uint8 pixels.')
  return key


def choose(
    info: tfds.core.DatasetInfo, kind: str, requested: str,
    candidates: Mapping[str, object], allowed: Mapping[str, object],
    supervised: int, examples: str) -> str:
  """What is asked for, else what TFDS calls so, else the only one there is.

  Args:
    info: of the data set.
    kind: of feature: 'image', 'video' or 'label'.
    requested: name of the feature; '' lets the data set say.
    candidates: features that are found without being asked for, by name.
    allowed: features that may be asked for, by name.
    supervised: which of the supervised_keys it is.
    examples: what is labelled, 'images' or 'videos'.

  Raises:
    UserError: there is none, or several, or no such one.
  """
  option = f'task.train_data.{kind}_field_key'
  described = ', '.join(
      f'{name} ({type(feature).__name__})'
      for name, feature in features_of(info).items())
  if requested:
    if requested not in features_of(info):
      raise errors.unknown_name(
          f'{option} for {info.full_name}', requested, features_of(info))
    if requested not in allowed:
      raise errors.UserError(
          f'{option}={requested} of {info.full_name} is no {kind}; its '
          f'features are: {described}.')
    return requested
  told = (info.supervised_keys or (None, None))[supervised]
  if isinstance(told, str) and told in candidates:
    return told
  if len(candidates) == 1:
    return next(iter(candidates))
  if candidates:
    raise errors.UserError(
        f'{info.full_name} has several {kind}s: set {option} to one of '
        f'{", ".join(candidates)}.')
  raise errors.UserError(
      f'{info.full_name} is no data set of labelled {examples}, it has no '
      f'{kind} to train on; its features are: {described or "none"}.')


def features_of(info: tfds.core.DatasetInfo) -> Dict[str, object]:
  """Features by name, those that are not nested."""
  return (dict(info.features.items())
          if isinstance(info.features, tfds.features.FeaturesDict) else {})
