"""Sizes of the transformers, as plain data.

Ti: Touvron et al. 2021 (arXiv 2012.12877), table 1. S: the TokenLearner
paper's S, as in Steiner et al. 2021 (arXiv 2106.10270), table 2. B, L, H:
Dosovitskiy et al. 2021 (arXiv 2010.11929), table 1.
"""

import re
from typing import NamedTuple, Tuple

from tf_tokenlearner import errors


class Size(NamedTuple):
  """What a letter stands for."""
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
  """'B/16' -> (sizes of B, (16, 16)); any patch size goes with any letter.

  Raises:
    UserError: not of the form letter/patch, or an unknown letter.
  """
  match = re.fullmatch(r'([A-Za-z]+)/([1-9]\d*)', str(variant))
  if not match:
    raise errors.UserError(
        f'Variant {variant!r} is not of the form letter/patch, such as B/16; '
        f'letters: {", ".join(SIZES)}.')
  letter, patch = match.groups()
  if letter not in SIZES:
    raise errors.unknown_name('variant letter', letter, SIZES)
  return SIZES[letter], (int(patch), int(patch))
