"""Lists the images or videos that a CSV file labels."""

import collections
import os
from typing import Dict, List, NamedTuple, Tuple

from tf_tokenlearner import errors
from tf_tokenlearner.data.builders import label_files
from tf_tokenlearner.data import file_types
from tf_tokenlearner.data import folder_listing

_EXTENSIONS = ('.csv', '.tsv')
_SEPARATOR = ';'  # Of the labels of a file.
_NUM_NAMED = 5
_EXPECTED = ('Expected columns file and label, of two classes or more, with '
             'several labels of a file as label1;label2.')


def is_csv(path: str) -> bool:
  """Returns whether a path is that of a CSV file, by its extension."""
  return path.lower().endswith(_EXTENSIONS) and not os.path.isdir(path)


class _Row(NamedTuple):
  line: int
  labels: Tuple[str, ...]
  split: str


def scan(path: str, file_type: file_types.FileType,
         files_dir: str = '', min_classes: int = 2) -> folder_listing.Listing:
  """Lists the files that a CSV file names; see label_files.read_csv.

  The first line names the columns: `file`, a path; `label`, a class name, or
  several with semicolons between them; and optionally `split`: train, and
  validation, val, valid or test. Other columns are ignored. Class names are
  read as the names of class folders are. A file that occurs twice with the same
  label counts once.

  Args:
    path: of the CSV file.
    file_type: of the files.
    files_dir: folder that relative paths start from; '' for that of the CSV
      file.
    min_classes: as in folder_listing.class_names.

  Raises:
    UserError: there is no such file, it is no CSV, or rows are wrong: all of
      them are counted, and the first ones named.
  """
  path = _find(path)
  folder = os.path.abspath(
      os.path.expanduser(files_dir) or os.path.dirname(path))
  rows, problems, num_repeated = _read(path, folder, file_type)
  if problems:
    more = len(problems) - _NUM_NAMED
    raise errors.UserError(
        f'{path}: {len(problems):,} rows are wrong: '
        + '; '.join(problems[:_NUM_NAMED])
        + (f'; and {more:,} more' if more > 0 else '')
        + f'. Correct them; paths start from {folder}, or else from '
        'task.train_data.files_dir.')
  if not rows:
    raise errors.UserError(f'{path} names no files. {_EXPECTED}')
  names_by_split = collections.defaultdict(set)
  for row in rows.values():
    names_by_split[row.split].update(row.labels)
  return folder_listing.Listing(
      file_type, folder,
      folder_listing.class_names(
          names_by_split, path, _EXPECTED, min_classes),
      _group(rows, folder),
      (f'{path}: {num_repeated:,} rows repeat others.',) * bool(num_repeated),
      {}, label_file=path,
      labels={file: row.labels for file, row in rows.items()})


def find_types(path: str) -> List[file_types.FileType]:
  """Returns the types of files that a CSV file names, by their extensions."""
  names = {row['file'] for _, row in label_files.read_csv(
      _find(path), ['file'])}
  return [file_type for file_type in (file_types.IMAGES, file_types.VIDEOS)
          if any(map(file_type.matches, names))]


def _find(path: str) -> str:
  """Returns an absolute path; UserError if there is no such file."""
  path = os.path.abspath(os.path.expanduser(path))
  if not os.path.isfile(path):
    raise errors.UserError(f'There is no file {file_types.printable(path)}.')
  return path


def _read(path: str, folder: str, file_type: file_types.FileType
          ) -> Tuple[Dict[str, _Row], List[str], int]:
  """Returns {path in folder: row}, what is wrong, and the number of repeats."""
  rows, problems, num_repeated = {}, [], 0
  has_splits = label_files.has_column(path, 'split')
  columns = ['file', 'label'] + ['split'] * has_splits
  for line, values in label_files.read_csv(path, columns):
    if not os.path.exists(os.path.join(folder, values['file'])):
      values['file'] = values['file'].replace('\\', '/')  # From Windows.
    row, problem = _parse(line, values, folder, file_type)
    file = os.path.relpath(os.path.join(folder, values['file']), folder)
    before = rows.setdefault(file, row)
    if not problem and before[1:] != row[1:]:
      problem = (f'{values["file"]} is {_spell(row)}, but {_spell(before)} in '
                 f'line {before.line}')
    if problem:
      problems.append(f'line {line}: {problem}')
    num_repeated += before is not row
  return rows, problems, num_repeated


def _parse(line: int, values: Dict[str, str], folder: str,
           file_type: file_types.FileType) -> Tuple[_Row, str]:
  """Returns a row, and what is wrong with it or ''."""
  labels = sorted({folder_listing.label_name(label)
                   for label in values['label'].split(_SEPARATOR)} - {''})
  split = (folder_listing.split_of(values['split']) if 'split' in values
           else folder_listing.WHOLE)
  full_path = os.path.join(folder, values['file'])
  if not values['file']:
    problem = 'there is no file name'
  elif not os.path.isfile(full_path):
    problem = f'there is no file {values["file"]}'
  elif not file_type.matches_file(full_path):
    problem = f'{values["file"]} is not {file_type.one}'
  elif not labels:
    problem = f'{values["file"]} has no label'
  elif not split:
    problem = (f'unknown split {values["split"]!r}, expected train, validation '
               'or test')
  else:
    problem = ''
  return _Row(line, tuple(labels), split or ''), problem


def _spell(row: _Row) -> str:
  """Returns the labels, and the split if there is one, as text."""
  split = '' if row.split == folder_listing.WHOLE else f' of {row.split}'
  return _SEPARATOR.join(row.labels) + split


def _group(rows: Dict[str, _Row], folder: str
           ) -> Dict[str, Dict[str, List[folder_listing.File]]]:
  """Returns the files of each split by the rarest of their labels."""
  counts = collections.Counter(
      label for row in rows.values() for label in row.labels)
  splits = {}
  for file, row in sorted(rows.items()):
    status = os.stat(os.path.join(folder, file))
    rarest = min(row.labels, key=lambda label: (counts[label], label))
    splits.setdefault(row.split, {}).setdefault(rarest, []).append(
        folder_listing.File(file, status.st_size, status.st_mtime_ns))
  return splits
