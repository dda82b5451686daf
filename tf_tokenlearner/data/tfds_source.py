"""Video data sets of TFDS and video folders behind one interface."""

import dataclasses
import os
from typing import Callable, Dict, Optional

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_tokenlearner.data.builders import folder_builder
from tf_tokenlearner.data import file_types
from tf_tokenlearner.data import folder_listing
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner.data import prepare_dataset


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
  builder = labelled_source.find_builder(tfds_name, data_dir)
  # Before anything is downloaded in vain.
  image_key = labelled_source.find_pixels(
      builder.info, 'image', image_key, _is_image, rank=3)
  label_key = labelled_source.find_label(
      builder.info, label_key, examples='images')
  prepare_dataset.ensure_prepared(builder, announce)
  return _make_image_source(builder, image_key, label_key)


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
  builder = folder_builder.ImageFolder(
      listing=_scan(folder, file_types.IMAGES, announce),
      validation_fraction=validation_fraction, seed=seed,
      max_unreadable_fraction=max_unreadable_fraction, announce=announce,
      data_dir=os.path.expanduser(data_dir) if data_dir else None)
  prepare_dataset.ensure_prepared(builder, announce)
  builder.refuse_unreadable()
  return _make_image_source(builder, 'image', 'label')


def _scan(folder: str, file_type: file_types.FileType,
          announce: Callable[[str], None]) -> folder_listing.Listing:
  listing = folder_listing.scan(folder, file_type)
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
    video_key: feature of the frames.
  """
  video_key: str

  @property
  def is_encoded(self) -> bool:
    """Whether frames come as the bytes of images rather than as pixels."""
    return isinstance(
        self.builder.info.features[self.video_key], tfds.features.Sequence)

  @property
  def has_spans(self) -> bool:
    """Whether the data say from when to when each label holds."""
    return {'fps', 'label_start', 'label_end'} <= set(_extras(
        self.builder.info))

  def as_dataset(self, split: str, *, read_config: tfds.ReadConfig,
                 shuffle_files: bool) -> tf.data.Dataset:
    """Reads a split; nothing but what is listed below is parsed.

    Args:
      split: as for num_examples.
      read_config: as in TFDS.
      shuffle_files: as in TFDS.

    Returns:
      Data set of {'video': string [F], the bytes of its frames, or uint8 [F, H,
      W, C] if not is_encoded; 'label': int64 [], or [L] if multi_label; 'name':
      string [], made up if the data have none}, and, if the data have them,
      'fps': float32 [], and 'label_start' and 'label_end': float32 [L], in
      seconds.

    Raises:
      UserError: no such split, or an empty one.
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
  """Opens a TFDS data set, which is prepared first if need be.

  Args:
    tfds_name: 'name', 'name/config', 'name:version', one of our own builders,
      or the folder of a prepared data set.
    data_dir: where data sets lie; '' is TFDS's own place.
    video_key: feature of the frames; '' lets the data set say.
    label_key: feature of the label; '' lets the data set say.
    announce: takes what is to be said while preparing, by lines.

  Raises:
    UserError: not found, cannot be prepared, or no labelled videos.
  """
  builder = labelled_source.find_builder(tfds_name, data_dir)
  # Before anything is downloaded in vain.
  video_key = labelled_source.find_pixels(
      builder.info, 'video', video_key, _is_sequence_of_images, rank=4)
  label_key = labelled_source.find_label(
      builder.info, label_key, examples='videos')
  prepare_dataset.ensure_prepared(builder, announce)
  return _make_video_source(builder, video_key, label_key)


def open_video_folder(
    folder: str, data_dir: str = '', validation_fraction: float = 0.2,
    seed: int = 0, fps: float = 25., short_side: int = 256,
    max_unreadable_fraction: float = 0.01,
    announce: Callable[[str], None] = print) -> VideoSource:
  """Opens a folder of class folders, which is decoded and packed if need be.

  Args:
    folder: folder/<class>/*.mp4, or folder/<split>/<class>/*.mp4; see
      folder_listing.
    data_dir: where the packed copy goes; '' is TFDS's own place.
    validation_fraction: held out as split 'validation' where the folder has no
      splits; 0 for none.
    seed: of the choice which are held out.
    fps: frames a second that are kept.
    short_side: pixels of the frames' shorter side.
    max_unreadable_fraction: of the files may be unreadable; they are left out.
    announce: takes what is to be said while packing, by lines.

  Raises:
    UserError: the folder is not as it should be, or too many files cannot be
      read.
  """
  builder = folder_builder.VideoFolder(
      listing=_scan(folder, file_types.VIDEOS, announce),
      validation_fraction=validation_fraction, seed=seed, fps=fps,
      short_side=short_side, max_unreadable_fraction=max_unreadable_fraction,
      announce=announce,
      data_dir=os.path.expanduser(data_dir) if data_dir else None)
  prepare_dataset.ensure_prepared(builder, announce)
  builder.refuse_unreadable()
  return _make_video_source(builder, 'video', 'label')


def find_fps(tfds_name: str, data_dir: str = '') -> Optional[float]:
  """Frames a second of the first example of a prepared data set.

  Args:
    tfds_name: as for open_video_source.
    data_dir: as for open_video_source.

  Returns:
    None if the data set is not prepared or does not say.

  Raises:
    UserError: no such data set.
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
  """Whether it is a Video, or what it is made of."""
  return (isinstance(feature, tfds.features.Sequence)
          and not isinstance(feature, tfds.features.Dataset)
          and isinstance(feature.feature, tfds.features.Image)
          and not isinstance(feature.feature, tfds.features.LabeledImage))


def _extras(info: tfds.core.DatasetInfo) -> Dict[str, str]:
  """What our own builders store beside video and label, as far as it is there.

  Other data sets may call other things so.
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
  """Seconds as float32, and a name for every video."""
  example = {
      key: tf.cast(value, tf.float32)
      if key in ('fps', 'label_start', 'label_end') else value
      for key, value in example.items()}
  if 'id' in example:
    example['name'] = example.pop('id')
  return example
