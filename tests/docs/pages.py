"""Reads the README and the pages of docs/."""

import pathlib
import re
import shlex
from typing import Dict, List, NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted([ROOT / 'README.md', *(ROOT / 'docs').rglob('*.md')])
# Stands on a page; the tests use small weights of the same form.
PUBLIC_WEIGHTS = 'hf://timm/vit_small_patch16_224.augreg_in21k_ft_in1k'
_BLOCK = re.compile(r'^```(\w+)([^\n]*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
  """A fenced block of code.

  Attributes:
    page: path below the root, such as 'docs/deploy.md'.
    language: first word of the fence.
    options: key=value pairs of the fence, such as name and file.
    text: content.
  """
  page: str
  language: str
  options: Dict[str, str]
  text: str

  @property
  def id(self) -> str:
    return f'{pathlib.Path(self.page).stem}.{self.options.get("name")}'


def blocks(*languages: str) -> List[Block]:
  """Returns the blocks of these languages on all pages."""
  found = []
  for path in PAGES:
    for language, options, text in _BLOCK.findall(path.read_text('utf-8')):
      if language in languages:
        found.append(Block(
            str(path.relative_to(ROOT)), language,
            dict(option.split('=', 1) for option in options.split()), text))
  return found


def block(page: str, name: str) -> Block:
  """Returns the block of this name."""
  found, = [b for b in blocks('python', 'bash', 'yaml')
            if b.page == page and b.options['name'] == name]
  return found


def commands(text: str) -> List[List[str]]:
  """Splits shell lines into the words of each command."""
  joined = text.replace('\\\n', ' ')
  lines = [shlex.split(line, comments=True) for line in joined.splitlines()]
  return [line for line in lines if line]
