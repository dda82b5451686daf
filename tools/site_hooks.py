"""MkDocs hooks: the README is the start page, and notebooks are pages."""

import json
import pathlib
import re

from mkdocs.structure import files as mkdocs_files

_ROOT = pathlib.Path(__file__).parents[1]
_FENCE_OPTIONS = re.compile(r'^(```\w+) .*$', re.MULTILINE)


def on_files(files, config):
  """Adds pages that are not Markdown files of docs/."""
  readme = (_ROOT / 'README.md').read_text(encoding='utf-8')
  # The site has no page for files of the repository outside of docs/.
  readme = readme.replace('](docs/', '](').replace('[LICENSE](LICENSE)',
                                                   '`LICENSE`')
  files.append(mkdocs_files.File.generated(config, 'index.md', content=readme))
  for file in [file for file in files if file.src_uri.endswith('.ipynb')]:
    files.remove(file)
    files.append(mkdocs_files.File.generated(
        config, file.src_uri.replace('.ipynb', '.md'),
        content=notebook_page(pathlib.Path(file.abs_src_path))))
  return files


def on_page_markdown(markdown, **unused_kwargs):
  """Removes the names of code blocks, and points links to notebook pages."""
  markdown = _FENCE_OPTIONS.sub(r'\1', markdown)
  return re.sub(r'\]\(([\w./]+)\.ipynb\)', r'](\1.md)', markdown)


def notebook_page(path: pathlib.Path) -> str:
  """Returns a notebook's cells as Markdown."""
  cells = json.loads(path.read_text(encoding='utf-8'))['cells']
  return '\n\n'.join(
      ''.join(cell['source']) if cell['cell_type'] == 'markdown'
      else f'```python\n{"".join(cell["source"])}\n```' for cell in cells)
