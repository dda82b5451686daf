"""Parameters and multiply-accumulates of a model, layer by layer.

  python -m tf_tokenlearner.analysis.cost --experiment=NAME

prints one line per layer of an experiment's model, and the cost of the same
model without TokenLearner.

  python -m tf_tokenlearner.analysis.cost --table=paper

prints every row of the papers' tables with the cost of its config. No weights
are made and no data are read. analysis/counts.py defines a multiply-accumulate.
"""

import dataclasses
import itertools
import re
import textwrap
from typing import Iterable, Optional, Sequence

from absl import flags

from tf_tokenlearner import cli
from tf_tokenlearner import errors
from tf_tokenlearner.configs import catalog
from tf_tokenlearner.analysis import counts
from tf_tokenlearner.backbones import bottleneck_spec

TABLES = ('paper',)
Spec = counts.Spec
classifier_cost = counts.classifier_cost

_LINE = '{:<24}{:>18}{:>15}{:>12}{:>8}'
_UNITS = {'G': 10**9, 'M': 10**6, 'K': 10**3}


def render(cost: counts.Cost) -> str:
  """Returns a table of 77 columns with the sums in the last line.

  Equal neighbours share a line, 'block_0..5  x6', with their total cost.
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
  """Returns the largest unit that the total reaches."""
  return next((unit for unit in units if total >= _UNITS[unit]), units[-1])


def _fold(rows: Iterable[counts.Row]):
  """Yields (name, rows) of consecutive rows that differ in their number."""
  without_number = lambda row: (re.sub(r'\d+$', '', row.name), *row[1:])
  for _, group in itertools.groupby(rows, without_number):
    group = list(group)
    name = group[0].name
    if len(group) > 1:
      last = re.search(r'\d+$', group[-1].name).group()
      name = f'{name}..{last}  x{len(group)}'
    yield name, group


def without_token_learner(spec: Spec) -> Optional[Spec]:
  """Returns the same model without TokenLearner; None if it has none."""
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


def summary(cost: counts.Cost, spec: Spec, input_size: Sequence[int],
            num_classes: int, example: str) -> str:
  """Returns the cost of a model, with and without TokenLearner, in two lines.

  Args:
    cost: cost of the model.
    spec: spec of its backbone.
    input_size: shape of an image or clip.
    num_classes: width of the head; 0 leaves the head out.
    example: 'an image' or 'a clip'.
  """
  text = (f'{cost.parameters:,} parameters, {cost.macs / 1e6:,.2f} M '
          f'multiply-accumulates {example}')
  spec = spec.completed(tuple(input_size))
  plain = without_token_learner(spec)
  if plain is None:
    return f'{text}.'
  macs = classifier_cost(plain, input_size, num_classes).macs
  return (f'{text};\nthe same model without TokenLearner: {macs / 1e6:,.2f} M, '
          f'{_comparison(spec, cost.macs, macs, digits=1)}')


def _comparison(spec: Spec, macs: int, plain_macs: int, digits: int) -> str:
  """Returns the ratio of MACs, with advice if TokenLearner adds cost."""
  if plain_macs >= macs:
    return f'{plain_macs / macs:.{digits}f} times as many.'
  advice = textwrap.fill(
      f'TokenLearner increases the cost of this model. {_advice(spec)}', 80)
  return f'{1 - plain_macs / macs:.0%} fewer.\n{advice}'


def _advice(spec: Spec) -> str:
  """Returns options that would make a completed spec cheaper."""
  if isinstance(spec, bottleneck_spec.BottleneckSpec):
    return 'Use fewer num_tokens, or module=conv2d_conv1d.'
  (location, num_tokens), *_ = spec.token_learners()
  options = [
      text for applies, text in (
          (location > 0, f'an earlier token_learner_location (now {location})'),
          (num_tokens > 1, f'fewer num_tokens (now {num_tokens})'),
          (spec.token_learner.version == 'v1.0'
           and spec.tokenizer == 'token_learner', 'token_learner.version=v1.1'),
          (spec.use_token_fuser, 'use_token_fuser=false'),
      ) if applies]
  out = 'leave it out (token_learner_location=null).'
  return f'Use {", ".join(options)}, or {out}' if options else f'Better {out}'


def report(spec: Spec, input_size: Sequence[int], num_classes: int) -> str:
  """Returns the table, and a line on the same model without TokenLearner."""
  cost = classifier_cost(spec, input_size, num_classes)
  lines = [render(cost)]
  if not num_classes:
    lines.append('Without the head: the data determine the number of classes.')
  spec = spec.completed(tuple(input_size))
  plain = without_token_learner(spec)
  if plain is not None:
    macs = classifier_cost(plain, input_size, num_classes).macs
    unit = _unit(macs, 'GMK')
    lines.append(
        f'Without TokenLearner: {macs / _UNITS[unit]:.3f} {unit} MACs, '
        f'{_comparison(spec, cost.macs, macs, digits=2)}')
  return '\n'.join(lines)


def define_flags(values: flags.FlagValues) -> None:
  # --help lists the flags of the module __main__.
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
      'table', None, 'paper: prints the papers\' tables instead of an '
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
  # The Garden takes seconds to import, so the flags are checked first.
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
