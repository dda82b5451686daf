"""The table of the papers' rows: what is quoted, computed and printed."""

import pytest

from tests.backbones import tiny
from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.analysis import model_cost
from tf_tokenlearner.analysis import paper_table

NUM_ROWS = {
    'table 1': 9, 'table 2': 5, 'table 3': 3, 'table 4': 10, 'table 5': 5,
    'tables 6 and 7': 7, 'table 8': 5, 'tables 11 and 12': 10,
    'fuser figure': 4, 'few-shot figure': 8, 'version 4': 3,
    'arXiv 2103.15691': 2}


@pytest.fixture(scope='module', name='rows')
def fixture_rows():
  return paper_table.rows()


def header(expected):
  return ['# A', '# Data: ', '# Command: ', f'# Expected: {expected}']


def test_every_row_is_there(rows):
  tables = [row.quote.table for row in rows]
  assert {table: tables.count(table) for table in tables} == NUM_ROWS
  assert list(dict.fromkeys(tables)) == list(paper_table.TABLES)


def test_within_one_and_a_half_percent_where_nothing_is_marked(rows):
  compared = [row for row in rows if row.error is not None]
  assert len(compared) >= 60
  for row in compared:
    if row.quote.mark is None:
      assert abs(row.error) < .015, row
      assert abs(row.parameter_error or 0) < .015, row


def test_marked_where_the_paper_is_off(rows):
  off = [row for row in rows if row.quote.mark == 'in error']
  assert {(row.quote.table, row.model, row.quote.giga) for row in off} == {
      ('table 1', 'B/32, 384', 19.8), ('table 2', 'L/16 16at12, 512', 178.1),
      ('tables 6 and 7', 'H/16x2, 32x224', 8316.)}
  assert all(abs(row.error) > .03 for row in off)
  for row in rows:
    if row.quote.mark == 'counted otherwise':  # More is counted there.
      assert min(row.error or 0, row.parameter_error or 0) < -.015, row
    if row.quote.mark == 'read off':
      assert abs(row.error) < .05, row
    if row.quote.mark == 'unconfirmed':
      assert row.error is None, row


def test_parameters_of_table_3_are_those_of_pre_training():
  """460 M and 654 M, with the 18,000 classes of JFT-300M at 224 px."""
  learner = backbones.TokenLearnerSpec('v1.0')
  l8 = backbones.ViTSpec('L/8', num_layers=35, token_learner_location=18,
                         num_tokens=16, token_learner=learner)
  for spec, size, paper in [
      (l8, 224, 460), (backbones.ViTSpec('H/14', pooler='token'), 224, 654)]:
    result = model_cost.classifier_cost(spec, (size, size, 3), 18000)
    assert round(result.parameters / 1e6) == paper


def test_quotes():
  quoted = paper_table.quotes(header(
      '87.68 % top-1 (82.1 with 6 views) with 460 M parameters at 178.1 G '
      'multiply-accumulates (table 2, in error) and at 184.6 G (tables 4 and '
      '5), 487 GFLOPs in all'))
  assert quoted == [('table 2', 'in error', 178.1, 460.),
                    ('table 4', None, 184.6, None),
                    ('table 5', None, 184.6, None)]
  assert paper_table.quotes(header(
      '48.6 %, 18.3 GFLOPs and 2.24 M parameters a module (tables 11 and 12)'
  )) == [('tables 11 and 12', None, 18.3, 2.24)]
  assert paper_table.quotes(header('none (version 4, unconfirmed)')) == [
      ('version 4', 'unconfirmed', None, None)]
  assert paper_table.quotes(header('98 % (about 2 minutes)')) == []


@pytest.mark.parametrize('expected, message', [
    ('1.0 G (table 1, wrong)', "Unknown mark 'wrong'. Known: "),
    ('1.0 G (table 9)', "Unknown table 'table 9'. "),
    ('1.0 G (other figure)', "Unknown table 'other figure'"),
])
def test_refuses_quotes(expected, message):
  with pytest.raises(errors.UserError, match=message):
    paper_table.quotes(header(expected))


def test_refuses_a_folder_that_is_not_there(tmp_path):
  with pytest.raises(errors.UserError, match='official_configs is not there, '
                     'whose files are the rows .* in a clone of the project.'):
    paper_table.rows(tmp_path / 'official_configs')


@pytest.mark.parametrize('spec, size, expected', [
    (backbones.ViTSpec('L/16'), (512, 512, 3), 'L/16, 512'),
    (backbones.ViTSpec('L/16', num_layers=35, token_learner_location=18,
                       num_tokens=16), (512, 512, 3), 'L/16 (35) 16at18, 512'),
    (backbones.ViTSpec('B/16', token_learner_location=[9, 3], num_tokens=[4, 9],
                       tokenizer='grid_pooling'), (384, 384, 3),
     'B/16 9at3 4at9 pooled, 384'),
    (backbones.ViTSpec('B/16', token_learner_location=6, use_token_fuser=True),
     (384, 384, 3), 'B/16 8at6 fuser, 384'),
    (backbones.ViTSpec('B/16', token_learner_location=6, use_token_fuser=True,
                       fuser='reprojection'), (384, 384, 3),
     'B/16 8at6 reprojection, 384'),
    (backbones.ViViTSpec('B/16x2'), (32, 224, 224, 3), 'B/16x2, 32x224'),
    (tiny.factorized_spec(num_layers=12, token_learner_location=12), tiny.CLIP,
     'Ti/4x2 4at12 factorized, 6x8'),
])
def test_describe(spec, size, expected):
  assert paper_table.describe(spec.completed(size), size) == expected


def test_render(rows):
  lines = paper_table.render(rows).splitlines()
  assert max(map(len, lines)) <= 80
  assert lines[:4] == [
      'Table 1: ImageNet, S and B',
      'model                               params M  paper     %    GMACs  '
      'paper     %', '-' * 79,
      'S/32 8at6, 384                         22.94                  1.88    '
      '1.9  -0.8']
  assert ('B/32, 384                              88.30                 12.95'
          '   19.8 -34.6*') in lines
  assert ('conv2d_conv1d                           2.24   2.24  +0.1    18.35'
          '   18.3  +0.3') in lines
  for mark, text in paper_table.MARKS.values():
    assert f'{mark} {text}'.splitlines()[0] in lines


def test_render_explains_only_the_marks_there_are(rows):
  text = paper_table.render(rows[:3])
  assert text.endswith('\n%: computed less the paper\'s, of the paper\'s.')
