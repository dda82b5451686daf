"""Distinguishes images and videos by content or else by extension.

Folder data sets, data.prepare and predict use this one list.
"""

import dataclasses
import os
import stat
from typing import Tuple

_HEAD_SIZE = 512  # Bytes of a file that are examined.
# Folders of thumbnails, deleted files and snapshots that operating systems and
# network drives make.
_SYSTEM_FOLDERS = frozenset({
    '__macosx', '@eadir', '@recycle', '@recently-snapshot', '@tmp', '#recycle',
    '#snapshot', '$recycle.bin', 'system volume information', 'lost+found'})


@dataclasses.dataclass(frozen=True)
class FileType:
  """Images or videos.

  Attributes:
    noun: 'image' or 'video'.
    one: the noun with its article.
    extensions: in lower case, the most common first.
  """
  noun: str
  one: str
  extensions: Tuple[str, ...]

  @property
  def many(self) -> str:
    """Plural of the noun."""
    return f'{self.noun}s'

  def matches(self, name: str) -> bool:
    """Returns whether the name of a visible file has one of the extensions."""
    return not is_hidden(name) and name.lower().endswith(self.extensions)

  def matches_file(self, path: str) -> bool:
    """Returns whether a visible file has the type, by extension or content.

    Opens only files with other extensions.
    """
    name = os.path.basename(path)
    return self.matches(name) or (
        not is_hidden(name) and self in detect(path))


IMAGES = FileType('image', 'an image', (
    '.jpg', '.jpeg', '.png', '.gif', '.bmp', '.webp', '.jfif', '.jpe'))
# Also read, but found by content alone, as others use the extension: .ts.
VIDEOS = FileType('video', 'a video', (
    '.mp4', '.avi', '.webm', '.mov', '.gif', '.mkv', '.m4v', '.mpg', '.mpeg',
    '.3gp', '.flv', '.ogv', '.wmv', '.mts', '.m2ts'))
# Extensions of images that cannot be decoded.
UNSUPPORTED = (
    '.heic', '.heif', '.avif', '.tif', '.tiff', '.jxl', '.jp2', '.svg', '.dng',
    '.cr2', '.nef', '.arw')


def detect(path: str) -> Tuple[FileType, ...]:
  """Returns what a file can be read as: both types for a GIF.

  Content decides; the extension counts only if the content is unknown. Returns
  () for pipes and devices without opening them, as reading may never end.
  """
  try:
    if not stat.S_ISREG(os.stat(path).st_mode):
      return ()
    with open(path, 'rb') as file:
      head = file.read(_HEAD_SIZE)
  except OSError:
    head = b''
  if head.startswith(b'GIF8'):
    return IMAGES, VIDEOS
  if _is_image(head):
    return IMAGES,
  if _is_video(head):
    return VIDEOS,
  extension = os.path.splitext(path)[1].lower()
  return tuple(file_type for file_type in (IMAGES, VIDEOS)
               if extension in file_type.extensions)


def is_hidden(name: str) -> bool:
  """Returns whether a file or folder is hidden or belongs to the system."""
  return name.startswith('.') or name.lower() in _SYSTEM_FOLDERS


def printable(name: str) -> str:
  """Returns a file name as text; bytes that are not UTF-8 become U+FFFD."""
  return os.fsencode(name).decode(errors='replace')


def _is_image(head: bytes) -> bool:
  return (head.startswith((b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n'))
          or head[:4] == b'RIFF' and head[8:12] == b'WEBP'
          or head[:2] == b'BM' and head[6:10] == bytes(4))


def _is_video(head: bytes) -> bool:
  """Recognizes containers that video_files opens; raw streams have no mark."""
  is_picture = head[8:11] in (b'avi', b'hei', b'mif')  # AVIF and HEIF.
  # Packets of 188 bytes; cameras put 4 bytes before each.
  is_transport_stream = any(
      head[start:start + 2 * size + 1:size] == b'GGG'
      for start, size in ((0, 188), (4, 192)))
  return (head[4:8] in (b'ftyp', b'moov', b'mdat', b'wide') and not is_picture
          or head[:4] == b'RIFF' and head[8:12] == b'AVI '
          or head.startswith((
              b'\x1a\x45\xdf\xa3', b'FLV\x01', b'OggS', b'\x00\x00\x01\xba',
              b'\x00\x00\x01\xb3', b'\x30\x26\xb2\x75\x8e\x66\xcf\x11'))
          or is_transport_stream)
