"""The insertion benchmark, on digits, for a few steps."""

import json

from absl import flags
import pytest

from benchmarks import insertion
from tf_tokenlearner import errors
from tf_tokenlearner.training import runner

NAMES = ['plain ViT', 'TokenLearner from scratch',
         'TokenLearner from scratch, short', 'inserted at random',
         'inserted as means']


def parse_flags(tmp_path, data_dir, *arguments):
  values = flags.FlagValues()
  insertion.define_flags(values)
  values(['program', '--experiment=tokenlearner_digits', '--seeds=3',
          f'--data_dir={data_dir}', f'--work_dir={tmp_path}/runs',
          f'--results={tmp_path}/out/results.jsonl', '--steps=3',
          f'--report={tmp_path}/docs/results/insertion.md',
          '--short_steps=2', '--batch_size=16', '--num_layers=2',
          '--hidden_size=8', '--num_heads=2', '--location=1', '--num_tokens=2',
          *arguments])
  return values


def test_table_agrees_with_results(tmp_path, data_dir, monkeypatch):
  # The other trainings run the same code.
  monkeypatch.setattr(
      insertion, '_TRAININGS', [insertion._TRAININGS[i] for i in (0, 4)])
  insertion.run(parse_flags(tmp_path, data_dir))
  report = (tmp_path / 'docs' / 'results' / 'insertion.md').read_text()
  assert '2 blocks and width 8 ' in report and 'Seeds 3; commit ' in report
  rows = [[cell.strip() for cell in line.strip('|').split('|')]
          for line in report.splitlines()[-2:]]
  assert [row[0] for row in rows] == [NAMES[0], NAMES[4]]
  assert [row[1] for row in rows] == ['3', '2']
  assert [bool(row[2]) for row in rows] == [False, True]
  with open(tmp_path / 'out' / 'results.jsonl') as file:
    results = [json.loads(line) for line in file]
  for row, result in zip(rows, results):
    assert result['name'] == row[0] and result['seed'] == 3
    assert row[3] == f'{result["accuracy"]:.4f}'
    assert 0 <= result['accuracy'] <= 1 and result['seconds'] > 0
    assert result['commit'] and 'TensorFlow' in result['machine']
  plain, inserted = (result['config']['task'] for result in results)
  assert plain['model']['backbone']['token_learner_vit'][
      'token_learner_location'] is None
  assert inserted['init_checkpoint'].endswith('/plain_ViT_3')
  assert inserted['init_token_learner'] == 'mean'

  # A training with a result is not repeated.
  monkeypatch.setattr(runner, 'train', None)
  insertion.run(parse_flags(tmp_path, data_dir))
  assert (tmp_path / 'docs' / 'results' / 'insertion.md').read_text() == report
  with pytest.raises(TypeError):
    insertion.run(parse_flags(tmp_path, data_dir, '--seeds=3,4'))


def test_table_holds_mean_and_deviation_over_seeds():
  results = {name: [{'before': .5, 'accuracy': accuracy, 'seconds': 60.}
                    for accuracy in (.8, .9)] for name in NAMES}
  values = flags.FlagValues()
  insertion.define_flags(values)
  values(['program', '--seeds=0,1'])
  lines = insertion._table(values, results).splitlines()
  assert lines[2] == '| plain ViT | 936 |  | 0.8500 ± 0.0707 | 60 |'
  assert lines[-1] == (
      '| inserted as means | 117 | 0.5000 ± 0.0000 | 0.8500 ± 0.0707 | 60 |')


def test_seeds_must_be_numbers(tmp_path, data_dir):
  with pytest.raises(errors.UserError, match='--seeds must be whole numbers'):
    insertion.run(parse_flags(tmp_path, data_dir, '--seeds=one'))
