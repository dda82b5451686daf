"""Specs of image backbones, and their refusals."""

import dataclasses

import pytest

from tests.backbones import tiny
from tf_tokenlearner import backbones
from tf_tokenlearner import errors

IMAGE = (224, 224, 3)


def test_completed_takes_sizes_from_variant():
  spec = backbones.ViTSpec('L/14').completed(IMAGE)
  assert (spec.num_layers, spec.hidden_size, spec.mlp_dim, spec.num_heads,
          spec.patch_size) == (24, 1024, 4096, 16, (14, 14))
  assert spec.grid_size(IMAGE) == (16, 16)


def test_completed_keeps_given_sizes():
  spec = backbones.ViTSpec(
      'B/16', num_layers=2, patch_size=[32, 56], hidden_size=24)
  completed = spec.completed(IMAGE)
  assert (completed.num_layers, completed.hidden_size, completed.mlp_dim) == (
      2, 24, 3072)
  assert completed.grid_size(IMAGE) == (7, 4)
  assert spec.mlp_dim is None  # A copy is completed.


@pytest.mark.parametrize('kwargs', [
    dict(), dict(patch_size=[7, 16], pooler='token'),
    dict(token_learner_location=[3, 1], num_tokens=[4, 16]),
    dict(token_learner_location=11, use_token_fuser=True,
         token_learner=backbones.TokenLearnerSpec('v1.0', pooling='mean')),
    dict(token_learner_location=[9, 6], num_tokens=[4, 49],
         tokenizer='grid_pooling'),
    dict(token_learner_location=6, num_tokens=None, tokenizer='grid_pooling',
         pooling_window=[7, 1]),
    dict(token_learner_location=6, use_token_fuser=True, fuser='unpooling',
         token_learner=tiny.MEANS),
])
def test_completed_is_idempotent(kwargs):
  spec = backbones.ViTSpec('S/16', **kwargs).completed(IMAGE)
  again = spec.completed(IMAGE)
  assert again == spec and again is not spec
  assert again.token_learner is not spec.token_learner
  assert type(again) is backbones.ViTSpec


@pytest.mark.parametrize('location, num_tokens, expected', [
    (None, 8, []),
    (0, 8, [(0, 8)]),
    ([2, 0], 8, [(0, 8), (2, 8)]),
    ([2, 0], [4, 16], [(0, 16), (2, 4)]),
    ((1,), (3,), [(1, 3)]),
])
def test_token_learners(location, num_tokens, expected):
  spec = tiny.spec(token_learner_location=location, num_tokens=num_tokens)
  assert spec.completed(tiny.IMAGE).token_learners() == expected


def test_pooled_maps_by_number():
  """A pooled map can be pooled again: the paper's 64, then 4 tokens."""
  spec = backbones.ViTSpec(
      'L/16', token_learner_location=[18, 9], num_tokens=[4, 64],
      tokenizer='grid_pooling').completed((512, 512, 3))
  assert spec.pooled_maps((32, 32)) == {
      9: ((32, 32), (8, 8)), 18: ((8, 8), (2, 2))}
  assert spec.num_tokens == [4, 64]


def test_pooled_maps_by_window():
  spec = backbones.ViTSpec(
      'L/16', token_learner_location=[18, 9], num_tokens=None,
      tokenizer='grid_pooling', pooling_window=[2, 4]).completed((512, 512, 3))
  assert spec.pooled_maps((32, 32)) == {
      9: ((32, 32), (16, 8)), 18: ((16, 8), (8, 2))}
  assert spec.token_learners() == [(9, 128), (18, 16)]


POOLED = dict(tiny.POOLED, token_learner_location=1)


