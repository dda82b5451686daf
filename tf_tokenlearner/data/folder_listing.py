"""Finds the images or videos of a folder of class folders."""

import collections
import dataclasses
import hashlib
import os
from typing import Dict, Iterator, List, NamedTuple, Tuple

from tf_tokenlearner import errors

_SPLITS = {'train': 'train', 'validation': 'validation', 'val': 'validation',
           'valid': 'validation', 'test': 'test'}
WHOLE = 'whole'  # The one split of a folder without split folders.


@dataclasses.dataclass(frozen=True)
class Kind:
  """What is looked for.

  Attributes:
    noun: 'image'.
    extensions: of its files, in lower case; the first is the usual one.
  """
  noun: str
  extensions: Tuple[str, ...]

  @property
  def layout(self) -> str:
    """How a folder of them should look."""
    files = f'*{self.extensions[0]}'
    return (f'Expected folder/<class>/{files} with two classes or more, or '
            f'folder/<split>/<class>/{files} with splits train and validation, '
            'val or test.')

  def matches(self, name: str) -> bool:
    """Whether a file is one of them, by its name."""
    return _is_visible(name) and name.lower().endswith(self.extensions)


IMAGES = Kind('image', ('.jpg', '.jpeg', '.png', '.gif', '.bmp', '.webp'))
VIDEOS = Kind('video', (
    '.mp4', '.avi', '.webm', '.mov', '.gif', '.mkv', '.m4v'))


class File(NamedTuple):
  """A file of the kind, by its name."""
  path: str  # Relative to the folder.
  size: int
  mtime_ns: int


@dataclasses.dataclass(frozen=True)
class Listing:
  """What a folder holds.

  Attributes:
    kind: what was looked for.
    folder: absolute.
    class_names: of all classes; a label is an index into them.
    splits: files of each split by class, in order of their names.
    num_ignored: files passed over, by extension.
  """
  kind: Kind
  folder: str
  class_names: Tuple[str, ...]
  splits: Dict[str, Dict[str, List[File]]]
  num_ignored: Dict[str, int]

  def files(self) -> Iterator[File]:
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


def scan(folder: str, kind: Kind) -> Listing:
  """Lists a folder; see Kind.layout. No file is opened.

  Its folders are splits if all of them are called so, else classes. Files at
  any depth below a class folder belong to the class. Hidden files and folders
  are passed over.

  Raises:
    UserError: no folder, or none of the layout.
  """
  folder = os.path.abspath(os.path.expanduser(folder))
  if not os.path.isdir(folder):
    raise errors.UserError(f'There is no folder {folder}. {kind.layout}')
  num_ignored = collections.Counter()
  _count_others(folder, num_ignored)
  splits = {}
  for name in _split_folders(folder, kind):
    split = _SPLITS[name.lower()]
    if split in splits:
      raise errors.UserError(
          f'{folder} has two folders for the split {split}: keep one.')
    splits[split] = _list_classes(folder, name, kind, num_ignored)
  if not splits:
    splits = {WHOLE: _list_classes(folder, '', kind, num_ignored)}
  return Listing(
      kind, folder, _class_names(folder, splits, kind), splits, num_ignored)


def find_kinds(folder: str) -> List[Kind]:
  """The kinds that a folder holds, by extensions that only one kind has.

  If there are files of extensions that several have, and no others, all these.
  """
  extensions = {os.path.splitext(name)[1].lower()
                for _, _, names in os.walk(folder, followlinks=True)
                for name in filter(_is_visible, names)}
  kinds = (IMAGES, VIDEOS)
  shared = set(IMAGES.extensions) & set(VIDEOS.extensions)
  return ([kind for kind in kinds
           if extensions & set(kind.extensions) - shared]
          or [kind for kind in kinds if extensions & set(kind.extensions)])


def _split_folders(folder: str, kind: Kind) -> List[str]:
  """The folders, if they are splits; none, if they are classes."""
  names = _folders(folder)
  splits = [name for name in names if name.lower() in _SPLITS]
  others = sorted(set(names) - set(splits))
  if not others:
    return splits
  for name in splits:  # A class may be called 'train', too.
    if name.lower() == 'train' and not _files_inside(folder, name, kind):
      raise errors.UserError(
          f'{folder} has split folders ({", ".join(splits)}) and others '
          f'({_shorten(others)}): take the others elsewhere. {kind.layout}')
  return []


def _list_classes(
    folder: str, part: str, kind: Kind,
    num_ignored: Dict[str, int]) -> Dict[str, List[File]]:
  """Files of each class folder in folder/part."""
  top = os.path.join(folder, part) if part else folder
  files_by_class = {
      name: _list_files(folder, os.path.join(top, name), kind, num_ignored)
      for name in _folders(top)}
  if not files_by_class:
    inside = f'{kind.noun}s, but no' if _files_inside(top, '', kind) else 'no'
    raise errors.UserError(f'{top} has {inside} class folders. {kind.layout}')
  empty = [name for name, files in files_by_class.items() if not files]
  if empty:
    raise errors.UserError(
        f'{top} has class folders without {kind.noun}s '
        f'({", ".join(kind.extensions)}): {_shorten(empty)}. Remove or fill '
        'them.')
  return files_by_class


def _class_names(folder: str, splits, kind: Kind) -> Tuple[str, ...]:
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
        f'{folder} has one class only, {known[0]}. {kind.layout}')
  return tuple(known)


def _list_files(
    folder: str, top: str, kind: Kind,
    num_ignored: Dict[str, int]) -> List[File]:
  """Files of the kind at any depth below top."""
  files, visited = [], set()
  for inner, names, file_names in os.walk(top, followlinks=True):
    status = os.stat(inner)
    if (status.st_dev, status.st_ino) in visited:  # By a link, in circles.
      names.clear()
      continue
    visited.add((status.st_dev, status.st_ino))
    names[:] = sorted(filter(_is_visible, names))
    for file_name in sorted(file_names):
      if kind.matches(file_name):
        path = os.path.join(inner, file_name)
        try:
          status = os.stat(path)
          size, mtime = status.st_size, status.st_mtime_ns
        except OSError:  # A link to nowhere; who reads it will say so.
          size, mtime = 0, 0
        files.append(File(os.path.relpath(path, folder), size, mtime))
      else:
        num_ignored[_extension(file_name)] += 1
  return files


def _count_others(folder: str, num_ignored: Dict[str, int]) -> None:
  """Files that lie beside the class or split folders."""
  for entry in os.scandir(folder):
    if entry.is_file():
      num_ignored[_extension(entry.name)] += 1


def _folders(folder: str) -> List[str]:
  return sorted(entry.name for entry in os.scandir(folder)
                if entry.is_dir() and _is_visible(entry.name))


def _files_inside(folder: str, part: str, kind: Kind) -> bool:
  return any(entry.is_file() and kind.matches(entry.name)
             for entry in os.scandir(os.path.join(folder, part)))


def _is_visible(name: str) -> bool:
  return not name.startswith('.') and name != '__MACOSX'


def _extension(name: str) -> str:
  """'.txt' of 'notes.txt'; the whole name if it has no extension."""
  return os.path.splitext(name)[1].lower() or name


def _shorten(names) -> str:
  names = list(names)
  return ', '.join(names[:10]) + (', ...' if len(names) > 10 else '')
