"""Decoding by several processes: what they do, and what if they die."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.data import video_making
from tf_tokenlearner import errors
from tf_tokenlearner.data import decoded_videos
from tf_tokenlearner.data import video_worker


class Maker:
  """Videos of 1, 2, ... frames in a folder, and what is said of them."""

  def __init__(self, tmp_path):
    self.tmp_path = tmp_path
    self.folder = str(tmp_path / 'decoded')
    self.lines = []

  def write(self, count):
    return [video_making.write(
        self.tmp_path / f'{i}.avi', video_making.numbered(i + 1), 10, 'mpeg4')
            for i in range(count)]

  def decoded(self, fps=10., short_side=256):
    self.lines.clear()
    return decoded_videos.DecodedVideos(
        self.folder, fps, short_side, self.lines.append)


@pytest.fixture(name='maker')
def fixture_maker(tmp_path):
  return Maker(tmp_path)


@pytest.fixture(name='worker_program')
def fixture_worker_program(tmp_path, monkeypatch):
  """Makes the processes run another program."""
  def replace(text):
    (tmp_path / 'other_worker.py').write_text(text)
    monkeypatch.setattr(decoded_videos, '_WORKER', 'other_worker')
    monkeypatch.syspath_prepend(str(tmp_path))
  return replace


# The worker, but for videos of some names.
PROGRAM = '''
import os, signal, sys, time
from tf_tokenlearner.data import video_worker
answer = video_worker.answer
def changed(path, **options):
  if os.path.basename(path) == '2.avi':
    {}
  return answer(path, **options)
video_worker.answer = changed
video_worker.main()
'''


def test_working_folder(monkeypatch):
  monkeypatch.setattr(decoded_videos.tempfile, 'gettempdir', lambda: '/tmp')
  assert decoded_videos.working_folder('/data', 'avid/25fps') == (
      '/data/avid/.25fps.decoded')
  assert decoded_videos.working_folder('gs://data', 'avid/25fps') == (
      '/tmp/tf_tokenlearner/avid/.25fps.decoded')


def test_every_video_is_decoded(maker):
  paths = maker.write(5)
  decoded = maker.decoded()
  assert decoded.decode(paths + paths[:1]) == {}
  assert [video_making.numbers(decoded.load(path)) for path in paths] == [
      list(range(i + 1)) for i in range(5)]
  assert decoded.num_bytes(paths) == sum(
      os.path.getsize(os.path.join(maker.folder, name))
      for name in os.listdir(maker.folder))
  assert not maker.lines
  decoded.remove()
  assert not os.path.exists(maker.folder)
  decoded.remove()


def test_unreadable_ones_are_told(maker):
  paths = maker.write(3)
  with open(paths[1], 'wb'):
    pass
  reasons = {paths[1]: 'empty file', 'none.avi': 'No such file or directory'}
  assert maker.decoded().decode(paths + ['none.avi']) == reasons
  assert maker.decoded().decode(paths + ['none.avi']) == reasons
  assert maker.lines == ['Going on after 4 of 4 videos that are done already.']


def test_goes_on_where_it_was(maker, monkeypatch):
  paths = maker.write(5)
  maker.decoded().decode(paths[:3])
  tried = []
  decode = decoded_videos._Worker.decode
  monkeypatch.setattr(
      decoded_videos._Worker, 'decode',
      lambda self, path, **options: tried.append(path) or decode(
          self, path, **options))
  decoded = maker.decoded()
  assert decoded.decode(paths) == {}
  assert sorted(tried) == paths[3:]
  assert maker.lines == ['Going on after 3 of 5 videos that are done already.']
  # A file that changed is decoded anew, and so is all with other options.
  os.utime(paths[0], (1, 1))
  with pytest.raises(errors.UserError, match=(
      '0.avi changed while it was packed. Start again')):
    decoded.load(paths[0])
  tried.clear()
  maker.decoded().decode(paths)
  assert tried == paths[:1]
  maker.decoded(fps=5.).decode(paths)
  maker.decoded(short_side=32).decode(paths)
  assert len(tried) == 11


def test_odd_names(maker):
  odd = os.fsdecode(os.path.join(os.fsencode(maker.tmp_path), b'\xff "\n.avi'))
  os.rename(maker.write(1)[0], odd)
  decoded = maker.decoded()
  assert decoded.decode([odd]) == {}
  assert len(decoded.load(odd)) == 1


def test_video_that_crashes_the_decoder(maker, worker_program):
  worker_program(PROGRAM.format('os.kill(os.getpid(), signal.SIGSEGV)'))
  paths = maker.write(5)
  assert maker.decoded().decode(paths) == {
      paths[2]: 'makes the decoder crash (SIGSEGV)'}


def test_process_that_is_killed(maker, worker_program):
  """As by the kernel when memory runs out."""
  worker_program(PROGRAM.format('os.kill(os.getpid(), signal.SIGKILL)'))
  paths = maker.write(5)
  with pytest.raises(errors.UserError, match=(
      'A process was killed while it decoded .*2.avi, most often because '
      'memory ran out. Make room and start again: what is decoded is kept')):
    maker.decoded().decode(paths)


def test_process_that_is_killed_while_it_waits(maker):
  paths = maker.write(2)
  os.makedirs(maker.folder)
  worker = decoded_videos._Worker()
  options = {'target': os.path.join(maker.folder, 'clip'), 'fps': 10,
             'short_side': 32}
  assert worker.decode(paths[0], **options) == ''
  worker._process.kill()
  worker._process.wait()
  with pytest.raises(errors.UserError, match='was killed .* memory ran out'):
    worker.decode(paths[1], **options)
  assert worker.decode(paths[1], **options) == ''  # By a new one.
  worker.stop()
  worker.close()


def test_video_that_takes_for_ever(maker, worker_program, monkeypatch):
  begun = maker.tmp_path / 'begun'
  worker_program(PROGRAM.format(
      f'open({str(begun)!r}, "w").close(); time.sleep(999)'))

  class Timer(threading.Timer):
    """Its time is up once the worker is at the slow one."""

    def run(self):
      while not self.finished.wait(.01):
        if begun.exists():
          self.function()
          return

  monkeypatch.setattr(decoded_videos.threading, 'Timer', Timer)
  monkeypatch.setattr(decoded_videos.os, 'cpu_count', lambda: 1)
  paths = maker.write(3)
  assert maker.decoded().decode(paths) == {
      paths[2]: 'takes longer than 1,800 s to decode'}


@pytest.mark.parametrize('program,message', [
    ('import no_such_package', "exit code 1: .*No module named 'no_such_pack"),
    ('raise SystemExit(3)', 'exit code 3: it said nothing')])
def test_processes_that_do_not_start(maker, worker_program, program, message):
  worker_program(program)
  with pytest.raises(RuntimeError, match=message):
    maker.decoded().decode(maker.write(2))


def test_library_that_prints(maker, worker_program):
  worker_program(PROGRAM.format('print("hello"); os.system("echo hello")'))
  assert maker.decoded().decode(maker.write(3)) == {}


def test_failing_writes_are_passed_on(maker, worker_program):
  worker_program(PROGRAM.format(
      'return {"failed": (28, "No space left on device")}'))
  with pytest.raises(OSError, match='No space left') as error:
    maker.decoded().decode(maker.write(3))
  assert error.value.errno == 28


def test_too_little_space_is_seen_soon(maker, monkeypatch):
  monkeypatch.setattr(decoded_videos, '_FIRST_GUESS_OF_SPACE', 2)
  usage = decoded_videos.shutil.disk_usage(maker.tmp_path)
  monkeypatch.setattr(decoded_videos.shutil, 'disk_usage',
                      lambda folder: usage._replace(free=3000))
  with pytest.raises(errors.UserError, match=(
      'No space left on the disk of .*decoded: about .* KiB are needed for 8 '
      'videos, 2.93 KiB are free. Make room, set another data_dir, or a '
      r'smaller fps or short_side \(stored_short_side of task.train_data\)')):
    maker.decoded().decode(maker.write(8))


@pytest.mark.parametrize('options,message', [
    ({'fps': 0}, r'fps must lie in \(0, 240\], received 0\.'),
    ({'fps': 500}, 'received 500'),
    ({'short_side': 4},
     r'short_side \(stored_short_side of task.train_data\) must lie in '
     r'\[8, 4096\], received 4\.')])
def test_options_out_of_range(maker, options, message):
  with pytest.raises(errors.UserError, match=message):
    maker.decoded(**options)


def test_no_process_stays_when_it_is_left(maker, worker_program):
  worker_program(PROGRAM.format('time.sleep(999)'))
  paths = maker.write(4)
  generator = maker.decoded()._decode(paths)
  os.makedirs(maker.folder)
  threads = threading.active_count()
  next(generator)
  generator.close()
  assert threading.active_count() <= threads


def test_worker_ends_with_its_input(tmp_path):
  """So it does not outlive whoever started it; Ctrl-C leaves it alone."""
  process = subprocess.Popen(
      [sys.executable, '-m', video_worker.__name__], stdin=subprocess.PIPE,
      stdout=subprocess.PIPE, text=True)
  process.stdin.write('{"path": "none", "target": "x", "fps": 1, '
                      '"short_side": 8, "seconds_allowed": 1}\n')
  process.stdin.flush()
  assert process.stdout.readline() == (
      '{"unreadable": "No such file or directory"}\n')
  process.send_signal(signal.SIGINT)
  time.sleep(1.1)  # The seconds are those of a video, not of waiting.
  assert process.poll() is None
  process.stdin.close()
  assert process.wait(10) == 0
  process.stdout.close()


def test_worker_does_not_stay_with_a_video_for_ever(worker_program):
  """Even if whoever started it was killed and cannot end it."""
  worker_program(PROGRAM.format('time.sleep(999)'))
  worker = decoded_videos._Worker()
  process = worker._start()
  process.stdin.write('{"path": "2.avi", "seconds_allowed": 1}\n')
  process.stdin.flush()
  assert process.wait(30) == -signal.SIGALRM
  worker.close()


def test_worker_needs_no_tensorflow():
  """Else each would take seconds to start, and a gigabyte."""
  subprocess.run(
      [sys.executable, '-c', f'import sys, {video_worker.__name__}\n'
       'assert "tensorflow" not in sys.modules'], check=True)


def test_answers(tmp_path):
  path = video_making.write(
      tmp_path / 'a.avi', video_making.numbered(3), 10, 'mpeg4')
  options = {'path': path, 'fps': 10, 'short_side': 32}
  assert video_worker.answer(target=str(tmp_path / 'clip'), **options) == {}
  assert (tmp_path / 'clip').stat().st_size
  assert video_worker.answer(target=str(tmp_path / 'no' / 'clip'), **options
                             ) == {'failed': (2, 'No such file or directory')}


def test_one_odd_video_does_not_end_all(tmp_path, monkeypatch):
  def fail(error):
    monkeypatch.setattr(video_worker.video_files, 'decode', lambda *_: error())
    return video_worker.answer('a.avi', str(tmp_path / 'clip'), 10, 32)

  def odd():
    raise KeyError('two\nlines')
  assert fail(odd) == {
      'unreadable': r"cannot be decoded (KeyError: 'two\nlines')"}

  def too_large():
    raise MemoryError
  with pytest.raises(MemoryError):
    fail(too_large)
