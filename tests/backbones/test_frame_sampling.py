"""Uniform frame sampling equals the official code, quirk included."""

import re

from tests import goldens
from tf_tokenlearner.backbones import specs


def test_equals_scenic():
  golden = goldens.read('frame_sampling_indices')
  cases = {tuple(map(int, re.findall(r'\d+', name))): indices.tolist()
           for name, indices in golden.outputs.items()}
  assert len(cases) > 90
  for (num_frames, num_wanted), expected in cases.items():
    found = specs.sampled_frames(num_frames, num_wanted)
    assert found == expected, (num_frames, num_wanted)


def test_one_frame_more_than_wanted():
  golden = goldens.read('frame_sampling_indices')
  more = [list(case) for case in golden.config['returns_extra_frame']]
  assert [8, 5] in more
  for num_frames, num_wanted in more:
    found = specs.sampled_frames(num_frames, num_wanted)
    assert len(found) == num_wanted + 1
    assert found[-1] == num_frames - 1


def test_short_clips_are_taken_whole():
  assert specs.sampled_frames(1, 4) == [0]
  assert specs.sampled_frames(4, 4) == [0, 1, 2, 3]
