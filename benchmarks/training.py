"""Times training steps of our image models and of the Model Garden's ViT.

  python benchmarks/training.py
  python benchmarks/training.py --variant=B/16 --batch_size=32 --modes=xla

A step is the forward pass, softmax loss, gradients and the Garden's AdamW, on
one batch of random images. Prints, for each mode, examples per second (from the
median over rounds in which every model runs once), the speed-up over the
Garden's plain ViT in the same mode, and the floor: the time of one large
float32 matrix multiplication with as many multiply-accumulates as the step,
three times those of inference, timed in the same rounds. All models are float32
classifiers with mean pooling and 1000 classes, without dropout.
"""

import os
import sys

if not __package__:  # Run as a script: the clone lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from benchmarks import options
from benchmarks import program

_LINE = '{:<7}{:<24}{:>11}{:>12}{:>10}{:>10}'


def define_flags(values: flags.FlagValues) -> None:
  options.define(values, variant='S/16', modes='graph', rounds=15)
  flags.DEFINE_integer(
      'batch_size', 8, 'Images per step.', lower_bound=1, flag_values=values)


def run(values: flags.FlagValues) -> str:
  """Times the selected models; returns the table."""
  modes = options.modes(values.modes)

  # These imports take seconds, so the flags are checked first.
  import tensorflow as tf
  from benchmarks import contenders
  from benchmarks import timing

  images = tf.random.uniform(
      [values.batch_size, values.image_size, values.image_size, 3], -1., 1.)
  labels = tf.range(values.batch_size) % contenders.NUM_CLASSES
  models = contenders.make(values.variant, values.image_size,
                           values.num_tokens, values.location)
  garden = models[0].name
  functions = {
      (mode, model.name): make_step(model.model, mode, images, labels)
      for mode in modes for model in models}
  functions['floor'], floor_macs = timing.one_matmul(models[0].macs)
  seconds = timing.interleave(functions, values.rounds)
  seconds_per_mac = seconds['floor'] / floor_macs

  lines = [
      f'Training, {values.variant} at {values.image_size} px, batch '
      f'{values.batch_size}, float32, AdamW',
      timing.machine(),
      f'Medians of {values.rounds} rounds; the floor is one matrix '
      f'multiplication, {1e-9 / seconds_per_mac:.0f} GMAC/s.', '',
      _LINE.format('mode', 'model', 'ms/step', 'examples/s', 'speed-up',
                   '/ floor')]
  lines.append('-' * len(lines[-1]))
  for mode in modes:
    for name, _, macs in models:
      time = seconds[mode, name]
      # Each of a product's two gradients costs as much as the product.
      floor = 3 * values.batch_size * macs * seconds_per_mac
      lines.append(_LINE.format(
          mode, name, f'{1e3 * time:.0f}', f'{values.batch_size / time:.2f}',
          f'{seconds[mode, garden] / time:.2f}', f'{time / floor:.2f}'))
  return '\n'.join(lines)


def make_step(model, mode: str, images, labels):
  """Returns a function that runs one step and waits for its loss."""
  import tensorflow as tf
  from official.modeling import optimization

  factory = optimization.OptimizerFactory(optimization.OptimizationConfig({
      'optimizer': {'type': 'adamw', 'adamw': {'weight_decay_rate': 0.05}},
      'learning_rate': {'type': 'constant', 'constant': {
          'learning_rate': 1e-4}},
  }))
  optimizer = factory.build_optimizer(factory.build_learning_rate())
  variables = model.trainable_variables
  optimizer._create_all_weights(variables)  # Slots may not be made within XLA.

  def step():
    with tf.GradientTape() as tape:
      losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
          labels, model(images, training=True))
      loss = tf.reduce_mean(losses)
    gradients = tape.gradient(loss, variables)
    optimizer.apply_gradients(zip(gradients, variables))
    return loss

  compiled = tf.function(
      step, jit_compile=mode == 'xla').get_concrete_function()
  return lambda: compiled().numpy()


if __name__ == '__main__':
  program.start(define_flags, run)
