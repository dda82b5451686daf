"""Prepares a TFDS data set the first time that it is asked for."""

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
# Which progress bars TFDS shows is one setting of the process.
_ONE_AT_A_TIME = threading.RLock()


def ensure_prepared(
    builder: tfds.core.DatasetBuilder,
    announce: Callable[[str], None] = print) -> None:
  """Makes a builder readable; says nothing if it already is.

  Of several processes that ask for the same data set one prepares it and the
  others wait. Without a network this ends in seconds, where TFDS alone tries
  for minutes.

  Args:
    builder: of any data set. One whose class has NEEDS_NO_DOWNLOAD is said to
      be made here.
    announce: takes what is to be said, by lines.

  Raises:
    UserError: no network, no space, files missing that have to be fetched by
      hand, and what else the user can mend.
  """
  if is_prepared(builder):
    return
  with _explained(builder), _alone(builder, announce):
    if is_prepared(builder):  # By the one that was waited for.
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
      # Another process, of TFDS without us, was first.
      builder.info.read_from_directory(builder.data_dir)
    splits = ', '.join(f'{name} {split.num_examples:,}'
                       for name, split in builder.info.splits.items())
    announce(f'Prepared {builder.info.full_name} in '
             f'{time.monotonic() - start:.0f} s: {splits}.')


def is_prepared(builder: tfds.core.DatasetBuilder) -> bool:
  """Returns whether a data set can be read; UserError if it is incomplete."""
  if not builder.data_path.exists():
    return False
  # builder.is_prepared() reads brackets in the folder's name as a pattern.
  if not (builder.data_path / 'dataset_info.json').exists():
    raise errors.UserError(
        f'{builder.data_dir} exists but holds no complete data set: remove it '
        'and start again.')
  return True


def _describe(builder: tfds.core.DatasetBuilder) -> str:
  """What is about to happen, with the size as far as TFDS knows it."""
  start = f'Preparing {builder.info.full_name} in {builder.data_dir_root}, once'
  if getattr(builder, 'NEEDS_NO_DOWNLOAD', False):
    return f'{start}; nothing is downloaded.'
  if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
    return f'{start}; from files that were fetched by hand.'
  # The sizes of all that TFDS has a checksum of, whichever config needs it.
  known = sum(info.size for info in (builder.url_infos or {}).values())
  size = builder.info.download_size or tfds.core.utils.Size(known)
  if not size:
    return f'{start}; TFDS does not say how much it downloads.'
  return f'{start}; downloads up to {size}.'


@contextlib.contextmanager
def _alone(builder: tfds.core.DatasetBuilder,
           announce: Callable[[str], None]) -> Iterator[None]:
  """Only one process at a time is inside for the same local data set."""
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
  """TFDS says only what we do not, and asks hosts before it waits for them."""
  # pylint: disable=protected-access
  builder._log_download_bytes = builder._log_download_done = lambda: None
  make_manager = builder._make_download_manager

  def make_probing_manager(**kwargs):
    manager = make_manager(**kwargs)
    manager.__class__ = _ProbingDownloadManager
    return manager

  builder._make_download_manager = make_probing_manager
  shows_bars = tqdm_utils._active
  tfds.display_progress_bar(
      shows_bars and sys.stderr.isatty()
      and not getattr(builder, 'NEEDS_NO_DOWNLOAD', False))
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)  # It warns of what it does itself.
  try:
    yield
  finally:
    logging.set_verbosity(verbosity)
    tfds.display_progress_bar(shows_bars)


class _ProbingDownloadManager(tfds.download.DownloadManager):
  """Sees whether a host answers before a file is downloaded from it.

  TFDS itself tries eleven times, for three and a half minutes, and waits for
  ever for a host that accepts a connection and then says nothing.
  """

  def _download(self, resource):  # Called for what is not in the cache.
    host = urllib.parse.urlsplit(resource.url)._replace(
        path='/', query='', fragment='').geturl()
    asked = self.__dict__.setdefault('_hosts_that_answer', set())
    if host not in asked:
      _require_answer(host)
      asked.add(host)
    return super()._download(resource)


def _require_answer(url: str) -> None:
  """Raises UserError if the host of a URL says nothing at all."""
  parts = urllib.parse.urlsplit(url)
  try:
    if parts.scheme in ('http', 'https'):
      # Through the proxy of the environment, if there is one.
      requests.head(url, timeout=_PROBE_SECONDS).close()
    elif parts.scheme == 'ftp':
      socket.create_connection(
          (parts.hostname, parts.port or 21), _PROBE_SECONDS).close()
  except OSError as error:  # As are all exceptions of requests.
    raise errors.UserError(
        f'{parts.netloc}, where the data set is downloaded from, cannot be '
        'reached. Check the network (HTTPS_PROXY names a proxy), or prepare '
        'the data set where there is one, with python -m '
        'tf_tokenlearner.data.prepare, and copy its folder.') from error


@contextlib.contextmanager
def _explained(builder: tfds.core.DatasetBuilder) -> Iterator[None]:
  """Turns what the user can mend into UserErrors of one line."""
  try:
    yield
  except errors.UserError:
    raise
  except Exception as error:
    link = error
    while link is not None:  # TFDS makes new errors of those it meets.
      message = _explain(link, builder)
      if message is not None:
        raise errors.UserError(message) from error
      link = link.__cause__
    raise


def _explain(error: BaseException,
             builder: tfds.core.DatasetBuilder) -> Optional[str]:
  """One line; None for what is no mistake of the user."""
  name, line = builder.info.full_name, ' '.join(str(error).split())
  number = getattr(error, 'errno', None)
  if number in _DISK_FULL or line.startswith('Not enough disk space') or (
      isinstance(error, tf.errors.ResourceExhaustedError)):
    return (f'No space left on the disk of {builder.data_dir_root} to prepare '
            f'{name}: make room, or set another data_dir. {line}')
  if number in _NOT_ALLOWED or isinstance(
      error, tf.errors.PermissionDeniedError):
    return (f'{name} is not prepared yet and {builder.data_dir_root} cannot be '
            f'written: set another data_dir. {line}')
  if isinstance(error, download_manager.NonMatchingChecksumError):
    return (f'A file downloaded for {name} is not what TFDS expects: the '
            'transfer broke, or the file was changed at its source. '
            f'{line}')
  if isinstance(error, (tfds.download.DownloadError,
                        requests.exceptions.RequestException)):
    return f'Downloading {name} failed: {line}'
  if isinstance(error, ImportError):
    return f'Preparing {name} needs a package that is not installed: {line}'
  if builder.MANUAL_DOWNLOAD_INSTRUCTIONS and isinstance(
      error, (AssertionError, FileNotFoundError, tf.errors.NotFoundError)):
    instructions = ' '.join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
    return (f'{name} has to be fetched by hand. Put its files into '
            f'{builder.data_dir_root}/downloads/manual. TFDS says: '
            f'{instructions}')
  if line.startswith('The version of the dataset you are trying to use'):
    return f'{name} cannot be prepared by this version of TFDS: {line}'
  return None
