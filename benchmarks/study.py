"""Tests the claims of the paper at a size that two CPU cores can train.

  python benchmarks/study.py --data_dir=~/tensorflow_datasets
  python benchmarks/study.py --seeds=0 --kinds='plain,8 at 1/2'
  python benchmarks/study.py --noreport --seeds=3

Trains small vision transformers on Fashion-MNIST, 60,000 real images: plain,
with different numbers of learned tokens at different depths, with pooling
instead, with a TokenFuser, with TokenLearner v1.0, and deeper. Every model is
trained once per seed and evaluated on the 10,000 test images once, after the
last step, so no choice depends on them.

Each training adds a line to --results, and a training that has a line is not
repeated, so an interrupted study continues. At the end the report is written to
--report_dir: tables, plots and a verdict on each claim of the paper.
"""

import os
import sys

if not __package__:  # Run as a script: the clone lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from benchmarks import program
from benchmarks import study_models
from benchmarks import trainings
from tf_tokenlearner import errors


def define_flags(values: flags.FlagValues) -> None:
  # --help lists the flags of the module __main__.
  owner = dict(flag_values=values, module_name='__main__')
  trainings.define_flags(values, work_dir='runs/study',
                         results='docs/results/study.jsonl')
  flags.DEFINE_list(
      'kinds', '', 'Models to train, by their names in the report; all of '
      'them if empty.', **owner)
  flags.DEFINE_string(
      'report_dir', 'docs/results', 'Folder for study.md and its plots.',
      **owner)
  flags.DEFINE_bool('report', True, 'Write the report when done.', **owner)
  for name, default, what in (
      ('steps', 1404, 'Steps of every training.'),
      ('batch_size', 128, 'Images per step.'),
      ('num_layers', 4, 'Blocks of the plain network; a multiple of 4.'),
      ('hidden_size', 48, 'Width.'),
      ('num_heads', 4, 'Attention heads.')):
    flags.DEFINE_integer(name, default, what, lower_bound=1, **owner)
  flags.DEFINE_float('learning_rate', 2e-3, 'Peak learning rate.',
                     lower_bound=0., **owner)


def run(values: flags.FlagValues) -> None:
  """Runs the trainings without a stored result, and writes the report."""
  seeds = trainings.seeds(values.seeds)
  models = _models(values)
  chosen = _choose(values.kinds, models)
  kept = trainings.Results(values.results)
  results = {name: [] for name in models}
  for seed in seeds:
    for name, vit in models.items():
      config = trainings.config(
          values, vit=vit, seed=seed, steps=values.steps,
          learning_rate=values.learning_rate)
      result = kept.find(name, seed, config)
      if result is None and name in chosen:
        result = kept.add({
            'name': name, 'seed': seed,
            **trainings.train(values, config, _folder(values, name, seed)),
            'config': config})
      if result is not None:
        results[name].append(result)
  if values.report:
    from benchmarks import study_report  # Plots take a second to load.
    path = study_report.write(values.report_dir, {
        name: rows for name, rows in results.items() if rows})
    print(f'Wrote {path}.')


def _models(values: flags.FlagValues) -> dict:
  """Returns the options of token_learner_vit by model name."""
  if values.num_layers % 4:
    raise errors.UserError(
        f'--num_layers={values.num_layers} must be a multiple of 4: the '
        'TokenLearner is placed after quarters of the blocks.')
  from tf_tokenlearner.analysis import cost  # Loads TensorFlow.
  network = {'num_layers': values.num_layers,
             'hidden_size': values.hidden_size,
             'mlp_dim': 4 * values.hidden_size, 'num_heads': values.num_heads,
             'dropout_rate': 0.}

  def macs(vit):
    config = trainings.config(
        values, vit=vit, seed=0, steps=values.steps, learning_rate=1.)
    model = trainings.parse(values, config).task.model
    return cost.classifier_cost(
        model.backbone.get(), model.input_size, num_classes=0).macs

  return study_models.options(network, macs)


def _choose(given, models):
  for name in given:
    if name not in models:
      raise errors.unknown_name('model', name, models)
  return given or list(models)


def _folder(values: flags.FlagValues, name: str, seed: int) -> str:
  safe = name.replace(' ', '_').replace('/', 'of')
  return os.path.join(values.work_dir, f'{safe}_{seed}')


if __name__ == '__main__':
  program.start(define_flags, run)
