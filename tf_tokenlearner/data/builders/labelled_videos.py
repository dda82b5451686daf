"""Base class of data sets made from label files and a folder of videos."""

import abc
import dataclasses
import functools
import hashlib
import io
import logging
import os
import re
from typing import (
    Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence,
    Tuple)

import tensorflow as tf
import tensorflow_datasets as tfds

from tf_tokenlearner.data.builders import label_files
from tf_tokenlearner.data.builders import unreadable_files
from tf_tokenlearner.data import decoded_videos
from tf_tokenlearner.data import video_files
from tf_tokenlearner import errors
from tf_tokenlearner import progress


def video_features() -> Dict[str, Any]:
  """Returns the TFDS features: frames, frames per second, name for messages."""
  return {
      'video': tfds.features.Video(
          shape=(None, None, None, 3), encoding_format='jpeg'),
      'fps': tf.float32,
      'name': tfds.features.Text(),
  }


def make(frames: Sequence[bytes], fps: float, name: str) -> Dict[str, Any]:
  """Returns an example of `video_features`.

  Args:
    frames: JPEG files.
    fps: frames per second.
    name: of the video.
  """
  return {'video': list(map(io.BytesIO, frames)), 'fps': fps, 'name': name}


SHORT_SIDE = 256
_CONFIG = re.compile(r'(\d+(?:\.\d+)?)fps(?:_(\d+)px)?')
_NUM_NAMED = 10


class Clip(NamedTuple):
  """A video as the label files describe it.

  Attributes:
    name: of its file, without extension.
    labels: indices of classes; one may occur several times.
    spans: (start, end) in seconds of each label, if the data set has spans.
  """
  name: str
  labels: Tuple[int, ...]
  spans: Tuple[Tuple[float, float], ...] = ()


@dataclasses.dataclass
class Annotations:
  """Content of the label files.

  Attributes:
    class_names: a label is an index into them.
    splits: clips by split.
    notes: lines for the user.
  """
  class_names: List[str]
  splits: Dict[str, List[Clip]]
  notes: List[str] = dataclasses.field(default_factory=list)


def config_name(fps: float, short_side: int) -> str:
  """Returns '25fps', or '25fps_128px' if the short side is not 256 pixels."""
  size = '' if short_side == SHORT_SIDE else f'_{short_side}px'
  return f'{fps:g}fps{size}'


