"""Specs of clip backbones, and their refusals."""

import dataclasses

import pytest

from tests.backbones import tiny
from tf_tokenlearner import backbones
from tf_tokenlearner import errors

CLIP = (32, 224, 224, 3)


def complete(spec):
  return spec.completed(tiny.CLIP)


@pytest.mark.parametrize('kind', [
    backbones.ViViTSpec, backbones.FactorizedViViTSpec])
def test_completed_takes_sizes_from_variant(kind):
  spec = kind('L/14x4').completed(CLIP)
  assert (spec.num_layers, spec.hidden_size, spec.mlp_dim, spec.num_heads,
          spec.tubelet_size) == (24, 1024, 4096, 16, (4, 14, 14))
  assert spec.grid_size(CLIP) == (16, 16)
  assert spec.num_frames(CLIP) == 8
  assert kind().variant == 'B/16x2'


def test_completed_keeps_given_sizes():
  spec = backbones.ViViTSpec(
      'B/16x2', num_layers=2, tubelet_size=[4, 32, 56], hidden_size=24)
  completed = spec.completed(CLIP)
  assert (completed.num_layers, completed.hidden_size, completed.mlp_dim) == (
      2, 24, 3072)
  assert completed.num_frames(CLIP) == 8
  assert completed.grid_size(CLIP) == (7, 4)
  assert spec.mlp_dim is None  # A copy is completed.


@pytest.mark.parametrize('spec', [
    backbones.ViViTSpec('S/16x2'),
    backbones.ViViTSpec('S/16x1', tubelet_embedding='temporal_sampling',
                        num_sampled_frames=5, position_embedding='repeated'),
    backbones.ViViTSpec(token_learner_location=[3, 1], num_tokens=[4, 16]),
    backbones.FactorizedViViTSpec('S/16x2', pooler='token'),
    backbones.FactorizedViViTSpec(
        'S/16x2', token_learner_location=12, temporal_num_heads=3),
])
def test_completed_is_idempotent(spec):
  completed = spec.completed(CLIP)
  again = completed.completed(CLIP)
  assert again == completed and again is not completed
  assert again.token_learner is not completed.token_learner
  assert type(again) is type(spec)
  assert type(spec).from_dict(dataclasses.asdict(completed)) == completed


@pytest.mark.parametrize('num_wanted, expected', [
    (4, [2, 3, 5, 6]), (2, [3, 5, 7]), (9, [0, 1, 2, 3, 4, 5, 6, 7])])
def test_sampled_frames(num_wanted, expected):
  spec = complete(tiny.vivit_spec(
      tubelet_size=[1, 4, 4], tubelet_embedding='temporal_sampling',
      num_sampled_frames=num_wanted))
  assert spec.sampled_frames((8, 8, 12, 3)) == expected
  assert spec.num_frames((8, 8, 12, 3)) == len(expected)
  assert complete(tiny.vivit_spec()).sampled_frames(tiny.CLIP) is None


@pytest.mark.parametrize('location, expected', [(None, 1), (0, 4), (3, 4)])
def test_tokens_per_frame(location, expected):
  spec = tiny.factorized_spec(token_learner_location=location)
  assert complete(spec).tokens_per_frame() == expected


def test_the_last_of_several_locations_counts():
  spec = complete(tiny.factorized_spec(
      token_learner_location=[3, 1], num_tokens=[2, 5]))
  assert spec.tokens_per_frame() == 2


def test_temporal_spec():
  sizes = lambda spec: (spec.num_layers, spec.hidden_size, spec.mlp_dim,
                        spec.num_heads, spec.stochastic_depth_rate)
  spec = tiny.factorized_spec(
      stochastic_depth_rate=.2, temporal_num_layers=5, temporal_mlp_dim=7,
      temporal_num_heads=4, token_learner_location=1)
  temporal = complete(spec).temporal_spec()
  assert sizes(temporal) == (5, 8, 7, 4, .2)
  assert temporal.token_learners() == []
  spec = tiny.factorized_spec(temporal_num_layers=1)
  assert sizes(complete(spec).temporal_spec()) == (1, 8, 12, 2, 0)
  assert backbones.FactorizedViViTSpec().temporal_num_layers == 4


