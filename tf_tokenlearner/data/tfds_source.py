"""Image data sets of TFDS and image folders behind one interface."""

import dataclasses
import os
import re
from typing import Callable, Dict, Mapping, Optional, Tuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_tokenlearner import errors
from tf_tokenlearner.data import builder_lookup
from tf_tokenlearner.data import first_use
from tf_tokenlearner.data import image_listing
from tf_tokenlearner.data.builders import image_folder

_VALIDATION = ('validation', 'val', 'valid')


@dataclasses.dataclass(frozen=True)
class ImageSource:
  """A prepared data set of labelled images.

  Attributes:
    builder: can be read.
    image_key: feature of the image.
    label_key: feature of the label.
    num_classes: labels are below it.
    label_names: of the classes; '0', '1', ... if they have no names.
    multi_label: an example has any number of labels.
  """
  builder: tfds.core.DatasetBuilder
  image_key: str
  label_key: str
  num_classes: int
  label_names: Tuple[str, ...]
  multi_label: bool

  @property
  def is_encoded(self) -> bool:
    """Whether images come as the bytes of a file rather than as pixels."""
    return isinstance(
        self.builder.info.features[self.image_key], tfds.features.Image)

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

  def as_dataset(self, split: str, *, read_config: tfds.ReadConfig,
                 shuffle_files: bool) -> tf.data.Dataset:
    """Reads a split; nothing but image and label is parsed.

    Args:
      split: as for num_examples.
      read_config: as in TFDS.
      shuffle_files: as in TFDS.

    Returns:
      Data set of {'image': the bytes of a file, or uint8 [H, W, C] if not
      is_encoded; 'label': int64 [], or [number of labels] if multi_label}.

    Raises:
      UserError: no such split, or an empty one.
    """
    image_key, label_key = self.image_key, self.label_key
    decoders = (
        {image_key: tfds.decode.SkipDecoding()} if self.is_encoded else None)
    dataset = self.builder.as_dataset(
        self._resolve(split)[0],
        decoders=tfds.decode.PartialDecoding(
            {image_key: True, label_key: True}, decoders=decoders),
        read_config=read_config, shuffle_files=shuffle_files)
    return dataset.map(
        lambda example: {'image': example[image_key],
                         'label': example[label_key]})

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


def open_image_source(
    tfds_name: str, data_dir: str = '', image_key: str = '',
    label_key: str = '',
    announce: Callable[[str], None] = print) -> ImageSource:
  """Opens a TFDS data set, which is prepared first if need be.

  Args:
    tfds_name: 'name', 'name/config', 'name:version', one of our own builders,
      or the folder of a prepared data set.
    data_dir: where data sets lie; '' is TFDS's own place.
    image_key: feature of the image; '' lets the data set say.
    label_key: feature of the label; '' lets the data set say.
    announce: takes what is to be said while preparing, by lines.

  Raises:
    UserError: not found, cannot be prepared, or no labelled images.
  """
  builder = builder_lookup.find_builder(tfds_name, data_dir)
  # Before anything is downloaded in vain.
  image_key = _image_key(builder.info, image_key)
  label_key = _label_key(builder.info, label_key)
  first_use.ensure_prepared(builder, announce)
  return _make_source(builder, image_key, label_key)


def open_image_folder(
    folder: str, data_dir: str = '', validation_fraction: float = 0.2,
    seed: int = 0, max_unreadable_fraction: float = 0.01,
    announce: Callable[[str], None] = print) -> ImageSource:
  """Opens a folder of class folders, which is packed first if need be.

  Args:
    folder: folder/<class>/*.jpg, or folder/<split>/<class>/*.jpg; see
      image_listing.
    data_dir: where the packed copy goes; '' is TFDS's own place.
    validation_fraction: held out as split 'validation' where the folder has no
      splits; 0 for none.
    seed: of the choice which are held out.
    max_unreadable_fraction: of the files may be unreadable; they are left out.
    announce: takes what is to be said while packing, by lines.

  Raises:
    UserError: the folder is not as it should be, or too many files cannot be
      read.
  """
  builder = image_folder.ImageFolder(
      listing=image_listing.scan(folder),
      validation_fraction=validation_fraction, seed=seed,
      max_unreadable_fraction=max_unreadable_fraction, announce=announce,
      data_dir=os.path.expanduser(data_dir) if data_dir else None)
  first_use.ensure_prepared(builder, announce)
  builder.refuse_unreadable()
  return _make_source(builder, 'image', 'label')


def _make_source(builder: tfds.core.DatasetBuilder, image_key: str,
                 label_key: str) -> ImageSource:
  feature = builder.info.features[label_key]
  label = _class_label(feature)
  return ImageSource(
      builder, image_key, label_key, label.num_classes, tuple(label.names),
      multi_label=label is not feature)


def _image_key(info: tfds.core.DatasetInfo, requested: str) -> str:
  """The feature of the image, checked."""
  features = _features(info)
  pictures = {
      name: feature for name, feature in features.items()
      if isinstance(feature, tfds.features.Image)
      and not isinstance(feature, tfds.features.LabeledImage)
      and len(feature.shape) == 3}
  arrays = {
      name: feature for name, feature in features.items()
      if feature.__class__ is tfds.features.Tensor  # A ClassLabel is one, too.
      and len(feature.shape) == 3}
  key = _choose(info, 'image', requested, pictures or arrays,
                {**pictures, **arrays}, supervised=0)
  # Files of 16 bits a channel decode to 8; arrays come as they are.
  dtype = np.dtype(features[key].np_dtype)
  if dtype != np.uint8 and (key in arrays or dtype != np.uint16):
    raise errors.UserError(
        f'Images of {info.full_name} are {dtype.name} in {key!r}; expected '
        'uint8 pixels.')
  return key


def _label_key(info: tfds.core.DatasetInfo, requested: str) -> str:
  """The feature of the label, checked."""
  candidates = {name: feature for name, feature in _features(info).items()
                if _class_label(feature)}
  key = _choose(
      info, 'label', requested, candidates, candidates, supervised=1)
  if not _class_label(candidates[key]).num_classes:
    raise errors.UserError(
        f'{info.full_name} does not say how many classes {key!r} has.')
  return key


def _class_label(feature: object) -> Optional[tfds.features.ClassLabel]:
  """The ClassLabel that a feature is, or is a sequence of."""
  if isinstance(feature, tfds.features.Sequence):
    feature = feature.feature
  return feature if isinstance(feature, tfds.features.ClassLabel) else None


def _choose(
    info: tfds.core.DatasetInfo, kind: str, requested: str,
    candidates: Mapping[str, object], allowed: Mapping[str, object],
    supervised: int) -> str:
  """What is asked for, else what TFDS calls so, else the only one there is."""
  option = f'task.train_data.{kind}_field_key'
  described = ', '.join(
      f'{name} ({type(feature).__name__})'
      for name, feature in _features(info).items())
  if requested:
    if requested not in _features(info):
      raise errors.unknown_name(
          f'{option} for {info.full_name}', requested, _features(info))
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
      f'{info.full_name} is no data set of labelled images, it has no {kind} '
      f'to train on; its features are: {described or "none"}.')


def _features(info: tfds.core.DatasetInfo) -> Dict[str, object]:
  """Features by name, those that are not nested."""
  return (dict(info.features.items())
          if isinstance(info.features, tfds.features.FeaturesDict) else {})
