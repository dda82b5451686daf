"""Lists the images or videos of a folder of class folders."""

import dataclasses
import hashlib
import os
import pathlib
import re
from typing import (
    Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Set, Tuple,
    Union)
import unicodedata

from tf_tokenlearner import errors
from tf_tokenlearner.data import file_types

WHOLE = 'whole'  # Split name for a folder without split folders.
_SPLIT = re.compile(
    r'(?P<train>train(ing)?)'
    r'|(?P<validation>val(id(ate|ation)?)?|eval(uation)?|dev)'
    r'|(?P<test>test(ing)?)')
_SPLIT_SUFFIX = re.compile(
    r'[ _-]?(images?|imgs?|pictures?|photos?|videos?|clips?|frames?|data'
    r'|dataset|set|split)$')
# Folders with these names are never classes if all folders are splits.
_PLAIN_SPLITS = ('train', 'validation', 'val', 'valid', 'test')
_NUM_NAMED = 10
# Why files are passed over; the file type's plural is filled in.
_OTHER_CONTENT = 'not {}'
_UNSUPPORTED = 'format not supported, convert to JPEG'
_OUTSIDE = 'outside class folders'
_LINKED = 'links to folders that are listed anyway'
_HIDDEN = 'hidden folders, rename if they are classes'

# (st_dev, st_ino): tells whether two paths lead to the same folder.
_Identity = Tuple[int, int]


class File(NamedTuple):
  """A file to read.

  Attributes:
    path: relative to the listed folder.
    size: in bytes.
    mtime_ns: time of the last change.
  """
  path: str
  size: int
  mtime_ns: int


@dataclasses.dataclass(frozen=True)
class Listing:
  """Content of a folder.

  Attributes:
    file_type: what was looked for.
    folder: absolute path.
    class_names: of all classes; a label is an index into them.
    splits: files of each split by class name, sorted by their paths.
    notes: how folder names were understood, where that could surprise.
    ignored: paths of files that are passed over, by the reason.
    label_file: absolute path of the CSV file that lists the files; '' if the
      folders inside folder do.
    labels: with a label_file, the class names of each file by its path. A file
      with several is listed in splits under the rarest of them.
  """
  file_type: file_types.FileType
  folder: str
  class_names: Tuple[str, ...]
  splits: Dict[str, Dict[str, List[File]]]
  notes: Tuple[str, ...]
  ignored: Dict[str, List[str]]
  label_file: str = ''
  labels: Mapping[str, Tuple[str, ...]] = dataclasses.field(
      default_factory=dict)

  @property
  def origin(self) -> str:
    """Absolute path of the CSV file, or else of the folder."""
    return self.label_file or self.folder

  @property
  def multi_label(self) -> bool:
    """Whether a file may have several labels."""
    return any(len(names) > 1 for names in self.labels.values())

  def labels_of(self, path: str, listed_under: str) -> Tuple[str, ...]:
    """Returns the class names of a file of splits, listed under a class."""
    return self.labels.get(path, (listed_under,))

  def files(self) -> Iterator[File]:
    """Yields every file of every split."""
    for files_by_class in self.splits.values():
      for files in files_by_class.values():
        yield from files

  def fingerprint(self, *options: object) -> str:
    """Returns a hash of the files' names, sizes and times, and of options."""
    digest = hashlib.sha256(repr((self.class_names, options)).encode())
    for file in self.files():
      digest.update(repr(tuple(file)).encode())
    if self.label_file:  # Paths do not tell the splits and labels.
      for split, files_by_class in self.splits.items():
        for name, files in files_by_class.items():
          for file in files:
            labels = self.labels_of(file.path, name)
            digest.update(repr((split, file.path, labels)).encode())
    return digest.hexdigest()[:16]

  def describe_ignored(self) -> str:
    """Returns a line on the ignored files and folders; '' without any."""
    if not self.ignored:
      return ''
    count = sum(map(len, self.ignored.values()))
    return f'Passed over {count:,} files or folders: ' + '; '.join(
        f'{reason}: {len(paths):,} ({shorten(paths, 3)})'
        for reason, paths in sorted(self.ignored.items())) + '.'


def layout(file_type: file_types.FileType) -> str:
  """Returns a sentence that describes the expected folders."""
  files = f'*{file_type.extensions[0]}'
  return (f'Expected folder/<class>/{files} with two classes or more, or '
          f'folder/<split>/<class>/{files} with splits train and validation, '
          'val or test.')


