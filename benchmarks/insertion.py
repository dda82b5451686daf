"""Measures what a TokenLearner costs and gains in a network trained without.

  python benchmarks/insertion.py --data_dir=~/tensorflow_datasets
  python benchmarks/insertion.py --seeds=0 --steps=400 --short_steps=50

Trains a small plain ViT on Fashion-MNIST, then puts a TokenLearner into its
middle, starting at random or as task.init_token_learner=mean says, and trains
on for a short while. Beside it stands the same network trained from scratch,
for as short and for as long as the plain one. Prints accuracy on the test set
before and after training, mean and standard deviation over seeds; it is looked
at once, after the last step, so that nothing is chosen by it.

Each training is a line of --results, and what has a line already is not trained
again. Runs lie in --work_dir.
"""

import os
import sys

if not __package__:  # Run as a script: the clone lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from tf_tokenlearner import cli
from tf_tokenlearner import errors

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
  for name, default, what in (
      ('experiment', 'tokenlearner_fashion_mnist', 'Data set and recipe.'),
      ('data_dir', '', 'Where the prepared data set lies; \'\' is the usual '
       'place of TFDS.'),
      ('work_dir', 'runs/insertion', 'Where the runs lie.'),
      ('results', 'runs/insertion/results.jsonl', 'Where results go.')):
    flags.DEFINE_string(name, default, what, **owner)
  flags.DEFINE_list('seeds', '0,1,2', 'One training of each kind for each.',
                    **owner)
  for name, default, what in (
      ('steps', 1872, 'Of the plain network, and from scratch.'),
      ('short_steps', 234, 'After the insertion.'),
      ('batch_size', 128, 'Images per step.'),
      ('num_layers', 6, 'Blocks.'), ('hidden_size', 48, 'Width.'),
      ('num_heads', 4, 'Attention heads.'),
      ('location', 3, 'The first block that sees tokens.'),
      ('num_tokens', 8, 'Learned tokens.')):
    flags.DEFINE_integer(name, default, what, lower_bound=1, **owner)
  for name, default, what in (
      ('learning_rate', 1e-3, 'From scratch.'),
      ('short_learning_rate', 5e-4, 'After the insertion.')):
    flags.DEFINE_float(name, default, what, lower_bound=0., **owner)


def run(values: flags.FlagValues) -> str:
  """Trains what has no result yet; returns the table, in Markdown."""
  seeds = _whole_numbers(values.seeds)
  results = _read(values.results)
  for seed in seeds:
    for name, start, _ in _TRAININGS:
      config = _config(values, name, start, seed)
      if not any(_is_of(result, name, seed, config) for result in results):
        results.append(_train(values, name, start, seed, config))
        _append(values.results, results[-1])
  return _table(values, [
      result for result in results for name, start, _ in _TRAININGS
      if result['seed'] in seeds and _is_of(
          result, name, result['seed'],
          _config(values, name, start, result['seed']))])


def _whole_numbers(texts):
  try:
    return [int(text) for text in texts]
  except ValueError as error:
    raise errors.UserError(
        f'--seeds must be whole numbers, received {",".join(texts)}.'
    ) from error


