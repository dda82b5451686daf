"""Tables, plots and verdicts from what benchmarks/study.py has trained."""

import os
import statistics
import textwrap
from typing import Any, Dict, List, Tuple

from matplotlib import figure
from scipy import stats

from benchmarks import study_kinds
from benchmarks import trainings
from tf_tokenlearner import errors

Results = Dict[str, List[Dict[str, Any]]]

# Kinds of one family share a colour of Okabe and Ito's palette and a line.
_FAMILIES = (
    ('plain', '#000000', 'o', (study_kinds.SHALLOWER, study_kinds.PLAIN)),
    ('TokenLearner, 8 tokens', '#0072B2', 'o',
     ('8 at 1/4', '8 at 1/2', '8 at 3/4')),
    ('4 and 16 tokens', '#56B4E9', 's', ('4 at 1/2', '16 at 1/2')),
    ('pooling, 8 tokens', '#D55E00', 'v',
     ('pooling 8 at 1/2', 'pooling 8 at 3/4')),
    ('with TokenFuser', '#009E73', 'D', ('Fuser 8 at 1/2',)),
    ('TokenLearner v1.0', '#CC79A7', '^', ('v1.0 8 at 1/2',)),
    ('deeper, with TokenLearner', '#E69F00', '*', (study_kinds.DEEPER,)),
)
_DEPTHS = (('TokenLearner', '#0072B2', 'o', '8'),
           ('pooling', '#D55E00', 'v', 'pooling 8'))

_LIMITS = """## What this cannot say

This network is small, its pictures are small and grey, and it was trained for
minutes; the paper's were trained on hundreds of millions of photographs. A
claim that did not hold here is not refuted for those, and one that held is not
proven. Most of the 49 patches show the one piece of clothing: there is less to
leave out than in a photograph."""


def write(folder: str, results: Results) -> str:
  """Writes results.md and its plots.

  Args:
    folder: where to.
    results: of each kind that has any, in the order of the table.

  Returns:
    the path of results.md.

  Raises:
    UserError: the plain network has no result.
  """
  if study_kinds.PLAIN not in results:
    raise errors.UserError(
        f'"{study_kinds.PLAIN}" has no result yet, and the report compares '
        'with it: train it as well, or give --noreport.')
  os.makedirs(folder, exist_ok=True)
  plots = [('results_cost.png', 'Accuracy against multiply-accumulates',
            _plot_cost),
           ('results_depth.png', 'Accuracy against the TokenLearner\'s place',
            _plot_depth)]
  for name, _, plot in plots:
    plot(results).savefig(os.path.join(folder, name), dpi=120)
  pictures = [f'![{title}]({name})' for name, title, _ in plots]
  sections = [_introduction(results), *pictures, _table(results),
              _claims(results), _LIMITS]
  path = os.path.join(folder, 'results.md')
  with open(path, 'w', encoding='utf-8') as file:
    file.write('\n\n'.join(sections) + '\n')
  return path


def verdict(ours: List[float], others: List[float],
            least: float) -> Tuple[str, str]:
  """Whether ours - others > least, in points of accuracy.

  Args:
    ours, others: accuracies in [0, 1], one of each seed.
    least: points.

  Returns:
    ('+0.4 (-0.1 to +0.9)', the difference with its 95 % confidence interval
    after Welch; 'held', 'did not hold', or 'undecided, rather' yes or not).
  """
  test = stats.ttest_ind([100 * a for a in ours], [100 * a for a in others],
                         equal_var=False)
  low, high = test.confidence_interval(0.95)
  difference = 100 * (statistics.mean(ours) - statistics.mean(others))
  word = ('held' if low > least else 'did not hold' if high < least
          else 'undecided, rather ' + ('yes' if difference > least else 'not'))
  return f'{difference:+.2f} ({low:+.2f} to {high:+.2f})', word


def _introduction(results: Results) -> str:
  plain = results[study_kinds.PLAIN][0]['config']
  network = plain['task']['model']['backbone']['token_learner_vit']
  about = (
      f'The plain network is a vision transformer of {network["num_layers"]} '
      f'blocks, width {network["hidden_size"]}, {network["num_heads"]} heads, '
      f'on 7 x 7 patches of 4 x 4 pixels: {plain["trainer"]["train_steps"]:,} '
      f'steps of {plain["task"]["train_data"]["global_batch_size"]} of the '
      '60,000 training images, from scratch; scored on the 10,000 test images '
      'once, after the last step. "S at p": S tokens after the share p of the '
      'blocks, by TokenLearner v1.1 and without Fuser unless it says '
      f'otherwise; nothing else differs. "{study_kinds.DEEPER}" has as many '
      'blocks as cost no more than the plain network, '
      f'"{study_kinds.SHALLOWER}" as few as cost no less than 8 at 1/2.')
  return '\n\n'.join([
      '# The paper\'s questions on Fashion-MNIST',
      'Written by `python benchmarks/study.py` from the lines of '
      '[study.jsonl](study.jsonl),\none for each training.',
      textwrap.fill(about, 80),
      trainings.provenance(row for rows in results.values() for row in rows)])


