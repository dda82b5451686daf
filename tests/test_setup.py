"""setup.py, constraints.txt and the Makefile agree."""

from importlib import metadata
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[1]


def normalized(name):
  return re.sub('[-_.]+', '-', name).lower()


def test_every_dependency_is_bounded_and_pinned():
  pinned = {normalized(line.split('==')[0]) for line in (
      ROOT / 'constraints.txt').read_text().splitlines() if '==' in line}
  requirements = metadata.requires('tf_tokenlearner')
  assert len(requirements) > 20
  for requirement in requirements:
    name = re.match(r'[\w.-]+', requirement)[0]
    assert '<' in requirement and '>=' in requirement, requirement
    assert normalized(name) in pinned, (
        f"{name} is not in constraints.txt. Run 'make constraints'.")


def test_python_versions_agree():
  package = metadata.metadata('tf_tokenlearner')
  listed = sorted(re.findall(
      r'Python :: 3\.(\d+)', ' '.join(package.get_all('Classifier'))), key=int)
  first, past_last = re.findall(r'3\.(\d+)', package['Requires-Python'])
  lower, upper = sorted((first, past_last), key=int)
  assert listed == [str(minor) for minor in range(int(lower), int(upper))]
  makefile = (ROOT / 'Makefile').read_text()
  assert f'(3, {lower}) <= sys.version_info < (3, {upper})' in makefile
