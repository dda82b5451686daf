"""The papers' tables: what every row costs here, beside what they say.

Where no other is named, the paper is TokenLearner's, arXiv 2106.11297v2.

The rows are the files of official_configs. The fourth line of each quotes the
papers, its figures before the table that they are from,

  ... 87.68 % top-1 at 178.1 G multiply-accumulates (table 2, in error) ...

and the file itself says what the model is; nothing is written down twice.
"""

import pathlib
import re
from typing import Iterable, List, NamedTuple, Optional, Sequence, Tuple

from tf_tokenlearner.analysis import bottleneck_cost
from tf_tokenlearner.analysis import counts
from tf_tokenlearner.analysis import model_cost
from tf_tokenlearner.backbones import bottleneck_spec
from tf_tokenlearner.backbones import specs
from tf_tokenlearner.backbones import variants
from tf_tokenlearner.configs import config_files
from tf_tokenlearner.configs import experiments
from tf_tokenlearner import errors

CONFIGS = config_files.folder()
# What a file may name in brackets, in the order of the output.
MODULES = 'tables 11 and 12'
TABLES = {
    'table 1': 'Table 1: ImageNet, S and B',
    'table 2': 'Table 2: ImageNet, L',
    'table 3': 'Table 3: ImageNet, beside larger models',
    'table 4': 'Table 4: with and without TokenFuser',
    'table 5': 'Table 5: pooling in place of TokenLearner',
    'tables 6 and 7': 'Tables 6 and 7: Kinetics-400, a view',
    'table 8': 'Table 8: Kinetics-600, a view',
    MODULES: 'Tables 11 and 12: a module on 64 x 8 x 8 x 432, 2 for a '
             'multiply-accumulate',
    'fuser figure': 'Figure: unpooling and reprojection in place of TokenFuser',
    'few-shot figure': 'Figure: few-shot, at 224 px',
    'version 4': 'Version 4: TokenLearner in early layers',
    'arXiv 2103.15691': 'ViViT (arXiv 2103.15691), a view',
}
MARKS = {
    'in error': ('*', 'The paper is off: the Limit of the file says more.'),
    'counted otherwise': (
        '~', 'The paper counts more, such as softmax or the head of '
        'pre-training:\n  analysis/bottleneck_cost.py and the Limit of the '
        'file say what is known.'),
    'read off': ('^', 'Read off a plot.'),
    'unconfirmed': ('?', 'The paper\'s figures could not be confirmed.'),
}
# Which the data say, and they are not read; ImageNet has 1000.
_NUM_CLASSES = {
    'tokenlearner_kinetics400': 400, 'tokenlearner_kinetics600': 600}
_BRACKETS = re.compile(
    r'\((tables? \d[\d ,and]*|[a-z-]+ figure|version \d|arXiv [\d.]+)'
    r'(?:, ([^)]*))?\)')
_FIGURE = re.compile(r'([\d.]+) (GFLOPs|G|M parameters)\b')


class Quote(NamedTuple):
  """What a file says that a paper says.

  Attributes:
    table: as it stands in brackets.
    mark: a key of MARKS, or None.
    giga: GFLOPS, which are multiply-accumulates but for MODULES; None if the
      paper has none.
    mega: millions of parameters, or None.
  """
  table: str
  mark: Optional[str]
  giga: Optional[float]
  mega: Optional[float]


class Row(NamedTuple):
  """A row of a table: what the paper says, and what was computed."""
  quote: Quote
  model: str
  giga: float
  mega: float

  @property
  def error(self) -> Optional[float]:
    """Computed over quoted GFLOPS, less 1; None if there are none."""
    return self.quote.giga and self.giga / self.quote.giga - 1

  @property
  def parameter_error(self) -> Optional[float]:
    """The same of parameters."""
    return self.quote.mega and self.mega / self.quote.mega - 1


