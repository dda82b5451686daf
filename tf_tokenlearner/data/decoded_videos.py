"""Decodes many videos, by as many processes as there are processor cores."""

import contextlib
import hashlib
import json
import os
import queue
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Tuple

import tensorflow_datasets as tfds

from tf_tokenlearner.data import clip_sampling
from tf_tokenlearner import errors
from tf_tokenlearner import progress


_LENGTH = struct.Struct('<I')
_END = _LENGTH.pack(2**32 - 1)


def write(path: str, frames: Iterable[bytes]) -> None:
  """Writes a clip, whole or not at all.

  Args:
    path: of the file.
    frames: of the clip; what it raises is passed on.

  Raises:
    OSError: the file cannot be written.
  """
  beside = f'{path}.{os.getpid()}.partial'
  try:
    with open(beside, 'wb') as file:
      for frame in frames:
        file.write(_LENGTH.pack(len(frame)))
        file.write(frame)
      file.write(_END)
    os.replace(beside, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.unlink(beside)
    raise


def is_whole(path: str) -> bool:
  """Whether a clip is there; a power failure may have left a part of one."""
  try:
    with open(path, 'rb') as file:
      file.seek(-len(_END), os.SEEK_END)
      return file.read() == _END
  except OSError:
    return False


def read(path: str) -> List[bytes]:
  """The frames of a clip.

  Raises:
    OSError: the file cannot be read.
  """
  frames = []
  with open(path, 'rb') as file:
    while (length := file.read(_LENGTH.size)) != _END:
      frames.append(file.read(*_LENGTH.unpack(length)))
  return frames


_WORKER = 'tf_tokenlearner.data.video_worker'
# Of one video; hours of 4K would be refused before.
_SECONDS_ALLOWED = 1800
# Then a process ends by itself, as it was not ended: we are gone.
_SECONDS_ALLOWED_ALONE = _SECONDS_ALLOWED + 60
_FIRST_GUESS_OF_SPACE = 16  # Videos.
# TFDS keeps the whole set twice while it shuffles.
_COPIES_OF_TFDS = 2


def working_folder(data_dir: str, name: str) -> str:
  """Where to decode for a data set: beside it, if it is on a local disk.

  Args:
    data_dir: where the data set will lie, possibly remote.
    name: of the data set, possibly with slashes.
  """
  if '://' in data_dir:
    data_dir = os.path.join(tempfile.gettempdir(), 'tf_tokenlearner')
  folder, last = os.path.split(os.path.join(data_dir, name))
  return os.path.join(folder, f'.{last}.decoded')


class DecodedVideos:
  """A folder of decoded videos, in the making of a data set.

  What is decoded stays until `remove`, so that a preparation which was killed
  goes on where it was. A video that changes is decoded anew.

  Args:
    folder: made if it is not there.
    fps: frames a second, as in video_files.decode.
    short_side: as in video_files.decode.
    announce: takes what is to be said, by lines.

  Raises:
    UserError: fps or short_side out of range.
  """

  def __init__(self, folder: str, fps: float, short_side: int,
               announce: Callable[[str], None]):
    if not 0 < fps <= clip_sampling.MAX_FPS:
      raise errors.UserError(
          f'fps must lie in (0, {clip_sampling.MAX_FPS}], received {fps:g}.')
    if not 8 <= short_side <= 4096:
      raise errors.UserError(
          'short_side (stored_short_side of task.train_data) must lie in '
          f'[8, 4096], received {short_side}.')
    self._folder = folder
    self._fps, self._short_side = fps, short_side
    self._announce = announce

  def decode(self, paths: Iterable[str]) -> Dict[str, str]:
    """Decodes what is not yet decoded.

    Args:
      paths: of the videos.

    Returns:
      {path: reason} of those that cannot be read.

    Raises:
      UserError: too little space, or the processes are killed.
      OSError: the folder cannot be written.
    """
    os.makedirs(self._folder, exist_ok=True)
    paths = list(dict.fromkeys(paths))
    reasons = {path: self._stored_reason(path) for path in paths}
    todo = [path for path, reason in reasons.items() if reason is None]
    done = len(paths) - len(todo)
    if done:
      self._announce(f'Going on after {done:,} of {len(paths):,} videos that '
                     'are done already.')
    with progress.Progress('Decoding videos', len(paths), self._announce,
                           done) as counter:
      for count, (path, reason) in enumerate(self._decode(todo), start=1):
        reasons[path] = reason
        if reason:
          with open(self._reason_path(path), 'w', encoding='utf8') as file:
            file.write(reason)
        counter.advance()
        if count >= _FIRST_GUESS_OF_SPACE and not count & (count - 1):
          self._require_space(todo[:count], len(todo) - count, len(paths))
    return {path: reason for path, reason in reasons.items() if reason}

  def load(self, path: str) -> List[bytes]:
    """The frames of a decoded video, JPEG files.

    Raises:
      UserError: the video has changed since.
    """
    try:
      return read(self._clip_path(path))
    except FileNotFoundError as error:
      raise errors.UserError(
          f'{_printable(path)} changed while it was packed. Start again.'
      ) from error

  def num_bytes(self, paths: Iterable[str]) -> int:
    """Size of what is decoded of some videos."""
    size = 0
    for path in paths:
      with contextlib.suppress(FileNotFoundError):  # It cannot be read.
        size += os.path.getsize(self._clip_path(path))
    return size

  def remove(self) -> None:
    """Removes the folder, if it is there."""
    shutil.rmtree(self._folder, ignore_errors=True)

  def _clip_path(self, path: str) -> str:
    """Where a video goes; another place if it or the options change."""
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
    """Why a video cannot be read; '' if it is decoded, None if not tried."""
    if is_whole(self._clip_path(path)):
      return ''
    try:
      with open(self._reason_path(path), encoding='utf8') as file:
        return file.read() or None
    except FileNotFoundError:
      return None

  def _require_space(self, decoded: List[str], num_left: int,
                     num_all: int) -> None:
    """Raises UserError if the disk will not do; so soon, and not at the end."""
    size = self.num_bytes(decoded) / len(decoded)
    needed = int(size * (num_left + _COPIES_OF_TFDS * num_all))
    free = shutil.disk_usage(self._folder).free
    if needed > free:
      raise errors.UserError(
          f'No space left on the disk of {self._folder}: about '
          f'{tfds.core.utils.Size(needed)} are needed for {num_all:,} videos, '
          f'{tfds.core.utils.Size(free)} are free. Make room, set another '
          'data_dir, or a smaller fps or short_side (stored_short_side of '
          'task.train_data).')

  def _decode(self, paths: List[str]) -> Iterator[Tuple[str, str]]:
    """Yields (path, why it cannot be read or '') as they get done."""
    waiting, lock, answers = iter(paths), threading.Lock(), queue.Queue()

    def serve(worker: '_Worker') -> None:
      try:
        while True:
          with lock:
            path = next(waiting, None)
          if path is None:
            return
          answers.put((path, worker.decode(
              path=path, target=self._clip_path(path), fps=self._fps,
              short_side=self._short_side)))
      except BaseException as error:  # pylint: disable=broad-except
        answers.put(error)

    workers = [_Worker() for _ in range(min(os.cpu_count() or 1, len(paths)))]
    threads = [threading.Thread(target=serve, args=[worker], daemon=True)
               for worker in workers]
    for thread in threads:
      thread.start()
    try:
      for _ in paths:
        answer = answers.get()
        if isinstance(answer, BaseException):
          raise answer
        yield answer
    finally:
      with lock:
        waiting = iter(())
      for worker in workers:
        worker.stop()
      for thread in threads:
        thread.join()
      for worker in workers:
        worker.close()


class _Worker:
  """A process that decodes; started anew if a video makes it crash."""

  def __init__(self):
    self._process: Optional[subprocess.Popen] = None
    self._lock = threading.Lock()
    self._is_stopped = False

  def decode(self, path: str, **options) -> str:
    """Why a video cannot be read; '' if it is decoded."""
    process = self._start()
    took_too_long = threading.Event()

    def give_up():
      took_too_long.set()
      process.kill()

    timer = threading.Timer(_SECONDS_ALLOWED, give_up)
    timer.daemon = True
    timer.start()
    try:
      process.stdin.write(json.dumps({
          'path': path, 'seconds_allowed': _SECONDS_ALLOWED_ALONE, **options
      }) + '\n')
      process.stdin.flush()
      line = process.stdout.readline()
    except BrokenPipeError:
      line = ''
    finally:
      timer.cancel()
      timer.join()  # So that nothing is left when the generator is.
    if line:
      answer = json.loads(line)
      if 'failed' in answer:
        raise OSError(*answer['failed'])
      return answer.get('unreadable', '')
    said = self.close()
    if took_too_long.is_set():
      return f'takes longer than {_SECONDS_ALLOWED:,.0f} s to decode'
    return _explain_end(process.returncode, said, path)

  def stop(self) -> None:
    """Ends the process, whatever it does; it is not started again."""
    with self._lock:
      self._is_stopped = True
      if self._process:
        self._process.kill()

  def close(self) -> str:
    """Waits for the end of the process; the last line of its errors."""
    with self._lock:
      process, self._process = self._process, None
    if not process:
      return ''
    with process, self._errors:  # Closes the pipes and waits.
      # What it did not take, as it was dead, is flushed once more.
      with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
      process.wait()
      self._errors.seek(0)
      return ' '.join(self._errors.read().strip().splitlines()[-1:])

  def _start(self) -> subprocess.Popen:
    with self._lock:
      if self._is_stopped:
        raise InterruptedError
      if not self._process:
        self._errors = tempfile.TemporaryFile('w+')
        # It should find what we find.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, '-m', _WORKER], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**os.environ, 'PYTHONPATH': path})
      return self._process


def _explain_end(code: int, said: str, path: str) -> str:
  """Why a video made a process end; raises if it was not the video."""
  if code == -signal.SIGKILL:
    raise errors.UserError(
        f'A process was killed while it decoded {_printable(path)}, most often '
        'because memory ran out. Make room and start again: what is decoded is '
        'kept.')
  if code < 0:
    return f'makes the decoder crash ({signal.Signals(-code).name})'
  raise RuntimeError(
      f'The process that decodes videos ended with exit code {code}: '
      f'{said or "it said nothing"}')


def _printable(path: str) -> str:
  return os.fsencode(path).decode(errors='replace')
