"""Labelled TFDS data sets: lookup by name, labels and splits.

Shared by the sources of images and of videos in tfds_source.
"""

import dataclasses
import importlib
import os
import re
from typing import (
    Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple)

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core import naming
from tensorflow_datasets.core import registered

from tf_tokenlearner import errors
from tf_tokenlearner import files


# Importing the module registers the builder with TFDS.
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
  """Returns the builder of a data set, prepared or not, without downloading.

  Args:
    tfds_name: 'name', 'name/config', 'name:version' or another form that TFDS
      accepts, a name in OWN_BUILDERS, or the folder of a prepared data set.
    data_dir: folder of the data sets; '' for the default of TFDS.
    **options: of the builder's constructor; ignored for a folder.

  Raises:
    UserError: the name, config or version is unknown, or the folder holds no
      prepared data set.
  """
  if is_folder(tfds_name):
    return _find_in_folder(os.path.expanduser(tfds_name))
  try:
    name, written_options = naming.parse_builder_name_kwargs(tfds_name)
  except ValueError as error:
    raise errors.UserError(
        'Expected the name of a TFDS data set, such as cifar10, name/config '
        f'or name:1.2.3, or an absolute path, got {tfds_name!r}.') from error
  if str(name) in _FOLDER_BUILDERS:
    raise errors.UserError(
        f'{name} cannot be opened by name. Set task.train_data.input_path to '
        'the folder of class folders, and leave tfds_name empty.')
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
  """Returns whether a name is a path rather than the name of a data set.

  'cifar10' and 'name/config' are names even if such a folder exists, unless it
  holds a prepared data set.
  """
  return (tfds_name.startswith(('/', './', '../', '~'))
          or '://' in tfds_name or is_prepared(tfds_name))


def is_prepared(path: str) -> bool:
  """Returns whether a path is the folder of a prepared data set."""
  return os.path.exists(os.path.join(path, _INFO_FILE))


def _find_in_folder(folder: str) -> tfds.core.DatasetBuilder:
  path = tfds.core.Path(folder)
  if not (path / _INFO_FILE).exists():
    if not path.exists():
      raise errors.UserError(f'There is no folder {folder}.')
    # Does not use glob: brackets in the folder's name would be a pattern.
    children = [child for child in path.iterdir() if child.is_dir()]
    grandchildren = [
        grandchild for child in children for grandchild in child.iterdir()]
    inside = sorted(
        os.fspath(found) for found in [*children, *grandchildren]
        if (found / _INFO_FILE).exists())
    raise errors.UserError(
        f'{folder} holds no prepared TFDS data set: there is no {_INFO_FILE}. '
        + (f'Data sets inside: {", ".join(inside[:5])}.' if inside else
           'Set task.train_data.input_path for a folder of class folders.'))
  try:
    return tfds.builder_from_directory(folder)
  except (AssertionError, ValueError) as error:
    raise errors.UserError(
        f'{folder} cannot be read as a TFDS data set: '
        f'{_first_line(error)}') from error


def _explain(error: Exception, tfds_name: str, name: str,
             options: dict) -> errors.UserError:
  """Returns the error for a known name with options that TFDS refuses."""
  config, version = options.get('config'), options.get('version')
  builder_cls = tfds.builder_cls(name)
  if config is not None and config not in builder_cls.builder_configs:
    return errors.unknown_name(
        f'config of {name}', config, builder_cls.builder_configs)
  if version is not None:
    return errors.UserError(
        f'{name} has no version {version}. Drop :{version} to use the newest '
        'version.')
  return errors.UserError(
      f'TFDS refuses the name {tfds_name!r}: {_first_line(error)}')


def _first_line(error: Exception) -> str:
  return str(error).strip().split('\n', maxsplit=1)[0]


_VALIDATION = ('validation', 'val', 'valid')
# Features that name the file of an example, in our builders and those of TFDS.
_FILE_KEYS = ('file', 'name', 'file_name', 'image/filename', 'filename')


