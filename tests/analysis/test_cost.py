"""The cost of a classifier: head, table and command line."""

import dataclasses

from absl import flags
import pytest

from tests import goldens
from tests.backbones import tiny
from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.configs import catalog
from tf_tokenlearner.analysis import cost
from tf_tokenlearner.analysis import paper_figures
from tf_tokenlearner.analysis import paper_table

V11 = backbones.TokenLearnerSpec('v1.1', bottleneck_dim=6)
SQUARE = (16, 16, 3)
TABLE = """\
layer                               output parameters (K)    MACs (K)   share
-----------------------------------------------------------------------------
patch_embedding                 [4, 4, 12]          0.588       9.216  13.2 %
position_embedding                [16, 12]          0.192       0.000   0.0 %
block_0..1  x2                    [16, 12]          2.368      46.080  66.1 %
learn_2                            [5, 12]          0.137       2.592   3.7 %
block_2..3  x2                     [5, 12]          2.368      11.760  16.9 %
norm                               [5, 12]          0.024       0.000   0.0 %
head                                   [7]          0.091       0.084   0.1 %
-----------------------------------------------------------------------------
total                                               5.768      69.732 100.0 %"""

ADVICE = [
    'TokenLearner increases the cost of this model. Use an earlier',
    'token_learner_location (now 1), fewer num_tokens (now 5), '
    'use_token_fuser=false,',
    'or leave it out (token_learner_location=null).']


def make_spec(**kwargs):
  return backbones.ViTSpec(**{**dict(
      variant='Ti/16', num_layers=4, hidden_size=12, mlp_dim=20, num_heads=3,
      patch_size=(4, 4), num_tokens=5), **kwargs})


def test_head_adds_its_parameters_and_macs():
  spec = make_spec()
  without = cost.classifier_cost(spec, SQUARE, 0)
  with_head = cost.classifier_cost(spec, SQUARE, 7)
  assert with_head.rows[:-1] == without.rows
  assert with_head.rows[-1] == ('head', '[7]', 7 * 12 + 7, 7 * 12)
  with pytest.raises(errors.UserError, match='num_classes must be .* -1'):
    cost.classifier_cost(spec, SQUARE, -1)


def test_completed_spec_has_the_same_cost():
  bottleneck = backbones.BottleneckSpec()
  for spec, input_size, first, width in [
      (tiny.spec(), tiny.IMAGE, 'patch_embedding', 8),
      (tiny.vivit_spec(), tiny.CLIP, 'tubelet_embedding', 8),
      (tiny.factorized_spec(representation_size=5), tiny.CLIP,
       'tubelet_embedding', 5),
      (bottleneck, (4, 64, 64, 3), 'stem', 2048),
      (dataclasses.replace(bottleneck, representation_size=None),
       (4, 64, 64, 3), 'stem', 432)]:
    result = cost.classifier_cost(spec, input_size, 7)
    assert result.rows[0].name == first
    assert result.rows[-1] == ('head', '[7]', 7 * width + 7, 7 * width)
    assert cost.classifier_cost(
        spec.completed(input_size), list(input_size), 7) == result


def test_comparison_model_has_no_token_learner():
  plain = tiny.factorized_spec()
  assert cost.without_token_learner(plain) is None
  assert cost.without_token_learner(
      dataclasses.replace(plain, token_learner_location=3)) == plain
  assert cost.without_token_learner(make_spec(
      token_learner_location=1, use_token_fuser=True)) == make_spec()
  bottleneck = backbones.BottleneckSpec(
      module='token_learner', tokenizer='dense')
  plain = cost.without_token_learner(bottleneck)
  assert plain == backbones.BottleneckSpec(module='conv2d_conv1d')
  assert cost.without_token_learner(plain.completed((8, 64, 64, 3))) is None


def test_invalid_spec_is_refused():
  with pytest.raises(errors.UserError, match='token_learner_location=4'):
    cost.classifier_cost(
        make_spec(token_learner_location=4), SQUARE, 7)


def test_equal_layers_share_a_line():
  spec = make_spec(token_learner_location=2, token_learner=V11)
  table = cost.render(cost.classifier_cost(spec, SQUARE, 7))
  assert table == TABLE


def test_render_fits_80_columns():
  spec = backbones.ViTSpec(
      'L/16', num_layers=135, token_learner_location=[12, 111],
      num_tokens=[256, 16])
  table = cost.render(cost.classifier_cost(spec, (4096, 4096, 3), 18291))
  assert 'block_111..134  x24' in table
  assert max(len(line) for line in table.splitlines()) <= 80


def run(*arguments):
  values = flags.FlagValues()
  cost.define_flags(values)
  cost.main(values(['cost.py', *arguments]), values)


def test_program_prints_the_table(capsys, tmp_path):
  config_file = tmp_path / 'fuser.yaml'
  config_file.write_text(
      'task: {model: {num_classes: 10, input_size: [16, 16, 1], backbone: '
      '{token_learner_vit: {use_token_fuser: true}}}}')
  run('--experiment=tokenlearner_digits', f'--config_file={config_file}',
      '--params_override=task.model.backbone.token_learner_vit.variant=Ti/4')
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith('layer ') and max(map(len, lines)) <= 80
  assert any(line.startswith('fuse_') for line in lines)
  assert lines[-2].startswith('total ') and lines[-3].startswith('---')
  assert lines[-1].startswith('Without TokenLearner: ')


