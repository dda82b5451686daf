"""Table, plot and verdicts from the results of benchmarks/pretrained.py."""

import os
import statistics
import textwrap
from typing import Any, Dict, List, Optional, Sequence, Tuple

from matplotlib import figure
from scipy import stats

from benchmarks import pretrained_arms
from benchmarks import trainings

Results = Dict[str, List[Dict[str, Any]]]

# Arms of one family share a colour of Okabe and Ito's palette and a marker.
_FAMILIES = (
    ('plain', 'all patches', '#000000', 'o'),
    ('learned', 'TokenLearner v1.1', '#0072B2', 'o'),
    ('pooled', 'pooling', '#D55E00', 'v'),
    ('top', 'patches by attention', '#009E73', 'D'),
    ('merged', 'token merging', '#CC79A7', '^'),
    ('ridge', 'ridge regression', '#999999', 's'),
)
_SCORES = ('accuracy', 'balanced_accuracy', 'auc')

_LIMITS = """## Limits

One network, one data set, one recipe for all arms: the recipe was chosen for 8
learned tokens at 6 on a part of the training pictures, so other arms might gain
from another one. The pictures of a module look alike, and a split by picture
puts cells of one module on both sides. Nothing is said about networks that were
trained further on all patches with more epochs or augmentation."""


def write(folder: str, results: Results,
          times: Optional[Dict[str, Any]] = None,
          commands: Sequence[Dict[str, Any]] = ()) -> str:
  """Writes pretrained.md and its plot.

  Args:
    folder: output folder; created if missing.
    results: results by arm, in the order of the table.
    times: result of --time, or None.
    commands: results of --command.

  Returns:
    Path of pretrained.md.
  """
  os.makedirs(folder, exist_ok=True)
  sections = [_introduction(results), _table(results)]
  if any(name != 'ridge' for name in results):
    _plot(results).savefig(os.path.join(folder, 'pretrained.png'), dpi=160)
    sections.append(
        '![AUC against multiply-accumulates](pretrained.png)')
  sections.append(_claims(results))
  if commands:
    sections.append(_commands(commands))
  if times:
    sections.append(_times(times))
  path = os.path.join(folder, 'pretrained.md')
  with open(path, 'w', encoding='utf-8') as file:
    file.write('\n\n'.join([*sections, _LIMITS]) + '\n')
  return path


def verdict(ours: Dict[int, float], others: Dict[int, float],
            least: float) -> Tuple[str, str]:
  """Tests whether ours - others > least, in percentage points.

  The arms are compared on equal splits, so the test is that of pairs.

  Args:
    ours: scores in [0, 1], by seed.
    others: those of the compared arm; at least two seeds are in both.
    least: threshold in percentage points.

  Returns:
    (difference, word): the mean difference with its 95 % confidence interval
    (paired t-test), such as '+0.4 (-0.1 to +0.9)'; and 'held', 'did not hold',
    'undecided, leaning yes' or 'undecided, leaning no'.
  """
  differences = [100 * (ours[seed] - others[seed])
                 for seed in sorted(set(ours) & set(others))]
  mean, half = mean_and_interval(differences)
  word = ('held' if mean - half > least else
          'did not hold' if mean + half < least else
          'undecided, leaning ' + ('yes' if mean > least else 'no'))
  return f'{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})', word


def mean_and_interval(numbers: Sequence[float]) -> Tuple[float, float]:
  """Returns the mean and half the width of its 95 % confidence interval.

  The interval is Student's; it is 0 wide for a single number.
  """
  mean = statistics.mean(numbers)
  if len(numbers) < 2:
    return mean, 0.
  quantile = stats.t.ppf(.975, len(numbers) - 1)
  return mean, float(
      quantile * statistics.stdev(numbers) / len(numbers)**.5)


