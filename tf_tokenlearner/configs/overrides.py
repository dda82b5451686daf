"""Overrides of an experiment's config, checked key by key and value by value.

The Model Garden reports an unknown key without alternatives and accepts any
value for any key, so train_steps=abc fails only later, inside NumPy. Here both
are errors at once. (pydantic and typeguard check types, too, but neither
describes nested keys, lists and options of these configs in plain words.)
"""

import json
import re
import typing
from typing import Any, Dict, Iterator, Mapping, Union

import tensorflow as tf
import yaml
from official.modeling import hyperparams

from tf_tokenlearner import errors
from tf_tokenlearner import run_folder
from tf_tokenlearner.configs import config_files

_NAME_KEYS = ('label_map', 'label_names')  # Hold class names.
_WEIGHT_KEY = 'class_weights'  # Has class names as keys.
_MAP_KEYS = ('label_map', _WEIGHT_KEY)  # Hold dicts.


class _Loader(run_folder.Loader):
  """Reads 1e-3 as a number and class names as text; refuses duplicate keys."""

  def construct_mapping(self, node, deep=False):
    lines = {}
    for key_node, value_node in node.value:
      if not isinstance(key_node, yaml.ScalarNode):
        continue
      name, line = key_node.value, key_node.start_mark.line + 1
      if name in lines:
        raise yaml.constructor.ConstructorError(
            problem=f'key {name!r} is in line {lines[name]} and again in '
            f'line {line}; merge the two')
      lines[name] = line
      if name in _NAME_KEYS:
        _read_as_text(value_node)
      elif name == _WEIGHT_KEY and isinstance(value_node, yaml.MappingNode):
        for class_name, _ in value_node.value:
          _read_as_text(class_name)
    return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float', run_folder.FLOAT, list('-+0123456789'))


def _read_as_text(node: yaml.Node) -> None:
  """Makes all scalars of a node text: a class may be named 007, on or 1e3."""
  if isinstance(node, yaml.ScalarNode):
    node.tag = 'tag:yaml.org,2002:str'
  elif isinstance(node, yaml.SequenceNode):
    for child in node.value:
      _read_as_text(child)
  elif isinstance(node, yaml.MappingNode):
    for pair in node.value:
      for child in pair:
        _read_as_text(child)


def read(text_or_path: str) -> Dict[str, Any]:
  """Returns the keys and values of an override.

  Args:
    text_or_path: a YAML or JSON file; a YAML or JSON text; or 'a.b=1,c=2',
      where a value ends at a comma that a key and an equals sign follow, and
      may be quoted as in YAML: "a.b='x, c=y'".

  Raises:
    UserError: the file does not exist, or the text is none of these.
  """
  path = None if _ASSIGNMENT.match(text_or_path) else config_files.find(
      text_or_path)
  if path:
    origin, text = text_or_path, _read_file(path)
  else:
    origin, text = 'The override', text_or_path
    if _ASSIGNMENT.match(text):
      return _read_assignments(text)
  try:
    values = yaml.load(text, Loader=_Loader)
  except (yaml.YAMLError, UnicodeDecodeError) as error:
    reason = ' '.join(str(error).split())
    if isinstance(error, (yaml.reader.ReaderError, UnicodeDecodeError)):
      reason += '. Save the file as UTF-8 or UTF-16'
    raise errors.UserError(f'{origin} is not YAML: {reason}.') from error
  if not isinstance(values, dict):
    raise errors.UserError(
        f'{origin} must give keys and values, such as '
        'trainer.train_steps=100 or {trainer: {train_steps: 100}}; got '
        f'{text_or_path!r}.')
  return values


def _read_file(path: str) -> bytes:
  try:
    with tf.io.gfile.GFile(path, 'rb') as file:
      return file.read()
  except tf.errors.OpError as error:
    raise errors.UserError(
        f'Config file {path} cannot be read: {error.message}.') from error


_ASSIGNMENT = re.compile(r'\s*([A-Za-z_]\w*(?:\.[^\s=.,:{}]+)*)\s*=')
_QUOTES, _OPEN, _CLOSE = '\'"', '[{', ']}'


def _read_assignments(text: str) -> Dict[str, Any]:
  """Returns 'a.b=1,c=2' as a nested dict."""
  values = {}
  for part in _split(text):
    match = _ASSIGNMENT.match(part)
    *path, name = match[1].split('.')
    inner = values
    for key in path:
      inner = inner.setdefault(key, {})
      if not isinstance(inner, dict):
        raise errors.UserError(f'{match[1]} is set, and so is {key} itself.')
    if name in inner:
      raise errors.UserError(f'{match[1]} is set twice: {text!r}.')
    value = part[match.end():].strip()
    key = next((key for key in match[1].split('.') if key in _NAME_KEYS), name)
    inner[name] = (_read_names(value, key)
                   if key in (*_NAME_KEYS, _WEIGHT_KEY) else _read_value(value))
  return values


def _split(text: str) -> Iterator[str]:
  """Splits at commas before 'key=', outside of quotes and brackets."""
  start, depth, quote, before = 0, 0, '', '='
  for i, character in enumerate(text):
    if quote:
      quote = '' if character == quote else quote
    elif character in _QUOTES and before in '=[{,:':  # Not an apostrophe.
      quote = character
    elif character in _OPEN:
      depth += 1
    elif character in _CLOSE:
      depth -= 1
    elif character == ',' and depth < 1 and _ASSIGNMENT.match(text, i + 1):
      yield text[start:i]
      start, depth = i + 1, 0
    before = before if character == ' ' else character
  yield text[start:]


