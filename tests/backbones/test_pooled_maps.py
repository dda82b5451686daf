"""Into which cells a map is pooled."""

import pytest

from tf_tokenlearner.backbones import specs
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
def test_by_number(num_tokens, map_size, expected):
  assert specs.by_number(num_tokens, map_size) == expected


@pytest.mark.parametrize('num_tokens, map_size', [(7, (2, 3)), (5, (4, 4))])
def test_by_number_refuses(num_tokens, map_size):
  with pytest.raises(
      errors.UserError, match=f'^num_tokens={num_tokens} cannot be had by '
      f'tokenizer=grid_pooling: no grid of {num_tokens} cells fits a map of '
      f'{map_size[0]} x {map_size[1]} positions.$'):
    specs.by_number(num_tokens, map_size)


def test_by_window():
  assert specs.by_window([2, 4], (32, 32)) == (16, 8)
  assert specs.by_window((1, 1), (3, 5)) == (3, 5)


@pytest.mark.parametrize('window, message', [
    (2, r'pooling_window must be \[height, width\], received 2.'),
    ([2], r'pooling_window must be \[height, width\], received \[2\].'),
    ([2, 0], 'pooling_window width must be .* received 0.'),
    ([2, 5], 'The map width 12 is no multiple of the pooling_window width 5. '
     'Nearest that fit: 10 and 15.'),
    ([16, 2], 'The map height 8 is no multiple of the pooling_window height '
     '16.'),
])
def test_by_window_refuses(window, message):
  with pytest.raises(errors.UserError, match=f'^{message}'):
    specs.by_window(window, (8, 12))
