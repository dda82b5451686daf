"""Times our input pipelines beside the JPEG decoder alone.

  python benchmarks/input_pipeline.py
  python benchmarks/input_pipeline.py --kinds=clips --num_frames=16

Prints images and clips per second of training batches, read from TFDS data
sets that are made for the purpose: photographs, and videos that pan over them.
The decoder alone is tf.io.decode_jpeg in a parallel map over the same images or
frames, whole, from memory: no reading, cropping, resizing or batching. Each
round lets every pipeline run for a while, one after the other, and counts from
one batch's arrival to that of another; medians are printed, and the share of
the decoder's speed that a pipeline reaches.
"""

import os
import sys

if not __package__:  # Run as a script: the clone lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from tf_tokenlearner import cli
from tf_tokenlearner import errors

_KINDS = ('images', 'clips')
_LINE = '{:<8}{:<16}{:>12}{:>12}{:>11}'
_WARM_UP = 3  # Batches, until every buffer has been filled and emptied.


def define_flags(values: flags.FlagValues) -> None:
  # --help lists what the program itself defines.
  owner = dict(flag_values=values, module_name='__main__')
  flags.DEFINE_list('kinds', 'images,clips', 'What is timed.', **owner)
  for name, default, what in (
      ('image_size', 224, 'Height and width of what comes out, in pixels.'),
      ('image_width', 500, 'Width of the stored images; 4:3.'),
      ('frame_width', 340, 'Width of the stored frames; 4:3.'),
      ('num_frames', 32, 'Frames of a clip.'),
      ('stored_frames', 96, 'Frames of a stored video.'),
      ('quality', 90, 'Of the JPEG files, up to 100.'),
      ('num_images', 256, 'Stored images.'),
      ('num_videos', 16, 'Stored videos.'),
      ('image_batch_size', 64, 'Images per batch.'),
      ('clip_batch_size', 8, 'Clips per batch.'),
      ('batches', 6, 'Batches per round.'),
      ('rounds', 9, 'How often each is timed; medians are printed.')):
    flags.DEFINE_integer(name, default, what, lower_bound=1, **owner)


def run(values: flags.FlagValues) -> str:
  """Times what the flags say; returns the table."""
  for kind in values.kinds:
    if kind not in _KINDS:
      raise errors.unknown_name('kind', kind, _KINDS)
  if not values.kinds:
    raise errors.UserError(
        f'--kinds is empty; give one or more of {", ".join(_KINDS)}.')

  # These take seconds: only now, when the flags make sense.
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
  """How long so many batches take once the pipeline is in full swing."""
  import time

  iterator = iter(dataset)
  for _ in range(_WARM_UP):
    next(iterator)
  start = time.perf_counter()
  for _ in range(num_batches):
    next(iterator)
  return time.perf_counter() - start


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  print(run(flags.FLAGS))


if __name__ == '__main__':
  define_flags(flags.FLAGS)
  cli.run(main)
