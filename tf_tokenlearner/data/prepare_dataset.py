"""Prepares TFDS data sets on first use, in one process at a time."""

import contextlib
import errno
import os
import socket
import sys
import threading
import time
from typing import Callable, Iterator, Optional
import urllib.parse

from absl import logging
import requests
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import download_manager
from tensorflow_datasets.core.utils import tqdm_utils

from tf_tokenlearner.data import file_lock
from tf_tokenlearner import errors


_PROBE_SECONDS = 5.
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_ALLOWED = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
# Guards the progress bar and logging settings, which are global.
_ONE_AT_A_TIME = threading.RLock()


def ensure_prepared(
    builder: tfds.core.DatasetBuilder,
    announce: Callable[[str], None] = print) -> None:
  """Prepares a data set unless it is prepared already.

  If several processes need the same data set, one prepares it and the others
  wait. Without a network this fails within seconds; TFDS alone retries for
  minutes.

  Args:
    builder: of any data set. If its class has NEEDS_NO_DOWNLOAD, the
      announcement says that nothing is downloaded.
    announce: called with each line for the user.

  Raises:
    UserError: there is no network or disk space, files must be downloaded by
      hand, or another cause that the user can fix.
  """
  if is_prepared(builder):
    return
  with _explained(builder), _alone(builder, announce):
    if is_prepared(builder):  # Another process did it meanwhile.
      builder.info.read_from_directory(builder.data_dir)
      return
    announce(_describe(builder))
    start = time.monotonic()
    try:
      with _ONE_AT_A_TIME, _quiet(builder):
        builder.download_and_prepare()
    except OSError:
      if not is_prepared(builder):
        raise
      # A process that uses TFDS directly, without our lock, was faster.
      builder.info.read_from_directory(builder.data_dir)
    splits = ', '.join(f'{name} {split.num_examples:,}'
                       for name, split in builder.info.splits.items())
    announce(f'Prepared {builder.info.full_name} in '
             f'{time.monotonic() - start:.0f} s: {splits}.')


def is_prepared(builder: tfds.core.DatasetBuilder) -> bool:
  """Returns whether a data set can be read; UserError if it is incomplete.
  """
  if not builder.data_path.exists():
    return False
  # builder.is_prepared() reads brackets in the folder's name as a pattern.
  if not (builder.data_path / 'dataset_info.json').exists():
    raise errors.UserError(
        f'{builder.data_dir} exists but holds no complete data set. Remove it '
        'and start again.')
  return True


def _describe(builder: tfds.core.DatasetBuilder) -> str:
  """Returns a line that announces the preparation and its download size."""
  start = f'Preparing {builder.info.full_name} in {builder.data_dir_root}, once'
  if getattr(builder, 'NEEDS_NO_DOWNLOAD', False):
    return f'{start}; nothing is downloaded.'
  if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
    return f'{start}; from files that were downloaded by hand.'
  # An upper bound: these are the files of all configs of the data set.
  known = sum(info.size for info in (builder.url_infos or {}).values())
  size = builder.info.download_size or tfds.core.utils.Size(known)
  if not size:
    return f'{start}; TFDS does not say how much it downloads.'
  return f'{start}; downloads up to {size}.'


@contextlib.contextmanager
def _alone(builder: tfds.core.DatasetBuilder,
           announce: Callable[[str], None]) -> Iterator[None]:
  """Admits one process at a time for the same local data set."""
  root, name = os.fspath(builder.data_dir_root), builder.info.full_name
  if '://' in root:
    yield
    return
  os.makedirs(root, exist_ok=True)
  with file_lock.alone(
      os.path.join(root, f'.{name.replace("/", "-")}.lock'),
      lambda: announce(f'Waiting for another process that prepares {name}.')):
    yield


