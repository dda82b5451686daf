"""Builders of TFDS data sets from a user's images and videos."""

import abc
import concurrent.futures
import hashlib
import io
import json
import os
import re
from typing import Any, Callable, Dict, List, Mapping, Sequence, Set

import tensorflow_datasets as tfds

from tf_tokenlearner.data.builders import labelled_videos
from tf_tokenlearner.data.builders import unreadable_files
from tf_tokenlearner.data import decoded_videos
from tf_tokenlearner.data import file_types
from tf_tokenlearner.data import folder_listing
from tf_tokenlearner.data import image_files
from tf_tokenlearner.data import stratified_split
from tf_tokenlearner import errors
from tf_tokenlearner import progress


_SHUFFLED_IN_MEMORY = 2**30


class FolderBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Base class of builders that pack the files of a folder or a CSV file.

  Every file is decoded once to check that it is readable. A fingerprint of the
  folder and the options names the copy, so a changed folder is packed again.

  Args:
    listing: of the files and their labels.
    validation_fraction: share of every class that becomes split 'validation' if
      the folder has no splits; 0 for none, 1 for all.
    seed: selects the examples that are held out.
    max_unreadable_fraction: largest share of unreadable files; they are left
      out.
    announce: called with each line for the user.
    content_options: other options that change the copy.
    **kwargs: as in TFDS: data_dir.

  Raises:
    UserError: while packing, more files are unreadable than allowed, or a class
      or a split would be empty.
  """

  VERSION = tfds.core.Version('1.0.0')
  NEEDS_NO_DOWNLOAD = True

  def __init__(self, *, listing: folder_listing.Listing,
               validation_fraction: float = 0.2, seed: int = 0,
               max_unreadable_fraction: float = 0.01,
               announce: Callable[[str], None] = print,
               content_options: Sequence[object] = (), **kwargs):
    if not 0 <= validation_fraction <= 1:
      raise errors.UserError(
          'validation_fraction must lie in [0, 1], got '
          f'{validation_fraction}.')
    unreadable_files.require_fraction(
        'max_unreadable_fraction', max_unreadable_fraction)
    self._listing = listing
    self._validation_fraction = validation_fraction
    self._seed = seed
    self._max_unreadable_fraction = max_unreadable_fraction
    self._announce = announce
    options = ((validation_fraction, seed)
               if folder_listing.WHOLE in listing.splits else ())
    self._config = tfds.core.BuilderConfig(
        name=(self._folder_name + '-'
              + listing.fingerprint(*options, *content_options)),
        version=self.VERSION, description=listing.origin)
    super().__init__(**kwargs)

  @abc.abstractmethod
  def _content_features(self) -> Dict[str, Any]:
    """Returns the features except for the label; the content comes first."""

  @abc.abstractmethod
  def _find_unreadable(self, paths: List[str]) -> Dict[str, str]:
    """Decodes every file; returns {path in the folder: reason} of unreadable.
    """

  @abc.abstractmethod
  def _load(self, path: str) -> Dict[str, Any]:
    """Returns the values of `_content_features` for a file.

    Raises:
      UserError: the file has changed since it was checked.
    """

  @property
  def _folder_name(self) -> str:
    """The folder's name in characters that every file system allows."""
    return re.sub(r'[^\w.-]', '_', os.path.basename(self._listing.origin),
                  flags=re.ASCII)

  def get_default_builder_config(self) -> tfds.core.BuilderConfig:
    return self._config

  def _info(self) -> tfds.core.DatasetInfo:
    content = self._content_features()
    label = tfds.features.ClassLabel(names=list(self._listing.class_names))
    return tfds.core.DatasetInfo(
        builder=self,
        description=f'{self._listing.file_type.many.capitalize()} of '
        + ('a CSV file.' if self._listing.label_file
           else 'a folder of class folders.'),
        features=tfds.features.FeaturesDict({
            **content,
            'label': tfds.features.Sequence(label)
                     if self._listing.multi_label else label,
        }),
        supervised_keys=(next(iter(content)), 'label'),
        metadata=tfds.core.MetadataDict())

  def refuse_unreadable(self) -> None:
    """Raises UserError if too many of the packed files could not be read."""
    unreadable_files.refuse(
        self.info, self._max_unreadable_fraction,
        f'{self._listing.file_type.noun}s in {self._listing.origin}',
        'task.train_data.max_unreadable_fraction, or of data.prepare '
        '--max_unreadable_fraction')

  def _split_generators(self, dl_manager):
    del dl_manager
    paths = [file.path for file in self._listing.files()]
    unreadable = self._find_unreadable(paths)
    unreadable_files.remember(self.info, len(paths), unreadable)
    self.refuse_unreadable()
    self._announce_left_out()
    splits = {
        split: {name: [file.path for file in files
                       if file.path not in unreadable]
                for name, files in files_by_class.items()}
        for split, files_by_class in self._listing.splits.items()}
    if folder_listing.WHOLE in splits:
      splits = self._hold_out(splits[folder_listing.WHOLE])
    self._refuse_empty(splits)
    return {split: self._generate_examples(split, paths_by_class)
            for split, paths_by_class in splits.items()}

  def _generate_examples(
      self, split: str, paths_by_class: Mapping[str, Sequence[str]]):
    total = sum(map(len, paths_by_class.values()))
    positions = {name: i for i, name in enumerate(self._listing.class_names)}
    several = self._listing.multi_label
    with progress.Progress(
        f'Packing {split}', total, self._announce) as counter:
      for name in positions:
        for path in paths_by_class.get(name, ()):
          labels = [positions[label]
                    for label in self._listing.labels_of(path, name)]
          yield os.fsencode(path), {
              **self._load(path), 'label': labels if several else labels[0]}
          counter.advance()

  def _full_path(self, path: str) -> str:
    return os.path.join(self._listing.folder, path)

  def _require_disk_space(self, needed: int) -> None:
    """Raises UserError if the disk is too small to pack that many bytes."""
    if needed > _SHUFFLED_IN_MEMORY:
      needed *= 2  # TFDS shuffles larger data sets in temporary files.
    if not tfds.core.utils.has_sufficient_disk_space(
        needed, directory=os.fspath(self.data_dir_root)):
      raise errors.UserError(
          f'No space left on the disk of {self.data_dir_root} to pack '
          f'{self._listing.origin}: {tfds.core.utils.Size(needed)} are needed. '
          'Free some space, or set another data_dir.')

  def _announce_left_out(self) -> None:
    """Announces unreadable files, and files of other types, in a line each.
    """
    for line in (
        unreadable_files.describe(self.info, self._listing.file_type.noun),
        self._listing.describe_ignored()):
      if line:
        self._announce(line)

  def _hold_out(self, paths_by_class: Dict[str, List[str]]):
    """Splits paths of all classes into 'train' and 'validation', or into one.
    """
    if self._validation_fraction in (0, 1):
      return {'validation' if self._validation_fraction else 'train':
              paths_by_class}
    total = sum(map(len, paths_by_class.values()))
    held_out = stratified_split.held_out(
        paths_by_class, max(1, round(total * self._validation_fraction)),
        self._seed)
    if not held_out:
      raise errors.UserError(
          f'{self._listing.origin} has too few {self._listing.file_type.many} '
          'to hold any out for validation. Add some, or set '
          'validation_fraction=0.')
    if self._listing.multi_label:
      self._keep_classes(paths_by_class, held_out)
    return {
        split: {name: [path for path in paths
                       if (path in held_out) == is_held_out]
                for name, paths in paths_by_class.items()}
        for split, is_held_out in (('train', False), ('validation', True))}

  def _keep_classes(self, paths_by_class: Dict[str, List[str]],
                    held_out: Set[str]) -> None:
    """Takes files out of held_out, so that 'train' has every class."""
    labels = {path: set(self._listing.labels_of(path, name))
              for name, paths in paths_by_class.items() for path in paths}
    kept = set().union(*(labels[path] for path in set(labels) - held_out))
    for path in sorted(held_out):
      if not labels[path] <= kept:
        held_out.remove(path)
        kept |= labels[path]

  def _refuse_empty(self, splits) -> None:
    """Raises UserError if a class has no files in train, or a split has none.
    """
    for split, paths_by_class in splits.items():
      present = {label for name, paths in paths_by_class.items()
                 for path in paths
                 for label in self._listing.labels_of(path, name)}
      empty = [name for name in (self._listing.class_names if split == 'train'
                                 else paths_by_class) if name not in present]
      if empty and (split == 'train' or not present):
        raise errors.UserError(
            f'{self._listing.origin}: no {self._listing.file_type.noun} of '
            f'{split} can be read in {folder_listing.shorten(empty)}. Remove '
            'or fill these class'
            f'{"es" if self._listing.label_file else " folders"}.')


