"""Asks an export about files, and says what it says."""

import itertools
import os
import sys
from typing import (
    Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple)

import numpy as np

from tf_tokenlearner.data import file_types
from tf_tokenlearner.data import views
from tf_tokenlearner import errors
from tf_tokenlearner.prediction import examples
from tf_tokenlearner.prediction import listing as listing_lib
from tf_tokenlearner.prediction import overlays
from tf_tokenlearner.prediction import predictors
from tf_tokenlearner.prediction import writers
from tf_tokenlearner import progress


def steps(streamer: predictors.Streamer, path: str,
          fps: float) -> Iterator[Tuple[float, np.ndarray]]:
  """Yields what is thought after each step, while the video is read.

  Frames at the end that fill no step are left out, unless there was none: then
  the last one is repeated.

  Args:
    streamer: is set back to the beginning.
    path: of the video.
    fps: frames a second that it is read at.

  Yields:
    Seconds, at which the last frame seen is shown; probabilities [classes].

  Raises:
    UnreadableError: it is no video, or, possibly after many steps, corrupt.
  """
  streamer.begin()
  stride = max(streamer.preprocessing.temporal_stride, 1)
  part, seconds, is_begun = [], 0., False
  stored = examples.frames(path, streamer.preprocessing, fps)
  for number, frame in enumerate(stored):
    if number % stride:
      continue
    part.append(frame)
    seconds = number / fps
    if len(part) == streamer.num_frames:
      yield seconds, streamer.step(examples.pixels(part).numpy())
      part, is_begun = [], True
  if not is_begun:
    part += part[-1:] * (streamer.num_frames - len(part))
    yield seconds, streamer.step(examples.pixels(part).numpy())


class Options(NamedTuple):
  """How to ask and to answer.

  Attributes:
    form: of answers.FORMATS.
    top: classes in an answer, at most.
    batch_size: of what is asked at once.
    attention_dir: where to draw attention maps, '' for nowhere.
    fps: frames a second of videos, where the export does not know.
    stream: show how the answer evolves.
  """
  form: str = 'table'
  top: int = 3
  batch_size: int = 16
  attention_dir: str = ''
  fps: Optional[float] = None
  stream: bool = False


def predict(model: str, paths: Sequence[str], options: Options) -> int:
  """Prints the answers to stdout, all else to stderr.

  Args:
    model: an export's folder, or its TFLite file.
    paths: of files and folders.
    options: see there.

  Returns:
    1 if a file could not be read, else 0.

  Raises:
    UserError: no such export, no files for it, or options that do not go
      together.
  """
  export = predictors.Export(model)
  _check_streaming(export, options)
  fps = examples.choose_fps(export.preprocessing, options.fps)
  is_image = isinstance(export.preprocessing, views.ImageView)
  listing = listing_lib.find(
      paths, file_types.IMAGES if is_image else file_types.VIDEOS,
      options.attention_dir)
  if listing.num_others:
    _tell('Passed over: ' + listing_lib.describe(listing.num_others) + '.')
  asked = export.load()
  if options.attention_dir:
    asked.require_attention_maps()
    _make_folder(options.attention_dir)
  top = min(options.top, len(asked.label_names))
  writer = writers.FORMATS[options.form](
      sys.stdout, list(map(writers.printable, listing.paths)),
      asked.label_names, top, options.stream)
  ask = _stream if options.stream else _ask
  unreadable: List[writers.Answer] = []
  try:
    ask(asked, listing.paths, fps, top, options, writer, unreadable)
  finally:
    if unreadable:
      which = ('The file' if len(listing.paths) == 1 else
               f'{len(unreadable):,} of {len(listing.paths):,} files')
      _tell(f'{which} could not be answered:')
      for answer in unreadable:
        _tell(f'  {answer.file}: {answer.error}')
  return 1 if unreadable else 0


def _make_folder(path: str):
  """Before anything is asked: answers take long."""
  try:
    os.makedirs(path, exist_ok=True)
  except OSError as error:
    raise errors.UserError(
        f'--attention={path} is no folder and cannot be made one: '
        f'{error.strerror}.') from error


def _check_streaming(export: predictors.Export, options: Options):
  if options.stream and not export.is_streaming:
    raise errors.UserError(
        '--stream needs what export/export_streaming.py writes; '
        f'{export.folder} is an export of the kind {export.kind}.')
  if export.is_streaming and not options.stream:
    raise errors.UserError(
        f'{export.folder} is shown videos bit by bit: give --stream.')
  if options.stream and options.attention_dir:
    raise errors.UserError('--attention does not go with --stream.')


