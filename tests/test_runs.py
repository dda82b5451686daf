"""Comparison of runs, as users call it; one start takes a quarter second."""

import csv
import io
import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests import goldens
from tf_tokenlearner import run_folder
from tf_tokenlearner import runs

TRAINER = {'best_checkpoint_export_subdir': 'best_ckpt', 'train_steps': 600,
           'best_checkpoint_eval_metric': 'accuracy',
           'best_checkpoint_metric_comp': 'higher'}


def compare(*arguments, folder='/'):
  """Returns (exit code, stdout, stderr) of the command."""
  done = subprocess.run(
      [sys.executable, '-m', 'tf_tokenlearner.runs', *map(str, arguments)],
      capture_output=True, text=True, check=False, cwd=folder, env={
          **os.environ, 'COLUMNS': '80',
          'PYTHONPATH': str(pathlib.Path(__file__).parents[1])})
  return done.returncode, done.stdout, done.stderr


def make_run(folder, scores, training, task=None, **trainer):
  """Writes a run without checkpoints."""
  run_folder.save(run_folder.Run(
      str(folder), 'tokenlearner_digits',
      {'task': task or {}, 'trainer': {**TRAINER, **trainer}}, ('0', '1')))
  if scores:
    (folder / 'best_ckpt').mkdir()
    run_folder.write_best_scores(str(folder / 'best_ckpt'), scores)
  if training:
    run_folder.write_training(str(folder), training)


@pytest.fixture(scope='module', name='sweep')
def fixture_sweep(tmp_path_factory):
  """Three runs, one of them unfinished, and folders that hold none."""
  folder = tmp_path_factory.mktemp('sweep')
  for name, accuracy, tokens, step, crop in (
      ('a', .91, 4, 600, None), ('b', .985, 8, 600, {'size': 2}),
      ('deep/c', .95, 8, 250, None)):
    (folder / name).mkdir(parents=True)
    make_run(
        folder / name,
        {'accuracy': accuracy, 'validation_loss': 1 - accuracy,
         'best_ckpt_global_step': step - 50},
        {'step': step, 'is_finished': step == 600, 'seconds': step / 2,
         'macs': 1_234_000 * tokens, 'parameters': 54_321},
        {'model': {'num_tokens': tokens},
         'train_data': {'seed': tokens, 'crop': crop},
         'validation_data': {'seed': tokens, 'crop': crop}})
  (folder / 'exported' / 'assets').mkdir(parents=True)
  (folder / 'notes').mkdir()
  (folder / '.hidden').mkdir()
  (folder / 'deep' / 'again').symlink_to(folder)
  return folder


def test_table(sweep):
  code, out, err = compare(sweep)
  assert (code, err) == (0, 'Skipped: exported (no run), notes (no run).\n')
  assert out == """\
#   run     accuracy  at step    MACs  parameters  time
1   b         0.9850      550  9.87 M      54.3 K  5:00
2*  deep/c    0.9500      200  9.87 M      54.3 K  2:05
3   a         0.9100      550  4.94 M      54.3 K  5:00

Other scores of these checkpoints:
#   validation_loss
1            0.0150
2*           0.0500
3            0.0900

Options that differ:
#   num_tokens  seed  size
1            8     8     2
2*           8     8  null
3            4     4  null

Keys of these options:
  task.model: num_tokens
  task.train_data: seed
  task.train_data.crop: size

* Not finished: 2 (step 250 of 600).
"""


def test_json_holds_complete_keys(sweep):
  code, out, _ = compare('--format=json', '--metric=validation_loss', sweep)
  rows = [json.loads(line) for line in out.splitlines()]
  assert code == 0 and [row['name'] for row in rows] == ['b', 'deep/c', 'a']
  assert rows[1] == {
      'name': 'deep/c', 'folder': str(sweep / 'deep' / 'c'),
      'metric': 'accuracy', 'lower_is_better': False,
      'scores': {'accuracy': .95, 'validation_loss': 1 - .95},
      'best_step': 200, 'step': 250, 'train_steps': 600, 'is_finished': False,
      'seconds': 125., 'macs': 9_872_000, 'parameters': 54_321,
      'options': {'task.model.num_tokens': 8, 'task.train_data.seed': 8,
                  'task.train_data.crop.size': None}}


