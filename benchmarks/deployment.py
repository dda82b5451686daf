"""Times and measures what the exports of our image models cost to deploy.

  python benchmarks/deployment.py --report=docs/deployment.md \\
      --runs=runs/digits,runs/fashion_mnist
  python benchmarks/deployment.py --variants=Ti/16 --forms=dynamic,int8
  python benchmarks/deployment.py --variants= --runs=runs/digits

Prints, or writes to --report, size on disk and milliseconds of one image
(median over rounds in which everything runs once) as a TFLite file of every
number type, run by LiteRT, and as a SavedModel, with and without XLA; each
variant plain and with a TokenLearner, 1000 classes, random weights. A
SavedModel also cuts and scales its image, of the network's own size here; a
TFLite file leaves that to the device.

For each of --runs, folders of trained image runs, also the accuracy of every
TFLite file on the run's evaluation data beside the checkpoint's.
"""

import os
import sys

if not __package__:  # Run as a script: the clone lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from tf_tokenlearner import cli
from tf_tokenlearner import errors

_TFLITE = ('none', 'float16', 'dynamic', 'int8')
_SAVED_MODELS = {'graph': False, 'xla': True}
_FORMS = (*_TFLITE, *_SAVED_MODELS)
_NAMES = {
    'none': 'TFLite float32', 'float16': 'TFLite float16',
    'dynamic': 'TFLite dynamic int8', 'int8': 'TFLite int8',
    'graph': 'SavedModel, graph', 'xla': 'SavedModel, XLA'}


def define_flags(values: flags.FlagValues) -> None:
  # --help lists what the program itself defines.
  owner = dict(flag_values=values, module_name='__main__')
  flags.DEFINE_list('variants', 'Ti/16,B/16', 'Sizes: letter/patch.', **owner)
  flags.DEFINE_list('forms', ','.join(_FORMS), 'What is exported.', **owner)
  flags.DEFINE_list('runs', '', 'Folders of trained image runs.', **owner)
  flags.DEFINE_string(
      'report', '', 'File that the tables go to; by default they are printed.',
      **owner)
  for name, default, what in (
      ('image_size', 224, 'Height and width in pixels.'),
      ('num_tokens', 8, 'Tokens that the TokenLearner learns.'),
      ('location', 6, 'First block, counted from 0, that sees tokens.'),
      ('calibration_images', 16, 'From which int8 takes its ranges.'),
      ('verify_examples', 2000, 'Evaluation data of a run, at most.'),
      ('rounds', 20, 'How often each is timed; medians are printed.')):
    flags.DEFINE_integer(name, default, what, lower_bound=1, **owner)


def run(values: flags.FlagValues) -> None:
  """Measures what the flags say, and writes the report."""
  for form in values.forms:
    if form not in _FORMS:
      raise errors.unknown_name('form', form, _FORMS)

  # These take seconds: only now, when the flags make sense.
  from benchmarks import deployment_forms
  from benchmarks import timing

  sections = [
      '# What deployment costs', 'Written by `python '
      f'benchmarks/deployment.py`. {timing.machine()}.']
  if values.variants:
    contenders = deployment_forms.make(values, _SAVED_MODELS)
    seconds = timing.interleave(
        {key: made.answer for key, made in contenders.items()}, values.rounds)
    sections.append(_speed_table(values, contenders, seconds))
  if values.runs:
    quantizations = [form for form in values.forms if form in _TFLITE]
    sections.append(_accuracy_table(quantizations, [
        (model_dir, deployment_forms.accuracies(
            model_dir, quantizations, values.verify_examples))
        for model_dir in values.runs]))
  text = '\n\n'.join(sections)
  if not values.report:
    print(text)
    return
  os.makedirs(os.path.dirname(values.report) or '.', exist_ok=True)
  with open(values.report, 'w', encoding='utf-8') as file:
    file.write(text + '\n')
  print(f'Wrote {values.report}.')


def _speed_table(values: flags.FlagValues, contenders: dict,
                 seconds: dict) -> str:
  lines = [
      f'## Size and time, {values.image_size} px, one image', '',
      f'Medians of {values.rounds} rounds, all interleaved; "gain" is over the '
      'plain model in the\nsame form. Times from another run or machine do not '
      'compare.', '',
      '| variant | form | plain: MB | ms | with TokenLearner: MB | ms | gain |',
      '|---|---|---|---|---|---|---|']
  for variant in values.variants:
    for form in values.forms:
      cells = []
      for learns in (False, True):
        key = variant, form, learns
        cells += [f'{contenders[key].num_bytes / 1e6:.1f}',
                  f'{1e3 * seconds[key]:.1f}']
      gain = seconds[variant, form, False] / seconds[variant, form, True]
      lines.append(f'| {variant} | {_NAMES[form]} | {" | ".join(cells)} | '
                   f'{gain:.2f} |')
  lines += ['', f'TokenLearner: {values.num_tokens} tokens at '
            f'{values.location}, v1.1.']
  return '\n'.join(lines)


def _accuracy_table(quantizations: list, runs: list) -> str:
  lines = [
      '## Accuracy of trained runs', '',
      '| data set | examples | checkpoint | '
      + ' | '.join(_NAMES[name] for name in quantizations) + ' |',
      '|---|---|---|' + '---|' * len(quantizations)]
  for _, scores in runs:
    cells = [f'{scores.by_form[name]:.4f}' for name in quantizations]
    lines.append(f'| {scores.data_set} | {scores.num_examples:,} | '
                 f'{scores.checkpoint:.4f} | {" | ".join(cells)} |')
  return '\n'.join(lines)


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  run(flags.FLAGS)


if __name__ == '__main__':
  define_flags(flags.FLAGS)
  cli.run(main)
