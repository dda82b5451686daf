"""Times a new frame of a stream beside recomputing the whole clip.

  python benchmarks/streaming.py
  python benchmarks/streaming.py --variant=B/16x2 --num_frames=32 --modes=graph

The model is a factorised video classifier with a TokenLearner, 400 classes,
random weights, float32. Prints, for each mode, milliseconds (median over rounds
in which everything runs once) of one step of backbones.streaming, which takes
one tubelet of new frames, and of the model itself on a clip that ends in them;
both give the same logits, and the largest difference over a few steps is
printed. The mode tflite is a TFLite file run by LiteRT.
"""

import functools
import os
import sys

if not __package__:  # Run as a script: the clone lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from benchmarks import options
from tf_tokenlearner import cli

_LINE = '{:<7}{:>16}{:>16}{:>14}{:>16}'
_NUM_CLASSES = 400  # As Kinetics has.


def define_flags(values: flags.FlagValues) -> None:
  options.define(values, variant='Ti/16x1', modes='graph,xla,tflite', rounds=30)
  flags.DEFINE_integer(
      'num_frames', 16, 'Frames of a clip.', lower_bound=1,
      flag_values=values, module_name='__main__')


def run(values: flags.FlagValues) -> str:
  """Times what the flags say; returns the table."""
  modes = options.modes(values.modes, others=['tflite'])

  # These take seconds: only now, when the flags make sense.
  import numpy as np
  import tensorflow as tf
  from benchmarks import streaming_forms
  from benchmarks import timing
  from tf_tokenlearner import backbones
  from tf_tokenlearner.backbones import streaming

  size = values.image_size
  model = backbones.Classifier(
      backbones.FactorizedVideoVisionTransformer(
          backbones.FactorizedViViTSpec(
              values.variant, token_learner_location=values.location,
              num_tokens=values.num_tokens),
          (values.num_frames, size, size, 3)), _NUM_CLASSES)
  # The head starts at zero: any two models would agree.
  model.head.kernel.assign(tf.random.normal(model.head.kernel.shape) * .1)
  stream = streaming.StreamingClassifier(model)
  tubelet_size = stream.tubelet_shape[0]
  video = np.random.default_rng(0).uniform(
      -1., 1., [1, 2 * values.num_frames, size, size, 3]).astype(np.float32)

  functions, differences = {}, []
  for mode in modes:
    step, whole = streaming_forms.make(stream, model, mode)
    state = stream.init_state(1)._asdict()
    for start in range(0, video.shape[1], tubelet_size):
      new = video[:, start:start + tubelet_size]
      answer = step(frames=new, **state)
      logits = answer.pop('logits')
      end = start + tubelet_size
      if end >= values.num_frames:
        clip = video[:, end - values.num_frames:end]
        differences.append(np.abs(logits - whole(clip=clip)['logits']).max())
      state = answer
    functions[mode, 'step'] = functools.partial(step, frames=new, **state)
    functions[mode, 'clip'] = functools.partial(whole, clip=clip)
  seconds = timing.interleave(functions, values.rounds)

  lines = [
      f'{values.variant}, {values.num_tokens} tokens a frame at '
      f'{values.location}, clips of {values.num_frames} x {size} x {size}, '
      'float32',
      timing.machine(),
      f'Medians of {values.rounds} rounds; largest difference of logits '
      f'{max(differences):.0e}.', '',
      _LINE.format('mode', f'{tubelet_size} new, ms', 'whole clip, ms',
                   'step / clip', 'frames a second')]
  lines.append('-' * len(lines[-1]))
  for mode in modes:
    step, clip = seconds[mode, 'step'], seconds[mode, 'clip']
    lines.append(_LINE.format(
        mode, f'{1e3 * step:.1f}', f'{1e3 * clip:.1f}', f'{step / clip:.3f}',
        f'{tubelet_size / step:.1f}'))
  return '\n'.join(lines)


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  print(run(flags.FLAGS))


if __name__ == '__main__':
  define_flags(flags.FLAGS)
  cli.run(main)
