"""Reader of safetensors files, whole or sharded.

The files are data only: nothing in them is executed. The extra `hub` installs
the safetensors package.
"""

import glob
import json
import os
import zipfile
from typing import Dict, Iterator, List, Mapping, Tuple

import numpy as np

from tf_tokenlearner import errors

SUFFIX = '.safetensors'
_INDEX = 'model.safetensors.index.json'
_FLOATS = ('F64', 'F32', 'F16', 'BF16')
_PICKLES = ('.bin', '.pt', '.pth', '.ckpt')


class Tensors(Mapping[str, np.ndarray]):
  """Read-only mapping from tensor names to float32 arrays, read on demand.

  Args:
    paths: safetensors files; their names of tensors are disjoint.

  Raises:
    UserError: a file is damaged, or two files hold a tensor of the same name.
  """

  def __init__(self, paths: List[str]):
    self._files: Dict[str, Tuple[str, object]] = {}
    for path in paths:
      file = _open(path)
      for name in file.keys():
        if name in self._files:
          raise errors.UserError(
              f'{path} and {self._files[name][0]} both hold the tensor {name}: '
              'expected shards of one model. Give one file.')
        self._files[name] = path, file

  def __getitem__(self, name: str) -> np.ndarray:
    path, file = self._files[name]
    dtype = file.get_slice(name).get_dtype()
    if dtype not in _FLOATS:
      raise errors.UserError(
          f'{path}: tensor {name} has type {dtype}, expected one of '
          f'{", ".join(_FLOATS)}. Quantized weights are not supported.')
    return np.asarray(file.get_tensor(name), np.float32)

  def __iter__(self) -> Iterator[str]:
    return iter(self._files)

  def __len__(self) -> int:
    return len(self._files)

  def shape(self, name: str) -> Tuple[int, ...]:
    """Returns the shape of a tensor without reading it."""
    return tuple(self._files[name][1].get_slice(name).get_shape())


def _open(path: str):
  try:
    import safetensors  # pylint: disable=g-import-not-at-top
  except ImportError as error:
    raise errors.UserError(
        f'{path} needs the package safetensors. Install it with '
        'pip install "tf_tokenlearner[hub]".') from error
  try:
    return safetensors.safe_open(path, 'np')
  except (safetensors.SafetensorError, OSError) as error:
    raise errors.UserError(
        f'{path} is damaged or no safetensors file '
        f'({" ".join(str(error).split())}). Download it again.') from error


def find(path: str) -> List[str]:
  """Returns the safetensors files of a model.

  Args:
    path: a .safetensors file, or a folder that holds one or the shards of one
      with their index.

  Raises:
    UserError: there is none, a shard is missing, or the files are pickles,
      which may execute code when they are read.
  """
  if os.path.isfile(path):
    if path.endswith(_PICKLES) or is_pickle(path):
      raise _pickle_error(path)
    return [path]
  index = os.path.join(path, _INDEX)
  if os.path.exists(index):
    return _shards(index)
  present = sorted(glob.glob(
      os.path.join(glob.escape(path), f'*{SUFFIX}')))
  usual = os.path.join(path, f'model{SUFFIX}')
  if usual in present:
    return [usual]
  if len(present) == 1:
    return present
  if present:
    names = ', '.join(map(os.path.basename, present))
    raise errors.UserError(
        f'{path} holds several safetensors files ({names}) and no {_INDEX}. '
        'Give the path of one.')
  pickles = [name for name in sorted(os.listdir(path))
             if name.endswith(_PICKLES)]
  if pickles:
    raise _pickle_error(os.path.join(path, pickles[0]))
  raise errors.UserError(f'{path} holds no {SUFFIX} file.')


def is_pickle(path: str) -> bool:
  """Returns whether a file is a pickle of PyTorch, by its content."""
  if zipfile.is_zipfile(path):
    with zipfile.ZipFile(path) as file:
      return any(name.endswith('data.pkl') for name in file.namelist())
  with open(path, 'rb') as file:  # The protocol, 2 to 5, follows PROTO.
    start = file.read(2)
  return start[:1] == b'\x80' and b'\x02' <= start[1:] <= b'\x05'


def _shards(index: str) -> List[str]:
  try:
    with open(index, encoding='utf-8') as file:
      names = sorted(set(json.load(file)['weight_map'].values()))
  except (ValueError, LookupError, AttributeError, TypeError) as error:
    raise errors.UserError(
        f'{index} is no index of safetensors shards: expected a JSON object '
        'with weight_map. Download it again.') from error
  paths = [os.path.join(os.path.dirname(index), os.path.basename(str(name)))
           for name in names]
  missing = [os.path.basename(path) for path in paths
             if not os.path.exists(path)]
  if missing:
    raise errors.UserError(
        f'{os.path.dirname(index)} lacks {", ".join(missing)}, which its '
        f'{_INDEX} names. Download the folder again.')
  return paths


def _pickle_error(path: str) -> errors.UserError:
  target = os.path.splitext(path)[0] + SUFFIX
  return errors.UserError(
      f'{path} is a pickle, which may execute code when it is read. Convert it '
      'where you trust it: python -c "import torch, safetensors.torch as s; '
      f's.save_file(torch.load(\'{path}\', weights_only=True), \'{target}\')"')

