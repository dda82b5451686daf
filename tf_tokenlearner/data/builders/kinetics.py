"""Kinetics-400 and Kinetics-600 as TFDS data sets."""

import re
from typing import List, Sequence

import tensorflow_datasets as tfds

from tf_tokenlearner import errors
from tf_tokenlearner.data.builders import label_files
from tf_tokenlearner.data.builders import labelled_videos

_COLUMNS = ('label', 'youtube_id', 'time_start', 'time_end', 'split')
_SPLITS = {'train': 'train', 'val': 'validation', 'validate': 'validation',
           'validation': 'validation', 'test': 'test'}
_INSTRUCTIONS = """
Put the CSV files and the clips, as the CVDF distributes them
(https://github.com/cvdfoundation/kinetics-dataset), into one folder."""


class _Kinetics(labelled_videos.LabelledVideos, skip_registration=True):
  """Reads what all Kinetics data sets have in common."""

  BUILDER_CONFIGS = [tfds.core.BuilderConfig(name='25fps')]
  MANUAL_DOWNLOAD_INSTRUCTIONS = _INSTRUCTIONS
  HOMEPAGE = 'https://github.com/cvdfoundation/kinetics-dataset'

  def _read_annotations(
      self, files: Sequence[str]) -> labelled_videos.Annotations:
    paths, notes = {}, []
    for split in ('train', 'validation', 'test'):
      words = '|'.join(word for word in _SPLITS if _SPLITS[word] == split)
      path = label_files.find_one(
          files, rf'(.*[_-])?({words})\.csv', f'split {split}')
      if path and label_files.has_column(path, 'label'):
        paths[split] = path
      elif path:
        notes.append(f'{path} has no labels: its videos are left out.')
    if 'train' not in paths:
      raise errors.UserError(
          f'{self.name}: found no train.csv with the columns '
          f'{", ".join(_COLUMNS)}. {" ".join(_INSTRUCTIONS.split())}')
    class_names = sorted({
        row['label'] for _, row in label_files.read_csv(
            paths['train'], _COLUMNS)})
    self._require_classes(class_names, paths['train'])
    return labelled_videos.Annotations(class_names, {
        split: _read_clips(path, split, class_names)
        for split, path in paths.items()}, notes)


class Kinetics400(_Kinetics):
  """10 seconds of YouTube, 400 human actions, one each.

  Kay et al. 2017, arXiv 1705.06950. From train.csv, val.csv (or validate.csv)
  and test.csv, which may be called kinetics_400_train.csv and so on, and clips
  called <youtube_id>_<start>_<end>.mp4 with six digits each, in any folders;
  those in a folder replacement... take the place of corrupt ones. Classes are
  in alphabetical order.
  """

  NUM_CLASSES = 400


class Kinetics600(_Kinetics):
  """10 seconds of YouTube, 600 human actions, one each.

  Carreira et al. 2018, arXiv 1808.01340. From files as those of Kinetics400.
  """

  NUM_CLASSES = 600


def _read_clips(path: str, split: str,
                class_names: List[str]) -> List[labelled_videos.Clip]:
  labels = {name: label for label, name in enumerate(class_names)}
  clips = []
  for line, row in label_files.read_csv(path, _COLUMNS):
    times = row['time_start'], row['time_end']
    if not all(re.fullmatch(r'\d+(\.0*)?', time) for time in times) or not (
        row['youtube_id']):
      label_files.refuse(
          path, line, 'expected a youtube_id and whole seconds, received '
          f'{row["youtube_id"]!r}, {times[0]!r}, {times[1]!r}')
    if _SPLITS.get(row['split']) != split:
      label_files.refuse(
          path, line, f'expected a row of {split}, received {row["split"]!r}')
    if row['label'] not in labels:
      label_files.refuse(
          path, line, f'the label {row["label"]!r} does not occur in train')
    start, end = (int(float(time)) for time in times)
    clips.append(labelled_videos.Clip(
        f'{row["youtube_id"]}_{start:06d}_{end:06d}', (labels[row['label']],)))
  return clips