def scan(folder: str, file_type: file_types.FileType,
         min_classes: int = 2) -> Listing:
  """Lists a folder; see `layout`.

  The folders inside are splits if all have names of splits, in any case: train
  or training, validation, val, valid, eval or dev, test or testing, with or
  without a word such as _images. Else they are classes. Files at any depth
  below a class folder belong to the class. Hidden files and folders, those of
  operating systems, and links back into the folder are passed over.

  Files are found by extension, files with other extensions by content.

  Args:
    folder: path.
    file_type: what to look for.
    min_classes: minimum number of classes.

  Raises:
    UserError: there is no folder, or it does not have the layout.
  """
  folder = os.path.abspath(os.path.expanduser(folder))
  if not os.path.isdir(folder):
    raise errors.UserError(
        f'There is no folder {file_types.printable(folder)}. '
        + layout(file_type))
  return _Scan(folder, file_type, min_classes).run()


def find_types(folder: str) -> List[file_types.FileType]:
  """Returns the types of files that a folder holds.

  A file that can be both, a GIF, counts only if there are no others.
  """
  found = set()
  for parent, names, file_names in os.walk(folder, followlinks=True):
    names[:] = _visible(names)
    for name in _visible(file_names):
      by_name = tuple(
          file_type for file_type in (file_types.IMAGES, file_types.VIDEOS)
          if file_type.matches(name))
      found.add(by_name or file_types.detect(os.path.join(parent, name)))
  types = (file_types.IMAGES, file_types.VIDEOS)
  return ([file_type for file_type in types if (file_type,) in found]
          or list(types if types in found else ()))


def label_name(folder_name: str) -> str:
  """Returns the class name for the name of a folder.

  Unicode is composed (NFC), as systems differ in what they store. White space
  at the ends goes; line breaks and other control characters become spaces, as
  files of labels have one name per line.
  """
  text = unicodedata.normalize('NFC', file_types.printable(folder_name))
  return ''.join(
      ' ' if unicodedata.category(letter) in ('Cc', 'Zl', 'Zp') else letter
      for letter in text).strip()


class _Scan:
  """One listing in progress; see `scan`."""

  def __init__(self, folder: str, file_type: file_types.FileType,
               min_classes: int):
    self._folder, self._file_type = folder, file_type
    self._min_classes = min_classes
    self._own_folders = _own_folders(folder)
    self._notes: List[str] = []
    self._ignored: Dict[str, List[str]] = {}

  def run(self) -> Listing:
    """Returns the listing."""
    self._ignore(_OUTSIDE, sorted(
        entry.path for entry in os.scandir(self._folder) if entry.is_file()))
    splits, folders = {}, {}
    for name in self._split_folders():
      split = split_of(name)
      if split in splits:
        raise errors.UserError(
            f'{self._folder} has two folders for the split {split}: '
            f'{folders[split]} and {name}. Keep one.')
      folders[split] = name
      splits[split] = self._list_classes(name)
    renamed = [f'{name} is {split}' for split, name in folders.items()
               if name != split]
    if renamed:
      self._notes.append(f'Split folders of {self._folder}: '
                         f'{", ".join(renamed)}.')
    if not splits:
      splits = {WHOLE: self._list_classes('')}
    return Listing(
        self._file_type, self._folder,
        class_names(splits, self._folder, layout(self._file_type),
                    self._min_classes), splits,
        tuple(self._notes), self._ignored)

  def _split_folders(self) -> List[str]:
    """Returns the names of the split folders; [] if they are classes."""
    names = _folders(self._folder)
    splits = [name for name in names if split_of(name)]
    others = sorted(set(names) - set(splits))
    for name in splits:  # A class may be called 'train', too.
      if others and split_of(name) == 'train' and not self._files_inside(name):
        raise errors.UserError(
            f'{self._folder} has split folders ({", ".join(splits)}) and '
            f'others ({shorten(others)}). Move the others elsewhere. '
            + layout(self._file_type))
    if not others and not (
        all(map(self._holds_only_files, splits))
        and any(name.lower() not in _PLAIN_SPLITS for name in splits)):
      return splits
    if splits:
      self._notes.append(
          f'{self._folder}: {shorten(splits)} are read as classes, as '
          + (f'{shorten(others)} {"is" if len(others) == 1 else "are"} no '
             'split' if others else
             f'they hold {self._file_type.many} and no class folders')
          + '. ' + layout(self._file_type))
    return []

  def _list_classes(self, part: str) -> Dict[str, List[File]]:
    """Returns the files of each class folder in folder/part, by class name."""
    top = os.path.join(self._folder, part) if part else self._folder
    self._ignore(_HIDDEN, sorted(
        entry.path for entry in os.scandir(top)
        if entry.is_dir() and entry.name.startswith('.')))
    folders = {}
    for name in _folders(top):
      folders.setdefault(label_name(name), []).append(name)
    for label, names in folders.items():
      if len(names) > 1 or not label:
        raise errors.UserError(
            f'{top} has class folders whose names do not differ when written '
            f'as labels: {", ".join(map(ascii, names))}. Rename or merge them.'
            if label else
            f'{top} has a class folder without a visible name: '
            f'{ascii(names[0])}. Rename it.')
    files_by_class = {
        label: self._list_files(os.path.join(top, name))
        for label, (name,) in folders.items()}
    many = self._file_type.many
    if not files_by_class:
      inside = f'{many}, but no' if self._files_inside(part) else 'no'
      raise errors.UserError(
          f'{top} has {inside} class folders. {layout(self._file_type)}')
    empty = [name for name, files in files_by_class.items() if not files]
    if empty:
      raise errors.UserError(
          f'{top} has class folders without {many} '
          f'({", ".join(self._file_type.extensions)}): {shorten(empty)}. '
          'Remove or fill them.')
    return files_by_class

  def _list_files(self, top: str) -> List[File]:
    """Returns the files to read at any depth below a class folder."""
    files, visited = [], set()
    for inner, names, file_names in os.walk(top, followlinks=True):
      identity = _identity(inner)
      is_link = inner != top and os.path.islink(inner)
      if identity in visited or is_link and identity in self._own_folders:
        self._ignore(_LINKED, [inner])
        names.clear()
        continue
      visited.add(identity)
      names[:] = _visible(names)
      for file_name in sorted(file_names):
        path = os.path.join(inner, file_name)
        if not self._file_type.matches_file(path):
          is_unsupported = file_name.lower().endswith(file_types.UNSUPPORTED)
          self._ignore(
              _UNSUPPORTED if is_unsupported
              else _OTHER_CONTENT.format(self._file_type.many), [path])
          continue
        try:
          status = os.stat(path)
          size, mtime = status.st_size, status.st_mtime_ns
        except OSError:  # A broken link; reading it gives the reason.
          size, mtime = 0, 0
        files.append(
            File(os.path.relpath(path, self._folder), size, mtime))
    return files

  def _files_inside(self, part: str) -> bool:
    return any(entry.is_file() and self._file_type.matches_file(entry.path)
               for entry in os.scandir(os.path.join(self._folder, part)))

  def _holds_only_files(self, part: str) -> bool:
    return self._files_inside(part) and not _folders(
        os.path.join(self._folder, part))

  def _ignore(self, reason: str, paths: Iterable[str]) -> None:
    for path in paths:
      self._ignored.setdefault(reason, []).append(
          os.path.relpath(path, self._folder))


