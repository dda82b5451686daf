"""The study of the paper's claims, on digits, for two steps."""

import json

from absl import flags
import pytest

from benchmarks import study
from benchmarks import study_models
from benchmarks import study_report
from benchmarks import trainings
from tf_tokenlearner import errors


def parse_flags(tmp_path, data_dir, *arguments):
  values = flags.FlagValues()
  study.define_flags(values)
  values(['program', '--experiment=tokenlearner_digits', '--seeds=3',
          f'--data_dir={data_dir}', f'--work_dir={tmp_path}/runs',
          f'--results={tmp_path}/out/results.jsonl', '--steps=2',
          f'--report_dir={tmp_path}/report', '--batch_size=16',
          '--hidden_size=8', '--num_heads=2', *arguments])
  return values


def read_lines(path):
  with open(path, encoding='utf-8') as file:
    return [json.loads(line) for line in file]


def test_trainings_with_a_result_are_not_repeated(
    tmp_path, data_dir, monkeypatch):
  models = ['--kinds=plain,4 at 1/2']
  study.run(parse_flags(tmp_path, data_dir, *models))
  results = read_lines(tmp_path / 'out' / 'results.jsonl')
  assert [(row['name'], row['seed']) for row in results] == [
      ('plain', 3), ('4 at 1/2', 3)]
  for row in results:
    assert 0 <= row['accuracy'] <= 1 and row['seconds'] > 0
    assert row['commit'] and 'TensorFlow' in row['machine']
    # The folders of data and runs are not part of a result.
    assert str(tmp_path) not in json.dumps(row)
  assert results[0]['macs'] > results[1]['macs']
  assert results[0]['parameters'] < results[1]['parameters']
  report = (tmp_path / 'report' / 'study.md').read_text(encoding='utf-8')
  for row in results:
    assert (f'| {row["name"]} | {row["parameters"]:,} | '
            f'{row["macs"] / 1e6:.2f} | {100 * row["accuracy"]:.2f} | 1 |'
            ) in report
  assert 'Fewer than two seeds so far: 8 tokens at 1/2 lose' in report

  monkeypatch.setattr(trainings, 'train', None)  # Must not be called.
  study.run(parse_flags(tmp_path, data_dir, *models))
  assert (tmp_path / 'report' / 'study.md').read_text(
      encoding='utf-8') == report
  with pytest.raises(TypeError):
    study.run(parse_flags(tmp_path, data_dir, *models, '--steps=3'))


@pytest.mark.parametrize('arguments, message', [
    (['--kinds=8 at 1/3'], 'Unknown model \'8 at 1/3\'.*8 at 1/2'),
    (['--num_layers=6'], '--num_layers=6 must be a multiple of 4'),
    (['--seeds=one'], '--seeds must be whole numbers'),
])
def test_invalid_flags_are_refused(tmp_path, data_dir, arguments, message):
  with pytest.raises(errors.UserError, match=message):
    study.run(parse_flags(tmp_path, data_dir, *arguments))


def test_report_needs_the_plain_network(tmp_path):
  with pytest.raises(errors.UserError, match='needs a result of "plain"'):
    study_report.write(str(tmp_path), {'8 at 1/2': []})


@pytest.mark.parametrize('line', ['{"na', '5', '[[]]', '{"name": "plain"}'])
def test_invalid_line_of_results_is_refused(tmp_path, line):
  path = tmp_path / 'results.jsonl'
  path.write_text('{"name": "plain", "seed": 0, "config": {}}\n' + line)
  with pytest.raises(errors.UserError, match='line 2, is not the result'):
    trainings.Results(str(path))


def test_models_have_comparable_cost():
  # A block costs 100, a block on learned tokens 10, a TokenLearner 5.
  def macs(options):
    learns = options['token_learner_location']
    return (100 * options['num_layers'] if learns is None else
            100 * learns + 5 + 10 * (options['num_layers'] - learns))

  models = study_models.options({'num_layers': 8}, macs)
  at = lambda name: models[name]['token_learner_location']
  assert [at(f'8 at {p}') for p in ('1/4', '1/2', '3/4')] == [2, 4, 6]
  # 7 blocks and 7 on tokens cost 775; 8 before would exceed 800.
  assert (models[study_models.DEEPER]['num_layers'],
          at(study_models.DEEPER)) == (14, 7)
  assert models[study_models.SHALLOWER]['num_layers'] == 5  # At least 445.
  compared = {name for claim in study_models.CLAIMS
              for name in (claim.model, claim.other)}
  assert compared == set(models)


@pytest.mark.parametrize('ours, others, least, word', [
    ([.90, .91, .92], [.80, .81, .82], 0., 'held'),
    ([.80, .81, .82], [.90, .91, .92], 0., 'did not hold'),
    ([.90, .91, .92], [.90, .91, .925], 0., 'undecided, leaning no'),
    ([.90, .91, .925], [.90, .91, .92], 0., 'undecided, leaning yes'),
    ([.80, .81, .82], [.90, .91, .92], -15., 'held'),
    ([.90, .91, .92], [.90, .91, .92], -.5, 'undecided, leaning yes'),
])
def test_verdict(ours, others, least, word):
  assert study_report.verdict(ours, others, least)[1] == word


def test_verdict_gives_the_confidence_interval():
  # By hand: variances 1 of 3 each, so s = sqrt(2 / 3), 4 degrees of freedom,
  # t = 2.7764.
  text, _ = study_report.verdict([.90, .91, .92], [.80, .81, .82], 0.)
  assert text == '+10.00 (+7.73 to +12.27)'


def test_plots_show_every_model(tmp_path):
  config = {
      'task': {'model': {'backbone': {'token_learner_vit': {
          'num_layers': 4, 'hidden_size': 8, 'num_heads': 2}}},
               'train_data': {'global_batch_size': 16}},
      'trainer': {'train_steps': 1000}}
  models = study_models.options(
      {'num_layers': 4}, lambda options: options['num_layers'])
  results = {name: [
      {'seed': seed, 'accuracy': .8 + .01 * i + .001 * seed,
       'parameters': 1000, 'macs': 1000000 * i, 'commit': 'abc',
       'machine': 'one', 'config': config} for seed in (0, 1)]
             for i, name in enumerate(models, 1)}
  axes = study_report._plot_cost(results).axes[0]
  shown = {x for line in axes.lines for x in line.get_xdata()}
  assert shown == set(range(1, len(models) + 1))
  study_report.write(str(tmp_path), results)
  text = (tmp_path / 'study.md').read_text(encoding='utf-8')
  assert text.count('| **') == len(study_models.CLAIMS)
  assert '\nHeld: ' in text or '\nUndecided' in text
  for name in ('study_cost.png', 'study_depth.png'):
    assert name in text
    assert (tmp_path / name).read_bytes().startswith(b'\x89PNG')
