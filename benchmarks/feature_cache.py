"""Times epochs of fine-tuning on pixels and on cached features.

  python benchmarks/feature_cache.py
  python benchmarks/feature_cache.py --variant=B/16 --batch_size=64

Both train the blocks from --location on of one model, from JPEG files of random
pictures to the Garden's AdamW, through the trainer of this project. Prints the
median time of an epoch over rounds in which both run once, and the time of
computing the features, which is spent once. Without augmentation, float32.
"""

import contextlib
import os
import sys
import tempfile
import time

if not __package__:  # Run as a script: the clone lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from benchmarks import options
from benchmarks import program

_LINE = '{:<18}{:>12}{:>12}{:>10}'
_CLASSES = ('a', 'b')


def define_flags(values: flags.FlagValues) -> None:
  options.define(values, variant='S/14', modes='', rounds=5)
  owner = dict(flag_values=values, module_name='__main__')
  flags.DEFINE_integer(
      'images', 128, 'Training pictures.', lower_bound=2, **owner)
  flags.DEFINE_integer(
      'batch_size', 32, 'Pictures per step.', lower_bound=1, **owner)


def run(values: flags.FlagValues) -> str:
  """Times both; returns the table."""
  # These imports take seconds, so the flags are checked first.
  import tensorflow as tf
  from benchmarks import timing
  from tf_tokenlearner.training import feature_cache

  said = []
  with tempfile.TemporaryDirectory() as folder:
    with contextlib.redirect_stdout(sys.stderr):
      _draw_pictures(os.path.join(folder, 'pictures'), values)
      pixels, features = (_make_trainer(values, folder) for _ in range(2))
      start = time.monotonic()
      feature_cache.use(features, folder, False, said.append)
      seconds_once = time.monotonic() - start
    steps = max(1, values.images // values.batch_size)

    def epoch(trainer):
      return lambda: trainer.train(tf.constant(steps))

    seconds = timing.interleave(
        {'pixels': epoch(pixels), 'cached features': epoch(features)},
        values.rounds)
  lines = [
      f'Fine-tuning above block {values.location}, {values.variant} at '
      f'{values.image_size} px, {values.num_tokens} tokens, batch '
      f'{values.batch_size}',
      timing.machine(),
      f'Medians of {values.rounds} epochs of {steps * values.batch_size} '
      f'pictures; computing the features once took {seconds_once:.1f} s.', '',
      _LINE.format('training on', 's/epoch', 'images/s', 'speed-up')]
  lines.append('-' * len(lines[-1]))
  for name, time_of in seconds.items():
    lines.append(_LINE.format(
        name, f'{time_of:.2f}', f'{steps * values.batch_size / time_of:.1f}',
        f'{seconds["pixels"] / time_of:.1f}'))
  return '\n'.join(lines)


def _draw_pictures(folder: str, values: flags.FlagValues) -> None:
  """Writes JPEG files of random pictures, a tenth of them for validation."""
  import numpy as np
  from PIL import Image
  rng = np.random.default_rng(0)
  for i in range(values.images + 2):
    split = 'train' if i < values.images else 'validation'
    place = os.path.join(folder, split, _CLASSES[i % 2])
    os.makedirs(place, exist_ok=True)
    coarse = rng.integers(0, 256, [20, 20, 3], dtype=np.uint8)
    size = (values.image_size * 4 // 3,) * 2
    Image.fromarray(coarse).resize(size).save(os.path.join(place, f'{i}.jpg'))


def _make_trainer(values: flags.FlagValues, folder: str):
  """Returns a trainer of a model with random weights, the same each time."""
  import tensorflow as tf
  import tf_keras
  from tf_tokenlearner.configs import experiments
  from tf_tokenlearner.tasks import classification_task
  from tf_tokenlearner.training import experiment_runner

  start = os.path.join(folder, 'start')
  params = experiments.parse('tokenlearner_image_folder', [{
      'task': {
          'init_checkpoint': start, 'freeze_below': values.location,
          'model': {
              'input_size': [values.image_size, values.image_size, 3],
              'backbone': {'token_learner_vit': {
                  'variant': values.variant, 'num_tokens': values.num_tokens,
                  'token_learner_location': values.location}}},
          'train_data': {
              'input_path': os.path.join(folder, 'pictures'),
              'tfds_data_dir': os.path.join(folder, 'packed'),
              'global_batch_size': values.batch_size, 'seed': 0,
              'aug_crop': False, 'aug_rand_hflip': False}}}])
  classification_task.complete(params.task)
  task = classification_task.make(params.task)
  tf_keras.utils.set_random_seed(0)
  trainer = experiment_runner.build_trainer(
      task, params, train=True, evaluate=False)
  if not tf.io.gfile.exists(f'{start}.index'):
    tf.train.Checkpoint(model=trainer.model).write(start)
  trainer.initialize()
  return trainer


if __name__ == '__main__':
  program.start(define_flags, run)
