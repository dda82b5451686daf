"""Sources of labelled images and videos: TFDS data sets, folders, CSV files."""

import dataclasses
import os
from typing import Callable, Dict, Optional

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_tokenlearner.data.builders import folder_builder
from tf_tokenlearner.data import csv_listing
from tf_tokenlearner.data import file_types
from tf_tokenlearner.data import folder_listing
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner.data import prepare_dataset
from tf_tokenlearner import errors


@dataclasses.dataclass(frozen=True)
class ImageSource(labelled_source.LabelledSource):
  """A prepared data set of labelled images.

  Attributes:
    image_key: name of the image feature.
  """
  image_key: str

  @property
  def is_encoded(self) -> bool:
    """Whether examples hold encoded images rather than pixels."""
    return isinstance(
        self.builder.info.features[self.image_key], tfds.features.Image)

  def as_dataset(self, split: str, *, read_config: tfds.ReadConfig,
                 shuffle_files: bool) -> tf.data.Dataset:
    """Reads the images and labels of a split.

    Args:
      split: as in num_examples.
      read_config: as in TFDS.
      shuffle_files: as in TFDS.

    Returns:
      Data set of {'image': string [], the content of an image file, or uint8
      [H, W, C] if not is_encoded; 'label': int64 [], or [number of labels] if
      multi_label}.

    Raises:
      UserError: the split is unknown or empty.
    """
    return self._read(
        split, {'image': self.image_key, 'label': self.label_key},
        [self.image_key] if self.is_encoded else [], read_config,
        shuffle_files)


def open_image_source(
    tfds_name: str, data_dir: str = '', image_key: str = '',
    label_key: str = '',
    announce: Callable[[str], None] = print) -> ImageSource:
  """Opens a TFDS data set and prepares it on first use.

  Args:
    tfds_name: as in labelled_source.find_builder.
    data_dir: folder of the data sets; '' for the default of TFDS.
    image_key: name of the image feature; '' to choose it.
    label_key: name of the label feature; '' to choose it.
    announce: called with each line for the user.

  Raises:
    UserError: the data set is not found, cannot be prepared, or does not hold
      labelled images.
  """
  builder = labelled_source.find_builder(tfds_name, data_dir)
  # Fails before anything is downloaded.
  image_key = labelled_source.find_pixels(
      builder.info, 'image', image_key, _is_image, rank=3)
  label_key = labelled_source.find_label(
      builder.info, label_key, examples='images')
  prepare_dataset.ensure_prepared(builder, announce)
  return _make_image_source(builder, image_key, label_key)


def open_image_folder(
    path: str, data_dir: str = '', validation_fraction: float = 0.2,
    seed: int = 0, max_unreadable_fraction: float = 0.01, files_dir: str = '',
    announce: Callable[[str], None] = print) -> ImageSource:
  """Opens a user's labelled images and packs them on first use.

  Args:
    path: folder with the layout of folder_listing.scan, or CSV file of
      csv_listing.scan.
    data_dir: folder of the packed copy; '' for the default of TFDS.
    validation_fraction: share of every class that becomes split 'validation' if
      there are no splits; 0 for none.
    seed: selects the examples that are held out.
    max_unreadable_fraction: largest share of unreadable files; they are left
      out.
    files_dir: as in csv_listing.scan.
    announce: called with each line for the user.

  Raises:
    UserError: the folder does not have the layout, rows of the CSV file are
      wrong, or too many files are unreadable.
  """
  builder = folder_builder.ImageFolder(
      listing=_scan(
          path, file_types.IMAGES, files_dir, validation_fraction, announce),
      validation_fraction=validation_fraction, seed=seed,
      max_unreadable_fraction=max_unreadable_fraction, announce=announce,
      data_dir=os.path.expanduser(data_dir) if data_dir else None)
  prepare_dataset.ensure_prepared(builder, announce)
  builder.refuse_unreadable()
  return _make_image_source(builder, 'image', 'label')