@pytest.mark.parametrize('kwargs, message', [
    (dict(tokenizer='pooling'),
     "Unknown tokenizer 'pooling'. Known: grid_pooling, token_learner."),
    (dict(pooling_window=[2, 2]), r'pooling_window=\[2, 2\] goes with '
     'tokenizer=grid_pooling only.'),
    (dict(tiny.POOLED),
     'tokenizer=grid_pooling needs a token_learner_location'),
    (dict(token_learner=backbones.TokenLearnerSpec('v1.0', bottleneck_dim=6)),
     'token_learner.bottleneck_dim=6 has no effect with token_learner.version='
     'v1.0: leave it out.'),
    (dict(token_learner=backbones.TokenLearnerSpec('v1.0', dropout_rate=.1)),
     'token_learner.dropout_rate=0.1 has no effect with token_learner.version='
     'v1.0: leave it out.'),
    (dict(token_learner=backbones.TokenLearnerSpec(dropout_rate=1)),
     r'token_learner.dropout_rate must lie in \[0, 1\), got 1.'),
    (dict(POOLED, token_learner=tiny.V10), 'token_learner.version=v1.0 has no '
     'effect with tokenizer=grid_pooling, which learns nothing: leave it out.'),
    (dict(POOLED, token_learner=tiny.V11),
     'token_learner.bottleneck_dim=6 has no effect'),
    (dict(POOLED, num_tokens=7), 'num_tokens=7 does '
     'not go with tokenizer=grid_pooling: no grid of 7 cells'),
    (dict(POOLED, pooling_window=[2, 2]),
     'The map width 3 is no multiple of the pooling_window width 2.'),
    (dict(POOLED, pooling_window=[1, 3]),
     r'num_tokens=4 does not go with pooling_window=\[1, 3\], which makes '
     r'\[2\] of a map of 2 x 3. Set num_tokens=null, or pooling_window=null.'),
    (dict(POOLED, num_tokens=None),
     'num_tokens must be .* got None.'),
    (dict(num_tokens=None, token_learner_location=1),
     'num_tokens must be .* got None.'),
    (dict(token_learner=backbones.TokenLearnerSpec(num_convolutions=1)),
     'token_learner.num_convolutions=1 has no effect with '
     'token_learner.version='
     'v1.1: leave it out.'),
    (dict(token_learner=backbones.TokenLearnerSpec('v1.0', kernel_size=0)),
     'token_learner.kernel_size must be .* got 0.'),
    (dict(fuser='unpool'), "Unknown fuser 'unpool'. Known: unpooling, "),
    (dict(fuser='reprojection', token_learner_location=1),
     'fuser=reprojection goes with use_token_fuser=true only.'),
    *[(dict(options, use_token_fuser=True, fuser='unpooling',
            token_learner_location=1),
       'fuser=unpooling goes with tokenizer=token_learner, token_learner.'
       'version=v1.0 and token_learner.pooling=mean only: it needs masks')
      for options in (
          dict(), dict(token_learner=tiny.V10),
          tiny.POOLED)],
    (dict(num_layers=0),
     'num_layers must be a whole number of at least 1, got 0.'),
    (dict(hidden_size='64'), "hidden_size must be .* got '64'."),
    (dict(mlp_dim=True), 'mlp_dim must be .* got True.'),
    (dict(num_heads=3), 'hidden_size=8 is no multiple of num_heads=3.'),
    (dict(dropout_rate=1), r'dropout_rate must lie in \[0, 1\), got 1.'),
    (dict(attention_dropout_rate=-.1), 'attention_dropout_rate .* -0.1.'),
    (dict(stochastic_depth_rate='0.1'),
     r"stochastic_depth_rate must lie in \[0, 1\), got '0.1'."),
    (dict(token_learner=backbones.TokenLearnerSpec('v11')),
     "Unknown token_learner.version 'v11'. Known: v1.1, v1.0."),
    (dict(token_learner=backbones.TokenLearnerSpec('v1.0', pooling='max')),
     "Unknown token_learner.pooling 'max'. Known: "),
    (dict(token_learner=backbones.TokenLearnerSpec(pooling='mean')),
     'token_learner.pooling=mean has no effect with '
     'token_learner.version=v1.1'),
    (dict(token_learner=backbones.TokenLearnerSpec(bottleneck_dim=0)),
     'token_learner.bottleneck_dim must be .* got 0.'),
    (dict(token_learner_location=3), r'token_learner_location=3 is outside '
     r'0..2: it names the first of the 3 blocks, counted from 0'),
    (dict(token_learner_location=-1), 'token_learner_location=-1 is outside'),
    (dict(token_learner_location=True),
     'token_learner_location=True is outside'),
    (dict(token_learner_location=['half', 1]),
     "token_learner_location='half' is outside"),
    (dict(token_learner_location=[0, None]),
     'token_learner_location=None is outside'),
    (dict(token_learner_location=1, num_tokens=0), 'num_tokens must be .* 0.'),
    (dict(token_learner_location=[1, 2], num_tokens=[8, 4, 2]),
     r'num_tokens=\[8, 4, 2\] and token_learner_location=\[1, 2\] differ in '
     'length: give one number of tokens for all locations, or one for each.'),
    (dict(token_learner_location=[1, 1]),
     r'token_learner_location=\[1, 1\] names a block twice.'),
    (dict(use_token_fuser=True), 'use_token_fuser needs exactly one '
     'token_learner_location, got None'),
    (dict(use_token_fuser=True, token_learner_location=[0, 1]),
     r'use_token_fuser needs exactly one .* got \[0, 1\]'),
    (dict(token_learner_location=[0, 1], token_learner=tiny.V10),
     'token_learner.version=v1.0 reads a map of positions, so it can stand '
     'at '),
    (dict(pooler='cls'), "Unknown pooler 'cls'. Known: "),
    (dict(pooler='token', num_class_tokens=0),
     'pooler=token reads a class token, got num_class_tokens=0. Set '
     'num_class_tokens=null, or another pooler.'),
    (dict(num_class_tokens=-1),
     'num_class_tokens must be a whole number of at least 0, got -1.'),
    (dict(norm_epsilon=0.), r'norm_epsilon must lie in \(0, 1\), got 0'),
    (dict(activation='relu'), "Unknown activation 'relu'. Known: "),
    (dict(num_registers=1, token_learner_location=1, use_token_fuser=True),
     'use_token_fuser cannot go with class tokens or registers'),
    (dict(representation_size=0), 'representation_size must be .* got 0.'),
    (dict(patch_size=4),
     r'patch_size must be \[height, width\], got 4.'),
    (dict(patch_size=[4, 4, 2]), r'patch_size must be \[height, width\]'),
    (dict(patch_size=[4, 0]), 'patch_size width must be .* got 0.'),
    (dict(patch_size=[3, 4]), 'The image height 8 is no multiple of the patch '
     'height 3. Nearest that fit: 6 and 9.'),
    (dict(patch_size=[4, 16]), 'The image width 12 is no multiple of the patch '
     'width 16. Nearest that fit: 16 and 32.'),
    (dict(variant='X/16'), "Unknown variant letter 'X'"),
])
def test_refuses(kwargs, message):
  spec = tiny.spec(**kwargs)
  before = dataclasses.asdict(spec)
  with pytest.raises(errors.UserError, match=f'^{message}'):
    spec.completed(tiny.IMAGE)
  assert dataclasses.asdict(spec) == before


@pytest.mark.parametrize('input_size, message', [
    ((8, 12), r'input_size must be \[height, width, channels\], got '
     r'\(8, 12\).'),
    ((1, 8, 12, 3), 'input_size must be'),
    (8, 'input_size must be .* got 8.'),
    ((0, 12, 3), 'input_size height must be .* got 0.'),
    ((8, 12, None), 'input_size channels must be .* got None.'),
])
def test_refuses_input_size(input_size, message):
  with pytest.raises(errors.UserError, match=f'^{message}'):
    tiny.spec().completed(input_size)
