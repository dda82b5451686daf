"""Reads the files that say what is in a folder of videos."""

import csv
import json
import os
import re
from typing import Dict, Iterator, List, NoReturn, Sequence, Tuple

from tf_tokenlearner import errors
from tf_tokenlearner.data import file_types


def find_files(folder: str) -> List[str]:
  """All files at any depth of a folder, in order of their names.

  Raises:
    UserError: no such folder.
  """
  if not os.path.isdir(folder):
    raise errors.UserError(f'There is no folder {folder}.')
  return sorted(os.path.join(inner, name)
                for inner, _, names in os.walk(folder, followlinks=True)
                for name in names)


def find_videos(files: Sequence[str]) -> Dict[str, str]:
  """Videos by their names without extension.

  Of several of one name, one in a folder called 'replacement...' comes first,
  as Kinetics-400 has it for corrupt files, then the one with the first path.
  """
  videos = {}
  for path in reversed(files):
    name = os.path.basename(path)
    if file_types.VIDEOS.matches(name):
      stem = os.path.splitext(name)[0]
      if not (stem in videos and '/replacement' in videos[stem]
              and '/replacement' not in path):
        videos[stem] = path
  return videos


def find_one(files: Sequence[str], pattern: str, what: str) -> str:
  """The one file whose name matches; '' if there is none.

  Args:
    files: paths.
    pattern: regular expression of a whole name.
    what: the file is, for messages.

  Raises:
    UserError: several match.
  """
  found = [path for path in files
           if re.fullmatch(pattern, os.path.basename(path), re.IGNORECASE)]
  if len(found) > 1:
    raise errors.UserError(
        f'There are several files of {what}: {", ".join(found[:5])}. Keep one.')
  return found[0] if found else ''


def read_csv(path: str, columns: Sequence[str]
             ) -> Iterator[Tuple[int, Dict[str, str]]]:
  """Yields (line number, {column: text}) of the rows.

  Args:
    path: of a file whose first line names the columns.
    columns: that it must have; others are ignored.

  Raises:
    UserError: columns are missing, or a row has too few.
  """
  with open(path, encoding='utf-8-sig', newline='') as file:
    reader = csv.DictReader(file, strict=True)
    try:
      missing = [name for name in columns
                 if name not in (reader.fieldnames or ())]
      if missing:
        refuse(path, 1, f'expected the columns {", ".join(columns)}, received '
               f'{", ".join(reader.fieldnames or ["none"])}')
      for row in reader:
        if any(row[name] is None for name in columns):
          refuse(path, reader.line_num, 'has too few columns')
        yield reader.line_num, {name: row[name].strip() for name in columns}
    except (csv.Error, UnicodeDecodeError) as error:
      raise errors.UserError(
          f'{path} cannot be read as CSV, near line {reader.line_num + 1}: '
          f'{error}.') from error


def has_column(path: str, column: str) -> bool:
  """Whether the first line of a CSV file names a column."""
  with open(path, encoding='utf-8-sig', errors='replace') as file:
    return column in next(csv.reader(file), ())


def read_json_labels(path: str) -> Dict[str, str]:
  """{name: label} of a JSON file that is just that.

  Raises:
    UserError: it is something else.
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
        f'{path}: expected {{"name.mp4": "label", ...}}, received something '
        'else.')
  return labels


def refuse(path: str, line: int, reason: str) -> NoReturn:
  """Raises UserError about a line of a file."""
  raise errors.UserError(f'{path}:{line}: {reason}.')
