"""Sizes of the transformers."""

import pytest

from tf_tokenlearner import errors
from tf_tokenlearner.backbones import variants


@pytest.mark.parametrize('variant, size, patch', [
    ('Ti/16', (12, 192, 768, 3), 16),
    ('S/32', (12, 384, 1536, 6), 32),
    ('B/16', (12, 768, 3072, 12), 16),
    ('L/14', (24, 1024, 4096, 16), 14),
    ('H/8', (32, 1280, 5120, 16), 8),
])
def test_parse(variant, size, patch):
  assert variants.parse_image_variant(variant) == (size, (patch, patch))


@pytest.mark.parametrize('variant', [
    'B', 'B16', 'B/0', 'B/-1', 'B/16x2', '/16', 'B/16 ', 16, None])
def test_refuses_form(variant):
  with pytest.raises(errors.UserError, match=f'^Variant {variant!r} is not of '
                     'the form letter/patch, such as B/16; letters: Ti, S, B'):
    variants.parse_image_variant(variant)


def test_refuses_letter():
  with pytest.raises(errors.UserError, match="Unknown variant letter 'b'. "
                     'Known: B, '):
    variants.parse_image_variant('b/16')