def _introduction(results: Results) -> str:
  every = [row for rows in results.values() for row in rows]
  recipe = next((row['config']['recipe'] for row in every
                 if row['config']['recipe']), {})
  size = every[0]['config']['image_size']
  about = (
      'A self-supervised ViT-S/14 of 12 blocks, at '
      f'{size} x {size} pixels, is fine-tuned on photographs of solar cells '
      '(ELPV: 1,508 functional, 715 defective). "S at k" means that the blocks '
      'from k on, counted from 0, are trained and see the class token and S '
      'tokens, learned by TokenLearner v1.1 unless stated otherwise; the '
      'blocks below k are frozen. "plain" trains the blocks from 6 on with all '
      'patches. "top 8" keeps the 8 patches with most attention of the class '
      'token in the block before (EViT, arXiv 2202.07800). "merging" merges '
      'as many tokens in each of the 12 blocks (ToMe, arXiv 2210.09461) as '
      'makes it cost what 8 at 6 costs, and trains the blocks from 6 on. '
      '"ridge" is a ridge regression on the last block\'s class token and mean '
      'of the patches, its strength chosen by leaving one training picture '
      'out. '
      'Each seed holds out 30 % of each class, which are scored once, after '
      'the last step; the seeds are the same for all arms. The loss weights '
      'both classes equally; there is no augmentation.')
  text = ', '.join(f'{key}={value}' for key, value in recipe.items())
  return '\n\n'.join([
      '# Fine-tuning a pretrained network with few tokens',
      'Generated by `python benchmarks/pretrained.py` from\n'
      '[pretrained.jsonl](pretrained.jsonl), which has one line per training.',
      textwrap.fill(about, 80),
      textwrap.fill(f'Recipe of all arms: {text}.', 80),
      trainings.provenance(every)])


def _table(results: Results) -> str:
  lines = [
      '## Scores and cost', '',
      '| arm | M MACs | accuracy, % | balanced accuracy, % | AUC, % | CPU '
      'seconds | seeds |', '|---|---|---|---|---|---|---|']
  for name, rows in results.items():
    cells = [_percent([row[score] for row in rows]) for score in _SCORES]
    seconds = statistics.mean(row['cpu_seconds'] for row in rows)
    lines.append(f'| {name} | {rows[0]["macs"] / 1e6:,.0f} | '
                 f'{" | ".join(cells)} | {seconds:,.0f} | {len(rows)} |')
  return '\n'.join([*lines, '', textwrap.fill(
      'Scores: mean over seeds ± half of the 95 % confidence interval. M MACs: '
      'millions of multiply-accumulates per picture, frozen blocks included. '
      'CPU seconds: time of all cores for one training, without the frozen '
      'blocks, which run once for all arms.', 80)])


def _percent(numbers: List[float]) -> str:
  mean, half = mean_and_interval([100 * number for number in numbers])
  return f'{mean:.2f}' + (f' ± {half:.2f}' if len(numbers) > 1 else '')


def _claims(results: Results) -> str:
  lines = [
      '## Verdict on each claim', '',
      '| claim | AUC, percentage points | accuracy, percentage points | '
      'verdict by AUC |', '|---|---|---|---|']
  missing, verdicts = [], {}
  for claim in pretrained_arms.CLAIMS:
    ours, others = (results.get(name, [])
                    for name in (claim.arm, claim.other))
    seeds = ({row['seed'] for row in ours} & {row['seed'] for row in others})
    if len(seeds) < 2:
      missing.append(claim.text)
      continue
    by_seed = lambda rows, score: {row['seed']: row[score] for row in rows}
    difference, word = verdict(
        by_seed(ours, 'auc'), by_seed(others, 'auc'), claim.least)
    accuracy, _ = verdict(
        by_seed(ours, 'accuracy'), by_seed(others, 'accuracy'), claim.least)
    verdicts.setdefault(word, []).append(claim.text)
    lines.append(f'| {claim.text} | {difference} | {accuracy} | **{word}** |')
  lines += ['', 'In parentheses: 95 % confidence interval (paired t-test over '
            'seeds). A claim held if the\nwhole interval supports it, and did '
            'not hold if none of it does; otherwise this number\nof seeds does '
            'not decide.']
  for word, texts in sorted(verdicts.items()):
    lines += ['', textwrap.fill(
        f'{word[0].upper()}{word[1:]}: {"; ".join(texts)}.', 80)]
  if missing:
    lines += ['', textwrap.fill(
        f'Fewer than two seeds so far: {"; ".join(missing)}.', 80)]
  return '\n'.join(lines)


