"""The folder of a training run: config, class names, checkpoints, scores.

This module owns the format of the folder:

    params.yaml            the complete config
    run.yaml               experiment, version of this package, class names
    checkpoint, ckpt-STEP  the latest checkpoints
    best_ckpt/             the best checkpoint and its scores (info.json)
    scores/best/           scores by class of the best checkpoint
    scores/NAME/           scores and predictions of --mode=eval
    training.json          time and cost of training

It imports neither the Model Garden nor the tasks, so that exports and
predictions can read a run without them, and TensorFlow only where checkpoints
or remote files need it.
"""

import atexit
import contextlib
import dataclasses
import fcntl
import functools
import glob
import json
import os
import re
import shutil
import socket
import tempfile
from typing import Any, Dict, Iterator, Mapping, Optional, TextIO, Tuple

import yaml

import tf_tokenlearner
from tf_tokenlearner import errors
from tf_tokenlearner import files

_PARAMS = 'params.yaml'
_RUN = 'run.yaml'
_LOCK = '.training.lock'
_SCORES = 'info.json'  # The Model Garden's name for it.
_TRAINING = 'training.json'
_SCORES_FOLDER = 'scores'
_BEST_PREFIX = 'best_ckpt'  # Of checkpoints' names; the Model Garden's.


# In YAML 1.1 a float needs a point and 1e3 is text; other loaders differ.
FLOAT = re.compile(r'[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$')


class Loader(yaml.SafeLoader):
  """Loads plain data, including tuples as the Model Garden writes them."""


class _Dumper(yaml.SafeDumper):
  """Writes lists on one line and quotes text that looks like a number."""

  def represent_list(self, values):
    return self.represent_sequence('tag:yaml.org,2002:seq', values, True)


Loader.add_constructor(
    'tag:yaml.org,2002:python/tuple',
    lambda loader, node: loader.construct_sequence(node))
_Dumper.add_representer(list, _Dumper.represent_list)
_Dumper.add_representer(tuple, _Dumper.represent_list)
_Dumper.add_implicit_resolver(
    'tag:yaml.org,2002:float', FLOAT, list('-+0123456789'))


@dataclasses.dataclass(frozen=True)
class Run:
  """A training run.

  Attributes:
    folder: path of the run folder.
    experiment: registered name of the experiment.
    params: complete config as plain data.
    label_names: names of the classes; () if the data have none.
    version: version of this package that wrote the run.
    start: 'weights' and 'licence' of the pretrained weights that training
      started from; {} without.
    num_examples: training examples when the run began, if its length depends on
      them; else 0.
  """
  folder: str
  experiment: str
  params: Mapping[str, Any]
  label_names: Tuple[str, ...]
  version: str = tf_tokenlearner.__version__
  start: Mapping[str, str] = dataclasses.field(default_factory=dict)
  num_examples: int = 0

  def names_of(self, num_classes: int) -> Tuple[str, ...]:
    """Returns the class names; class numbers if the data have none."""
    return self.label_names or tuple(map(str, range(num_classes)))

  @property
  def best_folder(self) -> str:
    """Folder of the best checkpoint and its scores."""
    return os.path.join(
        self.folder, self.params['trainer']['best_checkpoint_export_subdir'])

  def scores_folder(self, name: str = 'best') -> str:
    """Returns the folder of the scores by class of an evaluation."""
    return os.path.join(self.folder, _SCORES_FOLDER, name)

  def latest_checkpoint(self) -> Optional[str]:
    """Returns the path of the latest checkpoint, or None."""
    return latest_checkpoint(self.folder)

  def best_checkpoint(self) -> Optional[str]:
    """Returns the path of the best checkpoint, or None."""
    return latest_checkpoint(self.best_folder)

  def find_checkpoint(self, path: str = '') -> str:
    """Returns the path of the checkpoint to use.

    Args:
      path: a checkpoint or a folder of checkpoints; '' for the run's best
        checkpoint or, without one, its latest.

    Raises:
      UserError: there is no such checkpoint.
    """
    if path:
      return find_checkpoint(path)
    return self.best_checkpoint() or find_checkpoint(self.folder)

  def best_scores(self) -> Dict[str, float]:
    """Returns the scores of the best checkpoint, {} without one."""
    return read_best_scores(self.best_folder) or {}

  def recorded_scores(self) -> Dict[str, float]:
    """Returns the best scores, {} without them.

    Unlike best_scores, keeps scores whose checkpoint was removed.
    """
    return _read_json(os.path.join(self.best_folder, _SCORES))

  def last_step(self) -> int:
    """Returns the step of the latest checkpoint by its name, 0 without one."""
    steps = [re.fullmatch(r'ckpt-(\d+)\.index', name)
             for name in files.names(self.folder)]
    return max([int(step[1]) for step in steps if step], default=0)

  def training(self) -> Dict[str, Any]:
    """Returns what write_training stored; {} for a run of version 0.1.0."""
    return _read_json(os.path.join(self.folder, _TRAINING))

  def scores_of(self, checkpoint: str) -> Dict[str, float]:
    """Returns the scores if it is the best checkpoint, else {}."""
    best = self.best_checkpoint()
    if not best or os.path.abspath(best) != os.path.abspath(checkpoint):
      return {}
    return self.best_scores()


