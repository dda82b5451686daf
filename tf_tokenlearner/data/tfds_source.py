"""Image data sets of TFDS and image folders behind one interface."""

import dataclasses
import os
from typing import Callable

import tensorflow as tf
import tensorflow_datasets as tfds

from tf_tokenlearner.data import builder_lookup
from tf_tokenlearner.data import first_use
from tf_tokenlearner.data import folder_listing
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner.data.builders import image_folder


@dataclasses.dataclass(frozen=True)
class ImageSource(labelled_source.LabelledSource):
  """A prepared data set of labelled images.

  Attributes:
    image_key: feature of the image.
  """
  image_key: str

  @property
  def is_encoded(self) -> bool:
    """Whether images come as the bytes of a file rather than as pixels."""
    return isinstance(
        self.builder.info.features[self.image_key], tfds.features.Image)

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
    return self._read(
        split, {'image': self.image_key, 'label': self.label_key},
        [self.image_key] if self.is_encoded else [], read_config,
        shuffle_files)


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
  image_key = labelled_source.find_pixels(
      builder.info, 'image', image_key, _is_image, rank=3)
  label_key = labelled_source.find_label(
      builder.info, label_key, examples='images')
  first_use.ensure_prepared(builder, announce)
  return _make_source(builder, image_key, label_key)


def open_image_folder(
    folder: str, data_dir: str = '', validation_fraction: float = 0.2,
    seed: int = 0, max_unreadable_fraction: float = 0.01,
    announce: Callable[[str], None] = print) -> ImageSource:
  """Opens a folder of class folders, which is packed first if need be.

  Args:
    folder: folder/<class>/*.jpg, or folder/<split>/<class>/*.jpg; see
      folder_listing.
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
      listing=folder_listing.scan(folder, folder_listing.IMAGES),
      validation_fraction=validation_fraction, seed=seed,
      max_unreadable_fraction=max_unreadable_fraction, announce=announce,
      data_dir=os.path.expanduser(data_dir) if data_dir else None)
  first_use.ensure_prepared(builder, announce)
  builder.refuse_unreadable()
  return _make_source(builder, 'image', 'label')


def _make_source(builder: tfds.core.DatasetBuilder, image_key: str,
                 label_key: str) -> ImageSource:
  return ImageSource(
      builder, image_key=image_key,
      **labelled_source.label_facts(builder.info, label_key))


def _is_image(feature: object) -> bool:
  return (isinstance(feature, tfds.features.Image)
          and not isinstance(feature, tfds.features.LabeledImage)
          and len(feature.shape) == 3)
