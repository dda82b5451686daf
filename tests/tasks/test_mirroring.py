"""Mirroring depends on class names and on the type of data."""

import types

import pytest

from tf_tokenlearner.configs import experiments
from tf_tokenlearner.tasks import classification_task
from tf_tokenlearner.tasks import mirroring

SIDES = ('still', 'turn_left')
IMAGES = 'digits'
VIDEOS = 'moving_digits'


def test_sides():
  assert mirroring.with_side(['still', 'turn_left']) == 'turn_left'
  assert mirroring.with_side(['HandRight']) == 'HandRight'
  assert mirroring.with_side(['bright', 'cleft', 'leftover']) is None


@pytest.mark.parametrize('kind, data, names, mirrors, said', [
    (IMAGES, {'input_path': 'a'}, ('cat', 'dog'), True, None),
    (IMAGES, {'input_path': 'a'}, SIDES, False, "not mirrored: class 'turn_le"),
    (IMAGES, {'input_path': 'a', 'aug_rand_hflip': True}, SIDES, True,
     "mirrors examples, although class 'turn_left'"),
    (VIDEOS, {'input_path': 'a'}, ('run', 'walk'), False,
     'aug_rand_hflip=true'),
    (VIDEOS, {'input_path': 'a', 'aug_rand_hflip': True}, ('run', 'walk'), True,
     None),
    (VIDEOS, {'tfds_name': 'a'}, ('run', 'walk'), True, None),
    (VIDEOS, {'tfds_name': 'a'}, SIDES, False, "class 'turn_left'")])
def test_mirroring_is_decided_and_explained(
    monkeypatch, kind, data, names, mirrors, said):
  """The completed config has it, and so has a task of the Garden's scripts."""
  task = experiments.parse(f'tokenlearner_{kind}', []).task
  task.model.num_classes = 0
  task.train_data = task.train_data.replace(
      **{'tfds_name': '', 'aug_rand_hflip': None, **data})
  task_class = type(classification_task.make(task))
  source = types.SimpleNamespace(
      label_names=names, multi_label=False, num_examples=lambda split: 1)
  used = []
  monkeypatch.setattr(
      task_class, 'open_source', staticmethod(lambda params: source))
  monkeypatch.setattr(
      task_class, 'check_options', staticmethod(lambda task: None))
  monkeypatch.setattr(
      task_class, 'build_dataset', lambda self, params, *args, **options:
      used.append(params.aug_rand_hflip))
  task_class(task).build_inputs(task.train_data)
  task_class.complete(task)
  assert used == [mirrors]
  assert task.train_data.aug_rand_hflip == mirrors
  note = mirroring.note(task.train_data, names)
  assert note is None if said is None else said in note
