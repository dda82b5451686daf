"""Runs an export on files and writes its predictions."""

import functools
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
from tf_tokenlearner.prediction import scoring
from tf_tokenlearner.prediction import writers
from tf_tokenlearner import progress

# Draws the attention maps of examples, given their numbers and probabilities.
_Draw = Callable[
    [List[int], List[examples.Example], List[np.ndarray]], None]


class Options(NamedTuple):
  """Options of predict.

  Attributes:
    output_format: key of writers.FORMATS.
    top: maximum number of classes in an answer.
    batch_size: maximum number of examples in a batch.
    attention_dir: folder for drawings of attention maps, '' for none.
    fps: frames per second of videos, if the export does not record it.
    stream: feed videos step by step and write an answer for each step.
    scores_dir: folder for scores of the predictions, '' for none; the paths are
      then folders of class folders.
  """
  output_format: str = 'table'
  top: int = 3
  batch_size: int = 16
  attention_dir: str = ''
  fps: Optional[float] = None
  stream: bool = False
  scores_dir: str = ''


def predict(model: str, paths: Sequence[str], options: Options) -> int:
  """Writes predictions to stdout, and everything else to stderr.

  Args:
    model: folder of an export, or its TFLite file.
    paths: files and folders.
    options: see Options.

  Returns:
    1 if a file could not be read, else 0.

  Raises:
    UserError: model is no export, there are no files for it, or options
      contradict each other.
  """
  export = predictors.Export(model)
  _check_streaming(export, options)
  fps = examples.choose_fps(export.view, options.fps)
  is_image = isinstance(export.view, views.ImageView)
  wanted = file_types.IMAGES if is_image else file_types.VIDEOS
  if options.scores_dir:
    loaded = export.load()
    listing = scoring.find(paths, wanted, loaded.label_names)
    for note in listing.notes:
      _print(writers.printable(note))
    _make_folder('scores', options.scores_dir)
  else:
    listing = listing_lib.find(paths, wanted, options.attention_dir)
    if listing.passed_over:
      _print('Passed over: ' + writers.printable(
          listing_lib.describe(listing.passed_over)) + '.')
    loaded = export.load()
  if options.attention_dir:
    loaded.require_attention_maps()
    _make_folder('attention', options.attention_dir)
  top = min(options.top, len(loaded.label_names))
  writer = writers.FORMATS[options.output_format](
      sys.stdout, list(map(writers.printable, listing.paths)),
      loaded.label_names, top, options.stream)
  probabilities: Dict[int, np.ndarray] = {}
  run = _stream if options.stream else functools.partial(
      _classify, kept=probabilities if options.scores_dir else None)
  unreadable: List[writers.Answer] = []
  try:
    run(loaded, listing.paths, fps, top, options, writer, unreadable)
  finally:
    if unreadable:
      which = ('The file' if len(listing.paths) == 1 else
               f'{len(unreadable):,} of {len(listing.paths):,} files')
      _print(f'{which} could not be read:')
      for answer in unreadable:
        _print(f'  {answer.file}: {answer.error}')
  if probabilities:
    table = scoring.write(options.scores_dir, listing, probabilities,
                          loaded.label_names, model)
    _print(f'\n{table}\n\nScores and predictions are in\n'
           f'{options.scores_dir}')
  return 1 if unreadable else 0


def steps(streamer: predictors.Streamer, path: str,
          fps: float) -> Iterator[Tuple[float, np.ndarray]]:
  """Yields the prediction after each step, while the video is read.

  Frames at the end that do not fill a step are left out. A video shorter than
  one step is filled up with its last frame.

  Args:
    streamer: the model; its state is reset first.
    path: path of the video.
    fps: frames per second to read it at.

  Yields:
    Time of the last frame seen, in seconds; probabilities [classes].

  Raises:
    UnreadableError: the file is no video or corrupt; possibly after many steps.
  """
  streamer.begin()
  stride = max(streamer.view.temporal_stride, 1)
  pending, seconds, is_begun = [], 0., False
  stored = examples.frames(path, streamer.view, fps)
  for number, frame in enumerate(stored):
    if number % stride:
      continue
    pending.append(frame)
    seconds = number / fps
    if len(pending) == streamer.num_frames:
      yield seconds, streamer.step(examples.pixels(pending).numpy())
      pending, is_begun = [], True
  if not is_begun:
    pending += pending[-1:] * (streamer.num_frames - len(pending))
    yield seconds, streamer.step(examples.pixels(pending).numpy())


def _make_folder(flag: str, path: str):
  """Creates the folder before any file is read, as reading takes long."""
  try:
    os.makedirs(path, exist_ok=True)
  except OSError as error:
    raise errors.UserError(
        f'--{flag}={path} cannot be created: {error.strerror}. Give another '
        'folder.') from error