@pytest.mark.parametrize('kwargs, message', [
    (dict(variant='Ti/4'), "Variant 'Ti/4' is not of the form"),
    (dict(tubelet_size=4),
     r'tubelet_size must be \[frames, height, width\], got 4.'),
    (dict(tubelet_size=[2, 4]), 'tubelet_size must be'),
    (dict(tubelet_size=[0, 4, 4]), 'tubelet_size frames must be .* 0.'),
    (dict(tubelet_size=[4, 4, 4]), 'The clip length 6 is no multiple of the '
     'tubelet length 4. Nearest that fit: 4 and 8.'),
    (dict(tubelet_size=[2, 3, 4]), 'The clip height 8 is no multiple of the '
     'tubelet height 3. Nearest that fit: 6 and 9.'),
    (dict(tubelet_size=[2, 4, 16]), 'The clip width 12 is no multiple of the '
     'tubelet width 16. Nearest that fit: 16 and 32.'),
    (dict(num_heads=3), 'hidden_size=8 is no multiple of num_heads=3.'),
    (dict(pooler='cls'), "Unknown pooler 'cls'. Known: "),
    (dict(pooler='token', num_class_tokens=0),
     'pooler=token reads a class token, got num_class_tokens=0. Set '
     'num_class_tokens=null, or another pooler.'),
    (dict(num_class_tokens=-1),
     'num_class_tokens must be a whole number of at least 0, got -1.'),
    (dict(norm_epsilon=0.), r'norm_epsilon must lie in \(0, 1\), got 0'),
    (dict(activation='relu'), "Unknown activation 'relu'. Known: "),
    (dict(representation_size=0), 'representation_size must be .* got 0.'),
])
def test_both_refuse(kwargs, message):
  for make in (tiny.vivit_spec, tiny.factorized_spec):
    check_refused(make(**kwargs), message)


@pytest.mark.parametrize('kwargs, message', [
    (dict(token_learner_location=3),
     r'token_learner_location=3 is outside 0..2: it names the first of the 3 '
     r'blocks, counted from 0, that sees learned tokens; null'),
    (dict(tubelet_embedding='conv3d'), "Unknown tubelet_embedding 'conv3d'. "
     'Known: 3d_conv, temporal_sampling.'),
    (dict(position_embedding='repeat'), "Unknown position_embedding 'repeat'. "
     'Known: repeated, learned.'),
    (dict(position_embedding='repeated', pooler='token'),
     r'position_embedding=repeated cannot go with a class token \(pooler=token'
     r'\), which belongs to no frame. Use position_embedding=learned, or'),
    (dict(num_sampled_frames=4), 'num_sampled_frames=4 goes with '
     'tubelet_embedding=temporal_sampling only'),
    (dict(tubelet_embedding='temporal_sampling'),
     'num_sampled_frames must be .* got None.'),
    (dict(tubelet_embedding='temporal_sampling', num_sampled_frames=3),
     'tubelet_embedding=temporal_sampling embeds single frames, but a tubelet '
     r'holds 2: use a variant that ends in x1, or tubelet_size=\[1, height'),
])
def test_vivit_refuses(kwargs, message):
  check_refused(tiny.vivit_spec(**kwargs), message)


@pytest.mark.parametrize('kwargs, message', [
    (dict(token_learner_location=4),
     r'token_learner_location=4 is outside 0..3: it names the first of the 3 '
     r'blocks, counted from 0, that sees learned tokens; 3 is behind all of '
     r'them; null'),
    (dict(token_learner_location=1, use_token_fuser=True),
     'use_token_fuser cannot go with a factorised encoder'),
    (dict(temporal_num_layers=0), 'temporal_num_layers must be .* got 0.'),
    (dict(temporal_mlp_dim=1.5), 'temporal_mlp_dim must be .* got 1.5.'),
    (dict(temporal_num_heads=0), 'temporal_num_heads must be .* got 0.'),
    (dict(temporal_num_heads=3),
     'hidden_size=8 is no multiple of temporal_num_heads=3.'),
])
def test_factorized_refuses(kwargs, message):
  check_refused(tiny.factorized_spec(**kwargs), message)


def check_refused(spec, message):
  before = dataclasses.asdict(spec)
  with pytest.raises(errors.UserError, match=f'^{message}'):
    complete(spec)
  assert dataclasses.asdict(spec) == before


@pytest.mark.parametrize('input_size, message', [
    ((8, 12, 3), r'input_size must be \[frames, height, width, channels\], '
     r'got \(8, 12, 3\).'),
    ((0, 8, 12, 3), 'input_size frames must be .* got 0.'),
    ((6, 8, 12, None), 'input_size channels must be .* got None.'),
])
def test_refuses_input_size(input_size, message):
  for make in (tiny.vivit_spec, tiny.factorized_spec):
    with pytest.raises(errors.UserError, match=f'^{message}'):
      make().completed(input_size)
