"""Downloads from a hub on the loopback, through huggingface_hub."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import hub_files
from tests import goldens
from tests.checkpoints import hub_server

NAME = 'hf://some/vit'
CARD = '---\nlicense: apache-2.0\n---\n# A model\n'
# Reads addresses, prints a line of JSON for each.
CLIENT = """
import json, sys
from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import hub_files
for address in sys.argv[1:]:
  try:
    files = hub_files.read(address)
    answer = dict(tensors=len(files.tensors), licence=files.licence,
                  model=files.config['model_type'],
                  first=float(files.tensors['classifier.bias'][0]))
  except errors.UserError as error:
    answer = dict(error=str(error))
  print(json.dumps(answer))
"""


@pytest.fixture(name='hub')
def make_hub(tmp_path):
  folder = tmp_path / 'repository'
  shutil.copytree(os.path.join(goldens.FOLDER, 'pretrained', 'hf_vit'), folder)
  (folder / 'README.md').write_text(CARD)
  (folder / 'pytorch_model.bin').write_bytes(b'a pickle')
  with hub_server.HubServer({'some/vit': str(folder)}) as server:
    yield server


def ask(hub, home, *addresses, **environment):
  """Returns what a new process reads; settings of the hub are read at import.
  """
  done = subprocess.run(
      [sys.executable, '-c', CLIENT, *addresses], capture_output=True,
      text=True, check=True,
      env={**os.environ, 'HF_ENDPOINT': hub.address, 'HF_HOME': str(home),
           'TF_CPP_MIN_LOG_LEVEL': '3', **environment})
  return [json.loads(line) for line in done.stdout.splitlines()]


def test_download(hub, tmp_path):
  """A broken transfer is resumed; then the cache answers, also offline."""
  hub.cut_after = {'model.safetensors': 30000}
  home = tmp_path / 'home'
  pinned = f'{NAME}@{hub_server.COMMIT}'
  first, second, *refused = ask(
      hub, home, NAME, pinned, 'hf://some/nothing', f'{NAME}@v9', 'hf://vit')
  assert first == second
  assert first['tensors'] == 56 and first['model'] == 'vit'
  assert first['licence'] == 'apache-2.0'
  transfers = [path for method, path, _ in hub.requests
               if method == 'GET' and path.endswith('model.safetensors')]
  assert len(transfers) == 2  # The broken one and its repetition.
  assert not any('pytorch_model' in path for _, path, _ in hub.requests)
  for answer, message in zip(
      refused, ('was not found', 'has no revision v9', 'Expected hf://OWNER')):
    assert message in answer['error'] and '\n' not in answer['error']
  hub.requests.clear()
  offline, = ask(hub, home, NAME, HF_HUB_OFFLINE='1')
  assert offline == first and not hub.requests


def test_transfer_that_always_breaks(hub, tmp_path):
  hub.cut_after, hub.always_cut = {'model.safetensors': 0}, True
  answer, = ask(hub, tmp_path / 'home', NAME)
  assert 'could not be downloaded' in answer['error']
  assert 'Run the same command again to resume' in answer['error']


def test_local_folder_and_file():
  folder = os.path.join(goldens.FOLDER, 'pretrained', 'timm_hub_vit')
  for path in (folder, os.path.join(folder, 'model.safetensors')):
    files = hub_files.read(path)
    assert files.licence == 'apache-2.0'
    assert files.config['architecture'] == 'vit_tiny_patch16_224'
    assert files.tensors.shape('head.weight') == (7, 24)


def test_config_that_is_no_json(tmp_path):
  folder = tmp_path / 'model'
  shutil.copytree(os.path.join(goldens.FOLDER, 'pretrained', 'hf_vit'), folder)
  (folder / 'config.json').write_text('{')
  with pytest.raises(errors.UserError, match=r'config\.json is no JSON'):
    hub_files.read(str(folder))
