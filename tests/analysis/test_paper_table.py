"""The table of the papers' rows: figures, computed costs, print."""

import re

import pytest

from tests.backbones import tiny
from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.analysis import counts
from tf_tokenlearner.analysis import paper_figures
from tf_tokenlearner.analysis import paper_table

NUM_ROWS = {
    'table 1': 9, 'table 2': 5, 'table 3': 3, 'table 4': 10, 'table 5': 5,
    'tables 6 and 7': 7, 'table 8': 5, 'tables 11 and 12': 10,
    'fuser figure': 4, 'few-shot figure': 8, 'version 4': 3,
    'arXiv 2103.15691': 2}


@pytest.fixture(scope='module', name='rows')
def fixture_rows():
  return paper_table.rows()


def test_every_config_is_a_row(rows):
  tables = [row.table for row in rows]
  assert {table: tables.count(table) for table in tables} == NUM_ROWS
  assert list(dict.fromkeys(tables)) == list(paper_figures.TABLES)


def test_unmarked_rows_are_within_one_and_a_half_percent(rows):
  compared = [row for row in rows if row.error is not None]
  assert len(compared) >= 60
  for row in compared:
    if row.figure.mark is None:
      assert abs(row.error) < .015, row
      assert abs(row.parameter_error or 0) < .015, row


def test_rows_off_the_paper_are_marked(rows):
  off = [row for row in rows if row.figure.mark == 'in error']
  assert {(row.table, row.model, row.figure.giga) for row in off} == {
      ('table 1', 'B/32, 384', 19.8), ('table 2', 'L/16 16at12, 512', 178.1),
      ('tables 6 and 7', 'H/16x2, 32x224', 8316.)}
  assert all(abs(row.error) > .03 for row in off)
  for row in rows:
    if row.figure.mark == 'counted otherwise':  # More is counted there.
      assert min(row.error or 0, row.parameter_error or 0) < -.015, row
    if row.figure.mark == 'read off':
      assert abs(row.error) < .05, row
    if row.figure.mark == 'unconfirmed':
      assert row.error is None, row


def test_parameters_of_table_3_include_the_pretraining_head():
  """With the 18,000 classes of JFT-300M at 224 px, 460 M and 654 M result."""
  learner = backbones.TokenLearnerSpec('v1.0')
  l8 = backbones.ViTSpec('L/8', num_layers=35, token_learner_location=18,
                         num_tokens=16, token_learner=learner)
  for spec, size, paper in [
      (l8, 224, 460), (backbones.ViTSpec('H/14', pooler='token'), 224, 654)]:
    result = counts.classifier_cost(spec, (size, size, 3), 18000)
    assert round(result.parameters / 1e6) == paper


def test_configs_quote_the_same_figures():
  """The fourth line of a config repeats the figures of paper_figures."""
  for name, table in paper_figures.TABLES.items():
    for figure in table.figures:
      path = paper_table.CONFIGS / f'{figure.config}.yaml'
      lines = path.read_text(encoding='utf-8').splitlines()
      assert f'--experiment={table.experiment} ' in lines[2], figure
      assert re.search(rf'{name.rpartition(" ")[2]}\b', lines[3]), figure
      for value in (figure.giga, figure.mega):
        assert value is None or re.search(
            rf'\b{re.escape(f"{value:g}")}(\.0)? (G|M )', lines[3]), figure
      assert figure.mark is None or f', {figure.mark})' in lines[3], figure


def test_missing_folder_is_refused(tmp_path):
  with pytest.raises(errors.UserError, match='official_configs does not exist, '
                     'but its files are the rows .* in a clone of the '
                    'project.'):
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
def test_models_are_described_by_their_options(spec, size, expected):
  assert paper_table.describe(spec.completed(size), size) == expected


def test_rendered_table(rows):
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
  for mark, text in paper_figures.MARKS.values():
    assert f'{mark} {text}'.splitlines()[0] in lines


def test_only_marks_in_use_are_explained(rows):
  text = paper_table.render(rows[:3])
  assert text.endswith('\n%: difference to the paper, relative to the paper.')
