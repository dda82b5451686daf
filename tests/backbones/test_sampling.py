"""Cells of grid pooling, and frames as the official code samples them."""

import re

import pytest

from tests import goldens
from tf_tokenlearner.backbones import sampling
from tf_tokenlearner import errors


@pytest.mark.parametrize('num_tokens, map_size, expected', [
    (1, (7, 5), (1, 1)),
    (16, (32, 32), (4, 4)),
    (8, (24, 24), (2, 4)),
    (2, (24, 12), (2, 1)),  # Two squares, not two strips.
    (2, (12, 24), (1, 2)),
    (6, (2, 3), (2, 3)),
    (5, (3, 5), (1, 5)),
])
def test_nearly_square_cells(num_tokens, map_size, expected):
  assert sampling.nearly_square_cells(num_tokens, map_size) == expected


@pytest.mark.parametrize('num_tokens, map_size', [(7, (2, 3)), (5, (4, 4))])
def test_nearly_square_cells_refuses(num_tokens, map_size):
  with pytest.raises(
      errors.UserError, match=f'^num_tokens={num_tokens} does not go with '
      f'tokenizer=grid_pooling: no grid of {num_tokens} cells fits a map of '
      f'{map_size[0]} x {map_size[1]} positions.$'):
    sampling.nearly_square_cells(num_tokens, map_size)


def test_window_cells():
  assert sampling.window_cells([2, 4], (32, 32)) == (16, 8)
  assert sampling.window_cells((1, 1), (3, 5)) == (3, 5)


@pytest.mark.parametrize('window, message', [
    (2, r'pooling_window must be \[height, width\], got 2.'),
    ([2], r'pooling_window must be \[height, width\], got \[2\].'),
    ([2, 0], 'pooling_window width must be .* got 0.'),
    ([2, 5], 'The map width 12 is no multiple of the pooling_window width 5. '
     'Nearest that fit: 10 and 15.'),
    ([16, 2], 'The map height 8 is no multiple of the pooling_window height '
     '16.'),
])
def test_window_cells_refuses(window, message):
  with pytest.raises(errors.UserError, match=f'^{message}'):
    sampling.window_cells(window, (8, 12))


def test_sampled_frames_equal_scenic():
  golden = goldens.read('frame_sampling_indices')
  cases = {tuple(map(int, re.findall(r'\d+', name))): indices.tolist()
           for name, indices in golden.outputs.items()}
  assert len(cases) > 90
  for (num_frames, num_wanted), expected in cases.items():
    found = sampling.sampled_frames(num_frames, num_wanted)
    assert found == expected, (num_frames, num_wanted)


def test_sampled_frames_one_more_than_wanted():
  golden = goldens.read('frame_sampling_indices')
  more = [list(case) for case in golden.config['returns_extra_frame']]
  assert [8, 5] in more
  for num_frames, num_wanted in more:
    found = sampling.sampled_frames(num_frames, num_wanted)
    assert len(found) == num_wanted + 1
    assert found[-1] == num_frames - 1


def test_sampled_frames_of_short_clips_are_taken_whole():
  assert sampling.sampled_frames(1, 4) == [0]
  assert sampling.sampled_frames(4, 4) == [0, 1, 2, 3]
