"""Builders of public video data sets: Kinetics, Charades and AViD."""

import os
import re
from typing import Dict, List, Sequence, Tuple

import tensorflow_datasets as tfds

from tf_tokenlearner.data.builders import label_files
from tf_tokenlearner.data.builders import labelled_videos
from tf_tokenlearner import errors


_COLUMNS = ('label', 'youtube_id', 'time_start', 'time_end', 'split')
_SPLITS = {'train': 'train', 'val': 'validation', 'validate': 'validation',
           'validation': 'validation', 'test': 'test'}
_INSTRUCTIONS = """
Put the CSV files and the clips, as the CVDF distributes them
(https://github.com/cvdfoundation/kinetics-dataset), into one folder."""


class _Kinetics(labelled_videos.LabelledVideos, skip_registration=True):
  """Base class of the Kinetics data sets."""

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
        split: _kinetics_clips(path, split, class_names)
        for split, path in paths.items()}, notes)


class Kinetics400(_Kinetics):
  """Kinetics-400: clips of 10 seconds from YouTube, one of 400 human actions.

  Source: Kay et al. 2017, arXiv 1705.06950. Read from train.csv, val.csv (or
  validate.csv) and test.csv, possibly named kinetics_400_train.csv and so on,
  and from clips named <youtube_id>_<start>_<end>.mp4 with six digits each, in
  any folders. Clips in a folder 'replacement...' replace corrupt ones. Classes
  are in alphabetical order.
  """

  NUM_CLASSES = 400


class Kinetics600(_Kinetics):
  """Kinetics-600: clips of 10 seconds from YouTube, one of 600 human actions.

  Source: Carreira et al. 2018, arXiv 1808.01340. Files as for Kinetics400.
  """

  NUM_CLASSES = 600


def _kinetics_clips(path: str, split: str,
                    class_names: List[str]) -> List[labelled_videos.Clip]:
  """Returns the clips of a CSV file of Kinetics."""
  labels = {name: label for label, name in enumerate(class_names)}
  clips = []
  for line, row in label_files.read_csv(path, _COLUMNS):
    times = row['time_start'], row['time_end']
    if not all(re.fullmatch(r'\d+(\.0*)?', time) for time in times) or not (
        row['youtube_id']):
      label_files.refuse(
          path, line, 'expected a youtube_id and whole seconds, got '
          f'{row["youtube_id"]!r}, {times[0]!r}, {times[1]!r}')
    if _SPLITS.get(row['split']) != split:
      label_files.refuse(
          path, line, f'expected a row of {split}, got {row["split"]!r}')
    if row['label'] not in labels:
      label_files.refuse(
          path, line, f'the label {row["label"]!r} does not occur in train')
    start, end = (int(float(time)) for time in times)
    clips.append(labelled_videos.Clip(
        f'{row["youtube_id"]}_{start:06d}_{end:06d}', (labels[row['label']],)))
  return clips


_CHARADES_FILES = {
    'train': 'Charades_v1_train.csv', 'test': 'Charades_v1_test.csv'}
_CLASSES = 'Charades_v1_classes.txt'
_ACTION = re.compile(r'(\S+) +(\d+(?:\.\d*)?) +(\d+(?:\.\d*)?)')


class Charades(labelled_videos.LabelledVideos):
  """Charades: videos of about 30 seconds at home, any of 157 actions.

  Source: Sigurdsson et al. 2016, arXiv 1604.01753. Read from
  Charades_v1_train.csv, Charades_v1_test.csv, Charades_v1_classes.txt and
  videos named <id>.mp4. A label occurs as often as its action; label_start and
  label_end are seconds. Splits: train and test.
  """

  BUILDER_CONFIGS = [
      tfds.core.BuilderConfig(name='12fps'),  # The experiment reads this one.
      tfds.core.BuilderConfig(name='6fps')]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Put the annotations (Charades.zip) and the videos (Charades_v1_480.zip), both
  unpacked, into one folder; see https://prior.allenai.org/projects/charades."""
  HOMEPAGE = 'https://prior.allenai.org/projects/charades'
  NUM_CLASSES = 157
  HAS_SPANS = True

  def _read_annotations(
      self, files: Sequence[str]) -> labelled_videos.Annotations:
    paths = {name: label_files.find_one(files, re.escape(name), name)
             for name in (*_CHARADES_FILES.values(), _CLASSES)}
    missing = [name for name, path in paths.items() if not path]
    if missing:
      raise errors.UserError(
          f'charades: found no {", ".join(missing)}. '
          f'{" ".join(self.MANUAL_DOWNLOAD_INSTRUCTIONS.split())}')
    names = _read_classes(paths[_CLASSES])
    self._require_classes(names, paths[_CLASSES])
    labels = {code: label for label, code in enumerate(names)}
    splits, backwards = {}, []
    for split, name in _CHARADES_FILES.items():
      splits[split] = _charades_clips(paths[name], labels, backwards)
    notes = [f'Left out {len(backwards):,} actions that end before they start, '
             f'the first in {backwards[0]}.'] if backwards else []
    return labelled_videos.Annotations(list(names.values()), splits, notes)


