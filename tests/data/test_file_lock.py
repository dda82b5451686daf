"""The file lock: exclusive, released on failure, without leftovers."""

import os
import threading

from tf_tokenlearner.data import file_lock


def test_second_waits_for_the_first(tmp_path):
  path, events = str(tmp_path / 'lock'), []
  waiting = threading.Event()

  def second():
    with file_lock.alone(path, lambda: (events.append('waits'), waiting.set())):
      events.append('second')

  with file_lock.alone(path, lambda: events.append('never')):
    thread = threading.Thread(target=second)
    thread.start()
    assert waiting.wait(10)
    events.append('first')
  thread.join(10)
  assert events == ['waits', 'first', 'second']
  assert not os.listdir(tmp_path)


def test_lock_is_exclusive(tmp_path):
  path, inside, most = str(tmp_path / 'lock'), [], []

  def enter():
    for _ in range(20):
      with file_lock.alone(path, lambda: None):
        inside.append(1)
        most.append(len(inside))
        inside.pop()

  threads = [threading.Thread(target=enter) for _ in range(8)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(30)
  assert len(most) == 160 and max(most) == 1
  assert not os.listdir(tmp_path)


def test_no_waiting_without_file_locks(tmp_path, monkeypatch):
  def refuse(*unused_args):
    raise OSError('Function not implemented')

  monkeypatch.setattr(file_lock.fcntl, 'flock', refuse)
  path = str(tmp_path / 'lock')
  with file_lock.alone(path, lambda: None), file_lock.alone(path, lambda: None):
    pass
  assert not os.listdir(tmp_path)


def test_lock_is_released_on_failure(tmp_path):
  path = str(tmp_path / 'lock')
  try:
    with file_lock.alone(path, lambda: None):
      raise KeyboardInterrupt
  except KeyboardInterrupt:
    pass
  with file_lock.alone(path, lambda: 1 / 0):
    pass
