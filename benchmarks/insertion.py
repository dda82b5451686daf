"""Measures what a TokenLearner costs and gains in a network trained without.

  python benchmarks/insertion.py --data_dir=~/tensorflow_datasets
  python benchmarks/insertion.py --seeds=0 --steps=400 --short_steps=50

Trains a small plain ViT on Fashion-MNIST, then puts a TokenLearner into its
middle, starting at random or as task.init_token_learner=mean says, and trains
on for a short while. Beside it stands the same network trained from scratch,
for as short and for as long as the plain one. Writes --report: accuracy on the
test set before and after training, mean and standard deviation over seeds; it
is looked at once, after the last step, so that nothing is chosen by it.

Each training is a line of --results, and what has a line already is not trained
again. Runs lie in --work_dir.
"""

import os
import statistics
import sys
import textwrap

if not __package__:  # Run as a script: the clone lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from benchmarks import trainings
from tf_tokenlearner import cli

# Name in the table; what it starts from; for how long it is trained.
_TRAININGS = (
    ('plain ViT', None, 'steps'),
    ('TokenLearner from scratch', None, 'steps'),
    ('TokenLearner from scratch, short', None, 'short_steps'),
    ('inserted at random', 'random', 'short_steps'),
    ('inserted as means', 'mean', 'short_steps'),
)
_PLAIN = _TRAININGS[0][0]


def define_flags(values: flags.FlagValues) -> None:
  # --help lists what the program itself defines.
  owner = dict(flag_values=values, module_name='__main__')
  trainings.define_flags(values, work_dir='runs/insertion',
                         results='docs/insertion.jsonl')
  flags.DEFINE_string(
      'report', 'docs/insertion.md', 'Where the table goes.', **owner)
  for name, default, what in (
      ('steps', 936, 'Of the plain network, and from scratch.'),
      ('short_steps', 117, 'After the insertion.'),
      ('batch_size', 128, 'Images per step.'),
      ('num_layers', 4, 'Blocks.'), ('hidden_size', 48, 'Width.'),
      ('num_heads', 4, 'Attention heads.'),
      ('location', 2, 'The first block that sees tokens.'),
      ('num_tokens', 8, 'Learned tokens.')):
    flags.DEFINE_integer(name, default, what, lower_bound=1, **owner)
  for name, default, what in (
      ('learning_rate', 1e-3, 'From scratch.'),
      ('short_learning_rate', 5e-4, 'After the insertion.')):
    flags.DEFINE_float(name, default, what, lower_bound=0., **owner)


def run(values: flags.FlagValues) -> None:
  """Trains what has no result yet, and writes the table, in Markdown."""
  seeds = trainings.seeds(values.seeds)
  kept = trainings.Results(values.results)
  results = {name: [] for name, _, _ in _TRAININGS}
  for seed in seeds:
    for name, start, duration in _TRAININGS:
      config = _config(values, name, start, duration, seed)
      result = kept.find(name, seed, config)
      if result is None:
        result = kept.add(_train(values, name, start, seed, config))
      results[name].append(result)
  os.makedirs(os.path.dirname(values.report) or '.', exist_ok=True)
  with open(values.report, 'w', encoding='utf-8') as file:
    file.write(f'{_introduction(values, results)}\n\n'
               f'{_table(values, results)}\n')
  print(f'Wrote {values.report}.')


def _introduction(values: flags.FlagValues, results: dict) -> str:
  about = (
      f'A plain vision transformer of {values.num_layers} blocks, width '
      f'{values.hidden_size}, is trained on Fashion-MNIST for {values.steps:,} '
      f'steps of {values.batch_size} images. Then a TokenLearner of '
      f'{values.num_tokens} tokens is put before its block {values.location}, '
      'counted from 0, starting at random or where pooling would be '
      '(`task.init_token_learner`), all other weights kept, and '
      f'{values.short_steps:,} more steps follow. Beside it: the same network '
      'with TokenLearner, from scratch. Accuracy on the 10,000 test images; '
      'mean and standard deviation.')
  return '\n\n'.join([
      '# A TokenLearner in a network that was trained without',
      'Written by `python benchmarks/insertion.py`.',
      textwrap.fill(about, 80),
      trainings.provenance(row for rows in results.values() for row in rows)])


def _config(values: flags.FlagValues, name: str, start, duration: str,
            seed: int) -> dict:
  """What differs from the experiment's own values."""
  config = trainings.config(
      values, seed=seed, steps=getattr(values, duration),
      learning_rate=(values.learning_rate if start is None
                     else values.short_learning_rate),
      vit={'num_layers': values.num_layers, 'hidden_size': values.hidden_size,
           'mlp_dim': 4 * values.hidden_size, 'num_heads': values.num_heads,
           'token_learner_location': (
               None if name == _PLAIN else values.location),
           'num_tokens': values.num_tokens, 'dropout_rate': 0.})
  if start is not None:
    config['task'].update(init_checkpoint=_folder(values, _PLAIN, seed),
                          init_token_learner=start)
  return config


def _folder(values: flags.FlagValues, name: str, seed: int) -> str:
  return os.path.join(
      values.work_dir, f'{name.replace(",", "").replace(" ", "_")}_{seed}')


def _train(values: flags.FlagValues, name: str, start, seed: int,
           config: dict) -> dict:
  """A line of results."""
  before = None if start is None else _accuracy_before(values, config)
  result = trainings.train(values, config, _folder(values, name, seed))
  return {'name': name, 'seed': seed, 'before': before, **result,
          'config': config}


def _accuracy_before(values: flags.FlagValues, config: dict) -> float:
  """Of the model as training will find it, on the validation data."""
  # These take seconds: only now, when there is something to do.
  import tf_keras
  from official.core import task_factory
  from tf_tokenlearner.configs import experiments

  params = trainings.parse(values, config)
  experiments.resolve(params)
  task = task_factory.get_task(params.task)
  tf_keras.utils.set_random_seed(params.task.train_data.seed)
  model = task.build_model()
  task.initialize(model)
  return _accuracy(task, model)


def _accuracy(task, model) -> float:
  """On the validation data, as evaluation has it."""
  import numpy as np
  import tensorflow as tf

  logits = tf.function(model)
  hits = [np.argmax(logits(images), -1) == labels
          for images, labels in task.build_inputs(
              task.task_config.validation_data)]
  return float(np.concatenate(hits).mean())


def _table(values: flags.FlagValues, results: dict) -> str:
  """Mean and standard deviation over seeds of each kind."""
  lines = [
      '| network | steps | accuracy before | after | seconds |',
      '|---|---|---|---|---|']
  for name, start, duration in _TRAININGS:
    column = lambda key: [row[key] for row in results[name]]
    before = '' if start is None else trainings.spread(column('before'))
    lines.append(
        f'| {name} | {getattr(values, duration):,} | {before} | '
        f'{trainings.spread(column("accuracy"))} | '
        f'{statistics.mean(column("seconds")):.0f} |')
  return '\n'.join(lines)


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  run(flags.FLAGS)


if __name__ == '__main__':
  define_flags(flags.FLAGS)
  cli.run(main)