def _commands(rows: Sequence[Dict[str, Any]]) -> str:
  lines = [
      '## The documented command', '',
      '| seed | accuracy, % | balanced accuracy, % | AUC, % | minutes |',
      '|---|---|---|---|---|']
  for row in rows:
    cells = [f'{100 * row[score]:.2f}' for score in _SCORES]
    lines.append(f'| {row["seed"]} | {" | ".join(cells)} | '
                 f'{row["seconds"] / 60:.1f} |')
  if len(rows) > 1:
    cells = [_percent([row[score] for row in rows]) for score in _SCORES]
    minutes = statistics.mean(row['seconds'] for row in rows) / 60
    lines.append(f'| mean | {" | ".join(cells)} | {minutes:.1f} |')
  return '\n'.join([*lines, '', textwrap.fill(
      f'`tokenlearner-train --experiment={rows[0]["config"]["experiment"]} '
      '--mode=train_and_eval` on the folder of the training pictures, with '
      'nothing set but the weights; it holds out a fifth of them for its own '
      'validation. The test pictures of each seed are scored afterwards by '
      '`--mode=eval --data`. Minutes: wall-clock time of the training command, '
      'with packing the pictures and the pass through the frozen blocks. '
      f'{trainings.provenance(rows)}', 80)])


def _times(times: Dict[str, Any]) -> str:
  formats = list(next(iter(times['milliseconds'].values())))
  lines = ['## Time per picture', '',
           '| arm | ' + ' | '.join(f'{name}, ms' for name in formats) + ' |',
           '|---|' + '---|' * len(formats)]
  for name, by_format in times['milliseconds'].items():
    lines.append(f'| {name} | ' + ' | '.join(
        f'{by_format[key]:.1f}' for key in formats) + ' |')
  return '\n'.join([*lines, '', textwrap.fill(
      f'One picture at a time, median of {times["config"]["rounds"]} rounds in '
      'which all exports are timed alternately; the machine had other load, so '
      f'read the ratios. Commit {times["commit"]}; {times["machine"]}.', 80)])


def _plot(results: Results) -> figure.Figure:
  """Returns AUC against cost, on a logarithmic axis; the mean over seeds."""
  picture = figure.Figure(figsize=(6.4, 4.2), layout='constrained')
  axes = picture.add_subplot()
  for kind, label, colour, marker in _FAMILIES:
    points = [(rows[0]['macs'] / 1e6, *mean_and_interval(
        [100 * row['auc'] for row in rows]), name)
              for name, rows in results.items()
              if rows[0]['config']['kind'] == kind]
    if not points:
      continue
    macs, means, halves, names = zip(*points)
    axes.errorbar(macs, means, halves, color=colour, linewidth=0,
                  elinewidth=1.2, alpha=.35)
    axes.plot(macs, means, color=colour, marker=marker, linewidth=0,
              markersize=7, markeredgecolor='white', label=label)
    for x, y, name in zip(macs, means, names):
      if kind not in ('plain', 'ridge', 'merged'):
        axes.annotate(_short(name), (x, y), xytext=(6, -3),
                      textcoords='offset points', fontsize=7, color=colour)
  axes.set_xlabel('multiply-accumulates per picture, millions')
  axes.set_ylabel('AUC, %')
  axes.spines[['top', 'right']].set_visible(False)
  axes.grid(alpha=.25, linewidth=.5)
  axes.set_axisbelow(True)
  axes.margins(x=.12)
  axes.legend(fontsize=8.5, frameon=False)
  return picture


def _short(name: str) -> str:
  """Returns what distinguishes an arm within its family."""
  return name.replace('pooling ', '').replace('top ', '').replace(
      ' from means', ' means')
