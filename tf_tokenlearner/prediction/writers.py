"""Writes answers as they come: a table, JSON or CSV."""

import abc
import csv
import json
import os
import shutil
import sys
from typing import (
    Dict, List, NamedTuple, Optional, Sequence, TextIO, Tuple, Type)

import numpy as np

from tf_tokenlearner import errors
from tf_tokenlearner import progress


# Nothing is cut to less than these; lines are broken instead.
_SHORTEST_FILE, _SHORTEST_NAME = 20, 8
_GAP = 2
_BESIDE_NAME = _GAP + len(' 0.000')


class Answer(NamedTuple):
  """What is said of a file, or of a moment of a video.

  Attributes:
    file: its path, printable.
    classes: (name, probability), the likeliest first.
    error: why it cannot be read, or ''.
    seconds: from the start of a stream, None of whole files.
  """
  file: str
  classes: Sequence[Tuple[str, float]] = ()
  error: str = ''
  seconds: Optional[float] = None


def likeliest(probabilities: np.ndarray, label_names: Sequence[str],
              top: int) -> List[Tuple[str, float]]:
  """(name, probability) of the `top` likeliest classes."""
  order = np.argsort(-probabilities, kind='stable')[:top]
  return [(label_names[i], float(probabilities[i])) for i in order]


def printable(path: str) -> str:
  """A path whose bytes need not be text, on one line."""
  text = os.fsencode(path).decode(errors='replace')
  return ''.join(c if c.isprintable() else '\N{REPLACEMENT CHARACTER}'
                 for c in text)


class Writer(abc.ABC):
  """Writes answers, each at once.

  Args:
    stream: where they go.
    files: all that will come, printable.
    label_names: of the classes.
    top: so many of them are in each answer.
    is_streaming: answers are of moments.
  """

  def __init__(self, stream: TextIO, files: Sequence[str],
               label_names: Sequence[str], top: int, is_streaming: bool):
    self._stream = stream
    self._files, self._label_names = files, label_names
    self._top, self._is_streaming = top, is_streaming
    self._begin()

  @abc.abstractmethod
  def write(self, answer: Answer) -> None:
    """Writes one answer."""

  def end_of_file(self) -> None:
    """No more of this video will come."""

  def _begin(self) -> None:
    """Writes what comes before."""

  def _print(self, text: str) -> None:
    self._stream.write(text + '\n')
    self._stream.flush()


class _Json(Writer):
  """An object a line."""

  def write(self, answer):
    moment = {} if answer.seconds is None else {
        'seconds': round(answer.seconds, 3)}
    self._print(json.dumps({
        'file': answer.file, **moment,
        'classes': [{'name': name, 'probability': round(probability, 6)}
                    for name, probability in answer.classes],
        'error': answer.error or None}, ensure_ascii=False))


class _Csv(Writer):
  """A header, and a row an answer."""

  def _begin(self):
    self._rows = csv.writer(self._stream, lineterminator='\n')
    self._row(['file', *['seconds'] * self._is_streaming,
               *(f'{key}_{i}' for i in range(1, self._top + 1)
                 for key in ('class', 'probability')), 'error'])

  def write(self, answer):
    cells = [cell for name, probability in answer.classes
             for cell in (name, f'{probability:.6f}')]
    moment = '' if answer.seconds is None else f'{answer.seconds:.3f}'
    self._row([answer.file, *[moment] * self._is_streaming,
               *cells, *[''] * (2 * self._top - len(cells)), answer.error])

  def _row(self, cells):
    self._rows.writerow(cells)
    self._stream.flush()


class _Table(Writer):
  """Lines that fit a terminal; names are cut, and long lines broken.

  Files that cannot be read are left to the end, on stderr. Of a stream there is
  a line whenever another class becomes the likeliest, and one at the end.
  """

  def _begin(self):
    columns = (shutil.get_terminal_size().columns if self._stream.isatty()
               else sys.maxsize)
    heads = ['0:00:00.00'] if self._is_streaming else self._files
    self._head, self._name = _widths(
        columns, max(map(len, heads)), max(map(len, self._label_names)),
        self._top)
    self._cells = max((columns - self._head) // (self._name + _BESIDE_NAME), 1)
    self._file = self._last = self._shown = None

  def write(self, answer):
    if answer.error:
      return
    if not self._is_streaming:
      self._lines(cut(answer.file, self._head, at_start=True), answer)
      return
    if answer.file != self._file:
      self._file, self._shown = answer.file, None
      self._print(answer.file)
    self._last = answer
    if self._shown is None or (
        self._shown.classes[0][0] != answer.classes[0][0]):
      self._show_moment(answer)

  def end_of_file(self):
    if self._last is not self._shown:
      self._show_moment(self._last)
    self._file = self._last = self._shown = None

  def _show_moment(self, answer):
    self._shown = answer
    self._lines(moment(answer.seconds).rjust(self._head), answer)

  def _lines(self, head, answer):
    for start in range(0, len(answer.classes), self._cells):
      cells = ''.join(
          ' ' * _GAP + f'{cut(name, self._name):{self._name}} {value:.3f}'
          for name, value in answer.classes[start:start + self._cells])
      self._print(f'{head:{self._head}}{cells}')
      head = ''


FORMATS: Dict[str, Type[Writer]] = {
    'table': _Table, 'json': _Json, 'csv': _Csv}


def check_format(name: str) -> None:
  """Raises UserError if there is no such format."""
  if name not in FORMATS:
    raise errors.unknown_name('--format', name, FORMATS)


def cut(text: str, width: int, at_start: bool = False) -> str:
  """At most `width` characters of a text, less its end or its start."""
  if len(text) <= width:
    return text
  if at_start:
    return '…' + text[len(text) - width + 1:]
  return text[:width - 1] + '…'


def moment(seconds: float) -> str:
  """0:07.25; as status_line.duration, with hundredths."""
  hundredths = round(seconds * 100)
  whole = progress.duration(hundredths // 100)
  return f'{whole}.{hundredths % 100:02d}'


def _widths(columns: int, file: int, name: int, top: int) -> Tuple[int, int]:
  """Of the column of files and of the names of classes.

  Args:
    columns: of the terminal.
    file: longest name of a file.
    name: longest name of a class.
    top: classes in an answer.
  """
  least = min(file, _SHORTEST_FILE)
  room = (columns - least) // top - _BESIDE_NAME  # For a name, on one line.
  if room >= min(name, _SHORTEST_NAME):
    name = min(name, room)
    return min(file, columns - top * (name + _BESIDE_NAME)), name
  file = min(file, columns // 2)
  return file, max(min(name, columns - file - _BESIDE_NAME), 1)
