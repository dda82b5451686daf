"""Writes answers as they arrive: a table, JSON or CSV."""

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


# Minimum widths of columns; below them, lines are wrapped instead.
_SHORTEST_FILE, _SHORTEST_NAME = 20, 8
_GAP = 2
_BESIDE_NAME = _GAP + len(' 0.000')


class Answer(NamedTuple):
  """The prediction for a file, or for a moment of a streamed video.

  Attributes:
    file: printable path of the file.
    classes: (name, probability), most likely first.
    error: why the file cannot be read, or ''.
    seconds: time since the start of a stream; None for whole files.
  """
  file: str
  classes: Sequence[Tuple[str, float]] = ()
  error: str = ''
  seconds: Optional[float] = None


def likeliest(probabilities: np.ndarray, label_names: Sequence[str],
              top: int) -> List[Tuple[str, float]]:
  """Returns (name, probability) of the `top` most likely classes."""
  order = np.argsort(-probabilities, kind='stable')[:top]
  return [(label_names[i], float(probabilities[i])) for i in order]


def printable(path: str) -> str:
  """Returns a path as one line of text, also if its bytes are no text."""
  text = os.fsencode(path).decode(errors='replace')
  return ''.join(c if c.isprintable() else '\N{REPLACEMENT CHARACTER}'
                 for c in text)


class Writer(abc.ABC):
  """Base class of the output formats. Each answer is flushed.

  Args:
    stream: the output.
    files: printable paths of all files that will be answered.
    label_names: names of all classes.
    top: number of classes in each answer.
    is_streaming: whether answers are for moments of a stream.
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
    """Ends the answers of a streamed video."""

  def _begin(self) -> None:
    """Writes a header, if there is one."""

  def _print(self, text: str) -> None:
    self._stream.write(text + '\n')
    self._stream.flush()


class _Json(Writer):
  """JSON, one object per line. ASCII if the output cannot encode more."""

  def write(self, answer):
    moment = {} if answer.seconds is None else {
        'seconds': round(answer.seconds, 3)}
    self._print(json.dumps({
        'file': answer.file, **moment,
        'classes': [{'name': name, 'probability': round(probability, 6)}
                    for name, probability in answer.classes],
        'error': answer.error or None},
        ensure_ascii=not encodes(self._stream, '\u2026')))


class _Csv(Writer):
  """CSV, a header and one row per answer."""

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
  """A table that fits the terminal; names are cut and long lines wrapped.

  Unreadable files are left to the summary on stderr. A stream gets a line
  whenever the most likely class changes, and one at its end.
  """

  def _begin(self):
    columns = (shutil.get_terminal_size().columns if self._stream.isatty()
               else sys.maxsize)
    heads = ['0:00:00.00'] if self._is_streaming else self._files
    self._head, self._name = _widths(
        columns, max(map(len, heads)), max(map(len, self._label_names)),
        self._top)
    self._ellipsis = '\u2026' if encodes(self._stream, '\u2026') else '~'
    self._cells = max((columns - self._head) // (self._name + _BESIDE_NAME), 1)
    self._file = self._last = self._shown = None

  def write(self, answer):
    if answer.error:
      return
    if not self._is_streaming:
      self._lines(self._cut(answer.file, self._head, at_start=True), answer)
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
          ' ' * _GAP + f'{self._cut(name, self._name):{self._name}} {value:.3f}'
          for name, value in answer.classes[start:start + self._cells])
      self._print(f'{head:{self._head}}{cells}')
      head = ''

  def _cut(self, text, width, at_start=False):
    """Shortens a text to `width` characters, at its end or its start."""
    if len(text) <= width:
      return text
    if at_start:
      return self._ellipsis + text[len(text) - width + 1:]
    return text[:width - 1] + self._ellipsis


FORMATS: Dict[str, Type[Writer]] = {
    'table': _Table, 'json': _Json, 'csv': _Csv}


def check_format(name: str) -> None:
  """Raises UserError if there is no such format."""
  if name not in FORMATS:
    raise errors.unknown_name('--format', name, FORMATS)


def encodes(stream: TextIO, text: str) -> bool:
  """Returns whether a stream's encoding has the characters of a text."""
  try:
    text.encode(stream.encoding or 'utf-8')
  except UnicodeEncodeError:
    return False
  return True


def moment(seconds: float) -> str:
  """Formats seconds as progress.duration does, with hundredths: 0:07.25."""
  hundredths = round(seconds * 100)
  whole = progress.duration(hundredths // 100)
  return f'{whole}.{hundredths % 100:02d}'


def _widths(columns: int, file: int, name: int, top: int) -> Tuple[int, int]:
  """Returns the widths of the file column and of the class names.

  Args:
    columns: width of the terminal.
    file: length of the longest file name.
    name: length of the longest class name.
    top: number of classes in an answer.
  """
  least = min(file, _SHORTEST_FILE)
  room = (columns - least) // top - _BESIDE_NAME  # Of a name in one line.
  if room >= min(name, _SHORTEST_NAME):
    name = min(name, room)
    return min(file, columns - top * (name + _BESIDE_NAME)), name
  file = min(file, columns // 2)
  return file, max(min(name, columns - file - _BESIDE_NAME), 1)