@pytest.mark.parametrize('experiment', catalog.EXPERIMENTS)
def test_program_accepts_every_experiment(experiment, capsys):
  weights = goldens.FOLDER / 'pretrained' / 'timm_hub_vit'
  run(f'--experiment={experiment}',
      f'--params_override=task.init_checkpoint={weights}')
  assert '\ntotal ' in capsys.readouterr().out


@pytest.mark.parametrize('backbone, row', [
    ('token_learner_vivit', 'tubelet_embedding '),
    ('token_learner_vivit_factorized', 'time_block_'),
    ('token_learner_bottleneck', 'stage1_0 '),
])
def test_program_accepts_clips(backbone, row, capsys):
  run('--experiment=tokenlearner_moving_digits',
      f'--params_override=task.model.backbone.type={backbone}')
  lines = capsys.readouterr().out.splitlines()
  assert max(map(len, lines)) <= 80
  assert any(line.startswith(row) for line in lines)


def test_program_leaves_out_a_head_of_unknown_size(capsys):
  run('--experiment=tokenlearner_digits', '--params_override='
      'task.model.backbone.token_learner_vit.token_learner_location=null')
  last = capsys.readouterr().out.splitlines()[-1]
  assert last.startswith('Without the head: ')


@pytest.mark.parametrize('argument', [
    '--experiment=tokenlearner_digits', '--config_file=a.yaml',
    '--params_override=a=1'])
def test_table_refuses_other_flags(argument):
  with pytest.raises(errors.UserError, match='--table=paper goes without '):
    run('--table=paper', argument)


def test_comparison_model_has_no_pooling():
  pooled = make_spec(
      token_learner_location=[1, 2], num_tokens=None, tokenizer='grid_pooling',
      pooling_window=[2, 2])
  assert cost.without_token_learner(
      pooled.completed(SQUARE)).completed(SQUARE).token_learners() == []
  fused = make_spec(token_learner_location=1, use_token_fuser=True,
                    fuser='reprojection')
  assert cost.without_token_learner(fused) == make_spec()


def test_report_compares_with_plain_model():
  spec = make_spec(token_learner_location=1, use_token_fuser=True)
  macs = lambda spec: cost.classifier_cost(spec, SQUARE, 7).macs
  fused, plain = macs(spec), macs(make_spec())
  assert plain < fused
  assert cost.report(spec, SQUARE, 7).splitlines()[-4:] == [
      f'Without TokenLearner: {plain / 1e3:.3f} K MACs, '
      f'{1 - plain / fused:.0%} fewer.', *ADVICE]
  learned = make_spec(token_learner_location=1)
  assert cost.report(learned, SQUARE, 7).splitlines()[-1] == (
      f'Without TokenLearner: {plain / 1e3:.3f} K MACs, '
      f'{plain / macs(learned):.2f} times as many.')


def test_summary_has_two_lines():
  macs = lambda spec: cost.classifier_cost(spec, SQUARE, 7).macs / 1e6
  summary = lambda spec: cost.summary(
      cost.classifier_cost(spec, SQUARE, 7), spec, SQUARE, 7, 'an image')
  plain = make_spec()
  assert summary(plain) == (
      '5,631 parameters, 0.10 M multiply-accumulates an image.')
  learned = make_spec(token_learner_location=1)
  assert summary(learned).splitlines()[1] == (
      'the same model without TokenLearner: 0.10 M, '
      f'{macs(plain) / macs(learned):.1f} times as many.')
  fused = make_spec(token_learner_location=1, use_token_fuser=True)
  assert summary(fused).splitlines()[1:] == [
      'the same model without TokenLearner: 0.10 M, '
      f'{1 - macs(plain) / macs(fused):.0%} fewer.', *ADVICE]


@pytest.mark.parametrize('kwargs, advice', [
    (dict(token_learner_location=3, token_learner=tiny.V10),
     'Use an earlier token_learner_location (now 3), fewer num_tokens (now 5), '
     'token_learner.version=v1.1, or leave it out'),
    (dict(token_learner_location=0, num_tokens=1),
     'Better leave it out'),
])
def test_advice_names_the_options_in_use(kwargs, advice):
  spec = make_spec(**kwargs).completed(SQUARE)
  assert cost._advice(spec) == f'{advice} (token_learner_location=null).'


def test_program_prints_the_papers_table(capsys, tmp_path, monkeypatch):
  (tmp_path / 'one.yaml').write_text('task: {model: {num_classes: 10}}')
  monkeypatch.setattr(paper_table, 'CONFIGS', tmp_path)
  monkeypatch.setattr(paper_figures, 'TABLES', {'table 1': paper_figures.Table(
      'Table 1: digits', 'tokenlearner_digits',
      (paper_figures.Figure('one', .001),))})
  run('--table=paper')
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith('Table 1: ')
  assert lines[3].startswith('Ti/2 (6) 2at2, 8 ')


@pytest.mark.parametrize('argument, message', [
    ('--table=papers', "Unknown table 'papers'"),
    ('--experiment=tokenlearner_digit', 'tokenlearner_digits, '),
    ('--params_override=a=1', '--experiment must be given'),
    ('experiment=tokenlearner_digits', 'Not understood: experiment='),
])
def test_program_refuses_invalid_flags(argument, message):
  with pytest.raises(errors.UserError, match=message):
    run(argument)