def class_names(splits: Mapping[str, Iterable[str]], origin: str,
                expected: str, min_classes: int) -> Tuple[str, ...]:
  """Returns the names of all classes: those of train, if there is one.

  Args:
    splits: names of the classes that each split has.
    origin: path of the folder or file, for messages.
    expected: sentence that describes what it should hold.
    min_classes: smallest number of classes.

  Raises:
    UserError: a split has other classes than train, or there are too few.
  """
  known = sorted(splits.get('train') or set().union(*splits.values()))
  for split, names in splits.items():
    unknown = sorted(set(names) - set(known))
    if unknown:
      raise errors.UserError(
          f'{origin}: {split} has classes that train does not have: '
          f'{shorten(unknown)}.')
  if len(known) < min_classes:
    raise errors.UserError(
        f'{origin} has only one class, {known[0]}. {expected}')
  return tuple(known)


def split_of(folder_name: str) -> Optional[str]:
  """Returns the split for a folder's name; None for other names.

  Example:
    >>> split_of('Training'), split_of('val_images'), split_of('cat')
    ('train', 'validation', None)
  """
  name = folder_name.lower()
  match = _SPLIT.fullmatch(name) or _SPLIT.fullmatch(
      _SPLIT_SUFFIX.sub('', name))
  return match and next(
      split for split, text in match.groupdict().items() if text)


def _own_folders(folder: str) -> Set[_Identity]:
  """Returns the folder, its parents and the visible folders inside."""
  own = set(map(_identity, pathlib.Path(folder).parents))
  for inner, names, _ in os.walk(folder):
    own.add(_identity(inner))
    names[:] = _visible(names)
  return own


def _identity(folder: Union[str, pathlib.Path]) -> _Identity:
  status = os.stat(folder)
  return status.st_dev, status.st_ino


def _folders(folder: str) -> List[str]:
  return _visible(
      entry.name for entry in os.scandir(folder) if entry.is_dir())


def _visible(names: Iterable[str]) -> List[str]:
  return sorted(name for name in names if not file_types.is_hidden(name))


def shorten(names: Iterable[str], count: int = _NUM_NAMED) -> str:
  """Returns the first of some file names as text, separated by commas."""
  names = list(map(file_types.printable, names))
  return ', '.join(names[:count]) + (', ...' if len(names) > count else '')