def exists(folder: str) -> bool:
  """Returns whether a folder is a run folder."""
  return files.exists(os.path.join(folder, _RUN))


def load(folder: str) -> Run:
  """Reads a run.

  Raises:
    UserError: the folder is not a run folder, or its files are damaged.
  """
  if not exists(folder):
    raise errors.UserError(
        f'{folder} is not the folder of a training run: it has no {_RUN}.')
  # All values are read as text: a class may be named 1e3, on or 007.
  run = _read_yaml(os.path.join(folder, _RUN), yaml.BaseLoader)
  params = read_params(folder)
  if params is None:
    raise errors.UserError(f'{folder} has no {_PARAMS}.')
  try:
    return Run(folder, run['experiment'], params, tuple(run['label_names']),
               run.get('tf_tokenlearner', ''), run.get('start', {}),
               int(run.get('num_examples', 0)))
  except KeyError as error:
    raise errors.UserError(
        f'{os.path.join(folder, _RUN)} lacks {error}.') from error


def read_params(folder: str) -> Optional[Dict[str, Any]]:
  """Returns the config saved in a folder as plain data; None without one.

  Raises:
    UserError: the config cannot be read.
  """
  path = os.path.join(folder, _PARAMS)
  return _read_yaml(path, Loader) if files.exists(path) else None


def params_beside(checkpoint: str) -> Optional[Dict[str, Any]]:
  """Returns the config of the run that a checkpoint belongs to, or None.

  Args:
    checkpoint: path of a checkpoint, or of a folder of checkpoints.

  Raises:
    UserError: the config cannot be read.
  """
  folder = (checkpoint if files.is_folder(checkpoint)
            else os.path.dirname(checkpoint))
  # The best checkpoint is in a subfolder of the run folder.
  parent = os.path.dirname(os.path.normpath(folder))
  return read_params(folder) or read_params(parent)


def save(run: Run) -> None:
  """Writes the config and the class names of a run.

  Each file is replaced at once, so that readers never see a part of it.
  """
  import tensorflow as tf  # pylint: disable=g-import-not-at-top
  tf.io.gfile.makedirs(run.folder)
  _write_yaml(os.path.join(run.folder, _PARAMS), dict(run.params))
  _write_yaml(os.path.join(run.folder, _RUN), {
      'experiment': run.experiment, 'tf_tokenlearner': run.version,
      'label_names': list(run.label_names),
      **({'start': dict(run.start)} if run.start else {}),
      **({'num_examples': run.num_examples} if run.num_examples else {})})


def latest_checkpoint(folder: str) -> Optional[str]:
  """Returns the path of the latest checkpoint in a folder, or None.

  tf.train.latest_checkpoint does the same, but reads a path as a pattern and
  finds nothing in a folder with brackets, * or ? in its name.
  """
  import tensorflow as tf  # pylint: disable=g-import-not-at-top
  state = tf.train.get_checkpoint_state(folder)
  path = state.model_checkpoint_path if state else ''
  return path if path and files.exists(f'{path}.index') else None


def find_checkpoint(path: str) -> str:
  """Returns the checkpoint at a path, or the latest one in a folder.

  Raises:
    UserError: there is no checkpoint.
  """
  if files.is_folder(path):
    latest = latest_checkpoint(path)
    if latest is None:
      raise errors.UserError(
          f'{path} holds no checkpoint. Expected the folder of a training run, '
          'or a checkpoint such as RUN/ckpt-1000.')
    return latest
  if not files.exists(f'{path}.index'):
    raise errors.UserError(
        f'There is no checkpoint at {path} (no file {path}.index).')
  return path


def readable(checkpoint: str) -> str:
  """Returns a path from which TensorFlow can read a checkpoint.

  TensorFlow reads a path as a pattern. If it has brackets, * or ?, the result
  is a path through a link to the folder, which exists as long as the process.
  """
  if '://' in checkpoint or glob.escape(checkpoint) == checkpoint:
    return checkpoint
  folder, name = os.path.split(os.path.abspath(checkpoint))
  return os.path.join(_link(folder), name)


