"""Decodes many videos in parallel into a folder, resumably."""

import contextlib
import hashlib
import multiprocessing.pool
import os
import queue
import shutil
import tempfile
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Tuple

import tensorflow_datasets as tfds

from tf_tokenlearner.data import clip_sampling
from tf_tokenlearner.data import file_types
from tf_tokenlearner.data import video_worker
from tf_tokenlearner import errors
from tf_tokenlearner import progress

_FIRST_ESTIMATE_OF_SPACE = 16  # Videos.
_COPIES_OF_TFDS = 2  # TFDS stores the data set twice while it shuffles.


def working_folder(data_dir: str, name: str) -> str:
  """Returns where to decode for a data set: next to it, if its disk is local.

  Args:
    data_dir: folder of the data sets, possibly remote.
    name: of the data set, possibly with slashes.
  """
  if '://' in data_dir:
    data_dir = os.path.join(tempfile.gettempdir(), 'tf_tokenlearner')
  folder, last = os.path.split(os.path.join(data_dir, name))
  return os.path.join(folder, f'.{last}.decoded')


class DecodedVideos:
  """A working folder of decoded videos, used while a data set is prepared.

  Decoded videos stay until `remove`, so that an interrupted preparation
  resumes. A video that has changed is decoded again.

  Args:
    folder: created if needed.
    fps: frames per second, as in video_files.decode.
    short_side: in pixels, as in video_files.decode.
    announce: called with each line for the user.

  Raises:
    UserError: fps or short_side is out of range.
  """

  def __init__(self, folder: str, fps: float, short_side: int,
               announce: Callable[[str], None]):
    if not 0 < fps <= clip_sampling.MAX_FPS:
      raise errors.UserError(
          f'fps must lie in (0, {clip_sampling.MAX_FPS}], got {fps:g}.')
    if not 8 <= short_side <= 4096:
      raise errors.UserError(
          'short_side (stored_short_side of task.train_data) must lie in '
          f'[8, 4096], got {short_side}.')
    self._folder = folder
    self._fps, self._short_side = fps, short_side
    self._announce = announce

  def decode(self, paths: Iterable[str]) -> Dict[str, str]:
    """Decodes the videos that are not decoded yet.

    Args:
      paths: of all videos.

    Returns:
      {path: reason} of the unreadable videos.

    Raises:
      UserError: too little disk space, or a process was killed.
      OSError: the folder cannot be written.
    """
    os.makedirs(self._folder, exist_ok=True)
    paths = list(dict.fromkeys(paths))
    reasons = {path: self._stored_reason(path) for path in paths}
    todo = [path for path, reason in reasons.items() if reason is None]
    done = len(paths) - len(todo)
    if done:
      self._announce(
          f'Resuming: {done:,} of {len(paths):,} videos are done already.')
    with progress.Progress('Decoding videos', len(paths), self._announce,
                           done) as counter:
      decoded = []
      for path, reason in self._decode(todo):
        decoded.append(path)
        reasons[path] = reason
        if reason:
          with open(self._reason_path(path), 'w', encoding='utf8') as file:
            file.write(reason)
        counter.advance()
        count = len(decoded)
        if count >= _FIRST_ESTIMATE_OF_SPACE and not count & (count - 1):
          self._require_space(decoded, len(todo) - count, len(paths))
    return {path: reason for path, reason in reasons.items() if reason}

  def load(self, path: str) -> List[bytes]:
    """Returns the frames of a decoded video as JPEG files.

    Raises:
      UserError: the video has changed since it was decoded.
    """
    try:
      return video_worker.read(self._clip_path(path))
    except FileNotFoundError as error:
      raise errors.UserError(
          f'{file_types.printable(path)} changed while the data set was '
          'prepared. Start again.') from error

  def num_bytes(self, paths: Iterable[str]) -> int:
    """Returns the size of the clip files of some videos."""
    size = 0
    for path in paths:
      with contextlib.suppress(FileNotFoundError):  # An unreadable video.
        size += os.path.getsize(self._clip_path(path))
    return size

  def remove(self) -> None:
    """Removes the folder, if it exists."""
    shutil.rmtree(self._folder, ignore_errors=True)

  def _clip_path(self, path: str) -> str:
    """Returns the clip file of a video in its present state."""
    try:
      status = os.stat(path)
      size, mtime = status.st_size, status.st_mtime_ns
    except OSError:
      size, mtime = 0, 0
    key = (os.fsencode(os.path.abspath(path)), size, mtime, float(self._fps),
           self._short_side)
    return os.path.join(
        self._folder, hashlib.sha256(repr(key).encode()).hexdigest()[:32])

  def _reason_path(self, path: str) -> str:
    return self._clip_path(path) + '.unreadable'

  def _stored_reason(self, path: str) -> Optional[str]:
    """Returns why a video is unreadable; '' if decoded, None if not tried."""
    if video_worker.is_whole(self._clip_path(path)):
      return ''
    try:
      with open(self._reason_path(path), encoding='utf8') as file:
        return file.read() or None
    except FileNotFoundError:
      return None

  def _require_space(self, decoded: List[str], num_left: int,
                     num_all: int) -> None:
    """Raises UserError early if the disk will be too small in the end."""
    size = self.num_bytes(decoded) / len(decoded)
    needed = int(size * (num_left + _COPIES_OF_TFDS * num_all))
    free = shutil.disk_usage(self._folder).free
    if needed > free:
      raise errors.UserError(
          f'No space left on the disk of {self._folder}: about '
          f'{tfds.core.utils.Size(needed)} are needed for {num_all:,} videos, '
          f'{tfds.core.utils.Size(free)} are free. Free some space, set '
          'another data_dir, or a smaller fps or short_side '
          '(stored_short_side of task.train_data).')

  def _decode(self, paths: List[str]) -> Iterator[Tuple[str, str]]:
    """Yields (path, reason why it is unreadable or '') as videos get done."""
    if not paths:
      return
    workers = [video_worker.Worker()
               for _ in range(min(os.cpu_count() or 1, len(paths)))]
    idle = queue.SimpleQueue()
    for worker in workers:
      idle.put(worker)

    def decode(path: str) -> Tuple[str, str]:
      worker = idle.get()
      try:
        return path, worker.decode(
            path, target=self._clip_path(path), fps=self._fps,
            short_side=self._short_side)
      finally:
        idle.put(worker)

    pool = multiprocessing.pool.ThreadPool(len(workers))
    try:
      yield from pool.imap_unordered(decode, paths)
    finally:
      for worker in workers:
        worker.stop()  # Ends what the threads wait for.
      pool.terminate()
      pool.join()
      for worker in workers:
        worker.close()
