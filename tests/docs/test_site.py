"""The pages are up to date, their links lead somewhere, the site builds."""

import dataclasses
import html.parser
import importlib
import logging
import re

import pytest

from tests.docs import pages
from tools import config_reference

ROOT = pages.ROOT
_SOURCES = re.compile(
    r'`((?:tf_tokenlearner|official_configs|export|benchmarks|tests|tools|docs)'
    r'/[\w./-]*)`')


@pytest.mark.parametrize('page', pages.PAGES, ids=lambda path: path.stem)
def test_paths_and_links(page):
  text = page.read_text('utf-8')
  missing = [name for name in _SOURCES.findall(text)
             if 'NAME' not in name and not (ROOT / name).exists()]
  prose = re.sub(r'^```.*?^```$', '', text, flags=re.MULTILINE | re.DOTALL)
  missing += [link for link in re.findall(r'\]\((?!http)([^)#]+)', prose)
              if not (page.parent / link).exists()]
  assert not missing


def test_configuration_reference():
  assert (ROOT / 'docs' / 'configuration.md').read_text('utf-8') == (
      config_reference.render()), 'Run python tools/config_reference.py.'


@pytest.mark.parametrize('page, module', [
    ('own_pictures', 'image_classification'),
    ('own_videos', 'video_classification')])
def test_augmentation_keys_are_explained(page, module):
  config = importlib.import_module(f'tf_tokenlearner.configs.{module}')
  text = (ROOT / 'docs' / f'{page}.md').read_text('utf-8')
  keys = [field.name for field in dataclasses.fields(config.DataConfig)
          if re.match('aug_|color_|random_|mixup_|scale_|crop_', field.name)]
  assert len(keys) >= 7
  assert not [key for key in keys if f'`{key}`' not in text]


class _Loaded(html.parser.HTMLParser):
  """Collects what a browser loads with a page."""

  def __init__(self):
    super().__init__()
    self.urls = []

  def handle_starttag(self, tag, attrs):
    attributes = dict(attrs)
    if tag in ('script', 'img', 'iframe'):
      self.urls.append(attributes.get('src') or '')
    if tag == 'link' and attributes.get('rel') != 'canonical':
      self.urls.append(attributes.get('href') or '')


def test_site_builds_and_loads_nothing_from_elsewhere(tmp_path, monkeypatch):
  monkeypatch.setenv('NO_MKDOCS_2_WARNING', '1')
  from mkdocs import config
  from mkdocs.commands import build
  warnings = []
  handler = logging.Handler(logging.WARNING)
  handler.emit = warnings.append
  logging.getLogger('mkdocs').addHandler(handler)
  try:
    build.build(config.load_config(
        str(ROOT / 'mkdocs.yml'), site_dir=str(tmp_path)))
  finally:
    logging.getLogger('mkdocs').removeHandler(handler)
  assert not [record.getMessage() for record in warnings]
  built = sorted(tmp_path.rglob('index.html'))
  assert len(built) >= 13
  for page in built:
    loaded = _Loaded()
    loaded.feed(page.read_text('utf-8'))
    assert loaded.urls
    assert not [url for url in loaded.urls if '//' in url], page
  start = (tmp_path / 'index.html').read_text('utf-8')
  assert 'name=layer' not in start and 'TokenLearnerV11' in start
