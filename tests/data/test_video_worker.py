"""Tests of clip files and of the processes that write them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.data import video_making
from tf_tokenlearner import errors
from tf_tokenlearner.data import video_worker


def test_round_trip(tmp_path):
  path = str(tmp_path / 'clip')
  frames = [b'a', b'', b'\xff' * 1000]
  assert not video_worker.is_whole(path)
  video_worker.write(path, iter(frames))
  assert video_worker.is_whole(path)
  assert video_worker.read(path) == frames
  assert os.listdir(tmp_path) == ['clip']


def test_no_partial_files_are_left(tmp_path):
  def frames():
    yield b'a'
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    video_worker.write(str(tmp_path / 'clip'), frames())
  assert not os.listdir(tmp_path)


@pytest.mark.parametrize('damage', [
    lambda data: data[:-1], lambda data: b'', lambda data: bytes(len(data))])
def test_files_after_a_power_failure(tmp_path, damage):
  path = tmp_path / 'clip'
  video_worker.write(str(path), [b'abc'])
  path.write_bytes(damage(path.read_bytes()))
  assert not video_worker.is_whole(str(path))


def test_folder_that_cannot_be_written(tmp_path):
  with pytest.raises(FileNotFoundError):
    video_worker.write(str(tmp_path / 'none' / 'clip'), [b'a'])
  with pytest.raises(FileNotFoundError):
    video_worker.read(str(tmp_path / 'clip'))


def test_process_that_is_killed_while_it_waits(tmp_path):
  path = video_making.write(
      tmp_path / 'a.avi', video_making.numbered(2), 10, 'mpeg4')
  worker = video_worker.Worker()
  options = {'target': str(tmp_path / 'clip'), 'fps': 10, 'short_side': 32}
  assert worker.decode(path, **options) == ''
  worker._process.kill()
  worker._process.wait()
  with pytest.raises(errors.UserError, match='was killed .* memory ran out'):
    worker.decode(path, **options)
  assert worker.decode(path, **options) == ''  # By a new process.
  worker.stop()
  worker.close()


def test_worker_ends_with_its_input(tmp_path):
  """A worker ends with its parent and ignores Ctrl-C."""
  process = subprocess.Popen(
      [sys.executable, '-m', video_worker.__name__], stdin=subprocess.PIPE,
      stdout=subprocess.PIPE, text=True)
  process.stdin.write('{"path": "none", "target": "x", "fps": 1, '
                      '"short_side": 8, "seconds_allowed": 1}\n')
  process.stdin.flush()
  assert process.stdout.readline() == (
      '{"unreadable": "No such file or directory"}\n')
  process.send_signal(signal.SIGINT)
  time.sleep(1.1)  # The time limit is for a video, not for waiting.
  assert process.poll() is None
  process.stdin.close()
  assert process.wait(10) == 0
  process.stdout.close()


def test_time_limit_does_not_need_the_parent(tmp_path, monkeypatch):
  """The process ends by itself if its parent was killed."""
  video_making.change_worker(
      tmp_path, monkeypatch, video_making.ODD_WORKER.format('time.sleep(999)'))
  worker = video_worker.Worker()
  process = worker._start()
  process.stdin.write('{"path": "2.avi", "seconds_allowed": 1}\n')
  process.stdin.flush()
  assert process.wait(30) == -signal.SIGALRM
  worker.close()


def test_worker_needs_no_tensorflow():
  """TensorFlow takes seconds to import, and memory in each process."""
  subprocess.run(
      [sys.executable, '-c', f'import sys, {video_worker.__name__}\n'
       'assert "tensorflow" not in sys.modules'], check=True)


def test_decode_to_file(tmp_path):
  path = video_making.write(
      tmp_path / 'a.avi', video_making.numbered(3), 10, 'mpeg4')
  options = {'path': path, 'fps': 10, 'short_side': 32}
  assert not video_worker.decode_to_file(
      target=str(tmp_path / 'clip'), **options)
  assert (tmp_path / 'clip').stat().st_size
  assert video_worker.decode_to_file(
      target=str(tmp_path / 'no' / 'clip'), **options
  ) == {'failed': (2, 'No such file or directory')}


def test_unexpected_error_concerns_one_video(tmp_path, monkeypatch):
  def fail(error):
    monkeypatch.setattr(video_worker.video_files, 'decode', lambda *_: error())
    return video_worker.decode_to_file('a.avi', str(tmp_path / 'clip'), 10, 32)

  def odd():
    raise KeyError('two\nlines')
  assert fail(odd) == {
      'unreadable': r"cannot be decoded (KeyError: 'two\nlines')"}

  def too_large():
    raise MemoryError
  with pytest.raises(MemoryError):
    fail(too_large)