def _scan(path: str, file_type: file_types.FileType, files_dir: str,
          validation_fraction: float,
          announce: Callable[[str], None]) -> folder_listing.Listing:
  # One class is enough to evaluate on, not to train.
  min_classes = 1 if validation_fraction == 1 else 2
  if csv_listing.is_csv(path):
    listing = csv_listing.scan(path, file_type, files_dir, min_classes)
  elif files_dir:
    raise errors.UserError(
        'task.train_data.files_dir: expected a CSV file whose paths start '
        f'there, got the folder {path}. Leave it out.')
  else:
    listing = folder_listing.scan(path, file_type, min_classes)
  for note in listing.notes:
    announce(note)
  return listing


def _make_image_source(
    builder: tfds.core.DatasetBuilder, image_key: str,
    label_key: str) -> ImageSource:
  return ImageSource(
      builder, image_key=image_key,
      **labelled_source.label_facts(builder.info, label_key))


def _is_image(feature: object) -> bool:
  return (isinstance(feature, tfds.features.Image)
          and not isinstance(feature, tfds.features.LabeledImage)
          and len(feature.shape) == 3)


@dataclasses.dataclass(frozen=True)
class VideoSource(labelled_source.LabelledSource):
  """A prepared data set of labelled videos.

  Attributes:
    video_key: name of the video feature.
  """
  video_key: str

  @property
  def is_encoded(self) -> bool:
    """Whether examples hold encoded frames rather than pixels."""
    return isinstance(
        self.builder.info.features[self.video_key], tfds.features.Sequence)

  @property
  def has_spans(self) -> bool:
    """Whether labels have start and end times."""
    return {'fps', 'label_start', 'label_end'} <= set(_extras(
        self.builder.info))

  def as_dataset(self, split: str, *, read_config: tfds.ReadConfig,
                 shuffle_files: bool) -> tf.data.Dataset:
    """Reads the features of a split that are listed below.

    Args:
      split: as in num_examples.
      read_config: as in TFDS.
      shuffle_files: as in TFDS.

    Returns:
      Data set of {'video': string [F], frames as image files, or uint8 [F, H,
      W, C] if not is_encoded; 'label': int64 [], or [L] if multi_label; 'name':
      string [], the id of TFDS if the data have no names}, and, if the data
      have them, 'fps': float32 [], and 'label_start' and 'label_end': float32
      [L], in seconds.

    Raises:
      UserError: the split is unknown or empty.
    """
    keys = {'video': self.video_key, 'label': self.label_key,
            **_extras(self.builder.info)}
    if 'name' not in keys:
      read_config = dataclasses.replace(read_config, add_tfds_id=True)
    dataset = self._read(
        split, keys, [self.video_key] if self.is_encoded else [], read_config,
        shuffle_files)
    return dataset.map(_tidy)


def open_video_source(
    tfds_name: str, data_dir: str = '', video_key: str = '',
    label_key: str = '',
    announce: Callable[[str], None] = print) -> VideoSource:
  """Opens a TFDS data set and prepares it on first use.

  Args:
    tfds_name: as in labelled_source.find_builder.
    data_dir: folder of the data sets; '' for the default of TFDS.
    video_key: name of the video feature; '' to choose it.
    label_key: name of the label feature; '' to choose it.
    announce: called with each line for the user.

  Raises:
    UserError: the data set is not found, cannot be prepared, or does not hold
      labelled videos.
  """
  builder = labelled_source.find_builder(tfds_name, data_dir)
  # Fails before anything is downloaded.
  video_key = labelled_source.find_pixels(
      builder.info, 'video', video_key, _is_sequence_of_images, rank=4)
  label_key = labelled_source.find_label(
      builder.info, label_key, examples='videos')
  prepare_dataset.ensure_prepared(builder, announce)
  return _make_video_source(builder, video_key, label_key)