def _ask(predictor: predictors.Predictor, paths: Sequence[str],
         fps: Optional[float], top: int, options: Options,
         writer: writers.Writer, unreadable: List[writers.Answer]):
  """Writes an answer for each file; adds to those that cannot be read."""
  batch_size = min(options.batch_size, len(paths))
  with progress.Progress('Answered', len(paths), _tell) as counter:
    output = _InOrder(writer, counter, unreadable)
    draw = _make_draw(predictor, paths, fps, batch_size, options.attention_dir)

    def refuse(number, reason):
      output.put(number, writers.Answer(
          writers.printable(paths[number]), error=str(reason)))

    def answer(numbers, members):
      found = predictor.probabilities(members, batch_size)
      is_good = [not isinstance(values, examples.UnreadableError)
                 for values in found]
      draw(list(itertools.compress(numbers, is_good)),
           list(itertools.compress(members, is_good)))
      for number, values in zip(numbers, found):
        if isinstance(values, examples.UnreadableError):
          refuse(number, values)
          continue
        output.put(number, writers.Answer(
            writers.printable(paths[number]),
            writers.likeliest(values, predictor.label_names, top)))

    batches = examples.Batches(batch_size)
    read = examples.make_reader(predictor.preprocessing, fps)
    try:
      for number, example in enumerate(examples.read_all(
          paths, read, ahead=2 * batch_size)):
        if isinstance(example, examples.UnreadableError):
          refuse(number, example)
          continue
        for batch in batches.add(number, example):
          answer(*batch)
      for batch in batches.rest():
        answer(*batch)
    finally:
      output.write_rest()


class _InOrder:
  """Writes answers in the order of the files, whichever comes first.

  Args:
    writer: of the answers.
    counter: is told of each.
    unreadable: those that are none are added.
  """

  def __init__(self, writer: writers.Writer, counter: progress.Progress,
               unreadable: List[writers.Answer]):
    self._writer, self._counter = writer, counter
    self._unreadable = unreadable
    self._waiting: Dict[int, writers.Answer] = {}
    self._next = 0

  def put(self, number: int, answer: writers.Answer) -> None:
    self._waiting[number] = answer
    while self._next in self._waiting:
      self._write(self._next)
      self._next += 1
    self._counter.advance()

  def write_rest(self) -> None:
    """Those that wait for others, which will not come."""
    for number in sorted(self._waiting):
      self._write(number)

  def _write(self, number):
    answer = self._waiting.pop(number)
    if answer.error:
      self._unreadable.append(answer)
    self._counter.clear()
    self._writer.write(answer)


def _make_draw(predictor: predictors.Predictor, paths: Sequence[str],
               fps: Optional[float], batch_size: int, folder: str
               ) -> Callable[[List[int], List[examples.Example]], None]:
  """A function that draws attention maps of examples, given their numbers."""
  if not folder:
    return lambda numbers, members: None
  preprocessing = predictor.preprocessing
  is_image = isinstance(preprocessing, views.ImageView)
  targets = overlays.paths(folder, paths, '.png' if is_image else '.gif')

  def draw(numbers, members):
    all_maps = predictor.attention_maps(members, batch_size)
    for number, member, maps in zip(numbers, members, all_maps):
      view = examples.view(member, preprocessing).numpy()
      if is_image:
        overlays.write_image(targets[number], view, maps)
      else:
        overlays.write_clip(targets[number], view, maps,
                            fps / max(preprocessing.temporal_stride, 1))

  return draw


def _stream(streamer: predictors.Streamer, paths: Sequence[str], fps: float,
            top: int, unused_options: Options, writer: writers.Writer,
            unreadable: List[writers.Answer]):
  """As _ask, for each moment of each file; the last one is kept in sight."""
  line = progress.StatusLine(announce=lambda text: None)
  with progress.Progress('Watched', len(paths), _tell) as counter:
    for number, path in enumerate(paths, start=1):
      file = writers.printable(path)
      which = f'{number:,} of {len(paths):,}  ' if len(paths) > 1 else ''
      try:
        for seconds, values in steps(streamer, path, fps):
          answer = writers.Answer(
              file, writers.likeliest(values, streamer.label_names, top),
              seconds=seconds)
          counter.clear()
          line.clear()
          writer.write(answer)
          line.show(f'{which}{writers.moment(seconds)}  ' + '  '.join(
              f'{name} {value:.3f}' for name, value in answer.classes),
                    force=True)
      except examples.UnreadableError as error:
        unreadable.append(writers.Answer(file, error=str(error)))
        counter.clear()
        line.clear()
        writer.write(unreadable[-1])
      finally:
        line.clear()
        writer.end_of_file()
      counter.advance()


def _tell(text: str) -> None:
  print(text, file=sys.stderr, flush=True)