def _config(values: flags.FlagValues, name: str, start, seed: int) -> dict:
  """What differs from the experiment's own values."""
  is_short = dict((other, steps) for other, _, steps in _TRAININGS)[
      name] == 'short_steps'
  steps = values.short_steps if is_short else values.steps
  has_start = start is not None
  task = {
      'model': {'backbone': {'token_learner_vit': {
          'num_layers': values.num_layers, 'hidden_size': values.hidden_size,
          'mlp_dim': 4 * values.hidden_size, 'num_heads': values.num_heads,
          'token_learner_location': None if name == _PLAIN else values.location,
          'num_tokens': values.num_tokens, 'dropout_rate': 0.1}}},
      'train_data': {'global_batch_size': values.batch_size, 'seed': seed,
                     'tfds_data_dir': os.path.expanduser(values.data_dir)},
  }
  if has_start:
    task.update(init_checkpoint=_folder(values, _PLAIN, seed),
                init_token_learner=start)
  rate = values.short_learning_rate if has_start else values.learning_rate
  return {'task': task, 'trainer': {
      'train_steps': steps, 'checkpoint_interval': steps,
      'validation_interval': steps, 'steps_per_loop': min(steps, 50),
      'summary_interval': min(steps, 50),
      'optimizer_config': {
          'learning_rate': {'cosine': {'initial_learning_rate': rate}},
          'warmup': {'linear': {'warmup_steps': max(steps // 10, 1)}}}}}


def _folder(values: flags.FlagValues, name: str, seed: int) -> str:
  return os.path.join(
      values.work_dir, f'{name.replace(",", "").replace(" ", "_")}_{seed}')


def _is_of(result: dict, name: str, seed: int, config: dict) -> bool:
  return (result['name'], result['seed'], result['config']) == (
      name, seed, config)


def _train(values: flags.FlagValues, name: str, start, seed: int,
           config: dict) -> dict:
  """One training; a line of results."""
  import json
  import time

  # These take seconds: only now, when there is something to do.
  import tensorflow as tf
  import tf_keras
  from official.core import task_factory
  from benchmarks import timing
  from tf_tokenlearner.configs import experiments
  from tf_tokenlearner.training import runner

  params = experiments.parse(values.experiment, [json.dumps(config)])
  before = None
  if start is not None:
    experiments.resolve(params)
    task = task_factory.get_task(params.task)
    tf_keras.utils.set_random_seed(seed)
    model = task.build_model()
    task.initialize(model)
    before = _accuracy(task, model)
  folder = _folder(values, name, seed)
  begin = time.monotonic()
  runner.train(values.experiment, params, folder, evaluate=False)
  seconds = time.monotonic() - begin
  after = runner.evaluate(
      params, folder, tf.train.latest_checkpoint(folder))['accuracy']
  return {'name': name, 'seed': seed, 'before': before, 'after': float(after),
          'seconds': round(seconds, 1), 'commit': _commit(),
          'machine': timing.machine(), 'config': config}


def _accuracy(task, model) -> float:
  """On the validation data, as evaluation has it."""
  import numpy as np
  import tensorflow as tf

  logits = tf.function(model)
  hits = [np.argmax(logits(images), -1) == labels
          for images, labels in task.build_inputs(
              task.task_config.validation_data)]
  return float(np.concatenate(hits).mean())


def _commit() -> str:
  import subprocess
  done = subprocess.run(
      ['git', 'describe', '--always', '--dirty'], text=True, check=False,
      capture_output=True, cwd=os.path.dirname(os.path.abspath(__file__)))
  return done.stdout.strip() or 'unknown'


def _read(path: str) -> list:
  import json
  if not os.path.exists(path):
    return []
  with open(path, encoding='utf-8') as file:
    return [json.loads(line) for line in file]


def _append(path: str, result: dict) -> None:
  import json
  os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
  with open(path, 'a', encoding='utf-8') as file:
    file.write(json.dumps(result) + '\n')


def _table(values: flags.FlagValues, results: list) -> str:
  """Mean and standard deviation over seeds of each kind."""
  import statistics

  def spread(numbers):
    if None in numbers:
      return ''
    text = f'{statistics.mean(numbers):.4f}'
    return text + (f' ± {statistics.stdev(numbers):.4f}' if numbers[1:] else '')

  lines = [
      f'{values.experiment}: {values.num_layers} blocks of width '
      f'{values.hidden_size}; {values.num_tokens} tokens at '
      f'{values.location}; seeds {", ".join(values.seeds)}', '',
      '| network | steps | accuracy before | after | seconds |',
      '|---|---|---|---|---|']
  for name, _, _ in _TRAININGS:
    rows = [result for result in results if result['name'] == name]
    steps = rows[0]['config']['trainer']['train_steps']
    seconds = statistics.mean(row['seconds'] for row in rows)
    lines.append(
        f'| {name} | {steps:,} | {spread([row["before"] for row in rows])} | '
        f'{spread([row["after"] for row in rows])} | {seconds:.0f} |')
  return '\n'.join(lines)


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  print(run(flags.FLAGS))


if __name__ == '__main__':
  define_flags(flags.FLAGS)
  cli.run(main)
