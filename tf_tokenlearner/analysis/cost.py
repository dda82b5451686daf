"""Parameters and multiply-accumulates of a model, from its description.

  python -m tf_tokenlearner.analysis.cost --experiment=NAME

prints one line per layer of an experiment's model, and what it would cost
without its TokenLearner. Nothing is built, no data are read. What a
multiply-accumulate counts, analysis/counts.py says.
"""

import dataclasses
import itertools
import re
import typing
from typing import Iterable, Optional, Sequence, Union

from absl import flags

from tf_tokenlearner import cli
from tf_tokenlearner import errors
from tf_tokenlearner import registry
from tf_tokenlearner.analysis import bottleneck_cost
from tf_tokenlearner.analysis import counts
from tf_tokenlearner.analysis import transformer_cost

if typing.TYPE_CHECKING:  # The package around specs imports TensorFlow.
  from tf_tokenlearner.backbones import bottleneck_spec
  from tf_tokenlearner.backbones import specs

Spec = Union['specs.TransformerSpec', 'bottleneck_spec.BottleneckSpec']

def classifier_cost(
    spec: Spec, input_size: Sequence[int], num_classes: int) -> counts.Cost:
  """What a Classifier around the backbone of this spec costs.

  Args:
    spec: of an image or video model; sizes that are None come from its variant.
    input_size: shape of an image or clip.
    num_classes: width of the head; 0 leaves the head out.

  Returns:
    Cost with the rows of the backbone and head (if any).

  Raises:
    UserError: a spec that makes no sense, or num_classes below 0.
  """
  # The package imports TensorFlow. Who has a spec has that behind them.
  from tf_tokenlearner.backbones import bottleneck_spec
  from tf_tokenlearner.backbones import specs
  from tf_tokenlearner.backbones import video_specs
  if num_classes < 0:
    raise errors.UserError(
        f'num_classes must be at least 0, received {num_classes}; 0 leaves the '
        'head out.')
  input_size = tuple(input_size)
  spec = spec.resolved(input_size)
  rows = {
      specs.ViTSpec: transformer_cost.vit_rows,
      video_specs.ViViTSpec: transformer_cost.vivit_rows,
      video_specs.FactorizedViViTSpec: transformer_cost.factorized_vivit_rows,
      bottleneck_spec.BottleneckSpec: bottleneck_cost.bottleneck_rows,
  }[type(spec)](spec, input_size)
  if num_classes:
    pooled = (spec.inner_width(-1)
              if isinstance(spec, bottleneck_spec.BottleneckSpec)
              else spec.hidden_size)
    rows.append(counts.row('head', [num_classes], counts.dense(
        1, spec.representation_size or pooled, num_classes)))
  return counts.Cost(tuple(rows))


image_classifier_cost = classifier_cost  # As older callers name it.


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
  plain = without_token_learner(spec.resolved(tuple(input_size)))
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


def main(arguments, values: flags.FlagValues = flags.FLAGS) -> None:
  cli.refuse_arguments(arguments)
  if not values.experiment:
    raise errors.UserError('--experiment must be given; see --help.')
  if values.experiment not in registry.EXPERIMENTS:
    raise errors.unknown_name(
        'experiment', values.experiment, registry.EXPERIMENTS)
  # The Garden takes seconds: only now, when there is such an experiment.
  from tf_tokenlearner.configs import experiments
  model = experiments.parse(
      values.experiment,
      [*values.config_file, values.params_override]).task.model
  print(report(model.backbone.get(), model.input_size, model.num_classes))


if __name__ == '__main__':
  define_flags(flags.FLAGS)
  cli.run(main)
