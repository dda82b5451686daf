"""Parameters and multiply-accumulates of a model, from its description.

  python -m tf_tokenlearner.analysis.cost --experiment=NAME

prints one line per layer of an experiment's model, and what it would cost
without its TokenLearner.

  python -m tf_tokenlearner.analysis.cost --table=paper

prints every row of the papers' tables beside what its config costs. Nothing is
built, no data are read. What a multiply-accumulate counts, analysis/counts.py
says.
"""

import dataclasses
import itertools
import re
from typing import Iterable, Optional, Sequence

from absl import flags

from tf_tokenlearner import cli
from tf_tokenlearner import errors
from tf_tokenlearner.configs import catalog
from tf_tokenlearner.analysis import counts
from tf_tokenlearner.analysis import model_cost

TABLES = ('paper',)
Spec = model_cost.Spec
classifier_cost = model_cost.classifier_cost

_LINE = '{:<24}{:>18}{:>15}{:>12}{:>8}'
_UNITS = {'G': 10**9, 'M': 10**6, 'K': 10**3}


def render(cost: counts.Cost) -> str:
  """A table of 77 columns that ends in the sums.

  Equal neighbours of one kind share a line, 'block_0..5  x6', which gives what
  all of them cost together.
  """
  parameter_unit = _unit(cost.parameters, 'MK')
  mac_unit = _unit(cost.macs, 'GMK')

  def line(name, output, parameters, macs):
    return _LINE.format(
        name, output, f'{parameters / _UNITS[parameter_unit]:.3f}',
        f'{macs / _UNITS[mac_unit]:.3f}', f'{100 * macs / cost.macs:.1f} %')

  lines = [_LINE.format('layer', 'output', f'parameters ({parameter_unit})',
                        f'MACs ({mac_unit})', 'share')]
  rule = '-' * len(lines[0])
  lines.append(rule)
  for name, rows in _fold(cost.rows):
    lines.append(line(name, rows[0].output, sum(r.parameters for r in rows),
                      sum(r.macs for r in rows)))
  lines += [rule, line('total', '', cost.parameters, cost.macs)]
  return '\n'.join(lines)


def _unit(total: int, units: str) -> str:
  """The first of these, largest first, of which there is at least one."""
  return next((unit for unit in units if total >= _UNITS[unit]), units[-1])


def _fold(rows: Iterable[counts.Row]):
  """(name, rows) of each run of equal neighbours of one kind."""
  kind = lambda row: (re.sub(r'\d+$', '', row.name), *row[1:])
  for _, group in itertools.groupby(rows, kind):
    group = list(group)
    name = group[0].name
    if len(group) > 1:
      last = re.search(r'\d+$', group[-1].name).group()
      name = f'{name}..{last}  x{len(group)}'
    yield name, group


def without_token_learner(spec: Spec) -> Optional[Spec]:
  """The same model, plain; None if it has no TokenLearner."""
  from tf_tokenlearner.backbones import bottleneck_spec
  if isinstance(spec, bottleneck_spec.BottleneckSpec):
    if 'token_learner' not in bottleneck_spec.MODULES[spec.module]:
      return None
    default = bottleneck_spec.BottleneckSpec()
    return dataclasses.replace(
        spec, module='conv2d_conv1d', tokenizer=default.tokenizer,
        token_learner_kernel_size=default.token_learner_kernel_size)
  if spec.token_learner_location is None:
    return None
  return dataclasses.replace(
      spec, token_learner_location=None, tokenizer='token_learner',
      pooling_window=None, use_token_fuser=False, fuser='token_fuser')


def report(spec: Spec, input_size: Sequence[int], num_classes: int) -> str:
  """The table, and a line on the same model without TokenLearner."""
  cost = classifier_cost(spec, input_size, num_classes)
  lines = [render(cost)]
  if not num_classes:
    lines.append('Without the head: the data set, which is not read, says the '
                 'number of classes.')
  plain = without_token_learner(spec.completed(tuple(input_size)))
  if plain is not None:
    macs = classifier_cost(plain, input_size, num_classes).macs
    unit = _unit(macs, 'GMK')
    lines.append(
        f'Without TokenLearner: {macs / _UNITS[unit]:.3f} {unit} MACs, '
        f'{macs / cost.macs:.2f} times as many.')
  return '\n'.join(lines)


def define_flags(values: flags.FlagValues) -> None:
  # --help lists what the program itself defines.
  owner = dict(flag_values=values, module_name='__main__')
  flags.DEFINE_string(
      'experiment', None, 'Name of the experiment.', **owner)
  flags.DEFINE_multi_string(
      'config_file', [], 'YAML file of overrides; may be given several times.',
      **owner)
  flags.DEFINE_string(
      'params_override', '', 'Overrides as YAML, JSON or a.b=1,c=text.',
      **owner)
  flags.DEFINE_string(
      'table', None, 'paper: the rows of the papers\' tables, in place of an '
      'experiment.', **owner)


def main(arguments, values: flags.FlagValues = flags.FLAGS) -> None:
  cli.refuse_arguments(arguments)
  if values.table is not None:
    _print_table(values)
    return
  if not values.experiment:
    raise errors.UserError('--experiment must be given; see --help.')
  if values.experiment not in catalog.EXPERIMENTS:
    raise errors.unknown_name(
        'experiment', values.experiment, catalog.EXPERIMENTS)
  # The Garden takes seconds: only now, when there is such an experiment.
  from tf_tokenlearner.configs import experiments
  model = experiments.parse(
      values.experiment,
      [*values.config_file, values.params_override]).task.model
  print(report(model.backbone.get(), model.input_size, model.num_classes))


def _print_table(values: flags.FlagValues) -> None:
  if values.table not in TABLES:
    raise errors.unknown_name('table', values.table, TABLES)
  if values.experiment or values.config_file or values.params_override:
    raise errors.UserError(
        f'--table={values.table} goes without --experiment, --config_file and '
        '--params_override: its rows are the files of official_configs.')
  from tf_tokenlearner.analysis import paper_table
  print(paper_table.render(paper_table.rows()))


if __name__ == '__main__':
  define_flags(flags.FLAGS)
  cli.run(main)