def _read_value(text: str) -> Any:
  """Returns a value read as YAML, or as text if it is not a plain value."""
  is_structured = text[:1] in tuple('[{\'"')
  if not is_structured and re.search(r' #|: |:$', text):  # YAML's own syntax.
    return text
  try:
    return yaml.load(text, Loader=_Loader)
  except yaml.YAMLError:
    return text


def _read_names(text: str, key: str) -> Any:
  """Reads the value of a key with class names, which are text always."""
  if text[:1] not in tuple('[{\'"'):
    return text
  try:
    # The loader knows what is text below this key.
    return yaml.load(f'{key}: {text}', Loader=_Loader)[key]
  except yaml.YAMLError:
    return text


def apply(config: hyperparams.Config, values: Mapping[str, Any]) -> None:
  """Overrides a config with a nested dict; checks every key and value.

  Raises:
    UserError: an unknown key, with the nearest known ones, or a value of
      another type.
  """
  values = _with_json_maps(values)
  _check(config, values, path='')
  config.override(values, is_strict=True)


def _with_json_maps(values: Mapping[str, Any]) -> Dict[str, Any]:
  """Returns values with dicts as JSON where configs cannot hold dicts."""
  def convert(key, value):
    if not isinstance(value, dict):
      return value
    if key not in _MAP_KEYS:
      return _with_json_maps(value)
    if not value:
      return ''
    return json.dumps(value, ensure_ascii=False, sort_keys=True)

  return {key: convert(key, value) for key, value in values.items()}


def require_used(config: hyperparams.Config, values: Mapping[str, Any],
                 path: str = '') -> None:
  """Refuses options of types that are not chosen, which would have no effect.

  Args:
    config: with all overrides applied.
    values: one of the overrides.
    path: dotted path of config, for messages.

  Raises:
    UserError: an option belongs to another type than the chosen one.
  """
  for name, value in values.items():
    if not isinstance(value, dict) or name in _MAP_KEYS:
      continue
    if isinstance(config, hyperparams.OneOfConfig) and name not in (
        config.type, getattr(  # SWA has an optimizer of its own.
            getattr(config, config.type or '', None), 'optimizer', None)):
      raise errors.UserError(
          f'{path}{name} is set, but {path}type is {config.type}: set {path}'
          f'{config.type} instead, or {path}type={name}.')
    current = getattr(config, name)
    if isinstance(current, hyperparams.Config):
      require_used(current, value, f'{path}{name}.')


def _check(config: hyperparams.Config, values: Mapping[str, Any], path: str):
  """Raises UserError for an unknown key or a value of another type."""
  types = typing.get_type_hints(type(config))
  known = [name for name in vars(config) if name not in config.RESERVED_ATTR]
  for name, value in values.items():
    key = f'{path}{name}'
    if name not in known:
      raise errors.unknown_name('config key', key, [path + k for k in known])
    current, expected = getattr(config, name), types.get(name, Any)
    if isinstance(value, dict):
      inner = _config_class(expected)
      if isinstance(current, hyperparams.Config):
        _check(current, value, f'{key}.')
      elif inner:
        _check(inner(), value, f'{key}.')
      else:
        raise errors.UserError(
            f'{key}: expected {_spell(expected)}, got keys '
            f'{", ".join(map(str, value))}.')
    elif not _fits(value, expected):
      raise errors.UserError(
          f'{key}: expected {_spell(expected)}, got {value!r}.')
    elif isinstance(config, hyperparams.OneOfConfig) and name == 'type':
      choices = [choice for choice in known if isinstance(
          getattr(config, choice), hyperparams.Config)]
      if value is not None and value not in choices:
        raise errors.unknown_name(key, value, choices)


def _config_class(hint: Any) -> Any:
  """Returns the Config class in Config or Optional[Config], or None."""
  candidates = typing.get_args(hint) or (hint,)
  return next((c for c in candidates if isinstance(c, type)
               and issubclass(c, hyperparams.Config)), None)


def _fits(value: Any, hint: Any) -> bool:
  """Returns whether a YAML value is of an annotated type."""
  origin, arguments = typing.get_origin(hint), typing.get_args(hint)
  if hint is Any:
    return True
  if origin is Union:
    return any(_fits(value, argument) for argument in arguments)
  if hint is type(None):
    return value is None
  if hint is float:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
  if hint is int:
    return isinstance(value, int) and not isinstance(value, bool)
  if origin is not None and issubclass(origin, typing.Sequence):
    members = [a for a in arguments if a is not Ellipsis] or [Any]
    return isinstance(value, (list, tuple)) and all(
        any(_fits(v, member) for member in members) for v in value)
  if isinstance(hint, type) and issubclass(hint, hyperparams.Config):
    return False  # The caller checks the keys of a dict.
  return isinstance(value, hint) if isinstance(hint, type) else True


_PLURALS = {int: 'whole numbers', float: 'numbers'}
_SPELLINGS = {int: 'a whole number', float: 'a number', str: 'text',
              bool: 'true or false', type(None): 'null'}


def _spell(hint: Any) -> str:
  """Returns an annotated type in words."""
  origin, arguments = typing.get_origin(hint), typing.get_args(hint)
  if origin is Union:
    return ' or '.join(map(_spell, arguments))
  if origin is not None:
    inner = [_PLURALS.get(a, 'values') for a in arguments if a is not Ellipsis]
    return f'a list of {inner[0]}, such as [1, 2]' if inner else 'a list'
  if isinstance(hint, type) and issubclass(hint, hyperparams.Config):
    return 'keys and values'
  return _SPELLINGS.get(hint, str(hint))