@contextlib.contextmanager
def _quiet(builder: tfds.core.DatasetBuilder) -> Iterator[None]:
  """Silences the messages of TFDS that repeat ours, and probes hosts."""
  # pylint: disable=protected-access
  builder._log_download_bytes = builder._log_download_done = lambda: None
  make_manager = builder._make_download_manager

  def make_probing_manager(**kwargs):
    manager = make_manager(**kwargs)
    # TFDS has no option for the manager, for timeouts or for retries, and a
    # socket's default timeout does not reach `requests`. A subclass stays
    # picklable, as Beam requires.
    manager.__class__ = _ProbingDownloadManager
    return manager

  builder._make_download_manager = make_probing_manager
  shows_bars = tqdm_utils._active
  tfds.display_progress_bar(
      shows_bars and sys.stderr.isatty()
      and not getattr(builder, 'NEEDS_NO_DOWNLOAD', False))
  verbosity = logging.get_verbosity()
  # TFDS also warns about its own internal calls.
  logging.set_verbosity(logging.ERROR)
  try:
    yield
  finally:
    logging.set_verbosity(verbosity)
    tfds.display_progress_bar(shows_bars)


class _ProbingDownloadManager(tfds.download.DownloadManager):
  """A download manager that probes each host before the first download.

  TFDS tries eleven times, for three and a half minutes, and has no timeout for
  a host that accepts the connection but never answers.
  """

  def _download(self, resource):  # Called only for files not in the cache.
    host = urllib.parse.urlsplit(resource.url)._replace(
        path='/', query='', fragment='').geturl()
    answering = self.__dict__.setdefault('_answering_hosts', set())
    if host not in answering:
      _require_answer(host)
      answering.add(host)
    return super()._download(resource)


def _require_answer(url: str) -> None:
  """Raises UserError if the host of a URL does not answer."""
  parts = urllib.parse.urlsplit(url)
  try:
    if parts.scheme in ('http', 'https'):
      # `requests` uses the proxy of the environment, if there is one.
      requests.head(url, timeout=_PROBE_SECONDS).close()
    elif parts.scheme == 'ftp':
      socket.create_connection(
          (parts.hostname, parts.port or 21), _PROBE_SECONDS).close()
  except OSError as error:  # As are all exceptions of requests.
    raise errors.UserError(
        f'Cannot reach {parts.netloc} to download the data set. Check the '
        'network (HTTPS_PROXY names a proxy), or prepare the data set on a '
        'machine with a network by python -m tf_tokenlearner.data.prepare and '
        'copy its folder.') from error


@contextlib.contextmanager
def _explained(builder: tfds.core.DatasetBuilder) -> Iterator[None]:
  """Turns errors that the user can fix into UserErrors of one line."""
  try:
    yield
  except errors.UserError:
    raise
  except Exception as error:
    link = error
    while link is not None:  # TFDS wraps errors in others.
      message = _explain(link, builder)
      if message is not None:
        raise errors.UserError(message) from error
      link = link.__cause__
    raise


def _explain(error: BaseException,
             builder: tfds.core.DatasetBuilder) -> Optional[str]:
  """Returns a line for the user; None for errors that users cannot fix."""
  name, line = builder.info.full_name, ' '.join(str(error).split())
  number = getattr(error, 'errno', None)
  if number in _DISK_FULL or line.startswith('Not enough disk space') or (
      isinstance(error, tf.errors.ResourceExhaustedError)):
    return (f'No space left on the disk of {builder.data_dir_root} to prepare '
            f'{name}. Free some space, or set another data_dir. {line}')
  if number in _NOT_ALLOWED or isinstance(
      error, tf.errors.PermissionDeniedError):
    return (f'{name} is not prepared yet and {builder.data_dir_root} cannot be '
            f'written. Set another data_dir. {line}')
  if isinstance(error, download_manager.NonMatchingChecksumError):
    return (f'A file downloaded for {name} does not have the checksum that '
            'TFDS expects: the transfer was cut off, or the file changed at '
            f'its source. {line}')
  if isinstance(error, (tfds.download.DownloadError,
                        requests.exceptions.RequestException)):
    return f'Downloading {name} failed: {line}'
  if isinstance(error, ImportError):
    return f'Preparing {name} needs a package that is not installed: {line}'
  if builder.MANUAL_DOWNLOAD_INSTRUCTIONS and isinstance(
      error, (AssertionError, FileNotFoundError, tf.errors.NotFoundError)):
    instructions = ' '.join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
    return (f'The files of {name} must be downloaded by hand. Put them into '
            f'{builder.data_dir_root}/downloads/manual. TFDS says: '
            f'{instructions}')
  if line.startswith('The version of the dataset you are trying to use'):
    return f'{name} cannot be prepared by this version of TFDS: {line}'
  return None
