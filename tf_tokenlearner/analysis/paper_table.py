"""The papers' tables: our cost of every row next to the paper's.

paper_figures.py holds the papers' figures and names a file of official_configs
for each; the file determines the model.

The paper's tables for the bottleneck video model count a multiply-accumulate as
two. Modules on 64 frames of 8 x 8 positions at width 432, here (2 x MAC) and in
tables 11 and 12 of arXiv 2106.11297v2:

                                           GFLOPs       parameters (M)
  module                               here   paper      here   paper
  conv2d_conv1d                        18.3    18.3      2.24    2.24
  joint_mhsa                           21.2    22.0      0.30    0.30
  conv2d_joint_mhsa                    35.0    35.8      1.98    1.98
  token_learner                         1.4     3.4      0.83    0.81
  conv2d_token_learner                 15.1    17.2      2.51    2.49
  spatial_token_learner                 4.1     6.2      1.13    1.11
  conv2d_mlp_mixer                     13.8    13.8      2.06    2.06
  conv2d_temporal_transformer          16.5    16.5      1.98    1.98
  spatial_temporal_transformer          5.5     5.5      0.60    0.59
  conv2d_spatial_temporal_transformer  19.2    19.2      2.28    2.27

The paper seems to count softmax as well: with 5 operations per weight and 1 for
its scaling, 8 heads bring joint_mhsa to 22.0. TokenLearner amounts to 1.9 that
way; the paper does not explain its 3.4, and no reading with its number of
parameters gives that value. The paper's whole models cost 532 (plain), 493
(spatial_temporal_transformer) and 487 GFLOPs (token_learner); ours cost 525,
487 and 474 at 64 x 256 x 256 with the module in three blocks.
"""

import pathlib
from typing import Iterable, List, NamedTuple, Optional, Tuple

from tf_tokenlearner.analysis import counts
from tf_tokenlearner.analysis import paper_figures
from tf_tokenlearner.backbones import specs
from tf_tokenlearner.backbones import variants
from tf_tokenlearner.configs import config_files
from tf_tokenlearner.configs import experiments
from tf_tokenlearner import errors

CONFIGS = config_files.folder()
_MODULE_CLIP = (64, 256, 256, 3)  # The paper's evaluation size.
# The configs leave the number of classes to the data, which are not read here.
_NUM_CLASSES = {
    'tokenlearner_kinetics400': 400, 'tokenlearner_kinetics600': 600}


class Row(NamedTuple):
  """A row of a table: the paper's figure and the computed cost."""
  table: str
  figure: paper_figures.Figure
  model: str
  giga: float
  mega: float

  @property
  def error(self) -> Optional[float]:
    """Relative difference to the paper's GFLOPS; None if it gives none."""
    return self.figure.giga and self.giga / self.figure.giga - 1

  @property
  def parameter_error(self) -> Optional[float]:
    """Relative difference to the paper's parameters; None if it gives none."""
    return self.figure.mega and self.mega / self.figure.mega - 1


def rows(folder: Optional[pathlib.Path] = None) -> List[Row]:
  """Returns all rows, in the order of the tables and then of cost.

  Args:
    folder: official_configs; None for the one of this project.

  Raises:
    UserError: the folder does not exist.
  """
  folder = folder or CONFIGS
  if not folder.is_dir():
    raise errors.UserError(
        f'{folder} does not exist, but its files are the rows of the table. '
        'Run this in a clone of the project.')
  found = []
  for name, table in paper_figures.TABLES.items():
    its = [_compute(name, table.experiment, figure, folder)
           for figure in table.figures]
    found += sorted(its, key=lambda row: (row.giga, row.model))
  return found


def _compute(table: str, experiment: str, figure: paper_figures.Figure,
             folder: pathlib.Path) -> Row:
  path = folder / f'{figure.config}.yaml'
  model = experiments.parse(experiment, [str(path)]).task.model
  input_size = tuple(model.input_size)
  spec = model.backbone.get().completed(input_size)
  if table == paper_figures.MODULES:
    cost = counts.module_cost(spec, _MODULE_CLIP)
    return Row(table, figure, spec.module, 2 * cost.macs / 1e9,
               cost.parameters / 1e6)
  cost = counts.classifier_cost(
      spec, input_size,
      model.num_classes or _NUM_CLASSES.get(experiment, 1000))
  return Row(table, figure, describe(spec, input_size), cost.macs / 1e9,
             cost.parameters / 1e6)


def describe(spec: specs.TransformerSpec, input_size: Tuple[int, ...]) -> str:
  """Returns a completed spec in 35 characters, as 'L/16 (35) 16at12, 512'."""
  is_image = isinstance(spec, specs.ViTSpec)
  size = (variants.parse_image_variant if is_image
          else variants.parse_video_variant)(spec.variant)[0]
  words = [spec.variant]
  if spec.num_layers != size.num_layers:
    words.append(f'({spec.num_layers})')
  words += [f'{num_tokens}at{location}'
            for location, num_tokens in spec.token_learners()]
  if isinstance(spec, specs.FactorizedViViTSpec):
    words.append('factorized')
  if spec.token_learners() and spec.tokenizer != 'token_learner':
    words.append('pooled')
  if spec.use_token_fuser:
    words.append('fuser' if spec.fuser == 'token_fuser' else spec.fuser)
  pixels = input_size[:1] if is_image else input_size[:2]
  return f'{" ".join(words)}, {"x".join(map(str, pixels))}'


_LINE = '{:<36}{:>8}{:>7}{:>6}{:>9}{:>7}{:>6}'


def render(its: Iterable[Row]) -> str:
  """Returns tables of 80 columns and the meaning of the marks in them."""
  lines, table, marks = [], None, set()
  for row in its:
    if row.table != table:
      table = row.table
      unit = 'GFLOPs' if table == paper_figures.MODULES else 'GMACs'
      lines += [
          *([''] if lines else []),
          paper_figures.TABLES[table].title,
          _LINE.format('model', 'params M', 'paper', '%', unit, 'paper', '%')]
      lines.append('-' * len(lines[-1]))
    marks.add(row.figure.mark)
    mark = paper_figures.MARKS[row.figure.mark][0] if row.figure.mark else ''
    lines.append(_LINE.format(
        row.model, f'{row.mega:.2f}', _text(row.figure.mega),
        _percent(row.parameter_error), f'{row.giga:.2f}',
        _text(row.figure.giga), _percent(row.error)) + mark)
  lines += ['', '%: difference to the paper, relative to the paper.']
  lines += [f'{mark} {text}' for key, (mark, text)
            in paper_figures.MARKS.items() if key in marks]
  return '\n'.join(lines)


def _text(number: Optional[float]) -> str:
  return '' if number is None else f'{number:g}'


def _percent(share: Optional[float]) -> str:
  return '' if share is None else f'{100 * share:+.1f}'