def _read_classes(path: str) -> Dict[str, str]:
  """Returns the classes of Charades: {'c000': 'Holding some clothes', ...}."""
  names = {}
  with open(path, encoding='utf-8') as file:
    for line, text in enumerate(filter(str.strip, file), start=1):
      code, _, name = text.strip().partition(' ')
      if code != f'c{line - 1:03d}' or not name:
        label_files.refuse(
            path, line, f"expected 'c{line - 1:03d} name', got "
            f'{text.strip()!r}')
      names[code] = name
  return names


def _charades_clips(path: str, labels: Dict[str, int],
                    backwards: List[str]) -> List[labelled_videos.Clip]:
  """Returns the clips of a CSV file; adds lines of invalid spans to backwards.
  """
  clips = []
  for line, row in label_files.read_csv(path, ('id', 'actions')):
    actions = []
    for text in filter(None, map(str.strip, row['actions'].split(';'))):
      label, start, end = _read_action(path, line, text, labels)
      if start > end:
        backwards.append(f'{path}:{line}')
      else:
        actions.append((label, (start, end)))
    clips.append(labelled_videos.Clip(
        row['id'], tuple(label for label, _ in actions),
        tuple(span for _, span in actions)))
  return clips


def _read_action(path: str, line: int, text: str,
                 labels: Dict[str, int]) -> Tuple[int, float, float]:
  """Returns (label, start, end) of an action such as 'c092 11.90 21.20'."""
  match = _ACTION.fullmatch(text)
  if not match:
    label_files.refuse(
        path, line, f"expected actions such as 'c092 11.90 21.20', got "
        f'{text!r}')
  code, start, end = match.groups()
  if code not in labels:
    label_files.refuse(
        path, line, f'{code} is not among the {len(labels)} classes of '
        f'{_CLASSES}')
  return labels[code], float(start), float(end)


_AVID_FILES = {'train': 'avid_train.json', 'validation': 'avid_val.json'}
_AVID_CLASSES = 887


class Avid(labelled_videos.LabelledVideos):
  """AViD: clips of 3 to 15 seconds from many countries, one of 887 actions.

  Source: Piergiovanni and Ryoo 2020, arXiv 2007.05515. Read from
  avid_train.json and avid_val.json of https://github.com/piergiaj/AViD and the
  videos of AViD_small or AViD_full. The format was verified on avid_val.json,
  {"yrpxojhg.mp4": "playing harmonica", ...} with 'none' among the labels;
  according to their README, avid_train.json has the same. The labels of
  avid_train.json, in alphabetical order, are the classes; a note is printed if
  they are not 887.
  """

  BUILDER_CONFIGS = [tfds.core.BuilderConfig(name='25fps')]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Put avid_train.json, avid_val.json and the videos into one folder; see
  https://github.com/piergiaj/AViD."""
  HOMEPAGE = 'https://github.com/piergiaj/AViD'

  def _read_annotations(
      self, files: Sequence[str]) -> labelled_videos.Annotations:
    paths = {split: label_files.find_one(files, name, name)
             for split, name in _AVID_FILES.items()}
    missing = [_AVID_FILES[split] for split, path in paths.items() if not path]
    if missing:
      raise errors.UserError(
          f'avid: found no {", ".join(missing)}. '
          f'{" ".join(self.MANUAL_DOWNLOAD_INSTRUCTIONS.split())}')
    labels = {split: label_files.read_json_labels(path)
              for split, path in paths.items()}
    names = sorted(set(labels['train'].values()))
    unknown = sorted(set(labels['validation'].values()) - set(names))
    if unknown:
      raise errors.UserError(
          f'{paths["validation"]} has labels that {_AVID_FILES["train"]} '
          f'lacks: {", ".join(unknown[:10])}.')
    notes = [] if len(names) == _AVID_CLASSES else [
        f'{paths["train"]} has {len(names):,} classes; the paper has '
        f'{_AVID_CLASSES}.']
    indices = {name: label for label, name in enumerate(names)}
    return labelled_videos.Annotations(names, {
        split: [labelled_videos.Clip(
            os.path.splitext(name)[0], (indices[label],))
                for name, label in labels_of_split.items()]
        for split, labels_of_split in labels.items()}, notes)
