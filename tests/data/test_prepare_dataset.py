"""Preparation: once, by one process; failures are quick and in one line."""

import errno
import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest
import requests
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums
from tensorflow_datasets.core.utils import tqdm_utils

from tf_tokenlearner.data import file_lock
from tf_tokenlearner.data import prepare_dataset
from tf_tokenlearner.data import tfds_source
from tf_tokenlearner import errors


class Numbers(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """The numbers 0, 1 and 2; calls `before` first."""

  VERSION = tfds.core.Version('1.0.0')
  url_infos = None

  def __init__(self, before=lambda manager: None, **kwargs):
    self._before = before
    super().__init__(**kwargs)

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self, features=tfds.features.FeaturesDict(
            {'number': tfds.features.Scalar(tf.int64)}))

  def _split_generators(self, dl_manager):
    self._before(dl_manager)
    return {'train': self._generate_examples()}

  def _generate_examples(self):
    for i in range(3):
      yield i, {'number': i}


class ByHand(Numbers, skip_registration=True):
  """Data set whose files the user must download."""
  MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Register somewhere,
    then get the archive."""


def prepare(tmp_path, before=lambda manager: None, cls=Numbers):
  """Prepares and returns (builder, announced lines)."""
  builder, lines = cls(before, data_dir=tmp_path), []
  prepare_dataset.ensure_prepared(builder, lines.append)
  return builder, lines


def fails(tmp_path, before, cls=Numbers):
  """Returns the error message of a preparation that fails."""
  with pytest.raises(errors.UserError) as error:
    prepare(tmp_path, before, cls)
  assert '\n' not in str(error.value)
  assert not [path for path in tmp_path.rglob('*')
              if path.is_file() and 'downloads' not in path.parts]
  return str(error.value)


def raises(error):
  def before(unused_manager):
    raise error
  return before


def test_prepares_once(tmp_path, capsys):
  builder, lines = prepare(tmp_path)
  assert lines[:-1] == [
      f'Preparing numbers/1.0.0 in {tmp_path}, once; TFDS does not say how '
      'much it downloads.']
  assert re.fullmatch(
      r'Prepared numbers/1\.0\.0 in \d+ s: train 3\.', lines[-1])
  assert builder.info.splits['train'].num_examples == 3
  _, lines = prepare(tmp_path, lambda manager: 1 / 0)
  assert not lines
  # TFDS itself says nothing, and is as it was.
  assert capsys.readouterr().out == '' and tqdm_utils._active
  assert not list(tmp_path.glob('.*.lock'))


def test_download_size_is_announced(tmp_path):
  class Large(Numbers, skip_registration=True):
    url_infos = {f'http://x/{i}': checksums.UrlInfo(3 * 2**29, '', '')
                 for i in range(2)}

  _, lines = prepare(tmp_path, cls=Large)
  assert lines[0].endswith(', once; downloads up to 3.00 GiB.')


def test_processes_prepare_it_once(tmp_path):
  """Both succeed, where with TFDS alone one fails."""
  data_dir, waits = str(tmp_path), 'Waiting for another process that prepares '
  script = (
      'from tf_tokenlearner.data import tfds_source\n'
      f'source = tfds_source.open_image_source("digits", {data_dir!r})\n'
      'print(source.num_examples("train"))\n')
  lines, waiting = [], threading.Event()

  def announce(line):
    lines.append(line)
    waiting.set()

  with file_lock.alone(f'{data_dir}/.digits-1.0.0.lock', lambda: None):
    other = subprocess.Popen(
        [sys.executable, '-u', '-c', script], text=True, stdout=subprocess.PIPE)
    assert other.stdout.readline().startswith(waits)
    ours = threading.Thread(target=tfds_source.open_image_source, kwargs={
        'tfds_name': 'digits', 'data_dir': data_dir, 'announce': announce})
    ours.start()
    assert waiting.wait(10) and lines == [waits + 'digits/1.0.0.']
  output = other.communicate(timeout=120)[0].splitlines()
  ours.join(120)
  assert other.returncode == 0 and output.pop() == '1437'
  done, = [said for said in (lines[1:], output) if said]
  assert len(done) == 2 and done[1].endswith(': train 1,437, test 360.')


def test_plain_tfds_prepared_it_meanwhile(tmp_path):
  builder, lines = prepare(
      tmp_path, lambda manager: Numbers(data_dir=tmp_path)
      .download_and_prepare())
  assert builder.info.splits['train'].num_examples == 3
  assert lines[-1].endswith(': train 3.')


def test_incomplete_data_set(tmp_path):
  (tmp_path / 'numbers' / '1.0.0').mkdir(parents=True)
  with pytest.raises(errors.UserError, match=(
      'numbers/1.0.0 exists but holds no complete data set. Remove it')):
    prepare(tmp_path)


def unused_port():
  with socket.socket() as listener:
    listener.bind(('127.0.0.1', 0))
    return listener.getsockname()[1]


@pytest.mark.parametrize('scheme', ['http', 'ftp'])
def test_no_network(tmp_path, monkeypatch, scheme):
  monkeypatch.setenv('NO_PROXY', '*')
  host = f'127.0.0.1:{unused_port()}'
  start = time.monotonic()
  message = fails(
      tmp_path, lambda manager: manager.download(f'{scheme}://{host}/a.zip'))
  assert time.monotonic() - start < 90  # TFDS alone takes three minutes.
  assert message.startswith(
      f'Cannot reach {host} to download the data set. Check the network '
      '(HTTPS_PROXY names a proxy), or prepare')


def test_host_that_does_not_answer(tmp_path, monkeypatch):
  monkeypatch.setenv('NO_PROXY', '*')
  monkeypatch.setattr(prepare_dataset, '_PROBE_SECONDS', 0.2)
  with socket.create_server(('127.0.0.1', 0)) as listener:
    url = f'http://127.0.0.1:{listener.getsockname()[1]}/a.zip'
    assert 'Cannot reach 127.0.0.1' in fails(
        tmp_path, lambda manager: manager.download(url))


@pytest.fixture(name='server')
def fixture_server(tmp_path_factory, monkeypatch):
  """URL of a folder with the file data.txt."""
  monkeypatch.setenv('NO_PROXY', '*')
  folder = tmp_path_factory.mktemp('server')
  (folder / 'data.txt').write_text('content')

  class Handler(http.server.SimpleHTTPRequestHandler):

    def __init__(self, *args):
      super().__init__(*args, directory=str(folder))

    def log_message(self, *unused_args):
      pass

  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    thread.join()


def test_downloads(tmp_path, server):
  read = []
  before = lambda manager: read.append(
      manager.download(f'{server}/data.txt').read_text())
  prepare(tmp_path / 'first', before)
  assert read == ['content']


def test_cached_downloads_need_no_network(
    tmp_path, server, monkeypatch):
  before = lambda manager: manager.download(f'{server}/data.txt')
  prepare(tmp_path, before)
  shutil.rmtree(tmp_path / 'numbers')
  monkeypatch.setattr(prepare_dataset, '_require_answer', lambda url: 1 / 0)
  prepare(tmp_path, before)


def test_download_that_fails(tmp_path, server):
  message = fails(
      tmp_path, lambda manager: manager.download(f'{server}/none.txt'))
  assert message == (f'Downloading numbers/1.0.0 failed: Failed to get url '
                     f'{server}/none.txt. HTTP code: 404.')
  assert fails(tmp_path, raises(requests.ConnectionError('cut off'))) == (
      'Downloading numbers/1.0.0 failed: cut off')


def test_wrong_checksum(tmp_path, server):
  class Checked(Numbers, skip_registration=True):
    url_infos = {f'{server}/data.txt': checksums.UrlInfo(
        7, 'ab' * 32, 'data.txt')}

  message = fails(
      tmp_path, lambda manager: manager.download(f'{server}/data.txt'), Checked)
  assert message.startswith(
      'A file downloaded for checked/1.0.0 does not have the checksum that '
      'TFDS expects: the transfer was cut off, or the file changed at its '
      f'source. Artifact {server}')


@pytest.mark.parametrize('error,message', [
    (OSError(errno.ENOSPC, 'No space left on device'),
     'No space left on the disk of .* to prepare numbers/1.0.0. Free some '
     'space, or set another data_dir.'),
    (OSError('Not enough disk space. Needed: 9 TiB'),
     'No space left on the disk of .* Needed: 9 TiB'),
    (tf.errors.ResourceExhaustedError(None, None, 'x; No space left on device'),
     'No space left on the disk of'),
    (PermissionError(errno.EACCES, 'Permission denied'),
     'numbers/1.0.0 is not prepared yet and .* cannot be written. Set another '
     'data_dir.'),
    (tf.errors.PermissionDeniedError(None, None, 'x'), 'cannot be written'),
    (ModuleNotFoundError("No module named 'apache_beam'"),
     'Preparing numbers/1.0.0 needs a package that is not installed: No module '
     "named 'apache_beam'"),
    (AssertionError('The version of the dataset you are trying to use (x)\nis'),
     'numbers/1.0.0 cannot be prepared by this version of TFDS: The version'),
    (errors.UserError('ours'), '^ours$'),
])
def test_errors_that_the_user_can_fix(tmp_path, error, message):
  with pytest.raises(errors.UserError, match=message):
    raise errors.UserError(fails(tmp_path, raises(error)))


def test_cause_of_an_error_counts(tmp_path):
  """TFDS makes new errors of those it meets."""
  def before(unused_manager):
    try:
      raise tf.errors.ResourceExhaustedError(None, None, 'x; No space left')
    except tf.errors.ResourceExhaustedError as error:
      raise RuntimeError('Failed to finalize writing') from error

  assert fails(tmp_path, before).startswith('No space left on the disk of')


def test_data_dir_is_a_file(tmp_path):
  (tmp_path / 'file').touch()
  for data_dir in (tmp_path / 'file', tmp_path / 'file' / 'inside'):
    with pytest.raises(errors.UserError, match='cannot be written. Set'):
      prepare(data_dir)


@pytest.mark.parametrize('before', [
    lambda manager: manager.manual_dir,
    raises(FileNotFoundError(errno.ENOENT, 'archive.tar')),
    raises(tf.errors.NotFoundError(None, None, 'archive.tar'))])
def test_missing_manual_files(tmp_path, before):
  assert fails(tmp_path, before, ByHand) == (
      'The files of by_hand/1.0.0 must be downloaded by hand. Put them into '
      f'{tmp_path}/downloads/manual. TFDS says: Register somewhere, then get '
      'the archive.')


def test_manual_files(tmp_path):
  _, lines = prepare(tmp_path, cls=ByHand)
  assert lines[0].endswith(', once; from files that were downloaded by hand.')


def test_other_errors_pass_unchanged(tmp_path):
  with pytest.raises(ZeroDivisionError):
    prepare(tmp_path, lambda manager: 1 / 0)
  with pytest.raises(FileNotFoundError):
    prepare(tmp_path, raises(FileNotFoundError(errno.ENOENT, 'x')))
  assert os.listdir(tmp_path / 'numbers') == []
