"""Times inference of our image models and of the Model Garden's ViT.

  python benchmarks/inference.py
  python benchmarks/inference.py --variant=S/16 --modes=graph --batch_sizes=1

Prints, for each mode and batch size, milliseconds per image (median over
rounds in which every model runs once), the speed-up over the Garden's plain ViT
in the same mode and batch, and the floor: the time of one large float32 matrix
multiplication with as many multiply-accumulates as the model, timed in the same
rounds. All models are float32 classifiers with mean pooling, 1000 classes and
random weights.
"""

import os
import sys

if not __package__:  # Run as a script: the clone lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from benchmarks import options
from benchmarks import program

_LINE = '{:<7}{:>5}  {:<24}{:>10}{:>10}{:>10}{:>9}'


def define_flags(values: flags.FlagValues) -> None:
  options.define(values, variant='B/16', modes='graph,xla', rounds=30)
  flags.DEFINE_list(
      'batch_sizes', '1,8', 'Images per call.', flag_values=values)


def run(values: flags.FlagValues) -> str:
  """Times the selected models; returns the table."""
  modes = options.modes(values.modes)
  batch_sizes = options.batch_sizes(values.batch_sizes)

  # These imports take seconds, so the flags are checked first.
  import tensorflow as tf
  from benchmarks import contenders
  from benchmarks import timing

  def infer(model, mode, batch_size):
    images = tf.random.uniform(
        [batch_size, values.image_size, values.image_size, 3], -1., 1.)
    function = tf.function(
        lambda x: model(x, training=False), jit_compile=mode == 'xla',
        autograph=False).get_concrete_function(images)
    return lambda: function(images).numpy()

  models = contenders.make(values.variant, values.image_size,
                           values.num_tokens, values.location)
  garden = models[0].name
  functions = {
      (mode, batch_size, model.name): infer(model.model, mode, batch_size)
      for mode in modes for batch_size in batch_sizes for model in models}
  functions['floor'], floor_macs = timing.one_matmul(models[0].macs)
  seconds = timing.interleave(functions, values.rounds)
  seconds_per_mac = seconds['floor'] / floor_macs

  lines = [
      f'Inference, {values.variant} at {values.image_size} px, float32',
      timing.machine(),
      f'Medians of {values.rounds} rounds; the floor is one matrix '
      f'multiplication, {1e-9 / seconds_per_mac:.0f} GMAC/s.', '',
      _LINE.format('mode', 'batch', 'model', 'ms/image', 'speed-up',
                   'floor ms', '/ floor')]
  lines.append('-' * len(lines[-1]))
  for mode in modes:
    for batch_size in batch_sizes:
      for name, _, macs in models:
        time = seconds[mode, batch_size, name]
        floor = batch_size * macs * seconds_per_mac
        lines.append(_LINE.format(
            mode, batch_size, name, f'{1e3 * time / batch_size:.1f}',
            f'{seconds[mode, batch_size, garden] / time:.2f}',
            f'{1e3 * floor / batch_size:.1f}', f'{time / floor:.2f}'))
  return '\n'.join(lines)


if __name__ == '__main__':
  program.start(define_flags, run)
