"""Times a streaming step against recomputing the whole clip.

  python benchmarks/streaming.py
  python benchmarks/streaming.py --variant=B/16x2 --num_frames=32 --modes=graph

The model is a factorised video classifier with a TokenLearner, 400 classes and
random float32 weights. Prints, for each mode, the milliseconds (median over
rounds in which every function runs once) of one step of backbones.streaming,
which takes one tubelet of new frames, and of the model on the clip that ends in
them. Both compute the same logits; the largest difference over a few steps is
printed. In mode tflite, LiteRT runs a TFLite file.
"""

import functools
import os
import sys

if not __package__:  # Run as a script: the clone lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from benchmarks import options
from benchmarks import program

_LINE = '{:<7}{:>16}{:>16}{:>14}{:>16}'
_NUM_CLASSES = 400  # As in Kinetics-400.


def define_flags(values: flags.FlagValues) -> None:
  options.define(values, variant='Ti/16x1', modes='graph,xla,tflite', rounds=30)
  flags.DEFINE_integer(
      'num_frames', 16, 'Frames of a clip.', lower_bound=1,
      flag_values=values, module_name='__main__')


def run(values: flags.FlagValues) -> str:
  """Times the selected modes; returns the table."""
  modes = options.modes(values.modes, others=['tflite'])

  # These imports take seconds, so the flags are checked first.
  import numpy as np
  import tensorflow as tf
  from benchmarks import streaming_functions
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
  # The head is initialized to zero, so any two models would agree.
  model.head.kernel.assign(tf.random.normal(model.head.kernel.shape) * .1)
  stream = streaming.StreamingClassifier(model)
  tubelet_size = stream.tubelet_shape[0]
  video = np.random.default_rng(0).uniform(
      -1., 1., [1, 2 * values.num_frames, size, size, 3]).astype(np.float32)

  functions, differences = {}, []
  for mode in modes:
    step, whole = streaming_functions.make(stream, model, mode)
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


if __name__ == '__main__':
  program.start(define_flags, run)