@functools.lru_cache(maxsize=None)
def _link(folder: str) -> str:
  place = tempfile.mkdtemp()
  atexit.register(shutil.rmtree, place, ignore_errors=True)
  link = os.path.join(place, 'run')
  os.symlink(folder, link)
  return link


def is_averaged(checkpoint: str) -> bool:
  """Returns whether a checkpoint holds averaged weights.

  The best checkpoint is written while evaluation uses the averages.
  """
  return os.path.basename(checkpoint).startswith(_BEST_PREFIX)


def read_best_scores(folder: str) -> Optional[Dict[str, float]]:
  """Returns the scores of the best checkpoint in a folder; None without one.

  Scores whose checkpoint is missing are ignored, as there is nothing to compare
  a new checkpoint with.
  """
  if not latest_checkpoint(folder):
    return None
  return _read_json(os.path.join(folder, _SCORES)) or None


def write_best_scores(folder: str, scores: Mapping[str, float]) -> None:
  """Writes the scores of the best checkpoint."""
  files.write_json(os.path.join(folder, _SCORES), scores)


def write_training(folder: str, facts: Mapping[str, Any]) -> None:
  """Writes facts about training.

  Args:
    folder: run folder.
    facts: 'step' reached; 'is_finished', whether training ended by itself;
      'seconds' of training, evaluation included, over all restarts; 'macs', the
      multiply-accumulates an example; 'parameters', their number.
  """
  files.write_json(os.path.join(folder, _TRAINING), facts)


def flatten(params: Mapping[str, Any], prefix: str = '') -> Dict[str, Any]:
  """Returns a config as {'trainer.train_steps': 100, ...}; tuples as lists."""
  flat = {}
  for key, value in params.items():
    if isinstance(value, dict):
      flat.update(flatten(value, f'{prefix}{key}.'))
    else:
      flat[f'{prefix}{key}'] = (
          list(value) if isinstance(value, tuple) else value)
  return flat


@contextlib.contextmanager
def training_lock(folder: str, is_needed: bool = True) -> Iterator[None]:
  """Holds the lock of a run folder, so that one process trains in it.

  The lock ends with the process, even if it is killed. Remote folders and file
  systems without locks are not locked. (filelock empties its file before it
  holds the lock, so the file could not name the holder.)

  Args:
    folder: run folder; created if missing.
    is_needed: False for a worker whose chief holds the lock.

  Raises:
    UserError: another process, which the message names, trains in the folder.
  """
  if '://' in folder or not is_needed:
    yield
    return
  is_new = not os.path.isdir(folder)
  path = os.path.join(folder, _LOCK)
  try:
    os.makedirs(folder, exist_ok=True)
    file = open(path, 'a+', encoding='utf-8')
  except OSError as error:
    raise errors.UserError(
        f'{folder} cannot be written: {error.strerror}. Give another '
        '--model_dir.') from error
  with file:
    _lock(file, folder)
    try:
      yield
    finally:
      with contextlib.suppress(OSError):
        os.remove(path)
        if is_new:
          os.rmdir(folder)  # Fails, as intended, if it is not empty.


def _lock(file: TextIO, folder: str) -> None:
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    file.seek(0)
    raise errors.UserError(
        f'{folder} is in use: {file.read() or "another process"} trains in it. '
        'Wait for it or stop it, or choose another --model_dir.') from error
  except OSError:  # The file system has no locks.
    return
  file.truncate(0)
  file.write(f'process {os.getpid()} on {socket.gethostname()}')
  file.flush()


def _read_json(path: str) -> Dict[str, Any]:
  """Returns the object in a JSON file; {} if there is no file."""
  return json.loads(files.read_text(path)) if files.exists(path) else {}


def _read_yaml(path: str, loader: type) -> Dict[str, Any]:
  try:
    values = yaml.load(files.read_text(path), loader)
  except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
    reason = getattr(error, 'strerror', None) or ' '.join(str(error).split())
    raise errors.UserError(f'{path} cannot be read: {reason}.') from error
  if not isinstance(values, dict):
    raise errors.UserError(f'{path} cannot be read: it holds no keys.')
  return values


def _write_yaml(path: str, values: Mapping[str, Any]) -> None:
  files.write_text(path, yaml.dump(
      values, Dumper=_Dumper, allow_unicode=True, sort_keys=False,
      default_flow_style=False))
