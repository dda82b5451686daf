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
                     'the form letter/patch, such as B/16. Letters: Ti, S, B'):
    variants.parse_image_variant(variant)


def test_refuses_letter():
  with pytest.raises(errors.UserError, match="Unknown variant letter 'b'. "
                     'Known: B, '):
    variants.parse_image_variant('b/16')


@pytest.mark.parametrize('variant, size, tubelet', [
    ('B/16x2', (12, 768, 3072, 12), (2, 16, 16)),
    ('L/14x2', (24, 1024, 4096, 16), (2, 14, 14)),
    ('Ti/7x10', (12, 192, 768, 3), (10, 7, 7)),
])
def test_parse_video(variant, size, tubelet):
  assert variants.parse_video_variant(variant) == (size, tubelet)


@pytest.mark.parametrize('variant', ['B/16x0', 'B/x2', 'B/16X2', 'x', None])
def test_video_refuses_form(variant):
  with pytest.raises(errors.UserError) as caught:
    variants.parse_video_variant(variant)
  assert str(caught.value) == (
      f'Variant {variant!r} is not of the form letter/patchxframes, such as '
      'B/16x2. Letters: Ti, S, B, L, H.')


def test_video_refuses_image_variant_with_a_hint():
  with pytest.raises(errors.UserError, match='Letters: Ti, S, B, L, H. L/14 '
                     'is an image model; add the frames of a tubelet, such as '
                     'L/14x2.'):
    variants.parse_video_variant('L/14')


def test_video_refuses_letter():
  with pytest.raises(errors.UserError, match="Unknown variant letter 'XL'"):
    variants.parse_video_variant('XL/16x2')
