"""Tests of the folder that several processes decode videos into."""

import os
import threading

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


@pytest.fixture(name='change_worker')
def fixture_change_worker(tmp_path, monkeypatch):
  def change(text, whole=False):
    video_making.change_worker(
        tmp_path, monkeypatch,
        text if whole else video_making.ODD_WORKER.format(text))
  return change


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


def test_unreadable_videos_are_returned(maker):
  paths = maker.write(3)
  with open(paths[1], 'wb'):
    pass
  reasons = {paths[1]: 'empty file', 'none.avi': 'No such file or directory'}
  assert maker.decoded().decode(paths + ['none.avi']) == reasons
  assert maker.decoded().decode(paths + ['none.avi']) == reasons
  assert maker.lines == ['Resuming: 4 of 4 videos are done already.']


def test_interrupted_decoding_resumes(maker, monkeypatch):
  paths = maker.write(5)
  maker.decoded().decode(paths[:3])
  tried = []
  decode = video_worker.Worker.decode
  monkeypatch.setattr(
      video_worker.Worker, 'decode',
      lambda self, path, **options: tried.append(path) or decode(
          self, path, **options))
  decoded = maker.decoded()
  assert decoded.decode(paths) == {}
  assert sorted(tried) == paths[3:]
  assert maker.lines == ['Resuming: 3 of 5 videos are done already.']
  # A file that changed is decoded anew, and so is all with other options.
  os.utime(paths[0], (1, 1))
  with pytest.raises(errors.UserError, match=(
      '0.avi changed while the data set was prepared. Start again')):
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


def test_video_that_crashes_the_decoder(maker, change_worker):
  change_worker('os.kill(os.getpid(), signal.SIGSEGV)')
  paths = maker.write(5)
  assert maker.decoded().decode(paths) == {
      paths[2]: 'makes the decoder crash (SIGSEGV)'}


def test_process_that_is_killed(maker, change_worker):
  """The kernel kills workers in this way when memory runs out."""
  change_worker('os.kill(os.getpid(), signal.SIGKILL)')
  paths = maker.write(5)
  with pytest.raises(errors.UserError, match=(
      'A process was killed while it decoded .*2.avi, most often because '
      'memory ran out. Free some memory and start again: decoded videos are '
      'kept')):
    maker.decoded().decode(paths)


def test_video_that_takes_too_long(maker, change_worker):
  """The time limit is an alarm, which here rings at once."""
  change_worker(
      'os.kill(os.getpid(), signal.SIGALRM)')
  paths = maker.write(3)
  assert maker.decoded().decode(paths) == {
      paths[2]: 'takes longer than 1,800 s to decode'}


@pytest.mark.parametrize('program,message', [
    ('import no_such_package', "exit code 1: .*No module named 'no_such_pack"),
    ('raise SystemExit(3)', 'exit code 3: no message')])
def test_processes_that_do_not_start(maker, change_worker, program, message):
  change_worker(program, whole=True)
  with pytest.raises(RuntimeError, match=message):
    maker.decoded().decode(maker.write(2))


def test_library_that_prints(maker, change_worker):
  change_worker('print("hello"); os.system("echo hello")')
  assert maker.decoded().decode(maker.write(3)) == {}


def test_failing_writes_are_passed_on(maker, change_worker):
  change_worker(
      'return {"failed": (28, "No space left on device")}')
  with pytest.raises(OSError, match='No space left') as error:
    maker.decoded().decode(maker.write(3))
  assert error.value.errno == 28


def test_too_little_disk_space_fails_early(maker, monkeypatch):
  monkeypatch.setattr(decoded_videos, '_FIRST_ESTIMATE_OF_SPACE', 2)
  usage = decoded_videos.shutil.disk_usage(maker.tmp_path)
  monkeypatch.setattr(decoded_videos.shutil, 'disk_usage',
                      lambda folder: usage._replace(free=3000))
  with pytest.raises(errors.UserError, match=(
      'No space left on the disk of .*decoded: about .* KiB are needed for 8 '
      'videos, 2.93 KiB are free. Free some space, set another data_dir, or a '
      r'smaller fps or short_side \(stored_short_side of task.train_data\)')):
    maker.decoded().decode(maker.write(8))


@pytest.mark.parametrize('options,message', [
    ({'fps': 0}, r'fps must lie in \(0, 240\], got 0\.'),
    ({'fps': 500}, 'got 500'),
    ({'short_side': 4},
     r'short_side \(stored_short_side of task.train_data\) must lie in '
     r'\[8, 4096\], got 4\.')])
def test_options_out_of_range(maker, options, message):
  with pytest.raises(errors.UserError, match=message):
    maker.decoded(**options)


def test_no_process_is_left_behind(maker, change_worker):
  change_worker('time.sleep(999)')
  paths = maker.write(4)
  generator = maker.decoded()._decode(paths)
  os.makedirs(maker.folder)
  threads = threading.active_count()
  next(generator)
  generator.close()
  assert threading.active_count() <= threads
