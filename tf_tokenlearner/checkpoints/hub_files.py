"""Files of pretrained models: from the Hugging Face hub or a local folder.

huggingface_hub owns the download: cache, resume, tokens, proxies, offline mode
(HF_HUB_OFFLINE) and the server (HF_ENDPOINT). The extra `hub` installs it.
"""

import dataclasses
import json
import os
import re
from typing import Any, Dict, Optional

import yaml

from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import safetensors_file

SCHEME = 'hf://'
_PATTERNS = ['*.safetensors', '*.safetensors.index.json', 'config.json',
             'preprocessor_config.json', 'README.md']
_ADDRESS = re.compile(r'hf://([\w.-]+/[\w.-]+)(?:@(\S+))?')


@dataclasses.dataclass(frozen=True)
class PretrainedFiles:
  """Files of a pretrained model.

  Attributes:
    source: address or path as the user gave it.
    tensors: the weights.
    config: content of config.json, or {}.
    preprocessor: content of preprocessor_config.json, or {}.
    licence: as the model card or the config names it, or None.
  """
  source: str
  tensors: safetensors_file.Tensors
  config: Dict[str, Any]
  preprocessor: Dict[str, Any]
  licence: Optional[str]


def is_address(path: str) -> bool:
  """Returns whether a path is an hf:// address."""
  return path.startswith(SCHEME)


def is_pretrained(path: str) -> bool:
  """Returns whether a local path holds safetensors, or pickles of PyTorch."""
  path = os.path.expanduser(path)
  if os.path.isdir(path):
    return any(name.endswith((safetensors_file.SUFFIX, '.bin', '.pth', '.pt'))
               for name in os.listdir(path))
  if path.endswith(safetensors_file.SUFFIX):
    return os.path.isfile(path)
  return os.path.isfile(path) and safetensors_file.is_pickle(path)


def read(source: str) -> PretrainedFiles:
  """Downloads the files if need be, and opens them.

  Args:
    source: hf://OWNER/NAME or hf://OWNER/NAME@REVISION; or a local folder or
      .safetensors file, optionally with config.json in the same folder.

  Raises:
    UserError: the address is malformed or unknown, the download fails, or the
      files are missing, damaged or pickles.
  """
  path = _download(source) if is_address(source) else os.path.expanduser(source)
  if not os.path.exists(path):
    raise errors.UserError(
        f'{source} does not exist. Expected a folder or file with safetensors, '
        'or hf://OWNER/NAME.')
  folder = path if os.path.isdir(path) else os.path.dirname(path)
  config = _read_json(os.path.join(folder, 'config.json'))
  return PretrainedFiles(
      source, safetensors_file.Tensors(safetensors_file.find(path)), config,
      _read_json(os.path.join(folder, 'preprocessor_config.json')),
      _licence(folder) or config.get('license')
      or config.get('pretrained_cfg', {}).get('license'))


def _download(address: str) -> str:
  match = _ADDRESS.fullmatch(address)
  if not match:
    raise errors.UserError(
        f'Expected hf://OWNER/NAME or hf://OWNER/NAME@REVISION, got {address}.')
  repository, revision = match.groups()
  try:
    # pylint: disable=g-import-not-at-top
    import huggingface_hub
    from huggingface_hub import errors as hub_errors
  except ImportError as error:
    raise errors.UserError(
        f'{address} needs the package huggingface_hub. Install it with '
        'pip install "tf_tokenlearner[hub]".') from error
  try:
    return huggingface_hub.snapshot_download(
        repository, revision=revision, allow_patterns=_PATTERNS)
  except hub_errors.GatedRepoError as error:
    raise errors.UserError(
        f'{address} is gated: accept its terms on its page, then set HF_TOKEN.'
    ) from error
  except hub_errors.RepositoryNotFoundError as error:
    raise errors.UserError(
        f'{address} was not found. Check the name; a private model needs '
        'HF_TOKEN.') from error
  except hub_errors.RevisionNotFoundError as error:
    raise errors.UserError(
        f'{address}: {repository} has no revision {revision}.') from error
  except Exception as error:  # pylint: disable=broad-except
    # HTTP clients, proxies and file systems raise errors of many classes.
    text = ' '.join(str(error).split())
    raise errors.UserError(
        f'{address} could not be downloaded ({type(error).__name__}: '
        f'{text[:300]}). Run the same command again to resume, or give a local '
        'folder.') from error


def _read_json(path: str) -> Dict[str, Any]:
  if not os.path.exists(path):
    return {}
  try:
    with open(path, encoding='utf-8') as file:
      values = json.load(file)
  except (ValueError, RecursionError) as error:
    raise errors.UserError(
        f'{path} is no JSON: {error}. Download it again.') from error
  if not isinstance(values, dict):
    raise errors.UserError(f'{path} must hold a JSON object.')
  return values


def _licence(folder: str) -> Optional[str]:
  """Returns the licence in the front matter of a model card."""
  path = os.path.join(folder, 'README.md')
  if not os.path.exists(path):
    return None
  with open(path, encoding='utf-8', errors='replace') as file:
    parts = file.read().split('---\n', 2)
  if len(parts) < 3 or parts[0].strip():
    return None
  try:
    values = yaml.safe_load(parts[1])
  except yaml.YAMLError:
    return None
  licence = values.get('license') if isinstance(values, dict) else None
  return str(licence) if licence else None
