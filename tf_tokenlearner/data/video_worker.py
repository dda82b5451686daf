"""Decodes videos into clip files, in separate processes.

A file that crashes or hangs libav then costs one process, not the program.
Neither pebble nor multiprocessing does this: both run the user's main script
again in every process, or fork a process in which TensorFlow has threads.

This module is also the program of those processes (`python -m`). Each line on
stdin is a job, each line on stdout reports how one ended, in JSON. The process
ends with its stdin, hence with its parent. Needs no TensorFlow.
"""

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from typing import Iterable, List, Optional

from tf_tokenlearner.data import file_types
from tf_tokenlearner.data import video_files
from tf_tokenlearner import errors

_LENGTH = struct.Struct('<I')
_END = _LENGTH.pack(2**32 - 1)
_PROGRAM = 'tf_tokenlearner.data.video_worker'
_SECONDS_ALLOWED = 1800  # For one video; hours of 4K are refused earlier.


def write(path: str, frames: Iterable[bytes]) -> None:
  """Writes a clip file, atomically.

  Args:
    path: of the file.
    frames: JPEG files of the clip; exceptions that it raises are passed on.

  Raises:
    OSError: the file cannot be written.
  """
  partial = f'{path}.{os.getpid()}.partial'
  try:
    with open(partial, 'wb') as file:
      for frame in frames:
        file.write(_LENGTH.pack(len(frame)))
        file.write(frame)
      file.write(_END)
    os.replace(partial, path)
  except BaseException:
    with contextlib.suppress(OSError):
      os.unlink(partial)
    raise


def is_whole(path: str) -> bool:
  """Returns whether a clip file is complete; a power failure may truncate it.
  """
  try:
    with open(path, 'rb') as file:
      file.seek(-len(_END), os.SEEK_END)
      return file.read() == _END
  except OSError:
    return False


def read(path: str) -> List[bytes]:
  """Returns the frames of a clip file.

  Raises:
    OSError: the file cannot be read.
  """
  frames = []
  with open(path, 'rb') as file:
    while (length := file.read(_LENGTH.size)) != _END:
      frames.append(file.read(*_LENGTH.unpack(length)))
  return frames


class Worker:
  """A decoding process, started on demand and again after a crash."""

  def __init__(self):
    self._process: Optional[subprocess.Popen] = None
    self._lock = threading.Lock()
    self._is_stopped = False

  def decode(self, path: str, **options) -> str:
    """Decodes a video into a clip file.

    Args:
      path: of the video.
      **options: target, fps and short_side of `decode_to_file`.

    Returns:
      The reason why the video is unreadable; '' if it is decoded.

    Raises:
      OSError: the clip file cannot be written.
      UserError: the process was killed.
      InterruptedError: the worker is stopped.
    """
    process = self._start()
    try:
      process.stdin.write(json.dumps({
          'path': path, 'seconds_allowed': _SECONDS_ALLOWED, **options
      }) + '\n')
      process.stdin.flush()
      line = process.stdout.readline()
    except BrokenPipeError:
      line = ''
    if line:
      answer = json.loads(line)
      if 'failed' in answer:
        raise OSError(*answer['failed'])
      return answer.get('unreadable', '')
    last_words = self.close()
    return _explain_end(process.returncode, last_words, path)

  def stop(self) -> None:
    """Kills the process, even inside libav; it is not started again."""
    with self._lock:
      self._is_stopped = True
      if self._process:
        self._process.kill()

  def close(self) -> str:
    """Waits for the end of the process; returns the last line of its stderr."""
    with self._lock:
      process, self._process = self._process, None
    if not process:
      return ''
    with process, self._errors:  # Closes the pipes and waits.
      # A job that a dead process did not take is flushed once more.
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
        # The process must find the same modules.
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        self._process = subprocess.Popen(
            [sys.executable, '-m', _PROGRAM], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._errors, text=True,
            env={**os.environ, 'PYTHONPATH': path})
      return self._process


def _explain_end(code: int, last_words: str, path: str) -> str:
  """Returns why a video ended its process; raises if it was not the video."""
  if code == -signal.SIGALRM:
    return f'takes longer than {_SECONDS_ALLOWED:,.0f} s to decode'
  if code == -signal.SIGKILL:
    raise errors.UserError(
        f'A process was killed while it decoded {file_types.printable(path)}, '
        'most often because memory ran out. Free some memory and start again: '
        'decoded videos are kept.')
  if code < 0:
    return f'makes the decoder crash ({signal.Signals(-code).name})'
  raise RuntimeError(
      f'The process that decodes videos ended with exit code {code}: '
      f'{last_words or "no message"}')


def decode_to_file(
    path: str, target: str, fps: float, short_side: int) -> dict:
  """Decodes one video.

  Args:
    path: of the video.
    target: path of the clip file to write.
    fps: frames per second, as in video_files.decode.
    short_side: in pixels, as in video_files.decode.

  Returns:
    {}, or {'unreadable': reason}, or {'failed': (number, text)} with the
    OSError of writing the clip file.
  """
  try:
    write(target, video_files.decode(path, fps, short_side))
  except video_files.UnreadableVideoError as error:
    return {'unreadable': str(error)}
  except OSError as error:
    return {'failed': (error.errno, error.strerror)}
  except MemoryError:  # Not the video's fault.
    raise
  except Exception as error:  # pylint: disable=broad-except
    # One odd file must not end the preparation of all.
    text = ' '.join(str(error).split())
    return {'unreadable': f'cannot be decoded ({type(error).__name__}: {text})'}
  return {}


def main() -> None:
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's.
  signal.signal(signal.SIGALRM, signal.SIG_DFL)
  with os.fdopen(os.dup(1), 'w', encoding='ascii') as answers:
    os.dup2(2, 1)  # Prints of libraries must not mix with the answers.
    for line in sys.stdin:
      job = json.loads(line)
      # SIGALRM ends the process even inside libav, and if the parent is gone.
      signal.alarm(job.pop('seconds_allowed'))
      answer = decode_to_file(**job)
      signal.alarm(0)
      answers.write(json.dumps(answer) + '\n')
      answers.flush()


if __name__ == '__main__':
  main()
