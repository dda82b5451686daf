"""A folder of class folders of images as a TFDS data set."""

import concurrent.futures
import io
import os
from typing import Any, Dict, List

import tensorflow_datasets as tfds

from tf_tokenlearner import errors
from tf_tokenlearner.data import image_files
from tf_tokenlearner.data import progress
from tf_tokenlearner.data.builders import folder_builder
from tf_tokenlearner.data.builders import unreadable_files

_FILES_AT_ONCE = 512  # Bounds what waits for the threads.


class ImageFolder(folder_builder.FolderBuilder, skip_registration=True):
  """Packs the images of a folder, as they are; see FolderBuilder.

  TFDS has an image_folder of its own, which reads the folder each time, trusts
  every file and makes no splits.

  Args:
    listing: of the folder, of images.
    **kwargs: of FolderBuilder.
  """

  name = 'image_folder'

  def _content_features(self) -> Dict[str, Any]:
    return {'image': tfds.features.Image()}

  def _find_unreadable(self, paths: List[str]) -> Dict[str, str]:
    """On all processor cores."""
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
    except image_files.UnreadableImageError as error:  # It could be, just now.
      raise errors.UserError(
          f'{unreadable_files.printable(path)} changed while '
          f'{self._listing.folder} was packed: {error}. Start again.'
      ) from error
    return {'image': io.BytesIO(image)}

  def _reason(self, path: str) -> str:
    """Why a file cannot be read; '' if it can."""
    try:
      image_files.decode(image_files.load(self._full_path(path)))
    except image_files.UnreadableImageError as error:
      return str(error)
    return ''
