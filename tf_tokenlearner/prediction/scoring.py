"""Scores predictions on folders of class folders."""

import os
from typing import Dict, List, NamedTuple, Sequence

import numpy as np

from tf_tokenlearner.data import class_lists
from tf_tokenlearner.data import file_types
from tf_tokenlearner.data import folder_listing
from tf_tokenlearner import errors
from tf_tokenlearner.evaluation import class_scores
from tf_tokenlearner.evaluation import score_files


class LabelledFiles(NamedTuple):
  """Files of class folders.

  Attributes:
    paths: of the files.
    classes: names of their classes.
    notes: lines for the user.
  """
  paths: List[str]
  classes: List[str]
  notes: List[str]


def find(folders: Sequence[str], wanted: file_types.FileType,
         label_names: Sequence[str]) -> LabelledFiles:
  """Lists the files of folders with their classes, as training would.

  Args:
    folders: folders of class folders.
    wanted: images or videos.
    label_names: classes of the model; some may have no files.

  Raises:
    UserError: a folder does not have the layout of folder_listing.scan, or has
      classes that the model does not have.
  """
  found = LabelledFiles([], [], [])
  for folder in folders:
    if not os.path.isdir(folder):
      raise errors.UserError(
          '--scores: expected folders of class folders, got the file '
          f'{folder}.')
    listing = folder_listing.scan(folder, wanted, min_classes=1)
    missing = class_lists.require_known(
        listing.class_names, label_names, folder, label_map='')
    found.notes.extend(listing.notes)
    if listing.ignored:
      found.notes.append(listing.describe_ignored())
    if missing:
      found.notes.append(
          f'{folder} has no files of {len(missing):,} of the '
          f'{len(label_names):,} classes: {class_lists.shorten(missing)}.')
    for files_by_class in listing.splits.values():
      for name, files in files_by_class.items():
        found.paths.extend(os.path.join(folder, file.path) for file in files)
        found.classes.extend([name] * len(files))
  return found


def write(folder: str, files: LabelledFiles,
          probabilities: Dict[int, np.ndarray], label_names: Sequence[str],
          model: str) -> str:
  """Writes scores and predictions; returns them as a table.

  Args:
    folder: created if missing.
    files: result of `find`.
    probabilities: [C] by number of the file; unreadable files have none.
    label_names: classes of the model.
    model: path of the export.
  """
  numbers = sorted(probabilities)
  labels = np.array(
      [label_names.index(files.classes[number]) for number in numbers])
  rows = np.array([probabilities[number] for number in numbers], np.float64)
  values = class_scores.compute(labels, rows).as_dict(label_names)
  score_files.write(folder, values, {'model': os.path.abspath(model)})
  score_files.write_predictions(
      folder, [files.paths[number] for number in numbers], labels, rows,
      label_names)
  return score_files.render(values)
