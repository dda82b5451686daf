"""AViD, anonymized videos from diverse countries, as a TFDS data set."""

import os
from typing import Sequence

import tensorflow_datasets as tfds

from tf_tokenlearner import errors
from tf_tokenlearner.data.builders import label_files
from tf_tokenlearner.data.builders import labelled_videos

_FILES = {'train': 'avid_train.json', 'validation': 'avid_val.json'}
_EXPECTED_CLASSES = 887


class Avid(labelled_videos.LabelledVideos):
  """3 to 15 seconds from many countries, 887 actions, one each.

  Piergiovanni and Ryoo 2020, arXiv 2007.05515. From avid_train.json and
  avid_val.json of https://github.com/piergiaj/AViD and the videos of
  AViD_small or AViD_full. What was seen of these files is avid_val.json,
  {"yrpxojhg.mp4": "playing harmonica", ...} with 'none' among the labels;
  avid_train.json is taken to be alike, as their README has it. Its labels, in
  alphabetical order, are the classes; if they are not 887 it is said.
  """

  BUILDER_CONFIGS = [tfds.core.BuilderConfig(name='25fps')]
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
  Put avid_train.json, avid_val.json and the videos into one folder; see
  https://github.com/piergiaj/AViD."""
  HOMEPAGE = 'https://github.com/piergiaj/AViD'

  def _read_annotations(
      self, files: Sequence[str]) -> labelled_videos.Annotations:
    paths = {split: label_files.find_one(files, name, name)
             for split, name in _FILES.items()}
    missing = [_FILES[split] for split, path in paths.items() if not path]
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
          f'{paths["validation"]} has labels that {_FILES["train"]} has not: '
          f'{", ".join(unknown[:10])}.')
    notes = [] if len(names) == _EXPECTED_CLASSES else [
        f'{paths["train"]} has {len(names):,} classes; the paper has '
        f'{_EXPECTED_CLASSES}.']
    indices = {name: label for label, name in enumerate(names)}
    return labelled_videos.Annotations(names, {
        split: [labelled_videos.Clip(
            os.path.splitext(name)[0], (indices[label],))
                for name, label in labels_of_split.items()]
        for split, labels_of_split in labels.items()}, notes)