def test_csv_has_a_column_for_each_score_and_option(sweep):
  code, out, _ = compare('--format=csv', sweep / 'a', sweep / 'b')
  rows = list(csv.DictReader(io.StringIO(out)))
  assert code == 0 and [row['name'] for row in rows] == [
      str(sweep / 'b'), str(sweep / 'a')]
  assert [row['options.task.model.num_tokens'] for row in rows] == ['8', '4']
  assert [row['scores.accuracy'] for row in rows] == ['0.985', '0.91']
  assert [row['is_finished'] for row in rows] == ['True', 'True']


def test_table_fits_80_columns(tmp_path):
  for number in range(12):
    make_run(
        tmp_path / ('long_name_' * 9 + str(number)), {'accuracy': .5}, {},
        {'model': {f'option_{i}': f'{number} {"value" * i}'
                   for i in range(20)}})
  code, out, _ = compare(tmp_path)
  assert code == 0 and max(map(len, out.splitlines())) == 80
  names = [line.split()[1] for line in out.splitlines()[1:13]]
  assert len(set(names)) == 12 and all('...' in name for name in names)
  assert 'option_19' in out


def test_run_of_version_0_1_0():
  code, out, _ = compare(goldens.FOLDER / 'run_before')
  assert code == 0
  assert out.splitlines()[1].split()[2:] == ['0.8889', '600', '-', '-', '-']
  assert 'Not finished' not in out and 'differ' not in out


def test_finished_run_records_its_cost(finished_run):
  run = runs.summarize('digits', run_folder.load(finished_run))
  assert (run.step, run.is_finished) == (4, True)
  assert run.seconds > 0 and run.macs > run.parameters > 1000
  assert run.scores == {
      name: score for name, score in
      run_folder.load(finished_run).best_scores().items()
      if name != 'best_ckpt_global_step'}


@pytest.mark.parametrize('comparison, expected', [
    ('higher', ['high', 'low', 'nan', 'none']),
    ('lower', ['low', 'high', 'nan', 'none'])])
def test_best_run_comes_first(tmp_path, comparison, expected):
  for name, scores in (
      ('low', {'accuracy': .1}), ('high', {'accuracy': .2}),
      ('nan', {'accuracy': float('nan')}), ('none', {})):
    make_run(
        tmp_path / name, scores, {}, best_checkpoint_metric_comp=comparison)
  found = runs.read([str(tmp_path)])
  assert [run.name for run in runs.ranked(found, 'accuracy')] == expected


def test_damaged_run_is_skipped(tmp_path, capsys):
  make_run(tmp_path / 'good', {}, {})
  for name, text in (('half', '{trainer: {}}'), ('torn', '{')):
    make_run(tmp_path / name, {}, {})
    (tmp_path / name / 'params.yaml').write_text(text)
  assert [run.name for run in runs.read([str(tmp_path)])] == ['good']
  assert capsys.readouterr().err == (
      "Skipped: half (its config lacks 'best_checkpoint_export_subdir'), torn "
      '(params.yaml cannot be read).\n')


@pytest.mark.parametrize('arguments, message', [
    ([], 'Expected folders with runs, got none. See --help.'),
    (['/nowhere'], 'There is no folder /nowhere.'),
    (['{sweep}/notes'], 'found none to compare: {sweep}/notes (no run).'),
    (['--metric=auc', '{sweep}'],
     "Unknown --metric 'auc'. Known: accuracy, validation_loss.")])
def test_mistakes_are_one_line(sweep, arguments, message):
  code, out, err = compare(*(text.format(sweep=sweep) for text in arguments))
  assert (code, out) == (2, '')
  assert err.splitlines()[-1].endswith(message.format(sweep=sweep))