def _check_streaming(export: predictors.Export, options: Options):
  if options.stream and not export.is_streaming:
    raise errors.UserError(
        '--stream needs an export of export/export_streaming.py, got '
        f'{export.folder}, an export of the format {export.export_format}.')
  if export.is_streaming and not options.stream:
    raise errors.UserError(
        f'{export.folder} is a streaming model. Give --stream.')
  if options.stream and options.attention_dir:
    raise errors.UserError('--attention does not go with --stream.')
  if options.stream and options.scores_dir:
    raise errors.UserError('--scores does not go with --stream.')


def _classify(predictor: predictors.Predictor, paths: Sequence[str],
              fps: Optional[float], top: int, options: Options,
              writer: writers.Writer, unreadable: List[writers.Answer],
              kept: Optional[Dict[int, np.ndarray]] = None):
  """Writes an answer for each file; appends those without one to unreadable.

  Probabilities are kept by number of the file, if there is a dict for them.
  """
  batch_size = min(options.batch_size, len(paths))
  with progress.Progress('Classified', len(paths), _print) as counter:
    output = _InOrder(writer, counter, unreadable)
    draw = _make_draw(predictor, paths, fps, batch_size, options.attention_dir)

    def refuse(number, reason):
      output.put(number, writers.Answer(
          writers.printable(paths[number]), error=str(reason)))

    def classify(numbers, members):
      results = predictor.probabilities(members, batch_size)
      is_good = [not isinstance(values, examples.UnreadableError)
                 for values in results]
      draw(*(list(itertools.compress(items, is_good))
             for items in (numbers, members, results)))
      for number, values in zip(numbers, results):
        if isinstance(values, examples.UnreadableError):
          refuse(number, values)
          continue
        if kept is not None:
          kept[number] = values
        output.put(number, writers.Answer(
            writers.printable(paths[number]),
            writers.likeliest(values, predictor.label_names, top)))

    batches = examples.Batches(batch_size)
    read = examples.make_reader(predictor.view, fps)
    try:
      for number, example in enumerate(examples.read_all(
          paths, read, ahead=2 * batch_size)):
        if isinstance(example, examples.UnreadableError):
          refuse(number, example)
          continue
        for batch in batches.add(number, example):
          classify(*batch)
      for batch in batches.rest():
        classify(*batch)
    finally:
      output.write_rest()


class _InOrder:
  """Answers that are written in the order of the files.

  Args:
    writer: writes the answers.
    counter: counts them.
    unreadable: receives the answers with an error.
  """

  def __init__(self, writer: writers.Writer, counter: progress.Progress,
               unreadable: List[writers.Answer]):
    self._writer, self._counter = writer, counter
    self._unreadable = unreadable
    self._waiting: Dict[int, writers.Answer] = {}
    self._next = 0

  def put(self, number: int, answer: writers.Answer) -> None:
    """Writes the answer of a file once all files before it have theirs."""
    self._waiting[number] = answer
    while self._next in self._waiting:
      self._write(self._next)
      self._next += 1
    self._counter.advance()

  def write_rest(self) -> None:
    """Writes the answers that wait for earlier files."""
    for number in sorted(self._waiting):
      self._write(number)

  def _write(self, number):
    answer = self._waiting.pop(number)
    if answer.error:
      self._unreadable.append(answer)
    self._counter.clear()
    self._writer.write(answer)


def _make_draw(predictor: predictors.Predictor, paths: Sequence[str],
               fps: Optional[float], batch_size: int, folder: str) -> _Draw:
  """Returns a function that draws attention maps; without folder, none."""
  if not folder:
    return lambda numbers, members, results: None
  view = predictor.view
  is_image = isinstance(view, views.ImageView)
  targets = overlays.paths(folder, paths, '.png' if is_image else '.gif')

  def draw(numbers, members, results):
    all_maps = predictor.attention_maps(members, batch_size)
    for number, member, values, maps in zip(
        numbers, members, results, all_maps):
      pixels = examples.to_view(member, view).numpy()
      place = view.placement(examples.frame_shape(member))
      (name, value), = writers.likeliest(values, predictor.label_names, 1)
      caption = f'{name} {value:.3f}'
      if is_image:
        overlays.write_image(targets[number], pixels, maps, caption, place)
      else:
        overlays.write_clip(targets[number], pixels, maps, caption,
                            fps / max(view.temporal_stride, 1), place)

  return draw


def _stream(streamer: predictors.Streamer, paths: Sequence[str], fps: float,
            top: int, unused_options: Options, writer: writers.Writer,
            unreadable: List[writers.Answer]):
  """Writes an answer for each step; a terminal also shows the last one."""
  line = progress.StatusLine(announce=lambda text: None)
  with progress.Progress('Streamed', len(paths), _print) as counter:
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


def _print(text: str) -> None:
  print(text, file=sys.stderr, flush=True)