class LabelledVideos(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Builder that packs videos as JPEG frames, with labels from their authors.

  The config gives frame rate and size, such as '12fps' or '12fps_128px'; any
  numbers are allowed, and the short side is 256 pixels by default. Preparation
  needs three times the disk space of the result: decoded videos are kept next
  to it, so that an interrupted preparation resumes, and TFDS shuffles. With a
  Beam runner (DownloadConfig.beam_runner or beam_options of TFDS), Beam's
  workers decode, and nothing is kept.

  Args:
    from_dir: folder with the label files and the videos, at any depth. Default:
      the folder named after the data set in TFDS's manual_dir.
    max_missing_fraction: largest share of the labelled videos that may be
      missing.
    max_unreadable_fraction: largest share of the videos that may be unreadable;
      they are left out.
    announce: called with each line for the user.
    **kwargs: as in TFDS: data_dir, config, version.

  Attributes:
    fps: frames per second.
    short_side: largest shorter side of the frames, in pixels.

  Raises:
    UserError: while packing, label files or videos are invalid or missing.
  """

  VERSION = tfds.core.Version('1.0.0')
  NEEDS_NO_DOWNLOAD = True
  NUM_CLASSES: Optional[int] = None  # None: as many as in the label files.
  HAS_SPANS = False  # True: a video has any number of labels, with times.

  def __init__(self, *, from_dir: str = '', max_missing_fraction: float = 0.01,
               max_unreadable_fraction: float = 0.01,
               announce: Callable[[str], None] = print, **kwargs):
    unreadable_files.require_fraction(
        'max_missing_fraction', max_missing_fraction)
    unreadable_files.require_fraction(
        'max_unreadable_fraction', max_unreadable_fraction)
    self._from_dir = os.path.abspath(
        os.path.expanduser(from_dir)) if from_dir else ''
    self._max_missing_fraction = max_missing_fraction
    self._max_unreadable_fraction = max_unreadable_fraction
    self._announce = announce
    self._by_beam, self._num_found = False, 0
    super().__init__(**kwargs)
    fps, short_side = _CONFIG.fullmatch(self.builder_config.name).groups()
    self.fps, self.short_side = float(fps), int(short_side or SHORT_SIDE)
    self._decoded = decoded_videos.DecodedVideos(
        decoded_videos.working_folder(
            os.fspath(self.data_dir_root),
            os.path.join(self.name, self.builder_config.name)),
        self.fps, self.short_side, announce)

  @abc.abstractmethod
  def _read_annotations(self, files: Sequence[str]) -> Annotations:
    """Reads the label files among these files; UserError if one is invalid."""

  @classmethod
  def get_builder_config(cls, name, version=None):
    """Returns a config of TFDS; accepts any frame rate and size."""
    known = super().get_builder_config(name, version)
    match = _CONFIG.fullmatch(name)
    if known is None and match and name == config_name(
        float(match[1]), int(match[2] or SHORT_SIDE)):
      return tfds.core.BuilderConfig(name=name)
    return known

  def _info(self) -> tfds.core.DatasetInfo:
    label = tfds.features.ClassLabel(num_classes=self.NUM_CLASSES)
    features = {**video_features(), 'label': label}
    if self.HAS_SPANS:
      features.update(
          label=tfds.features.Sequence(label),
          label_start=tfds.features.Sequence(tf.float32),
          label_end=tfds.features.Sequence(tf.float32))
    return tfds.core.DatasetInfo(
        builder=self, description=self.__doc__,
        features=tfds.features.FeaturesDict(features),
        supervised_keys=('video', 'label'), homepage=self.HOMEPAGE,
        metadata=tfds.core.MetadataDict())

  def refuse_unreadable(self) -> None:
    """Raises UserError if too many of the packed videos could not be read."""
    unreadable_files.refuse(
        self.info, self._max_unreadable_fraction, f'videos of {self.name}',
        '--max_unreadable_fraction of data.prepare')

  def refuse_other_files(self) -> None:
    """Raises UserError if from_dir has changed since the preparation."""
    found = self._find(self._from_dir)
    if found.fingerprint != self.info.metadata['fingerprint']:
      raise errors.UserError(
          f'{self.data_dir} was prepared from other files than '
          f'{self._from_dir} holds now: remove it to prepare it anew.')

  def download_and_prepare(self, *, download_config=None, **kwargs) -> None:
    """Prepares the data set, as in TFDS."""
    self._by_beam = bool(download_config and (
        download_config.beam_runner or download_config.beam_options))
    super().download_and_prepare(download_config=download_config, **kwargs)
    self._decoded.remove()

  def _download_and_prepare(self, dl_manager, download_config) -> None:
    super()._download_and_prepare(dl_manager, download_config)
    if self._by_beam:  # Beam counts the videos while it packs.
      num_packed = sum(
          split.num_examples for split in self.info.splits.values())
      unreadable_files.remember_count(
          self.info, self._num_found, self._num_found - num_packed,
          'the log of Beam names them')
      self._refuse_and_announce()

  def _split_generators(self, dl_manager):
    found = self._find(self._from_dir or self._manual_dir(dl_manager))
    for note in found.notes:
      self._announce(note)
    label = self.info.features['label']
    (label.feature if self.HAS_SPANS else label).names = found.class_names
    self.info.metadata['fingerprint'] = found.fingerprint
    self._num_found = sum(map(len, found.splits.values()))
    if self._by_beam:
      return {split: self._generate_by_beam(clips)
              for split, clips in found.splits.items()}
    unreadable = self._decoded.decode(
        path for clips in found.splits.values() for path, _ in clips)
    unreadable_files.remember(self.info, self._num_found, unreadable)
    self._refuse_and_announce()
    splits = {split: [(path, clip) for path, clip in clips
                      if path not in unreadable]
              for split, clips in found.splits.items()}
    _require_train(splits, 'readable')
    return {split: self._generate_examples(split, clips)
            for split, clips in splits.items() if clips}

  def _generate_examples(self, split: str, clips: Sequence[Tuple[str, Clip]]):
    with progress.Progress(
        f'Packing {split}', len(clips), self._announce) as counter:
      for i, (path, clip) in enumerate(clips):
        yield f'{i}-{clip.name}', _make_example(
            clip, self._decoded.load(path), self.fps, self.HAS_SPANS)
        counter.advance()

  def _generate_by_beam(self, clips: Sequence[Tuple[str, Clip]]):
    import apache_beam as beam  # pylint: disable=g-import-not-at-top, optional
    return beam.Create(list(enumerate(clips))) | beam.FlatMap(functools.partial(
        decode_example, fps=self.fps, short_side=self.short_side,
        has_spans=self.HAS_SPANS))

  def _manual_dir(self, dl_manager) -> str:
    try:
      manual_dir = dl_manager.manual_dir
    except AssertionError as error:  # TFDS found no manual_dir.
      raise errors.UserError(
          f'{self.name} is not prepared yet, and its files must be downloaded '
          f'by hand. {" ".join(self.MANUAL_DOWNLOAD_INSTRUCTIONS.split())} '
          'Then python -m tf_tokenlearner.data.prepare '
          f'--dataset={self.name}/{self.builder_config.name} '
          '--from_dir=<the folder>.') from error
    return os.path.join(manual_dir, self.name)

  def _refuse_and_announce(self) -> None:
    self.refuse_unreadable()
    left_out = unreadable_files.describe(self.info, 'video')
    if left_out:
      self._announce(left_out)

  def _find(self, folder: str) -> '_Found':
    """Returns the clips whose videos exist; UserError if too few do."""
    files = label_files.find_files(folder)
    annotations = self._read_annotations(files)
    videos = label_files.find_videos(files)
    splits, missing, notes = {}, [], list(annotations.notes)
    for split, clips in annotations.splits.items():
      found = [(videos[clip.name], clip) for clip in clips
               if clip.name in videos]
      if found:
        splits[split] = found
        missing += [clip.name for clip in clips if clip.name not in videos]
      else:
        notes.append(f'No video of {split} is in {folder}: it is left out.')
    _require_train(splits, f'in {folder}')
    if missing:
      num_clips = sum(map(len, splits.values())) + len(missing)
      text = (f'{len(missing):,} of the {num_clips:,} videos that the label '
              f'files of {self.name} name are not in {folder}')
      names = ', '.join(missing[:_NUM_NAMED]) + (
          ', ...' if len(missing) > _NUM_NAMED else '')
      if len(missing) > self._max_missing_fraction * num_clips:
        raise errors.UserError(
            f'{text}, more than max_missing_fraction='
            f'{self._max_missing_fraction:g} allows: {names}.')
      notes.append(f'{text}: {names}')
    return _Found(annotations.class_names, splits, notes)

  def _require_classes(self, names: Sequence[str], path: str) -> None:
    """Raises UserError if a file names another number of classes."""
    if len(names) != self.NUM_CLASSES:
      raise errors.UserError(
          f'{path} names {len(names):,} classes, {self.name} has '
          f'{self.NUM_CLASSES:,}.')


class _Found(NamedTuple):
  """Clips to pack as (path, clip) by split, and notes for the user."""
  class_names: List[str]
  splits: Dict[str, List[Tuple[str, Clip]]]
  notes: List[str]

  @property
  def fingerprint(self) -> str:
    """Hash of the labels and of the paths, sizes and times of the videos."""
    digest = hashlib.sha256(repr(self.class_names).encode())
    for split, clips in self.splits.items():
      for path, clip in clips:
        status = os.stat(path)
        digest.update(repr((split, os.fsencode(path), clip, status.st_size,
                            status.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]


def decode_example(
    numbered: Tuple[int, Tuple[str, Clip]], fps: float, short_side: int,
    has_spans: bool) -> Iterator[Tuple[str, Dict[str, Any]]]:
  """Yields the key and the example of a video; nothing if it is unreadable.

  Runs in the workers of Beam.

  Args:
    numbered: (position in the split, (path of the video, clip)).
    fps: as in video_files.decode.
    short_side: as in video_files.decode.
    has_spans: as HAS_SPANS of the data set.
  """
  number, (path, clip) = numbered
  try:
    frames = list(video_files.decode(path, fps, short_side))
  except video_files.UnreadableVideoError as error:
    logging.warning('Left out %s: %s', path, error)
    return
  yield f'{number}-{clip.name}', _make_example(clip, frames, fps, has_spans)


def _make_example(clip: Clip, frames: Sequence[bytes], fps: float,
                  has_spans: bool) -> Dict[str, Any]:
  example = make(frames, fps, clip.name)
  if not has_spans:
    return {**example, 'label': clip.labels[0]}
  return {**example, 'label': list(clip.labels),
          'label_start': [start for start, _ in clip.spans],
          'label_end': [end for _, end in clip.spans]}


def _require_train(splits: Dict[str, List[Tuple[str, Clip]]],
                   where: str) -> None:
  if not splits.get('train'):
    raise errors.UserError(f'No video of train is {where}.')