_FILES_AT_ONCE = 512  # Bounds the queue of the threads.


class ImageFolder(FolderBuilder, skip_registration=True):
  """Builder that packs the image files of a folder unchanged.

  The image_folder of TFDS reads the folder every time, does not check the files
  and makes no splits.

  Args:
    listing: of the images in a folder.
    **kwargs: of FolderBuilder.
  """

  name = 'image_folder'

  def _content_features(self) -> Dict[str, Any]:
    features = {'image': tfds.features.Image()}
    if self._names_files:
      features['file'] = tfds.features.Text()
    return features

  @property
  def _names_files(self) -> bool:
    """Whether examples hold the path of their file; older copies do not."""
    path = self.data_path / 'features.json'
    return not path.exists() or 'file' in json.loads(
        path.read_text())['featuresDict']['features']

  def _find_unreadable(self, paths: List[str]) -> Dict[str, str]:
    self._require_disk_space(sum(file.size for file in self._listing.files()))
    unreadable = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool, (
        progress.Progress(
            'Checking images', len(paths), self._announce)) as counter:
      for start in range(0, len(paths), _FILES_AT_ONCE):
        batch = paths[start:start + _FILES_AT_ONCE]
        for path, reason in zip(batch, pool.map(self._reason, batch)):
          if reason:
            unreadable[path] = reason
          counter.advance()
    return unreadable

  def _load(self, path: str) -> Dict[str, Any]:
    try:
      image = image_files.load(self._full_path(path))
    except image_files.UnreadableImageError as error:  # It was readable before.
      raise errors.UserError(
          f'{file_types.printable(path)} changed while '
          f'{self._listing.origin} was packed: {error}. Start again.'
      ) from error
    # Bytes, since file names need not be UTF-8.
    return {'image': io.BytesIO(image), 'file': os.fsencode(path)}

  def _reason(self, path: str) -> str:
    """Returns why a file is unreadable; '' if it is readable."""
    try:
      image_files.decode(image_files.load(self._full_path(path)))
    except image_files.UnreadableImageError as error:
      return str(error)
    return ''


