"""Files are read ahead, and batches have one shape."""

import os
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner.prediction import examples


def test_in_order_and_not_too_far_ahead():
  started, may_go = [], threading.Event()

  def read(path):
    started.append(path)
    if path == 'a':
      may_go.wait(10)
    return [path.encode() * 2]

  answers = examples.read_all('abcdefgh', read, ahead=3)
  timer = threading.Timer(.2, may_go.set)
  timer.start()
  assert next(answers) == [b'aa']
  assert set(started) <= set('abcd')
  assert [example[0] for example in answers] == [
      b'bb', b'cc', b'dd', b'ee', b'ff', b'gg', b'hh']


def test_less_far_ahead_where_files_are_large(monkeypatch):
  monkeypatch.setattr(examples, '_MAX_BYTES_AHEAD', 10)
  started = []

  def read(path):
    started.append(path)
    time.sleep(.01 if path == 'c' else 0)  # Later ones are there before it.
    return [path.encode() * 6]

  paths = 'abcdefghijkl'
  for number, answer in enumerate(examples.read_all(paths, read, ahead=9)):
    assert answer == [paths[number].encode() * 6]
    time.sleep(.02)
    # Two fill the room; each thread may have begun one before it was full.
    assert len(started) <= number + 1 + 2 + os.cpu_count()
  assert len(started) == len(paths)


def test_the_rest_is_not_read_if_nobody_asks():
  started = []
  answers = examples.read_all('ab' * 50, lambda path: started.append(path) or
                             [b'a'], ahead=3)
  next(answers)
  answers.close()
  assert len(started) <= 4


def test_reasons_take_the_place_of_examples():
  def read(path):
    raise {'a': examples.UnreadableError('torn'),
           'b': examples.UnreadableError('empty')}[path]
  assert list(map(str, examples.read_all('ab', read, 1))) == ['torn', 'empty']


def test_other_errors_are_raised():
  def read(path):
    raise MemoryError(path)
  with pytest.raises(MemoryError):
    list(examples.read_all('a', read, 1))


def test_an_odd_one_does_not_wait_for_the_end():
  """Answers are given in order, so that all others would wait with it."""
  batches = examples.Batches(2)
  found = {}
  for number in range(20):
    example = image(9, 9, 3) if number in (0, 13) else image(2, 2, 3)
    for numbers, _ in batches.add(number, example):
      found[number] = found.get(number, []) + [numbers]
  assert found[2] == [[1, 2]] and found[8] == [[7, 8]]
  assert found[9] == [[0]]  # After more than four batches of others.
  assert found[10] == [[9, 10]]
  assert [numbers for numbers, _ in batches.rest()] == [[13]]


def test_full_size(monkeypatch):
  monkeypatch.setattr(examples, '_MAX_BATCH_BYTES', 100)
  assert examples.full_size(16, image(2, 4, 3)) == 5
  assert examples.full_size(4, image(2, 4, 3)) == 4
  assert examples.full_size(4, image(9, 9, 3)) == 1
  assert examples.full_size(16, [b'a clip']) == 16
  batches = examples.Batches(16)
  sizes = [len(numbers) for i in range(10)
           for numbers, _ in batches.add(i, image(2, 4, 3))]
  assert sizes == [5, 5]


def image(*shape):
  return tf.constant(np.zeros(shape, np.uint8))


def test_batches(monkeypatch):
  batches = examples.Batches(2)
  given = [image(2, 2, 3), image(2, 4, 3), image(2, 2, 3), image(9, 9, 3)]
  found = [numbers for i, example in enumerate(given)
           for numbers, _ in batches.add(i, example)]
  assert found == [[0, 2]]
  assert [numbers for numbers, _ in batches.rest()] == [[1], [3]]
  assert not list(batches.rest())
  monkeypatch.setattr(examples, '_MAX_WAITING_BYTES', 30)
  assert not list(batches.add(4, image(2, 4, 3)))
  (numbers, members), = batches.add(5, image(2, 2, 3))
  assert numbers == [4] and members[0].shape == (2, 4, 3)
  monkeypatch.setattr(examples, '_MAX_BATCH_BYTES', 12)
  assert list(examples.Batches(9).add(6, image(2, 2, 3)))
  clips = examples.Batches(2)
  assert not list(clips.add(0, [b'abc']))
  assert list(clips.add(1, [b'de'])) == [([0, 1], [[b'abc'], [b'de']])]