def open_video_folder(
    path: str, data_dir: str = '', validation_fraction: float = 0.2,
    seed: int = 0, fps: float = 25., short_side: int = 256,
    max_unreadable_fraction: float = 0.01, files_dir: str = '',
    announce: Callable[[str], None] = print) -> VideoSource:
  """Opens a user's labelled videos and packs them on first use.

  Args:
    path: folder or CSV file, as in open_image_folder.
    data_dir: folder of the packed copy; '' for the default of TFDS.
    validation_fraction: share of every class that becomes split 'validation' if
      there are no splits; 0 for none.
    seed: selects the examples that are held out.
    fps: frames per second of the packed videos.
    short_side: larger frames are reduced to this shorter side, in pixels.
    max_unreadable_fraction: largest share of unreadable files; they are left
      out.
    files_dir: as in csv_listing.scan.
    announce: called with each line for the user.

  Raises:
    UserError: as in open_image_folder.
  """
  builder = folder_builder.VideoFolder(
      listing=_scan(
          path, file_types.VIDEOS, files_dir, validation_fraction, announce),
      validation_fraction=validation_fraction, seed=seed, fps=fps,
      short_side=short_side, max_unreadable_fraction=max_unreadable_fraction,
      announce=announce,
      data_dir=os.path.expanduser(data_dir) if data_dir else None)
  prepare_dataset.ensure_prepared(builder, announce)
  builder.refuse_unreadable()
  return _make_video_source(builder, 'video', 'label')


def find_fps(tfds_name: str, data_dir: str = '') -> Optional[float]:
  """Returns the frames per second of the first example of a data set.

  Args:
    tfds_name: as in open_video_source.
    data_dir: as in open_video_source.

  Returns:
    The rate; None if the data set is not prepared or has no rate.

  Raises:
    UserError: the data set is unknown.
  """
  builder = labelled_source.find_builder(tfds_name, data_dir)
  if 'fps' not in _extras(builder.info) or not builder.info.splits:
    return None
  fps = builder.as_dataset(
      next(iter(builder.info.splits)),
      decoders=tfds.decode.PartialDecoding({'fps': True}))
  return next(float(example['fps']) for example in fps.take(1))


def _make_video_source(
    builder: tfds.core.DatasetBuilder, video_key: str,
    label_key: str) -> VideoSource:
  return VideoSource(
      builder, video_key=video_key,
      **labelled_source.label_facts(builder.info, label_key))


def _is_sequence_of_images(feature: object) -> bool:
  """Returns whether a feature is a Video or another Sequence of Images."""
  return (isinstance(feature, tfds.features.Sequence)
          and not isinstance(feature, tfds.features.Dataset)
          and isinstance(feature.feature, tfds.features.Image)
          and not isinstance(feature.feature, tfds.features.LabeledImage))


def _extras(info: tfds.core.DatasetInfo) -> Dict[str, str]:
  """Returns the features besides video and label that our builders store.

  Features of other data sets may have the same names; their types are checked.
  """
  is_number = lambda feature: np.issubdtype(feature.np_dtype, np.number)
  fits = {
      'fps': lambda feature: feature.shape == () and is_number(feature),
      'label_start': lambda feature: (
          feature.shape == (None,) and is_number(feature)),
      'label_end': lambda feature: (
          feature.shape == (None,) and is_number(feature)),
      'name': lambda feature: isinstance(feature, tfds.features.Text),
  }
  features = labelled_source.features_of(info)
  return {name: name for name, fit in fits.items()
          if name in features and fit(features[name])}


def _tidy(example: Dict[str, tf.Tensor]) -> Dict[str, tf.Tensor]:
  """Casts times to float32 and calls an id of TFDS the name."""
  example = {
      key: tf.cast(value, tf.float32)
      if key in ('fps', 'label_start', 'label_end') else value
      for key, value in example.items()}
  if 'id' in example:
    example['name'] = example.pop('id')
  return example
