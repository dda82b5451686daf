"""Decides whether training mirrors its examples, and says so."""

import re
from typing import Optional, Sequence

from official.core import config_definitions as cfg

from tf_tokenlearner.configs import video_classification as video_config

_SIDES = ('left', 'right')


def may_mirror(data: cfg.DataConfig, label_names: Sequence[str]) -> bool:
  """Returns whether a mirrored example keeps its class, as far as is known.

  This is the value of aug_rand_hflip where a config leaves it out.

  Args:
    data: config of the training data.
    label_names: classes; () if they have no names.
  """
  return not _is_own_video(data) and with_side(label_names) is None


def note(data: cfg.DataConfig, label_names: Sequence[str]) -> Optional[str]:
  """Returns why training does not mirror, or should not; None if it is usual.

  Args:
    data: config of the training data, with aug_rand_hflip set.
    label_names: as in may_mirror.
  """
  side = with_side(label_names)
  if data.aug_rand_hflip:
    return side and (f'aug_rand_hflip mirrors examples, although class '
                     f'{side!r} seems to tell left from right.')
  if side:
    return (f'Examples are not mirrored: class {side!r} seems to tell left '
            'from right.')
  if _is_own_video(data):
    return ('Clips are not mirrored: mirroring changes the direction of '
            'motion. If no class depends on it, set '
            'task.train_data.aug_rand_hflip=true.')
  return None


def with_side(names: Sequence[str]) -> Optional[str]:
  """Returns the first class name that contains the word left or right."""
  for name in names:
    words = re.findall(r'[A-Z]?[a-z]+|[A-Z]+', name)
    if any(word.lower() in _SIDES for word in words):
      return name
  return None


def _is_own_video(data: cfg.DataConfig) -> bool:
  """Returns whether the data are videos of a folder or of files."""
  return isinstance(data, video_config.DataConfig) and bool(data.input_path)
