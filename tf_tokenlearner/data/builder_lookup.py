"""Finds the TFDS builder of a name or a folder."""

import importlib
import os

import tensorflow_datasets as tfds
from tensorflow_datasets.core import naming
from tensorflow_datasets.core import registered

from tf_tokenlearner import errors

# Importing the module makes the name known to TFDS.
OWN_BUILDERS = {
    'avid': 'tf_tokenlearner.data.builders.avid',
    'charades': 'tf_tokenlearner.data.builders.charades',
    'digits': 'tf_tokenlearner.data.builders.digits',
    'kinetics400': 'tf_tokenlearner.data.builders.kinetics',
    'kinetics600': 'tf_tokenlearner.data.builders.kinetics',
    'moving_digits': 'tf_tokenlearner.data.builders.moving_digits',
}
_FOLDER_BUILDERS = ('image_folder', 'video_folder')
_INFO_FILE = 'dataset_info.json'


def find_builder(
    tfds_name: str, data_dir: str = '',
    **options: object) -> tfds.core.DatasetBuilder:
  """The builder of a data set, prepared or not; nothing is downloaded.

  Args:
    tfds_name: 'name', 'name/config', 'name:version' and what else TFDS takes,
      one of OWN_BUILDERS, or the folder of a prepared data set.
    data_dir: where data sets lie; '' is TFDS's own place.
    **options: of the builder's constructor; not for a folder.

  Raises:
    UserError: unknown name, config or version, or no prepared data set there.
  """
  if is_folder(tfds_name):
    return _find_in_folder(os.path.expanduser(tfds_name))
  try:
    name, written_options = naming.parse_builder_name_kwargs(tfds_name)
  except ValueError as error:
    raise errors.UserError(
        f'{tfds_name!r} is not the name of a TFDS data set, such as cifar10, '
        'name/config or name:1.2.3, and not an absolute path.') from error
  if str(name) in _FOLDER_BUILDERS:
    raise errors.UserError(
        f'{name} is not opened by name: set task.train_data.input_path to '
        'the folder of class folders, and no tfds_name.')
  if str(name) in OWN_BUILDERS:
    importlib.import_module(OWN_BUILDERS[str(name)])
  try:
    return tfds.builder(
        tfds_name,
        data_dir=os.path.expanduser(data_dir) if data_dir else None, **options)
  except errors.UserError:
    raise
  except registered.DatasetNotFoundError as error:
    raise errors.unknown_name('TFDS data set', str(name), {
        *tfds.list_builders(with_community_datasets=False), *OWN_BUILDERS,
    }) from error
  except ImportError as error:
    raise errors.UserError(
        f'{tfds_name} needs a package that is not installed: {error}.'
    ) from error
  except (AssertionError, TypeError, ValueError) as error:
    raise _explain(error, tfds_name, str(name), written_options) from error


def is_folder(tfds_name: str) -> bool:
  """Whether a name is the path of a folder rather than the name of a data set.

  'cifar10' and 'name/config' are names even if a folder is called so, unless
  it holds a prepared data set.
  """
  return (tfds_name.startswith(('/', './', '../', '~'))
          or '://' in tfds_name
          or os.path.exists(os.path.join(tfds_name, _INFO_FILE)))


def _find_in_folder(folder: str) -> tfds.core.DatasetBuilder:
  path = tfds.core.Path(folder)
  if not (path / _INFO_FILE).exists():
    if not path.exists():
      raise errors.UserError(f'There is no folder {folder}.')
    inside = sorted(
        os.fspath(found.parent) for pattern in ('*', '*/*')
        for found in path.glob(f'{pattern}/{_INFO_FILE}'))
    raise errors.UserError(
        f'{folder} holds no prepared TFDS data set, which has a {_INFO_FILE}. '
        + (f'Inside are: {", ".join(inside[:5])}.' if inside else
           'A folder of class folders is given by task.train_data.input_path.'))
  try:
    return tfds.builder_from_directory(folder)
  except (AssertionError, ValueError) as error:
    raise errors.UserError(
        f'{folder} cannot be read as a TFDS data set: '
        f'{_first_line(error)}') from error


def _explain(error: Exception, tfds_name: str, name: str,
             options: dict) -> errors.UserError:
  """What TFDS disliked about a name that it knows."""
  config, version = options.get('config'), options.get('version')
  builder_cls = tfds.builder_cls(name)
  if config is not None and config not in builder_cls.builder_configs:
    return errors.unknown_name(
        f'config of {name}', config, builder_cls.builder_configs)
  if version is not None:
    return errors.UserError(
        f'{name} cannot be had in version {version}; without :{version} the '
        'newest one is taken.')
  return errors.UserError(
      f'TFDS does not take {tfds_name!r}: {_first_line(error)}')


def _first_line(error: Exception) -> str:
  return str(error).strip().split('\n', maxsplit=1)[0]
