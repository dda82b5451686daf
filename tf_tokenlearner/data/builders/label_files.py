"""Finds videos and reads label files in a folder."""

import codecs
import contextlib
import csv
import json
import os
import re
from typing import Dict, Iterator, List, NoReturn, Sequence, Tuple

from tf_tokenlearner import errors
from tf_tokenlearner.data import file_types

_SEPARATORS = ',;\t'  # Of the columns of CSV files.


def find_files(folder: str) -> List[str]:
  """Returns the paths of all files at any depth of a folder, sorted.

  Hidden folders and those of the system are skipped, and so are links to a
  folder that was visited already.

  Raises:
    UserError: there is no such folder.
  """
  if not os.path.isdir(folder):
    raise errors.UserError(f'There is no folder {folder}.')
  paths, visited = [], set()
  for parent, folders, names in os.walk(folder, followlinks=True):
    status = os.stat(parent)
    identity = status.st_dev, status.st_ino
    if identity in visited:
      folders.clear()
      continue
    visited.add(identity)
    folders[:] = sorted(
        name for name in folders if not file_types.is_hidden(name))
    paths += [os.path.join(parent, name) for name in names]
  return sorted(paths)


def find_videos(files: Sequence[str]) -> Dict[str, str]:
  """Returns {name without extension: path} of the videos among files.

  If several videos have one name, the first path is returned, or preferably one
  in a folder 'replacement...', which Kinetics-400 has for corrupt files.
  """
  videos = {}
  for path in reversed(files):
    if file_types.VIDEOS.matches_file(path):
      stem = os.path.splitext(os.path.basename(path))[0]
      if not (stem in videos and '/replacement' in videos[stem]
              and '/replacement' not in path):
        videos[stem] = path
  return videos


def find_one(files: Sequence[str], pattern: str, what: str) -> str:
  """Returns the only file whose name matches; '' if there is none.

  Args:
    files: paths.
    pattern: regular expression of a whole name.
    what: content of the file, for messages.

  Raises:
    UserError: several names match.
  """
  found = [path for path in files
           if re.fullmatch(pattern, os.path.basename(path), re.IGNORECASE)]
  if len(found) > 1:
    raise errors.UserError(
        f'There are several files of {what}: {", ".join(found[:5])}. Keep one.')
  return found[0] if found else ''


def read_csv(path: str, columns: Sequence[str]
             ) -> Iterator[Tuple[int, Dict[str, str]]]:
  """Yields (line number, {column: text}) of the rows that are not empty.

  The first line names the columns, in any case. Its separator, a comma, a
  semicolon or a tab, is that of all lines. Text is UTF-8 or UTF-16.

  Args:
    path: of the file.
    columns: required columns; others are ignored.

  Raises:
    UserError: columns are missing, or a row has too few or too many.
  """
  with _open_csv(path) as reader:
    try:
      names = _name_columns(reader)
      if not set(columns) <= set(names):
        refuse(path, 1, f'expected the columns {", ".join(columns)}, got '
               f'{", ".join(names) or "none"}')
      for row in reader:
        if not any(text.strip() for text in row.values()
                   if isinstance(text, str)):
          continue
        if any(row[name] is None for name in columns):
          refuse(path, reader.line_num, 'has too few columns')
        if any(row.get(None, ())):
          refuse(path, reader.line_num, 'has more columns than the first line.'
                 ' Put text that contains the separator in double quotes')
        yield reader.line_num, {name: row[name].strip() for name in columns}
    except (csv.Error, UnicodeDecodeError) as error:
      raise errors.UserError(
          f'{path} cannot be read as CSV, near line {reader.line_num + 1}: '
          f'{error}.' + (' Save it as CSV in UTF-8.' if isinstance(
              error, UnicodeDecodeError) else '')) from error


def has_column(path: str, column: str) -> bool:
  """Returns whether the first line of a CSV file names a column."""
  with _open_csv(path, errors='replace') as reader:
    return column in _name_columns(reader)


@contextlib.contextmanager
def _open_csv(path: str, **options) -> Iterator[csv.DictReader]:
  """Opens a CSV file; options are those of open."""
  with open(path, 'rb') as file:
    mark = file.read(2)
  encoding = ('utf-16' if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
              else 'utf-8-sig')
  with open(path, encoding=encoding, newline='', **options) as file:
    try:
      first = file.readline()
    except UnicodeDecodeError:  # The reader reports it.
      first = ''
    file.seek(0)
    reader = csv.DictReader(
        file, strict=True, delimiter=max(_SEPARATORS, key=first.count))
    yield reader


def _name_columns(reader: csv.DictReader) -> List[str]:
  """Reads the first line, and returns the names of the columns in it."""
  reader.fieldnames = [
      name.strip().lower() for name in reader.fieldnames or ()]
  return reader.fieldnames


def read_json_labels(path: str) -> Dict[str, str]:
  """Returns the content of a JSON file {name: label}.

  Raises:
    UserError: the file holds something else.
  """
  try:
    with open(path, encoding='utf-8') as file:
      labels = json.load(file)
  except (json.JSONDecodeError, UnicodeDecodeError) as error:
    raise errors.UserError(f'{path} cannot be read as JSON: {error}.'
                           ) from error
  if not isinstance(labels, dict) or not labels or not all(
      isinstance(label, str) for label in labels.values()):
    raise errors.UserError(
        f'{path}: expected {{"name.mp4": "label", ...}}, got something '
        'else.')
  return labels


def refuse(path: str, line: int, reason: str) -> NoReturn:
  """Raises UserError about a line of a file."""
  raise errors.UserError(f'{path}:{line}: {reason}.')
