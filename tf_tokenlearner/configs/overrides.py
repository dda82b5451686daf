"""Overrides of an experiment's config, checked key by key and value by value.

The Garden names an unknown key but no alternative, and takes any value for any
key: train_steps=abc fails an hour later inside NumPy. Here both end at once.
"""

import typing
from typing import Any, Dict, Mapping, Union

import tensorflow as tf
import yaml
from official.modeling import hyperparams
from official.modeling.hyperparams import params_dict

from tf_tokenlearner import errors


def read(text_or_path: str) -> Dict[str, Any]:
  """The dict in a YAML or JSON file, a YAML or JSON text, or 'a.b=1,c=2'.

  Raises:
    UserError: no such file, or none of these forms.
  """
  if text_or_path.endswith(('.yaml', '.yml', '.json')):
    origin = text_or_path
    try:
      with tf.io.gfile.GFile(text_or_path) as file:
        text = file.read()
    except tf.errors.OpError as error:
      raise errors.UserError(
          f'Config file {text_or_path} cannot be read: {error.message}.'
      ) from error
  else:
    origin = 'The override'
    try:
      text = params_dict.nested_csv_str_to_json_str(text_or_path)
    except ValueError:
      text = text_or_path
  try:
    # params_dict has taught this loader that 1e-3 is a number.
    values = yaml.load(text, Loader=yaml.FullLoader)
  except yaml.YAMLError as error:
    reason = ' '.join(str(error).split())
    raise errors.UserError(f'{origin} is not YAML: {reason}') from error
  if not isinstance(values, dict):
    raise errors.UserError(
        f'{origin} must give keys and values, such as '
        f'trainer.train_steps=100; received {text_or_path!r}.')
  return values


def apply(config: hyperparams.Config, values: Mapping[str, Any]) -> None:
  """Overrides config with a nested dict, every key and value checked.

  Raises:
    UserError: a key that does not exist or a value of another type; names the
      key in full and, for a wrong one, the nearest known.
  """
  _check(config, values, path='')
  config.override(dict(values), is_strict=True)


def require_used(config: hyperparams.Config, values: Mapping[str, Any],
                 path: str = '') -> None:
  """Refuses options of what was not chosen: nobody would read them.

  Args:
    config: with all overrides applied.
    values: one of the overrides.
    path: of config, for messages.

  Raises:
    UserError: names the key, and what is chosen in its place.
  """
  for name, value in values.items():
    if not isinstance(value, dict):
      continue
    if isinstance(config, hyperparams.OneOfConfig) and name not in (
        config.type, getattr(config.get(), 'optimizer', None)):  # SWA's own.
      raise errors.UserError(
          f'{path}{name} is set, but {path}type is {config.type}: set {path}'
          f'{config.type} instead, or {path}type={name}.')
    current = getattr(config, name)
    if isinstance(current, hyperparams.Config):
      require_used(current, value, f'{path}{name}.')


def _check(config: hyperparams.Config, values: Mapping[str, Any], path: str):
  kinds = typing.get_type_hints(type(config))
  known = [name for name in vars(config) if name not in config.RESERVED_ATTR]
  for name, value in values.items():
    key = f'{path}{name}'
    if name not in known:
      raise errors.unknown_name('config key', key, [path + k for k in known])
    current, kind = getattr(config, name), kinds.get(name, Any)
    if isinstance(value, dict):
      inner = _config_class(kind)
      if isinstance(current, hyperparams.Config):
        _check(current, value, f'{key}.')
      elif inner:
        _check(inner(), value, f'{key}.')
      else:
        raise errors.UserError(
            f'{key}: expected {_spell(kind)}, received keys '
            f'{", ".join(map(str, value))}.')
    elif not _fits(value, kind):
      raise errors.UserError(
          f'{key}: expected {_spell(kind)}, received {value!r}.')
    elif isinstance(config, hyperparams.OneOfConfig) and name == 'type':
      choices = [choice for choice in known if choice != 'type']
      if value is not None and value not in choices:
        raise errors.unknown_name(key, value, choices)


def _config_class(kind: Any) -> Any:
  """The Config in Config or Optional[Config], or None."""
  candidates = typing.get_args(kind) or (kind,)
  return next((c for c in candidates if isinstance(c, type)
               and issubclass(c, hyperparams.Config)), None)


def _fits(value: Any, kind: Any) -> bool:
  """Whether a YAML value is of an annotated type."""
  origin, arguments = typing.get_origin(kind), typing.get_args(kind)
  if kind is Any:
    return True
  if origin is Union:
    return any(_fits(value, argument) for argument in arguments)
  if kind is type(None):
    return value is None
  if kind is float:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
  if kind is int:
    return isinstance(value, int) and not isinstance(value, bool)
  if origin is not None and issubclass(origin, typing.Sequence):
    members = [a for a in arguments if a is not Ellipsis] or [Any]
    return isinstance(value, (list, tuple)) and all(
        any(_fits(v, member) for member in members) for v in value)
  if isinstance(kind, type) and issubclass(kind, hyperparams.Config):
    return False  # Given as a dict, which the caller takes apart.
  return isinstance(value, kind) if isinstance(kind, type) else True


_PLURALS = {int: 'whole numbers', float: 'numbers'}
_SPELLINGS = {int: 'a whole number', float: 'a number', str: 'text',
              bool: 'true or false', type(None): 'null'}


def _spell(kind: Any) -> str:
  """An annotated type in words."""
  origin, arguments = typing.get_origin(kind), typing.get_args(kind)
  if origin is Union:
    return ' or '.join(map(_spell, arguments))
  if origin is not None:
    inner = [_PLURALS.get(a, 'values') for a in arguments if a is not Ellipsis]
    return f'a list of {inner[0]}, such as [1, 2]' if inner else 'a list'
  if isinstance(kind, type) and issubclass(kind, hyperparams.Config):
    return 'keys and values'
  return _SPELLINGS.get(kind, str(kind))
