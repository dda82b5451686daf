"""No line of the Python files is longer than 80 columns."""

import pathlib

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ('tf_tokenlearner', 'benchmarks', 'export', 'tools', 'tests')


def test_lines_fit():
  long = []
  for folder in FOLDERS:
    for path in sorted((ROOT / folder).rglob('*.py')):
      lines = path.read_text(encoding='utf-8').split('\n')
      long += [f'{path.relative_to(ROOT)}:{number}'
               for number, line in enumerate(lines, 1) if len(line) > 80]
  assert not long, '\n'.join(['More than 80 columns:', *long])
