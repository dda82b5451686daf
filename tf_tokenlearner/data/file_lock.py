"""Lets one process at a time do something, by a file that they lock."""

import contextlib
import fcntl
import os
from typing import Callable, Iterator


@contextlib.contextmanager
def alone(path: str, on_wait: Callable[[], None]) -> Iterator[None]:
  """Waits until no other process or thread is inside for the same path.

  The lock ends with the process, however that ends, and the file is removed by
  whoever leaves. Where the file system has no locks, as some in networks, all
  are let in.

  Args:
    path: a local file, in a folder that exists; made if it is not there.
    on_wait: called once if there is somebody inside.
  """
  descriptor = _lock(path, on_wait)
  try:
    yield
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.unlink(path)
    os.close(descriptor)


def _lock(path: str, on_wait: Callable[[], None]) -> int:
  """The descriptor of the locked file."""
  waited = False
  while True:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      if not waited:
        on_wait()
      waited = True
      fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
      return descriptor
    if _is_file_of(path, descriptor):
      return descriptor
    os.close(descriptor)  # Removed by whoever had it; the path is free again.


def _is_file_of(path: str, descriptor: int) -> bool:
  try:
    return os.path.samestat(os.stat(path), os.fstat(descriptor))
  except FileNotFoundError:
    return False
