"""Records of unreadable files in the metadata of a data set."""

from typing import Mapping

import tensorflow_datasets as tfds

from tf_tokenlearner.data import file_types
from tf_tokenlearner import errors

_NUM_NAMED = 10


def require_fraction(name: str, value: float) -> None:
  """Raises UserError unless value lies in [0, 1]."""
  if not 0 <= value <= 1:
    raise errors.UserError(f'{name} must lie in [0, 1], got {value}.')


def remember(info: tfds.core.DatasetInfo, num_files: int,
             unreadable: Mapping[str, str]) -> None:
  """Records the unreadable files in the metadata of a data set.

  Args:
    info: of the data set, with a MetadataDict.
    num_files: number of all files.
    unreadable: {path: reason}.
  """
  info.metadata.update(
      num_files=num_files, num_unreadable=len(unreadable),
      unreadable=[f'{file_types.printable(path)} ({reason})' for path, reason
                  in list(unreadable.items())[:_NUM_NAMED]])


def remember_count(info: tfds.core.DatasetInfo, num_files: int,
                   num_unreadable: int, where_named: str) -> None:
  """Records the number of unreadable files if their names are not known.

  Args:
    info: of the data set, with a MetadataDict.
    num_files: number of all files.
    num_unreadable: number of unreadable files.
    where_named: tells the user where their names are.
  """
  info.metadata.update(
      num_files=num_files, num_unreadable=num_unreadable,
      unreadable=[where_named] if num_unreadable else [])


def refuse(info: tfds.core.DatasetInfo, max_fraction: float, what: str,
           option: str) -> None:
  """Raises UserError if more files are unreadable than allowed.

  Args:
    info: of a data set with such a record.
    max_fraction: largest share of unreadable files.
    what: description of the files, such as 'images in /data/photos'.
    option: name of the option for max_fraction.
  """
  num_unreadable = info.metadata['num_unreadable']
  num_files = info.metadata['num_files']
  if num_unreadable > max_fraction * num_files:
    raise errors.UserError(
        f'{num_unreadable:,} of the {num_files:,} {what} cannot be read, more '
        f'than max_unreadable_fraction={max_fraction:g} allows. Remove them or '
        f'raise {option}: {_listed(info)}.')


def describe(info: tfds.core.DatasetInfo, noun: str) -> str:
  """Returns a line on the files that were left out; '' if there are none."""
  if not info.metadata['num_unreadable']:
    return ''
  return (f'Left out {info.metadata["num_unreadable"]:,} of '
          f'{info.metadata["num_files"]:,} {noun}s that cannot be read: '
          f'{_listed(info)}')


def _listed(info: tfds.core.DatasetInfo) -> str:
  more = info.metadata['num_unreadable'] > _NUM_NAMED and (
      len(info.metadata['unreadable']) == _NUM_NAMED)
  return '; '.join(info.metadata['unreadable']) + ('; ...' if more else '')
