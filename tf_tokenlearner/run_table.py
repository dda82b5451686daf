"""Summaries of runs, and the table that compares them."""

import collections
import dataclasses
import json
import textwrap
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from tf_tokenlearner import progress

_UNKNOWN = '-'
_WIDEST_VALUE = 24  # Longer values of options are shortened.
_LEAST_NAME = 16  # Characters that are left for the name of a run.
_GAP = '  '


@dataclasses.dataclass(frozen=True)
class Summary:
  """A run in short.

  Attributes:
    name: its folder as it is shown.
    folder: path of its folder.
    metric: the score that selects its best checkpoint.
    lower_is_better: whether a lower value of the metric is better.
    scores: scores of the best checkpoint; {} before the first evaluation.
    best_step: step of the best checkpoint, None without one.
    step: step that training has reached.
    train_steps: step at which training ends.
    is_finished: whether training ended by itself.
    seconds: time of training, None if it is unknown.
    macs: multiply-accumulates per example, None if they are unknown.
    parameters: their number, None if it is unknown.
    options: complete config by dotted key, and the experiment.
  """
  name: str
  folder: str
  metric: str
  lower_is_better: bool
  scores: Dict[str, float]
  best_step: Optional[int]
  step: int
  train_steps: int
  is_finished: bool
  seconds: Optional[float]
  macs: Optional[int]
  parameters: Optional[int]
  options: Dict[str, Any]

  def has_option(self, key: str) -> bool:
    """Returns whether the config has a key, or null in place of its group."""
    return key in self.options or any(
        parent in self.options for parent in _parents(key))

  def option(self, key: str) -> Any:
    """Returns the value of a key, None if there is null for its group."""
    return self.options.get(key)


def _parents(key: str) -> List[str]:
  """Returns ['a', 'a.b'] for 'a.b.c'."""
  parts = key.split('.')
  return ['.'.join(parts[:count]) for count in range(1, len(parts))]


class _Column(NamedTuple):
  """A column of a table."""
  head: str
  cells: Sequence[str]

  @property
  def width(self) -> int:
    return max(map(len, [self.head, *self.cells]))

  def lines(self) -> List[str]:
    """Returns the head and the cells, padded; numbers align at the right."""
    is_number = all(
        cell[:1] in '-0123456789' or cell == 'null' for cell in self.cells)
    pad = str.rjust if is_number else str.ljust
    return [pad(cell, self.width) for cell in [self.head, *self.cells]]


def render(runs: Sequence[Summary], metric: str, keys: Sequence[str],
           columns: int) -> str:
  """Returns tables of the results, the other scores and the options.

  Args:
    runs: sorted runs.
    metric: score in the first table.
    keys: options to show.
    columns: width of the terminal.
  """
  def column(head, value, text=str):
    values = map(value, runs)
    return _Column(head, [
        _UNKNOWN if v is None else text(v) for v in values])

  def score(name):
    return column(name, lambda run: run.scores.get(name), '{:.4f}'.format)

  numbers = _Column('# ', [f'{i}{" " if run.is_finished else "*"}'
                           for i, run in enumerate(runs, 1)])
  results = [
      score(metric),
      column('at step', lambda run: run.best_step, '{:,}'.format),
      column('MACs', lambda run: run.macs, _short),
      column('parameters', lambda run: run.parameters, _short),
      column('time', lambda run: run.seconds, progress.duration)]
  room = columns - sum(
      len(_GAP) + part.width for part in [numbers, *results])
  names = column('run', lambda run: _elide(run.name, max(room, _LEAST_NAME)))
  parts = [_blocks(numbers, [names, *results], columns)]
  others = sorted({name for run in runs for name in run.scores} - {metric})
  if others:
    parts.append('Other scores of these checkpoints:\n'
                 + _blocks(numbers, list(map(score, others)), columns))
  if keys:
    heads = _short_keys(keys)
    options = [
        column(heads[key], lambda run, key=key: _value(run, key))
        for key in keys]
    parts += ['Options that differ:\n' + _blocks(numbers, options, columns),
              'Keys of these options:\n' + _legend(keys, heads, columns)]
  elif len(runs) > 1:
    parts.append('All options are equal.')
  unfinished = [f'{i} (step {run.step:,} of {run.train_steps:,})'
                for i, run in enumerate(runs, 1) if not run.is_finished]
  if unfinished:
    parts.append(textwrap.fill(
        f'* Not finished: {", ".join(unfinished)}.', columns))
  return '\n\n'.join(filter(None, parts))


def _blocks(numbers: _Column, columns: Sequence[_Column], width: int) -> str:
  """Returns a table, cut between columns into parts that fit a width."""
  blocks, room = [], 0
  for column in columns:
    needed = len(_GAP) + column.width
    if needed > room:
      blocks.append([numbers])
      room = width - numbers.width
    blocks[-1].append(column)
    room -= needed
  return '\n\n'.join(
      '\n'.join(_GAP.join(row).rstrip()
                for row in zip(*(column.lines() for column in block)))
      for block in blocks)


def _short_keys(keys: Sequence[str]) -> Dict[str, str]:
  """Returns the shortest end of each dotted key that no other key has.

  'type' and 'name' say nothing alone and keep the part before them.
  """
  short = {}
  for key in keys:
    parts = key.split('.')
    least = 2 if parts[-1] in ('type', 'name') else 1
    ends = ('.'.join(parts[-count:]) for count in range(least, len(parts)))
    short[key] = next((end for end in ends if not any(
        f'.{other}'.endswith(f'.{end}')
        for other in keys if other != key)), key)
  return short


def _legend(keys: Sequence[str], heads: Dict[str, str], columns: int) -> str:
  """Returns a line 'prefix: ends' for each common prefix of the keys."""
  groups = collections.defaultdict(list)
  for key in keys:
    prefix = key.removesuffix(heads[key]).rstrip('.')
    groups[f'{prefix}: ' if prefix else ''].append(heads[key])
  return '\n'.join(
      textwrap.fill(prefix + ', '.join(ends), columns, initial_indent='  ',
                    subsequent_indent='      ', break_on_hyphens=False)
      for prefix, ends in groups.items())


def _value(run: Summary, key: str) -> Optional[str]:
  """Returns the value of an option as YAML has it, shortened."""
  if not run.has_option(key):
    return None
  value = run.option(key)
  text = value if value and isinstance(value, str) else json.dumps(
      value, default=str)
  return _elide(text, _WIDEST_VALUE)


def _short(count: int) -> str:
  """Returns a number with three digits: 1.23 G, 45.6 M, 789 K, 12."""
  rounded = float(f'{count:.3g}')
  for factor, unit in ((10**9, 'G'), (10**6, 'M'), (10**3, 'K')):
    if rounded >= factor:
      digits = max(3 - len(str(int(rounded / factor))), 0)
      return f'{rounded / factor:.{digits}f} {unit}'
  return str(count)


def _elide(text: str, width: int) -> str:
  """Returns a text, with its middle left out if it is longer than width."""
  if len(text) <= width:
    return text
  tail = (width - 2) // 2
  return f'{text[:width - 3 - tail]}...{text[-tail:]}'