class VideoFolder(FolderBuilder, skip_registration=True):
  """Builder that packs the videos of a folder as JPEG frames.

  Preparation needs three times the disk space of the result: decoded videos are
  kept next to it, so that an interrupted preparation resumes, and TFDS
  shuffles.

  Args:
    listing: of the videos in a folder.
    fps: frames per second, as in video_files.decode.
    short_side: in pixels, as in video_files.decode.
    **kwargs: of FolderBuilder.
  """

  name = 'video_folder'

  def __init__(self, *, listing: folder_listing.Listing, fps: float = 25.,
               short_side: int = 256, **kwargs):
    self._fps, self._short_side = float(fps), int(short_side)
    super().__init__(listing=listing, content_options=(
        self._fps, self._short_side), **kwargs)
    # The path names the working folder, not the fingerprint: if the user
    # removes unreadable files, the others need not be decoded again.
    which = hashlib.sha256(os.fsencode(listing.folder)).hexdigest()[:16]
    self._decoded = decoded_videos.DecodedVideos(
        decoded_videos.working_folder(
            os.fspath(self.data_dir_root),
            os.path.join(self.name, f'{self._folder_name}-{which}')),
        self._fps, self._short_side, self._announce)

  def _content_features(self) -> Dict[str, Any]:
    return labelled_videos.video_features()

  def download_and_prepare(self, **kwargs) -> None:
    super().download_and_prepare(**kwargs)
    self._decoded.remove()

  def _find_unreadable(self, paths: List[str]) -> Dict[str, str]:
    full_paths = list(map(self._full_path, paths))
    unreadable = self._decoded.decode(full_paths)
    self._require_disk_space(self._decoded.num_bytes(full_paths))
    return {os.path.relpath(path, self._listing.folder): reason
            for path, reason in unreadable.items()}

  def _load(self, path: str) -> Dict[str, Any]:
    return labelled_videos.make(
        self._decoded.load(self._full_path(path)), self._fps,
        file_types.printable(path))
