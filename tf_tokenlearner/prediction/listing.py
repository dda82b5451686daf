"""Finds images or videos among files and folders, by what is in the files."""

import collections
import os
import stat
from typing import Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from tf_tokenlearner.data import folder_listing
from tf_tokenlearner import errors


_HEAD = 512  # Bytes; what tells files apart lies within.


class Kind(NamedTuple):
  """What a model takes.

  Attributes:
    one: of them, with its article.
    many: of them.
    extensions: of files whose content says nothing.
  """
  one: str
  many: str
  extensions: Tuple[str, ...]


IMAGES = Kind('an image', 'images', folder_listing.IMAGES.extensions)
VIDEOS = Kind('a video', 'videos', folder_listing.VIDEOS.extensions)


class Listing(NamedTuple):
  """What was found.

  Attributes:
    paths: of the files to read, each once, however often it was named.
    num_others: files in folders that were passed over, by what they are.
  """
  paths: List[str]
  num_others: Dict[str, int]


def find(paths: Sequence[str], wanted: Kind, skip: str = '') -> Listing:
  """Lists files as they are given, and of folders those of a kind.

  At any depth. Hidden files and folders are passed over.

  Args:
    paths: of files and folders.
    wanted: the kind.
    skip: a folder that is left out, '' for none.

  Raises:
    UserError: there is no such path, or there is nothing of the kind.
  """
  require(paths)
  found, others = {}, {}  # By the real path; the first spelling is kept.
  for path in paths:
    if not os.path.isdir(path):
      found.setdefault(os.path.realpath(path), path)
      continue
    for file in _walk(path, skip and os.path.realpath(skip)):
      real, kinds = os.path.realpath(file), kinds_of(file)
      if wanted in kinds:
        found.setdefault(real, file)
      else:
        others[real] = kinds[0].many if kinds else 'other files'
  num_others = collections.Counter(
      what for real, what in others.items() if real not in found)
  if not found:
    others = describe(num_others)
    raise errors.UserError(
        f'There are no {wanted.many} in {", ".join(paths)}'
        + (f', only {others}' if others else '')
        + f'. This model takes {wanted.many}.')
  return Listing(list(found.values()), dict(num_others))


def require(paths: Iterable[str]) -> None:
  """Raises UserError if one of them is not there."""
  for path in paths:
    if not os.path.exists(path):
      raise errors.UserError(f'There is no file or folder {path}.')


def describe(num_others: Dict[str, int]) -> str:
  """'videos (3), other files (2)'."""
  return ', '.join(f'{what} ({count:,})' for what, count in num_others.items())


def kinds_of(path: str) -> Tuple[Kind, ...]:
  """What a file can be read as, by its content, or else its extension.

  Nothing if it is a pipe, a device or the like: they may never answer.
  """
  try:
    if not stat.S_ISREG(os.stat(path).st_mode):
      return ()
    with open(path, 'rb') as file:
      head = file.read(_HEAD)
  except OSError:
    head = b''
  if head.startswith(b'GIF8'):
    return IMAGES, VIDEOS
  if _is_image(head):
    return IMAGES,
  if _is_video(head):
    return VIDEOS,
  extension = os.path.splitext(path)[1].lower()
  return tuple(
      kind for kind in (IMAGES, VIDEOS) if extension in kind.extensions)


def _is_image(head: bytes) -> bool:
  return (head.startswith((b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n'))
          or head[:4] == b'RIFF' and head[8:12] == b'WEBP'
          or head[:2] == b'BM' and head[6:10] == bytes(4))


def _is_video(head: bytes) -> bool:
  """Of the containers that video_files opens; the raw ones have no mark."""
  is_picture = head[8:11] in (b'avi', b'hei', b'mif')  # AVIF and HEIF.
  return (head[4:8] in (b'ftyp', b'moov', b'mdat', b'wide') and not is_picture
          or head[:4] == b'RIFF' and head[8:12] == b'AVI '
          or head.startswith((
              b'\x1a\x45\xdf\xa3', b'FLV\x01', b'OggS', b'\x00\x00\x01\xba',
              b'\x00\x00\x01\xb3', b'\x30\x26\xb2\x75\x8e\x66\xcf\x11'))
          or head[:1] == b'G' and head[188:189] == b'G')


def _walk(folder: str, skip: str) -> Iterator[str]:
  """Yields visible files in order of their names, following links once."""
  seen = set()
  for parent, folders, names in os.walk(folder, followlinks=True):
    real = os.path.realpath(parent)
    if real in seen or real == skip:
      folders.clear()
      continue
    seen.add(real)
    folders[:] = sorted(name for name in folders if not name.startswith('.'))
    for name in sorted(names):
      if not name.startswith('.'):
        yield os.path.join(parent, name)
