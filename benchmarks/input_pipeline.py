"""Times our input pipelines and the JPEG decoder alone.

  python benchmarks/input_pipeline.py
  python benchmarks/input_pipeline.py --kinds=clips --num_frames=16

Prints images and clips per second of training batches, read from TFDS data
sets of photographs and of videos that pan over them; the benchmark prepares
both. "Decoder alone" is tf.io.decode_jpeg in a parallel map over the same
images or frames in memory, without cropping or resizing. Each round runs every
pipeline in turn for a few batches; medians are printed, and their ratio to the
speed of the decoder.
"""

import os
import sys

if not __package__:  # Run as a script: the clone lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from benchmarks import program
from tf_tokenlearner import errors

_KINDS = ('images', 'clips')
_LINE = '{:<8}{:<16}{:>12}{:>12}{:>11}'
_WARM_UP = 3  # Batches until every buffer has been filled and emptied.


def define_flags(values: flags.FlagValues) -> None:
  # --help lists the flags of the module __main__.
  owner = dict(flag_values=values, module_name='__main__')
  flags.DEFINE_list('kinds', 'images,clips', 'Inputs to time.', **owner)
  for name, default, what in (
      ('image_size', 224, 'Height and width of the batches, in pixels.'),
      ('image_width', 500, 'Width of the stored images; 4:3.'),
      ('frame_width', 340, 'Width of the stored frames; 4:3.'),
      ('num_frames', 32, 'Frames of a clip.'),
      ('stored_frames', 96, 'Frames of a stored video.'),
      ('quality', 90, 'JPEG quality, up to 100.'),
      ('num_images', 256, 'Stored images.'),
      ('num_videos', 16, 'Stored videos.'),
      ('image_batch_size', 64, 'Images per batch.'),
      ('clip_batch_size', 8, 'Clips per batch.'),
      ('batches', 6, 'Batches per round.'),
      ('rounds', 9, 'Timed rounds; medians are printed.')):
    flags.DEFINE_integer(name, default, what, lower_bound=1, **owner)


def run(values: flags.FlagValues) -> str:
  """Times the selected pipelines; returns the table."""
  for kind in values.kinds:
    if kind not in _KINDS:
      raise errors.unknown_name('kind', kind, _KINDS)
  if not values.kinds:
    raise errors.UserError(
        f'--kinds is empty; give one or more of {", ".join(_KINDS)}.')

  # These imports take seconds, so the flags are checked first.
  import statistics
  import tempfile
  from benchmarks import input_data
  from benchmarks import timing

  with tempfile.TemporaryDirectory() as folder:
    sets = {}
    for kind in values.kinds:
      make = input_data.images if kind == 'images' else input_data.clips
      sets[kind] = make(values, os.path.join(folder, kind))
    rates = {(kind, name): [] for kind in sets for name in sets[kind].datasets}
    for _ in range(values.rounds):
      for kind, name in rates:
        seconds = _seconds(sets[kind].datasets[name], values.batches)
        rates[kind, name].append(
            values.batches * sets[kind].batch_size / seconds)
  rates = {key: statistics.median(found) for key, found in rates.items()}

  lines = [
      f'Training input at {values.image_size} px, clips of '
      f'{values.num_frames} frames',
      timing.machine(),
      f'Medians of {values.rounds} rounds of {values.batches} batches',
      'Stored: ' + ', '.join(
          f'{kind} of {found.bytes:,} bytes{" a frame" * (kind == "clips")}'
          for kind, found in sets.items()), '',
      _LINE.format('kind', 'pipeline', 'per second', 'ms each', '/ decoder')]
  lines.append('-' * len(lines[-1]))
  for (kind, name), rate in rates.items():
    lines.append(_LINE.format(
        kind, name, f'{rate:.1f}', f'{1e3 / rate:.2f}',
        f'{rate / rates[kind, input_data.DECODER]:.2f}'))
  return '\n'.join(lines)


def _seconds(dataset, num_batches: int) -> float:
  """Returns the seconds for some batches after the pipeline has warmed up."""
  import time

  iterator = iter(dataset)
  for _ in range(_WARM_UP):
    next(iterator)
  start = time.perf_counter()
  for _ in range(num_batches):
    next(iterator)
  return time.perf_counter() - start


if __name__ == '__main__':
  program.start(define_flags, run)
