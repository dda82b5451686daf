"""A folder of class folders of videos as a TFDS data set."""

import hashlib
import os
from typing import Any, Dict, List

from tf_tokenlearner.data import decoded_videos
from tf_tokenlearner.data import folder_listing
from tf_tokenlearner.data.builders import folder_builder
from tf_tokenlearner.data.builders import unreadable_files
from tf_tokenlearner.data.builders import video_examples


class VideoFolder(folder_builder.FolderBuilder, skip_registration=True):
  """Packs the videos of a folder as JPEG frames; see FolderBuilder.

  Preparing takes, for a while, three times the disk space of the result: what
  is decoded is kept beside it, so that a restart goes on, and TFDS shuffles.

  Args:
    listing: of the folder, of videos.
    fps: frames a second, as in video_files.decode.
    short_side: as in video_files.decode.
    **kwargs: of FolderBuilder.
  """

  name = 'video_folder'

  def __init__(self, *, listing: folder_listing.Listing, fps: float = 25.,
               short_side: int = 256, **kwargs):
    self._fps, self._short_side = float(fps), int(short_side)
    super().__init__(listing=listing, content_options=(
        self._fps, self._short_side), **kwargs)
    # Not by the fingerprint: if unreadable files are removed from the folder
    # the others need not be decoded again.
    which = hashlib.sha256(os.fsencode(listing.folder)).hexdigest()[:16]
    self._decoded = decoded_videos.DecodedVideos(
        decoded_videos.working_folder(
            os.fspath(self.data_dir_root),
            os.path.join(self.name, f'{self._folder_name}-{which}')),
        self._fps, self._short_side, self._announce)

  def _content_features(self) -> Dict[str, Any]:
    return video_examples.features()

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
    return video_examples.make(
        self._decoded.load(self._full_path(path)), self._fps,
        unreadable_files.printable(path))
