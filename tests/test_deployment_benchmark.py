"""The deployment benchmark measures exports of tiny models."""

import re

from absl import flags
import pytest

from benchmarks import deployment
from tf_tokenlearner import errors
from tf_tokenlearner.backbones import variants


def parse_flags(tmp_path, *arguments):
  values = flags.FlagValues()
  deployment.define_flags(values)
  values(['program', f'--report={tmp_path}/docs/results/deployment.md',
          '--rounds=1', '--image_size=32', '--location=1', '--num_tokens=2',
          *arguments])
  return values


def test_tables_hold_sizes_times_and_accuracies(
    tmp_path, monkeypatch, finished_run):
  monkeypatch.setitem(variants.SIZES, 'N', variants.Size(
      num_layers=2, hidden_size=12, mlp_dim=20, num_heads=3))
  deployment.run(parse_flags(
      tmp_path, '--variants=N/16', '--forms=dynamic,graph',
      f'--runs={finished_run}', '--verify_examples=20'))
  text = (tmp_path / 'docs' / 'results' / 'deployment.md').read_text()
  rows = re.findall(r'^\| N/16 \| (.+?) \| (.+) \|$', text, re.MULTILINE)
  assert [name for name, _ in rows] == [
      'TFLite dynamic int8', 'SavedModel, graph']
  for _, cells in rows:
    sizes_and_times = [float(cell) for cell in cells.split(' | ')]
    assert len(sizes_and_times) == 5 and min(sizes_and_times[1::2]) >= 0
  accuracy, = re.findall(
      r'^\| digits \| 20 \| (0\.\d+) \| (0\.\d+) \|$', text, re.MULTILINE)
  assert abs(float(accuracy[0]) - float(accuracy[1])) <= .1


def test_unknown_export_format_is_refused(tmp_path):
  with pytest.raises(errors.UserError, match='Unknown export format \'hub\''):
    deployment.run(parse_flags(tmp_path, '--forms=hub'))
