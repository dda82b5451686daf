"""The YAML files of official_configs, found by name."""

import pathlib
import re
from typing import List, Optional

import tensorflow as tf

from tf_tokenlearner import errors

_SUFFIXES = ('.yaml', '.yml', '.json')


def folder() -> pathlib.Path:
  """Returns official_configs, in the installed package or next to it."""
  package = pathlib.Path(__file__).parents[1]
  inside = package / 'official_configs'
  return inside if inside.is_dir() else package.parent / 'official_configs'


def names() -> List[str]:
  """Returns the names of the official configs, such as image/vit_b16."""
  return sorted(path.relative_to(folder()).with_suffix('').as_posix()
                for path in folder().rglob('*.yaml'))


def find(text: str) -> Optional[str]:
  """Returns the path of the config file that a text names.

  Args:
    text: path of a file, or the name of an official config with or without
      official_configs/ and .yaml. An existing path takes precedence.

  Returns:
    The path, or None if the text holds keys and values instead.

  Raises:
    UserError: there is no such official config.
  """
  looks_like_name = re.fullmatch(r'[\w.-]+(/[\w.-]+)+', text)
  if not (looks_like_name or text.endswith(_SUFFIXES)):
    return None
  if tf.io.gfile.exists(text):
    return text
  name = text.removeprefix('official_configs/').removesuffix('.yaml')
  if name in names():
    return str(folder() / f'{name}.yaml')
  tops = {known.split('/')[0] for known in names()}
  if name.split('/')[0] in tops or not text.endswith(_SUFFIXES):
    raise errors.unknown_name('config file', text, names())
  return text  # The error of opening it gives the reason.