def quotes(header: Sequence[str]) -> List[Quote]:
  """What the first lines of a file quote.

  Raises:
    UserError: a mark that is not known.
  """
  found, start = [], 0
  line = header[3]
  for match in _BRACKETS.finditer(line):
    table, mark = match.groups()
    if mark and mark not in MARKS:
      raise errors.unknown_name('mark', mark, MARKS)
    figures = {unit: float(value) for value, unit in _FIGURE.findall(
        line[start:match.start()])}
    start = match.end()
    found += [Quote(name, mark, figures.get('G', figures.get('GFLOPs')),
                    figures.get('M parameters')) for name in _names(table)]
  return found


def _names(table: str) -> List[str]:
  """'tables 4 and 5' -> ['table 4', 'table 5'], unless both are one.

  Raises:
    UserError: no such table.
  """
  names = [table]
  if table.startswith('tables') and table not in TABLES:
    names = [f'table {number}' for number in re.findall(r'\d+', table)]
  for name in names:
    if name not in TABLES:
      raise errors.unknown_name('table', name, TABLES)
  return names


def rows(folder: Optional[pathlib.Path] = None) -> List[Row]:
  """All rows, in the order of TABLES and then of cost; equal ones once.

  Args:
    folder: of the files; CONFIGS if it is None.

  Raises:
    UserError: the folder is not there.
  """
  folder = folder or CONFIGS
  if not folder.is_dir():
    raise errors.UserError(
        f'{folder} is not there, whose files are the rows of the table: run '
        'this in a clone of the project.')
  found = set()
  for path in folder.rglob('*.yaml'):
    header = path.read_text(encoding='utf-8').splitlines()[:5]
    its = quotes(header)
    if its:
      found.update(_compute(path, header, its))
  order = list(TABLES)
  return sorted(found, key=lambda row: (
      order.index(row.quote.table), row.giga, row.model))


def _compute(path: pathlib.Path, header: Sequence[str],
             its: Iterable[Quote]) -> Iterable[Row]:
  experiment = re.search(r'--experiment=(\w+)', header[2]).group(1)
  model = experiments.parse(experiment, [str(path)]).task.model
  input_size = tuple(model.input_size)
  spec = model.backbone.get().completed(input_size)
  num_classes = model.num_classes or _NUM_CLASSES.get(experiment, 1000)
  for quote in its:
    if quote.table == MODULES:
      count, name = _module(spec), spec.module
    else:
      count = model_cost.classifier_cost(spec, input_size, num_classes)
      name = describe(spec, input_size)
    factor = 2 if quote.table == MODULES else 1
    yield Row(quote, name, factor * count.macs / 1e9, count.parameters / 1e6)


def _module(spec: bottleneck_spec.BottleneckSpec) -> counts.Count:
  """At the paper's size of evaluation."""
  clip = (64, 256, 256, 3)
  return bottleneck_cost.module(
      spec, bottleneck_spec.MODULES[spec.module], spec.map_size(clip),
      spec.inner_width(-1))


def describe(spec: specs.TransformerSpec, input_size: Tuple[int, ...]) -> str:
  """A resolved model in at most 35 letters: 'L/16 (35) 16at12, 512'."""
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
  """Tables of 80 columns, and what the marks in them mean."""
  lines, table, marks = [], None, set()
  for row in its:
    if row.quote.table != table:
      table = row.quote.table
      unit = 'GFLOPs' if table == MODULES else 'GMACs'
      lines += [
          *([''] if lines else []),
          TABLES[table],
          _LINE.format('model', 'params M', 'paper', '%', unit, 'paper', '%')]
      lines.append('-' * len(lines[-1]))
    marks.add(row.quote.mark)
    mark = MARKS[row.quote.mark][0] if row.quote.mark else ''
    lines.append(_LINE.format(
        row.model, f'{row.mega:.2f}', _text(row.quote.mega),
        _percent(row.parameter_error), f'{row.giga:.2f}',
        _text(row.quote.giga), _percent(row.error)) + mark)
  lines += ['', '%: computed less the paper\'s, of the paper\'s.']
  return '\n'.join(lines + [
      f'{mark} {text}' for key, (mark, text) in MARKS.items() if key in marks])


def _text(number: Optional[float]) -> str:
  return '' if number is None else f'{number:g}'


def _percent(share: Optional[float]) -> str:
  return '' if share is None else f'{100 * share:+.1f}'
