"""Sizes of the transformers, as plain data.

Ti: Touvron et al. 2021 (arXiv 2012.12877), table 1. S: the TokenLearner
paper's S, as in Steiner et al. 2021 (arXiv 2106.10270), table 2. B, L, H:
Dosovitskiy et al. 2021 (arXiv 2010.11929), table 1.
"""

import re
from typing import NamedTuple, Optional, Tuple

from tf_tokenlearner import errors


AUTO = 'auto'  # Sizes are those of the weights to start from.


class Size(NamedTuple):
  """Sizes that a letter stands for."""
  num_layers: int
  hidden_size: int
  mlp_dim: int
  num_heads: int


SIZES = {
    'Ti': Size(12, 192, 768, 3),
    'S': Size(12, 384, 1536, 6),
    'B': Size(12, 768, 3072, 12),
    'L': Size(24, 1024, 4096, 16),
    'H': Size(32, 1280, 5120, 16),
}


def parse_image_variant(variant: str) -> Tuple[Size, Tuple[int, int]]:
  """Returns sizes and patch: 'B/16' -> (sizes of B, (16, 16)).

  Raises:
    UserError: not of the form letter/patch, or an unknown letter.
  """
  match = _match(r'([1-9]\d*)', variant)
  if not match:
    raise _wrong_form(variant, 'letter/patch, such as B/16')
  patch = int(match[2])
  return _size(match[1]), (patch, patch)


def parse_video_variant(variant: str) -> Tuple[Size, Tuple[int, int, int]]:
  """Returns sizes and tubelet: 'B/16x2' -> (sizes of B, (2, 16, 16)).

  Raises:
    UserError: not of the form letter/patch x frames, or an unknown letter.
  """
  match = _match(r'([1-9]\d*)x([1-9]\d*)', variant)
  if not match:
    hint = (f' {variant} is an image model; add the frames of a tubelet, '
            f'such as {variant}x2.'
            if _match(r'([1-9]\d*)', variant) else '')
    raise _wrong_form(variant, 'letter/patchxframes, such as B/16x2', hint)
  patch, frames = int(match[2]), int(match[3])
  return _size(match[1]), (frames, patch, patch)


def _match(tail: str, variant: str) -> Optional[re.Match]:
  return re.fullmatch(f'([A-Za-z]+)/{tail}', str(variant))


def _size(letter: str) -> Size:
  if letter not in SIZES:
    raise errors.unknown_name('variant letter', letter, SIZES)
  return SIZES[letter]


def _wrong_form(variant: str, form: str, hint: str = '') -> errors.UserError:
  return errors.UserError(
      f'Variant {variant!r} is not of the form {form}. Letters: '
      f'{", ".join(SIZES)}.{hint}')