@dataclasses.dataclass(frozen=True)
class LabelledSource:
  """A prepared data set of labelled examples.

  Attributes:
    builder: of the prepared data set.
    label_key: name of the label feature.
    num_classes: number of classes.
    label_names: names of the classes; '0', '1', ... if they have none.
    multi_label: whether an example has any number of labels.
    select: filters the examples of a split, {'label', ...}; None for no filter.
      num_examples counts the examples before the filter.
  """
  builder: tfds.core.DatasetBuilder
  label_key: str
  num_classes: int
  label_names: Tuple[str, ...]
  multi_label: bool
  select: Optional[Callable[[tf.data.Dataset], tf.data.Dataset]] = (
      dataclasses.field(default=None, kw_only=True))

  def num_examples(self, split: str) -> int:
    """Returns the number of examples of a split, such as 'train[:90%]+test'.

    Raises:
      UserError: the split is unknown or empty.
    """
    return self._find_split(split)[1]

  def identity(self, split: str) -> List[Any]:
    """Returns plain values that differ if the examples of a split do."""
    info = self.builder.info
    instructions = info.splits[self._find_split(split)[0]].file_instructions
    return [info.full_name, list(self.label_names), *(
        [*files.state(part.filename), part.skip, part.take]
        for part in instructions)]

  def num_files(self, split: str) -> int:
    """Returns the number of files of a split, which workers can share."""
    return len(
        self.builder.info.splits[self._find_split(split)[0]].file_instructions)

  def as_files(self, split: str,
               read_config: tfds.ReadConfig) -> tf.data.Dataset:
    """Reads the file names and labels of a split, without the pixels.

    Args:
      split: as in num_examples.
      read_config: as in TFDS; determines the order.

    Returns:
      Data set of {'file': string [], the id of TFDS if the data have no file
      names; 'label': int64 [], or [number of labels] if multi_label}.

    Raises:
      UserError: the split is unknown or empty.
    """
    features = features_of(self.builder.info)
    key = next((key for key in _FILE_KEYS
                if isinstance(features.get(key), tfds.features.Text)), '')
    keys = {'label': self.label_key, **({'file': key} if key else {})}
    dataset = self._read(
        split, keys, [],
        dataclasses.replace(read_config, add_tfds_id=not key),
        shuffle_files=False)
    return dataset.map(lambda example: {
        'file': example['file' if key else 'id'], 'label': example['label']})

  def _read(self, split: str, keys: Mapping[str, str], encoded: Sequence[str],
            read_config: tfds.ReadConfig,
            shuffle_files: bool) -> tf.data.Dataset:
    """Reads the named features of a split.

    Args:
      split: as in num_examples.
      keys: {name in the result: feature of TFDS}.
      encoded: features whose pixels are not decoded.
      read_config: as in TFDS; an id that it adds is called 'id'.
      shuffle_files: as in TFDS.
    """
    decoders = {key: _AsStored() for key in encoded}
    dataset = self.builder.as_dataset(
        self._find_split(split)[0],
        decoders=tfds.decode.PartialDecoding(
            {key: True for key in keys.values()}, decoders=decoders or None),
        read_config=read_config, shuffle_files=shuffle_files)
    names = dict(keys, id='tfds_id') if read_config.add_tfds_id else keys
    dataset = dataset.map(
        lambda example: {name: example[key] for name, key in names.items()})
    return self.select(dataset) if self.select else dataset

  def _find_split(self, split: str) -> Tuple[str, int]:
    """Returns the builder's name of a split, and its number of examples.

    'validation', 'val' and 'valid' are synonyms if only one of them exists.
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
          f'Split {split!r} of {name} is invalid. Write train, train[:90%], '
          'train[100:200] or train+test. Known splits: '
          f'{", ".join(known)}.') from error
    if num_examples < 1:
      raise errors.UserError(f'Split {split!r} of {name} has no examples.')
    return split, num_examples


class _AsStored(tfds.decode.SkipDecoding):
  """Decoder that skips decoding, also of sequences.

  SkipDecoding itself would copy the items of a sequence one by one.
  """

  def decode_batch_example(self, serialized_example):
    return serialized_example


def only_labelled(dataset: tf.data.Dataset) -> tf.data.Dataset:
  """Removes the examples without labels."""
  return dataset.filter(lambda example: tf.size(example['label']) > 0)


def label_facts(info: tfds.core.DatasetInfo, label_key: str) -> Dict[str, Any]:
  """Returns the arguments of a LabelledSource that describe its labels."""
  feature = info.features[label_key]
  label = _class_label(feature)
  return dict(label_key=label_key, num_classes=label.num_classes,
              label_names=tuple(label.names), multi_label=label is not feature)


def find_label(
    info: tfds.core.DatasetInfo, requested: str, examples: str) -> str:
  """Returns the name of the label feature.

  Args:
    info: of the data set.
    requested: name of the feature; '' to choose it from info.
    examples: 'images' or 'videos', for messages.

  Raises:
    UserError: as `choose`, or the feature does not know its classes.
  """
  candidates = {name: feature for name, feature in features_of(info).items()
                if _class_label(feature)}
  key = choose(info, 'label', requested, candidates, candidates, supervised=1,
               examples=examples)
  if not _class_label(candidates[key]).num_classes:
    raise errors.UserError(
        f'{info.full_name} does not give the number of classes of {key!r}.')
  return key


def _class_label(feature: object) -> Optional[tfds.features.ClassLabel]:
  """Returns a ClassLabel, or the one inside a Sequence; None for others."""
  if isinstance(feature, tfds.features.Sequence):
    feature = feature.feature
  return feature if isinstance(feature, tfds.features.ClassLabel) else None


def find_pixels(
    info: tfds.core.DatasetInfo, role: str, requested: str,
    is_of_files: Callable[[object], bool], rank: int) -> str:
  """Returns the name of the feature with the images or videos.

  Args:
    info: of the data set.
    role: 'image' or 'video'.
    requested: name of the feature; '' to choose it from info.
    is_of_files: returns whether a feature holds encoded images, which are
      preferred.
    rank: of features that hold arrays.

  Raises:
    UserError: as `choose`, or the pixels are not uint8.
  """
  features = features_of(info)
  of_files = {
      name: feature for name, feature in features.items()
      if is_of_files(feature)}
  arrays = {
      name: feature for name, feature in features.items()
      if feature.__class__ is tfds.features.Tensor  # Excludes ClassLabel.
      and len(feature.shape) == rank}
  key = choose(
      info, role, requested, of_files or arrays, {**of_files, **arrays},
      supervised=0, examples=f'{role}s')
  # Files with 16 bits per channel decode to 8; arrays are not converted.
  dtype = np.dtype(features[key].np_dtype)
  if dtype != np.uint8 and (key in arrays or dtype != np.uint16):
    raise errors.UserError(
        f'{role.capitalize()}s of {info.full_name} are {dtype.name} in '
        f'{key!r}; expected uint8 pixels.')
  return key


def choose(
    info: tfds.core.DatasetInfo, role: str, requested: str,
    candidates: Mapping[str, object], allowed: Mapping[str, object],
    supervised: int, examples: str) -> str:
  """Returns the requested key, else the supervised one, else the only one.

  Args:
    info: of the data set.
    role: 'image', 'video' or 'label', as in the option <role>_field_key.
    requested: name of the feature; '' for none.
    candidates: features to choose from without a request, by name.
    allowed: features that may be requested, by name.
    supervised: index of the key in supervised_keys.
    examples: 'images' or 'videos', for messages.

  Raises:
    UserError: the requested feature is unknown or unsuitable, or there are no
      or several candidates.
  """
  option = f'task.train_data.{role}_field_key'
  described = ', '.join(
      f'{name} ({type(feature).__name__})'
      for name, feature in features_of(info).items())
  if requested:
    if requested not in features_of(info):
      raise errors.unknown_name(
          f'{option} for {info.full_name}', requested, features_of(info))
    if requested not in allowed:
      raise errors.UserError(
          f'{option}={requested} of {info.full_name} is not of type {role}; '
          f'features: {described}.')
    return requested
  told = (info.supervised_keys or (None, None))[supervised]
  if isinstance(told, str) and told in candidates:
    return told
  if len(candidates) == 1:
    return next(iter(candidates))
  if candidates:
    raise errors.UserError(
        f'{info.full_name} has several {role}s. Set {option} to one of '
        f'{", ".join(candidates)}.')
  raise errors.UserError(
      f'Expected a data set of labelled {examples}, but {info.full_name} has '
      f'no {role} to train on; features: {described or "none"}.')


def features_of(info: tfds.core.DatasetInfo) -> Dict[str, object]:
  """Returns the features at the top level, by name."""
  return (dict(info.features.items())
          if isinstance(info.features, tfds.features.FeaturesDict) else {})
