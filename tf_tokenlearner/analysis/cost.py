"""Parameters and multiply-accumulates of a model, from its description.

  python -m tf_tokenlearner.analysis.cost --experiment=NAME

prints one line per layer of an experiment's model, and what it would cost
without its TokenLearner. Nothing is built, no data are read. What a
multiply-accumulate counts, analysis/counts.py says.
"""

import dataclasses
import itertools
import math
import re
import typing
from typing import Iterable, Sequence

from absl import flags

from tf_tokenlearner import cli
from tf_tokenlearner import errors
from tf_tokenlearner import registry
from tf_tokenlearner.analysis import counts

if typing.TYPE_CHECKING:  # The package around specs imports TensorFlow.
  from tf_tokenlearner.backbones import specs


def image_classifier_cost(
    spec: 'specs.ViTSpec', input_size: Sequence[int],
    num_classes: int) -> counts.Cost:
  """What a Classifier around a VisionTransformer of this spec costs.

  Args:
    spec: ViTSpec; sizes that are None come from its variant.
    input_size: (height, width, channels) of the images.
    num_classes: width of the head; 0 leaves the head out.

  Returns:
    Cost with rows patch_embedding, class_token (if any), position_embedding,
    the encoder's, pre_logits (if any) and head (if any).

  Raises:
    UserError: a spec that makes no sense, or num_classes below 0.
  """
  if num_classes < 0:
    raise errors.UserError(
        f'num_classes must be at least 0, received {num_classes}; 0 leaves the '
        'head out.')
  input_size = tuple(input_size)
  spec = spec.resolved(input_size)
  width, grid_size = spec.hidden_size, spec.grid_size(input_size)
  num_positions = math.prod(grid_size)
  num_class_tokens = int(spec.pooler == 'token')
  in_encoder = [num_positions + num_class_tokens, width]

  rows = [counts.row(
      'patch_embedding', [*grid_size, width], counts.convolution(
          num_positions, spec.patch_size, input_size[-1], width))]
  if num_class_tokens:
    rows.append(counts.row('class_token', in_encoder, counts.Count(width)))
  rows.append(counts.row(
      'position_embedding', in_encoder, counts.Count(math.prod(in_encoder))))
  rows += counts.encoder_rows(
      spec, num_positions, num_class_tokens=num_class_tokens)
  if spec.representation_size:
    rows.append(counts.row(
        'pre_logits', [spec.representation_size],
        counts.dense(1, width, spec.representation_size)))
    width = spec.representation_size
  if num_classes:
    rows.append(counts.row(
        'head', [num_classes], counts.dense(1, width, num_classes)))
  return counts.Cost(tuple(rows))


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


def without_token_learner(spec: 'specs.ViTSpec') -> 'specs.ViTSpec':
  """The same transformer, plain."""
  return dataclasses.replace(
      spec, token_learner_location=None, use_token_fuser=False)


def report(spec: 'specs.ViTSpec', input_size: Sequence[int],
           num_classes: int) -> str:
  """The table, and a line on the same model without TokenLearner."""
  cost = image_classifier_cost(spec, input_size, num_classes)
  lines = [render(cost)]
  if not num_classes:
    lines.append('Without the head: the data set, which is not read, says the '
                 'number of classes.')
  resolved = spec.resolved(tuple(input_size))
  if resolved.learn_locations():
    plain = image_classifier_cost(
        without_token_learner(resolved), input_size, num_classes)
    unit = _unit(plain.macs, 'GMK')
    lines.append(
        f'Without TokenLearner: {plain.macs / _UNITS[unit]:.3f} {unit} MACs, '
        f'{plain.macs / cost.macs:.2f} times as many.')
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
