"""Decoded videos in files of their own, until a data set is made of them.

A file holds each frame after its length in four bytes; a length that no frame
has is the end. Needs no TensorFlow.
"""

import contextlib
import os
import struct
from typing import Iterable, List

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
