"""Finds images or videos among files and folders, by what is in the files."""

import collections
import os
from typing import Dict, Iterable, Iterator, List, NamedTuple, Sequence

from tf_tokenlearner.data import file_types
from tf_tokenlearner import errors


class Listing(NamedTuple):
  """What was found.

  Attributes:
    paths: of the files to read, each once, however often it was named.
    num_others: files in folders that were passed over, by what they are.
  """
  paths: List[str]
  num_others: Dict[str, int]


def find(paths: Sequence[str], wanted: file_types.FileType,
         skip: str = '') -> Listing:
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
      real, kinds = os.path.realpath(file), file_types.detect(file)
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


def _walk(folder: str, skip: str) -> Iterator[str]:
  """Yields visible files in order of their names, following links once."""
  seen = set()
  for parent, folders, names in os.walk(folder, followlinks=True):
    real = os.path.realpath(parent)
    if real in seen or real == skip:
      folders.clear()
      continue
    seen.add(real)
    folders[:] = sorted(name for name in folders if not file_types.is_hidden(name))
    for name in sorted(names):
      if not file_types.is_hidden(name):
        yield os.path.join(parent, name)
