"""Finds images or videos among files and folders, by their content."""

import collections
import os
from typing import Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from tf_tokenlearner.data import file_types
from tf_tokenlearner import errors


_SHOWN = 3  # Names of files that a message gives for each reason.


class Listing(NamedTuple):
  """Files to read, and files that are passed over.

  Attributes:
    paths: the files to read, each once, even if it was named twice.
    passed_over: names of files and folders inside folders, by the reason why
      they are not read.
  """
  paths: List[str]
  passed_over: Dict[str, List[str]]


def find(paths: Sequence[str], wanted: file_types.FileType,
         skip: str = '') -> Listing:
  """Lists the named files, and the files of one type below the named folders.

  A file that is named is listed whatever it is.

  Args:
    paths: files and folders.
    wanted: images or videos, to look for in folders.
    skip: a folder to leave out, '' for none.

  Raises:
    UserError: a path does not exist, or there are no files of the type.
  """
  require(paths)
  found, others = {}, {}  # By real path; the first spelling is kept.
  for path in paths:
    if not os.path.isdir(path):
      found.setdefault(os.path.realpath(path), path)
      continue
    for file, reason in _walk(path, skip and os.path.realpath(skip)):
      if not reason:
        detected = file_types.detect(file)
        if wanted in detected:
          found.setdefault(os.path.realpath(file), file)
          continue
        reason = detected[0].many if detected else _reason(file)
      others.setdefault(
          os.path.realpath(file), (reason, os.path.relpath(file, path)))
  passed_over = collections.defaultdict(list)
  for real, (reason, name) in others.items():
    if real not in found:
      passed_over[reason].append(name)
  if not found:
    text = describe(passed_over)
    raise errors.UserError(
        f'Expected {wanted.many} for this model, found none in '
        f'{", ".join(paths)}' + (f', only {text}' if text else '') + '.')
  return Listing(list(found.values()), dict(passed_over))


def require(paths: Iterable[str]) -> None:
  """Raises UserError if a path does not exist."""
  for path in paths:
    if not os.path.exists(path):
      raise errors.UserError(f'There is no file or folder {path}.')


def describe(passed_over: Dict[str, List[str]]) -> str:
  """Returns '1 hidden (.a), 5 videos (b.mp4, c.mp4, d.mp4, ...)'."""
  return ', '.join(
      f'{len(names):,} {reason} ({", ".join(names[:_SHOWN])}'
      + ', ...' * (len(names) > _SHOWN) + ')'
      for reason, names in passed_over.items())


def _reason(path: str) -> str:
  """Returns why a file of no known type is passed over."""
  is_known = path.lower().endswith(file_types.UNSUPPORTED)
  return ('images of a format that cannot be decoded' if is_known
          else 'neither images nor videos')


def _walk(folder: str, skip: str) -> Iterator[Tuple[str, str]]:
  """Yields (path, reason not to read it or ''), sorted; follows links once."""
  seen, closed = set(), []
  for parent, folders, names in os.walk(
      folder, onerror=closed.append, followlinks=True):
    real = os.path.realpath(parent)
    if real in seen or real == skip:
      folders.clear()
      continue
    seen.add(real)
    for name in sorted(folders + names):
      path = os.path.join(parent, name)
      if file_types.is_hidden(name):
        yield path, 'hidden'
      elif name in names:
        yield path, ''
    folders[:] = sorted(
        name for name in folders if not file_types.is_hidden(name))
  for error in closed:
    yield error.filename, 'that cannot be opened'
