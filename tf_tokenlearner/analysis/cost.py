"""Parameters and multiply-accumulates of a model, from its description.

  python -m tf_tokenlearner.analysis.cost --experiment=NAME

prints one line per layer of an experiment's model, and what it would cost
without its TokenLearner. Nothing is built, no data are read.

One multiply-accumulate (MAC) counts as one, for one example, in every matrix
multiplication and convolution: patches, attention (queries, keys and values,
scores, weighted sums, output), MLPs, the TokenLearner's convolutions or MLP and
its pooling, the TokenFuser's mixing and spreading, the head. A convolution
counts its whole window at the border too. Not counted: normalisation, softmax,
GELU, sigmoid, biases, residuals, pooling over tokens. The paper's tables name
the same unit GFLOPS and lie within 1 % of these sums, for the most part 0.3 to
0.7 % above.
"""

import dataclasses
import itertools
import math
import re
import typing
from typing import Iterable, List, NamedTuple, Sequence, Tuple

from absl import flags

from tf_tokenlearner import cli
from tf_tokenlearner import errors
from tf_tokenlearner import registry

if typing.TYPE_CHECKING:  # The package around specs imports TensorFlow.
  from tf_tokenlearner.backbones import specs


@dataclasses.dataclass(frozen=True)
class Count:
  """Parameters, and MACs for one example."""
  parameters: int = 0
  macs: int = 0

  def __add__(self, other: 'Count') -> 'Count':
    return Count(self.parameters + other.parameters, self.macs + other.macs)

  def run(self, times: int) -> 'Count':
    """The same weights used several times, for instance once per frame."""
    return Count(self.parameters, self.macs * times)


class Row(NamedTuple):
  """One layer: its name, the shape it gives less the batch, what it costs."""
  name: str
  output: str
  parameters: int
  macs: int


@dataclasses.dataclass(frozen=True)
class Cost:
  """The layers in order of the forward path, and their sums."""
  rows: Tuple[Row, ...]

  @property
  def parameters(self) -> int:
    return sum(row.parameters for row in self.rows)

  @property
  def macs(self) -> int:
    return sum(row.macs for row in self.rows)


def image_classifier_cost(
    spec: 'specs.ViTSpec', input_size: Sequence[int], num_classes: int) -> Cost:
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

  rows = [_row('patch_embedding', [*grid_size, width], convolution(
      num_positions, spec.patch_size, input_size[-1], width))]
  if num_class_tokens:
    rows.append(_row('class_token', in_encoder, Count(width)))
  rows.append(_row(
      'position_embedding', in_encoder, Count(math.prod(in_encoder))))
  rows += encoder_rows(spec, num_positions, num_class_tokens=num_class_tokens)
  if spec.representation_size:
    rows.append(_row('pre_logits', [spec.representation_size], dense(
        1, width, spec.representation_size)))
    width = spec.representation_size
  if num_classes:
    rows.append(_row('head', [num_classes], dense(1, width, num_classes)))
  return Cost(tuple(rows))


def encoder_rows(
    spec: 'specs.TransformerSpec', num_positions: int, num_frames: int = 1,
    num_class_tokens: int = 0) -> List[Row]:
  """One row per stage of the encoder, and one for its last LayerNorm.

  Args:
    spec: TransformerSpec, resolved.
    num_positions: positions per frame (N).
    num_frames: T; tokens are learned and fused in each, attention sees all.
    num_class_tokens: tokens beside the T*N positions.
  """
  width, mlp_dim = spec.hidden_size, spec.mlp_dim
  learn = spec.token_learner
  locations = dict(spec.learn_locations())
  first = min(locations, default=spec.num_layers)
  n = num_positions  # What a block sees of each frame.
  output = lambda: [num_class_tokens + num_frames * n, width]
  rows = []
  for i in range(spec.num_layers):
    if spec.use_token_fuser and i >= first:
      s = locations[first]
      per_frame = token_learner(learn, n, s, width) + token_fuser(
          learn.bottleneck_dim, n, s, width)
      rows.append(_row(f'fuse_{i}', output(), per_frame.run(
          num_frames) + transformer_block(num_frames * s, width, mlp_dim)))
      continue
    if i in locations:
      count = token_learner(learn, n, locations[i], width).run(num_frames)
      n = locations[i]
      rows.append(_row(f'learn_{i}', output(), count))
    rows.append(_row(
        f'block_{i}', output(), transformer_block(output()[0], width, mlp_dim)))
  return rows + [_row('norm', output(), layer_norm(width))]


def transformer_block(n: int, width: int, mlp_dim: int) -> Count:
  """A TransformerEncoderBlock on [N, C]."""
  attention = (
      dense(n, width, 3 * width)
      + Count(macs=2 * n * n * width)  # Scores, and sums weighted by them.
      + dense(n, width, width))
  return (layer_norm(width) + attention
          + layer_norm(width) + mlp(n, width, mlp_dim, width))


def token_learner(spec: 'specs.TokenLearnerSpec', n: int, num_tokens: int,
                  width: int) -> Count:
  """A TokenLearner of either version, [N, C] -> [S, C]."""
  if spec.version == 'v1.0':
    scores = convolution(n, (3, 3), width, num_tokens, use_bias=False)
    for _ in range(3):
      scores += convolution(n, (3, 3), num_tokens, num_tokens, use_bias=False)
  else:
    scores = mlp(n, width, spec.bottleneck_dim, num_tokens)
  return layer_norm(width) + scores + Count(macs=num_tokens * n * width)


def token_fuser(
    bottleneck_dim: int, n: int, num_tokens: int, width: int) -> Count:
  """A TokenFuser, [S, C] and [N, C] -> [N, C]."""
  mix = layer_norm(width) + dense(
      width, num_tokens, num_tokens) + layer_norm(width)
  masks = layer_norm(width) + mlp(n, width, bottleneck_dim, num_tokens)
  return mix + masks + Count(macs=n * num_tokens * width)


def mlp(n: int, inputs: int, hidden: int, outputs: int) -> Count:
  """Two dense layers on N rows."""
  return dense(n, inputs, hidden) + dense(n, hidden, outputs)


def dense(n: int, inputs: int, outputs: int) -> Count:
  """A dense layer with bias on N rows."""
  return Count((inputs + 1) * outputs, n * inputs * outputs)


def convolution(n: int, window: Sequence[int], inputs: int, outputs: int,
                use_bias: bool = True) -> Count:
  """A convolution of any rank; n counts the positions that come out."""
  weights = math.prod(window) * inputs * outputs
  return Count(weights + use_bias * outputs, n * weights)


def layer_norm(width: int) -> Count:
  """Scale and shift; its arithmetic is not counted."""
  return Count(2 * width)


def _row(name: str, output: Sequence[int], count: Count) -> Row:
  return Row(name, str(list(output)), count.parameters, count.macs)


_LINE = '{:<24}{:>18}{:>15}{:>12}{:>8}'
_UNITS = {'G': 10**9, 'M': 10**6, 'K': 10**3}


def render(cost: Cost) -> str:
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


def _fold(rows: Iterable[Row]):
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
