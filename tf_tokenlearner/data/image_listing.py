"""Finds the images of a folder of class folders."""

import collections
import dataclasses
import hashlib
import os
from typing import Dict, Iterator, List, NamedTuple, Tuple

from tf_tokenlearner import errors
from tf_tokenlearner.data import image_files

LAYOUT = ('Expected folder/<class>/*.jpg with two classes or more, or '
          'folder/<split>/<class>/*.jpg with splits train and validation, val '
          'or test.')
_SPLITS = {'train': 'train', 'validation': 'validation', 'val': 'validation',
           'valid': 'validation', 'test': 'test'}
WHOLE = 'whole'  # The one split of a folder without split folders.


class ImageFile(NamedTuple):
  """A file that may be an image, by its name."""
  path: str  # Relative to the folder.
  size: int
  mtime_ns: int


@dataclasses.dataclass(frozen=True)
class Listing:
  """What a folder holds.

  Attributes:
    folder: absolute.
    class_names: of all classes; a label is an index into them.
    splits: files of each split by class, in order of their names.
    num_ignored: files passed over, by extension.
  """
  folder: str
  class_names: Tuple[str, ...]
  splits: Dict[str, Dict[str, List[ImageFile]]]
  num_ignored: Dict[str, int]

  def files(self) -> Iterator[ImageFile]:
    """Every file of every split."""
    for files_by_class in self.splits.values():
      for files in files_by_class.values():
        yield from files

  def fingerprint(self, *options: object) -> str:
    """Changes with the files' names, sizes and times, and with options."""
    digest = hashlib.sha256(repr((self.class_names, options)).encode())
    for file in self.files():
      digest.update(repr(tuple(file)).encode())
    return digest.hexdigest()[:16]


def scan(folder: str) -> Listing:
  """Lists a folder; see LAYOUT. No file is opened.

  Its folders are splits if all of them are called so, else classes. Files at
  any depth below a class folder belong to the class. Hidden files and folders
  are passed over.

  Raises:
    UserError: no folder, or none of the layout.
  """
  folder = os.path.abspath(os.path.expanduser(folder))
  if not os.path.isdir(folder):
    raise errors.UserError(f'There is no folder {folder}. {LAYOUT}')
  num_ignored = collections.Counter()
  _count_others(folder, num_ignored)
  splits = {}
  for name in _split_folders(folder):
    split = _SPLITS[name.lower()]
    if split in splits:
      raise errors.UserError(
          f'{folder} has two folders for the split {split}: keep one.')
    splits[split] = _list_classes(folder, name, num_ignored)
  if not splits:
    splits = {WHOLE: _list_classes(folder, '', num_ignored)}
  return Listing(folder, _class_names(folder, splits), splits, num_ignored)


def _split_folders(folder: str) -> List[str]:
  """The folders, if they are splits; none, if they are classes."""
  names = _folders(folder)
  splits = [name for name in names if name.lower() in _SPLITS]
  others = sorted(set(names) - set(splits))
  if not others:
    return splits
  for name in splits:  # A class may be called 'train', too.
    if name.lower() == 'train' and not _images_inside(folder, name):
      raise errors.UserError(
          f'{folder} has split folders ({", ".join(splits)}) and others '
          f'({_shorten(others)}): take the others elsewhere. {LAYOUT}')
  return []


def _list_classes(
    folder: str, part: str,
    num_ignored: Dict[str, int]) -> Dict[str, List[ImageFile]]:
  """Image files of each class folder in folder/part."""
  top = os.path.join(folder, part)
  files_by_class = {
      name: _list_images(folder, os.path.join(top, name), num_ignored)
      for name in _folders(top)}
  if not files_by_class:
    inside = 'images, but no' if _images_inside(top) else 'no'
    raise errors.UserError(f'{top} has {inside} class folders. {LAYOUT}')
  empty = [name for name, files in files_by_class.items() if not files]
  if empty:
    raise errors.UserError(
        f'{top} has class folders without images '
        f'({", ".join(image_files.EXTENSIONS)}): {_shorten(empty)}. Remove '
        'or fill them.')
  return files_by_class


def _class_names(folder: str, splits) -> Tuple[str, ...]:
  """Names of all classes: those of train, if there is one."""
  known = sorted(splits.get('train') or set().union(*splits.values()))
  for split, files_by_class in splits.items():
    unknown = sorted(set(files_by_class) - set(known))
    if unknown:
      raise errors.UserError(
          f'{folder}: {split} has classes that train has not: '
          f'{_shorten(unknown)}.')
  if len(known) < 2:
    raise errors.UserError(
        f'{folder} has one class only, {known[0]}. {LAYOUT}')
  return tuple(known)


def _list_images(
    folder: str, top: str, num_ignored: Dict[str, int]) -> List[ImageFile]:
  """Image files at any depth below top."""
  files, visited = [], set()
  for inner, names, file_names in os.walk(top, followlinks=True):
    status = os.stat(inner)
    if (status.st_dev, status.st_ino) in visited:  # By a link, in circles.
      names.clear()
      continue
    visited.add((status.st_dev, status.st_ino))
    names[:] = sorted(filter(_is_visible, names))
    for file_name in sorted(file_names):
      if _is_image(file_name):
        path = os.path.join(inner, file_name)
        try:
          status = os.stat(path)
          size, mtime = status.st_size, status.st_mtime_ns
        except OSError:  # A link to nowhere; who reads it will say so.
          size, mtime = 0, 0
        files.append(ImageFile(os.path.relpath(path, folder), size, mtime))
      else:
        num_ignored[_kind(file_name)] += 1
  return files


def _count_others(folder: str, num_ignored: Dict[str, int]) -> None:
  """Files that lie beside the class or split folders."""
  for entry in os.scandir(folder):
    if entry.is_file():
      num_ignored[_kind(entry.name)] += 1


def _folders(folder: str) -> List[str]:
  return sorted(entry.name for entry in os.scandir(folder)
                if entry.is_dir() and _is_visible(entry.name))


def _images_inside(*folder: str) -> bool:
  return any(entry.is_file() and _is_image(entry.name)
             for entry in os.scandir(os.path.join(*folder)))


def _is_image(name: str) -> bool:
  return _is_visible(name) and name.lower().endswith(image_files.EXTENSIONS)


def _is_visible(name: str) -> bool:
  return not name.startswith('.') and name != '__MACOSX'


def _kind(name: str) -> str:
  """'.txt' of 'notes.txt'; the whole name if it has no extension."""
  return os.path.splitext(name)[1].lower() or name


def _shorten(names) -> str:
  names = list(names)
  return ', '.join(names[:10]) + (', ...' if len(names) > 10 else '')
