"""A folder of class folders as a TFDS data set."""

import concurrent.futures
import io
import os
import re
from typing import Callable, Dict, List, Mapping, Sequence

import tensorflow_datasets as tfds

from tf_tokenlearner import errors
from tf_tokenlearner.data import image_files
from tf_tokenlearner.data import image_listing
from tf_tokenlearner.data import progress
from tf_tokenlearner.data import stratified_split

_FILES_AT_ONCE = 512  # Bounds what waits for the threads.
_NUM_NAMED = 10
_SHUFFLED_IN_MEMORY = 2**30


class ImageFolder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Packs the files of a folder, as they are, into TFRecord files.

  Every file is decoded once to see whether it can be read. The copy goes by a
  fingerprint of the folder and the options: a changed folder is packed anew.
  TFDS has an image_folder of its own, which reads the folder each time, trusts
  every file and makes no splits.

  Args:
    listing: of the folder.
    validation_fraction: held out of every class as split 'validation', if the
      folder has no splits; 0 for none.
    seed: of the choice which are held out.
    max_unreadable_fraction: of the files may be unreadable; they are left out.
    announce: takes what is to be said while packing, by lines.
    data_dir: as in TFDS.

  Raises:
    UserError: while packing, more files are unreadable than allowed, or a class
      or a split would be empty.
  """

  VERSION = tfds.core.Version('1.0.0')
  NEEDS_NO_DOWNLOAD = True
  name = 'image_folder'

  def __init__(self, *, listing: image_listing.Listing,
               validation_fraction: float = 0.2, seed: int = 0,
               max_unreadable_fraction: float = 0.01,
               announce: Callable[[str], None] = print, **kwargs):
    if not 0 <= validation_fraction < 1:
      raise errors.UserError(
          'validation_fraction must lie in [0, 1), received '
          f'{validation_fraction}.')
    if not 0 <= max_unreadable_fraction <= 1:
      raise errors.UserError(
          'max_unreadable_fraction must lie in [0, 1], received '
          f'{max_unreadable_fraction}.')
    self._listing = listing
    self._validation_fraction = validation_fraction
    self._seed = seed
    self._max_unreadable_fraction = max_unreadable_fraction
    self._announce = announce
    options = ((validation_fraction, seed)
               if image_listing.WHOLE in listing.splits else ())
    self._config = tfds.core.BuilderConfig(
        name=re.sub(r'[^\w.-]', '_', os.path.basename(listing.folder),
                    flags=re.ASCII) + '-' + listing.fingerprint(*options),
        version=self.VERSION, description=listing.folder)
    super().__init__(**kwargs)

  def get_default_builder_config(self) -> tfds.core.BuilderConfig:
    return self._config

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
        builder=self,
        description='Images of a folder of class folders.',
        features=tfds.features.FeaturesDict({
            'image': tfds.features.Image(),
            'label': tfds.features.ClassLabel(names=[
                _printable(name).strip()
                for name in self._listing.class_names]),
        }),
        supervised_keys=('image', 'label'),
        metadata=tfds.core.MetadataDict())

  def refuse_unreadable(self) -> None:
    """Raises UserError if too many of the packed files could not be read."""
    found = self.info.metadata
    num_unreadable, num_files = found['num_unreadable'], found['num_files']
    if num_unreadable > self._max_unreadable_fraction * num_files:
      raise errors.UserError(
          f'{num_unreadable:,} of the {num_files:,} images in '
          f'{self._listing.folder} cannot be read, more than '
          f'max_unreadable_fraction={self._max_unreadable_fraction:g} allows; '
          'remove them or raise task.train_data.max_unreadable_fraction: '
          f'{"; ".join(found["unreadable"])}'
          f'{"; ..." if num_unreadable > _NUM_NAMED else ""}.')

  def _split_generators(self, dl_manager):
    del dl_manager
    self._require_disk_space()
    unreadable = self._find_unreadable()
    self.info.metadata.update(
        num_files=sum(1 for _ in self._listing.files()),
        num_unreadable=len(unreadable),
        unreadable=[f'{_printable(path)} ({reason})' for path, reason
                    in list(unreadable.items())[:_NUM_NAMED]])
    self.refuse_unreadable()
    self._announce_left_out()
    splits = {
        split: {name: [file.path for file in files
                       if file.path not in unreadable]
                for name, files in files_by_class.items()}
        for split, files_by_class in self._listing.splits.items()}
    if image_listing.WHOLE in splits:
      splits = self._hold_out(splits[image_listing.WHOLE])
    self._refuse_empty(splits)
    return {split: self._generate_examples(split, paths_by_class)
            for split, paths_by_class in splits.items()}

  def _generate_examples(
      self, split: str, paths_by_class: Mapping[str, Sequence[str]]):
    total = sum(map(len, paths_by_class.values()))
    with progress.Progress(
        f'Packing {split}', total, self._announce) as counter:
      for label, name in enumerate(self._listing.class_names):
        for path in paths_by_class.get(name, ()):
          image = self._load(path)
          yield os.fsencode(path), {
              'image': io.BytesIO(image), 'label': label}
          counter.advance()

  def _load(self, path: str) -> bytes:
    try:
      return image_files.load(os.path.join(self._listing.folder, path))
    except image_files.UnreadableImageError as error:  # It could be, just now.
      raise errors.UserError(
          f'{_printable(path)} changed while {self._listing.folder} was '
          f'packed: {error}. Start again.') from error

  def _require_disk_space(self) -> None:
    needed = sum(file.size for file in self._listing.files())
    if needed > _SHUFFLED_IN_MEMORY:
      needed *= 2  # TFDS shuffles the rest in files of its own.
    if not tfds.core.utils.has_sufficient_disk_space(
        needed, directory=os.fspath(self.data_dir_root)):
      raise errors.UserError(
          f'No space left on the disk of {self.data_dir_root} to pack '
          f'{self._listing.folder}: {tfds.core.utils.Size(needed)} are needed. '
          'Make room, or set another data_dir.')

  def _find_unreadable(self) -> Dict[str, str]:
    """{path: reason}; decodes every file, on all processor cores."""
    paths = [file.path for file in self._listing.files()]
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

  def _reason(self, path: str) -> str:
    """Why a file cannot be read; '' if it can."""
    try:
      image_files.check(
          image_files.load(os.path.join(self._listing.folder, path)))
    except image_files.UnreadableImageError as error:
      return str(error)
    return ''

  def _announce_left_out(self) -> None:
    """Two lines at most: unreadable files, and files that are no images."""
    found = self.info.metadata
    if found['num_unreadable']:
      self._announce(
          f'Left out {found["num_unreadable"]:,} of {found["num_files"]:,} '
          f'images that cannot be read: {"; ".join(found["unreadable"])}'
          f'{"; ..." if found["num_unreadable"] > _NUM_NAMED else ""}')
    ignored = self._listing.num_ignored
    if ignored:
      kinds = sorted(ignored, key=lambda kind: (-ignored[kind], kind))
      self._announce(
          f'Passed over {sum(ignored.values()):,} files that are no images or '
          'lie outside of class folders: ' + ', '.join(
              f'{ignored[kind]:,} {_printable(kind)}'
              for kind in kinds[:_NUM_NAMED])
          + (', ...' if len(kinds) > _NUM_NAMED else ''))

  def _hold_out(self, paths_by_class: Dict[str, List[str]]):
    """{'train', 'validation'}, or 'train' alone if nothing is held out."""
    if not self._validation_fraction:
      return {'train': paths_by_class}
    total = sum(map(len, paths_by_class.values()))
    held_out = stratified_split.held_out(
        paths_by_class, max(1, round(total * self._validation_fraction)),
        self._seed)
    if not held_out:
      raise errors.UserError(
          f'{self._listing.folder} has too few images to hold any out for '
          'validation: add some, or set validation_fraction=0.')
    return {
        split: {name: [path for path in paths
                       if (path in held_out) == is_held_out]
                for name, paths in paths_by_class.items()}
        for split, is_held_out in (('train', False), ('validation', True))}

  def _refuse_empty(self, splits) -> None:
    """A class may be missing in evaluation, but not in training."""
    for split, paths_by_class in splits.items():
      empty = [name for name, paths in paths_by_class.items() if not paths]
      if empty and (split == 'train' or len(empty) == len(paths_by_class)):
        raise errors.UserError(
            f'{self._listing.folder}: no image of {split} can be read in '
            f'{", ".join(map(_printable, empty[:_NUM_NAMED]))}.')


def _printable(name: str) -> str:
  """A file name as text, whatever its bytes are."""
  return os.fsencode(name).decode(errors='replace')