def _table(results: Results) -> str:
  lines = [
      '## What came out', '',
      '| kind | parameters | M MACs | accuracy, % | seeds |',
      '|---|---|---|---|---|']
  for name, rows in results.items():
    accuracy = trainings.spread(_accuracies(rows), scale=100, digits=2)
    lines.append(
        f'| {name} | {rows[0]["parameters"]:,} | {_macs(rows):.2f} | '
        f'{accuracy} | {len(rows)} |')
  lines += ['', 'Mean and standard deviation over seeds.']
  return '\n'.join(lines)


def _claims(results: Results) -> str:
  lines = [
      '## Which claims held', '',
      '| claim | where | here: difference in points | verdict |',
      '|---|---|---|---|']
  missing, said = [], {}
  for claim in study_kinds.CLAIMS:
    pair = [_accuracies(results.get(kind, []))
            for kind in (claim.kind, claim.other)]
    if min(map(len, pair)) < 2:
      missing.append(claim.text)
      continue
    difference, word = verdict(*pair, claim.least)
    said.setdefault(word, []).append(claim.text)
    lines.append(
        f'| {claim.text} | {claim.source} | {difference} | **{word}** |')
  lines += ['', 'In brackets the 95 % confidence interval (Welch). Held: all '
            'of it is on the side of\nthe claim; did not hold: none of it is; '
            'else so few seeds cannot decide.']
  for word, texts in sorted(said.items()):
    lines += ['', textwrap.fill(
        f'{word[0].upper()}{word[1:]}: {"; ".join(texts)}.', 80)]
  if missing:
    lines += ['', textwrap.fill(
        f'Not trained with two seeds yet: {"; ".join(missing)}.', 80)]
  return '\n'.join(lines)


def _accuracies(rows: List[Dict[str, Any]]) -> List[float]:
  return [row['accuracy'] for row in rows]


def _macs(rows: List[Dict[str, Any]]) -> float:
  """Millions."""
  return rows[0]['macs'] / 1e6


def _bars(rows: List[Dict[str, Any]]) -> Tuple[float, float]:
  """(mean, standard deviation) of the accuracy in percent."""
  percent = [100 * accuracy for accuracy in _accuracies(rows)]
  return (statistics.mean(percent),
          statistics.stdev(percent) if percent[1:] else 0.)


def _plot_cost(results: Results) -> figure.Figure:
  picture, axes = _axes('M multiply-accumulates an image')
  for label, colour, marker, kinds in _FAMILIES:
    points = sorted((_macs(results[kind]), *_bars(results[kind]), kind)
                    for kind in kinds if kind in results)
    if not points:
      continue
    macs, means, deviations, names = zip(*points)
    axes.errorbar(macs, means, deviations, color=colour, marker=marker,
                  markersize=6, capsize=3, linewidth=1, label=label)
    for x, y, name in zip(macs, means, names):
      axes.annotate(name.split(' at ')[-1] if ' at ' in name else name, (x, y),
                    xytext=(6, 5), textcoords='offset points', fontsize=7,
                    color=colour)
  axes.legend(fontsize=8, frameon=False, loc='lower right')
  return picture


def _plot_depth(results: Results) -> figure.Figure:
  picture, axes = _axes('blocks before the tokens, share of the depth')
  quarters = {'1/4': .25, '1/2': .5, '3/4': .75}
  for label, colour, marker, start in _DEPTHS:
    points = [(share, *_bars(results[f'{start} at {name}']))
              for name, share in quarters.items()
              if f'{start} at {name}' in results]
    if points:
      share, means, deviations = zip(*points)
      axes.errorbar(share, means, deviations, color=colour, marker=marker,
                    markersize=6, capsize=3, linewidth=1,
                    label=f'{label}, 8 tokens')
  mean, deviation = _bars(results[study_kinds.PLAIN])
  axes.axhline(mean, color='#000000', linewidth=1, label='plain')
  axes.axhspan(mean - deviation, mean + deviation, color='#000000', alpha=.1,
               linewidth=0)
  axes.set_xticks(list(quarters.values()), list(quarters))
  axes.set_xlim(.15, .85)
  axes.legend(fontsize=8, frameon=False, loc='lower right')
  return picture


def _axes(x_label: str):
  picture = figure.Figure(figsize=(6.4, 4.2), layout='constrained')
  axes = picture.add_subplot()
  axes.set_xlabel(x_label)
  axes.set_ylabel('test accuracy, %')
  axes.spines[['top', 'right']].set_visible(False)
  axes.grid(alpha=.25, linewidth=.5)
  return picture, axes
