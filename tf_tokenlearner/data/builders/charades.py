"""Charades as a TFDS data set: any number of labels a video, with times."""

import re
from typing import Dict, List, Sequence, Tuple

import tensorflow_datasets as tfds

from tf_tokenlearner import errors
from tf_tokenlearner.data.builders import label_files
from tf_tokenlearner.data.builders import labelled_videos

_FILES = {'train': 'Charades_v1_train.csv', 'test': 'Charades_v1_test.csv'}
_CLASSES = 'Charades_v1_classes.txt'
_ACTION = re.compile(r'(\S+) +(\d+(?:\.\d*)?) +(\d+(?:\.\d*)?)')


class Charades(labelled_videos.LabelledVideos):
  """About 30 seconds of everyday life at home, any of 157 actions at a time.

  Sigurdsson et al. 2016, arXiv 1604.01753. From Charades_v1_train.csv,
  Charades_v1_test.csv, Charades_v1_classes.txt and videos called <id>.mp4. A
  label occurs as often as the action does; label_start and label_end are
  seconds. Splits: train and test.
  """

  BUILDER_CONFIGS = [
      tfds.core.BuilderConfig(name='12fps'),  # What the experiment reads.
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
             for name in (*_FILES.values(), _CLASSES)}
    missing = [name for name, path in paths.items() if not path]
    if missing:
      raise errors.UserError(
          f'charades: found no {", ".join(missing)}. '
          f'{" ".join(self.MANUAL_DOWNLOAD_INSTRUCTIONS.split())}')
    names = _read_classes(paths[_CLASSES])
    self._require_classes(names, paths[_CLASSES])
    labels = {code: label for label, code in enumerate(names)}
    splits, backwards = {}, []
    for split, name in _FILES.items():
      splits[split] = _read_clips(paths[name], labels, backwards)
    notes = [f'Left out {len(backwards):,} actions that end before they start, '
             f'the first in {backwards[0]}.'] if backwards else []
    return labelled_videos.Annotations(list(names.values()), splits, notes)


def _read_classes(path: str) -> Dict[str, str]:
  """{'c000': 'Holding some clothes', ...}"""
  names = {}
  with open(path, encoding='utf-8') as file:
    for line, text in enumerate(filter(str.strip, file), start=1):
      code, _, name = text.strip().partition(' ')
      if code != f'c{line - 1:03d}' or not name:
        label_files.refuse(
            path, line, f"expected 'c{line - 1:03d} name', received "
            f'{text.strip()!r}')
      names[code] = name
  return names


def _read_clips(path: str, labels: Dict[str, int],
                backwards: List[str]) -> List[labelled_videos.Clip]:
  """Clips of a CSV file; adds the places of spans that cannot be."""
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
  """(label, start, end) of 'c092 11.90 21.20'."""
  match = _ACTION.fullmatch(text)
  if not match:
    label_files.refuse(
        path, line, f"expected actions such as 'c092 11.90 21.20', received "
        f'{text!r}')
  code, start, end = match.groups()
  if code not in labels:
    label_files.refuse(
        path, line, f'{code} is not among the {len(labels)} classes of '
        f'{_CLASSES}')
  return labels[code], float(start), float(end)
