"""A lock between processes, held on a file."""

import contextlib
import fcntl
import os
from typing import Callable, Iterator


@contextlib.contextmanager
def alone(path: str, on_wait: Callable[[], None]) -> Iterator[None]:
  """Holds the lock of a path, after waiting for other processes and threads.

  The operating system releases the lock when the process ends, even if it is
  killed. The file is removed on release. On file systems without locks, such as
  some network file systems, nobody waits.

  Args:
    path: a local file in an existing folder; created if it is absent.
    on_wait: called once if the lock is held by another.
  """
  descriptor = _lock(path, on_wait)
  try:
    yield
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.unlink(path)
    os.close(descriptor)


def _lock(path: str, on_wait: Callable[[], None]) -> int:
  """Returns the descriptor of the locked file."""
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
    os.close(descriptor)  # The holder removed the file; try the new one.


def _is_file_of(path: str, descriptor: int) -> bool:
  try:
    return os.path.samestat(os.stat(path), os.fstat(descriptor))
  except FileNotFoundError:
    return False
