"""The model that arrays belong to, told by their shapes."""

import numpy as np
import pytest

from tests import goldens
from tests.backbones import tiny
from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import flax_models
from tf_tokenlearner.checkpoints import flax_names

SIZES = dict(num_layers=1, hidden_size=8, mlp_dim=8, num_heads=2)


def like_image(**options):
  """A model for images of other sizes than the goldens'."""
  return backbones.Classifier(backbones.VisionTransformer(
      backbones.ViTSpec('Ti/4', **{**SIZES, **options}), tiny.IMAGE), 2)


def like_video(size=(8, 32, 32, 3), variant='Ti/8x2', **options):
  return backbones.Classifier(backbones.VideoVisionTransformer(
      backbones.ViViTSpec(variant, **{**SIZES, **options}), size), 2)


def like_factorized():
  return backbones.Classifier(tiny.factorized(), 2)


def build(name, like):
  golden = goldens.read(name)
  return golden, flax_models.build(weights(golden.params), like)


def weights(arrays, **options):
  return flax_names.Weights('FILE', 'test', arrays, **options)


def check(name, like):
  golden, model = build(name, like)
  inputs, = golden.inputs.values()
  np.testing.assert_allclose(
      model(inputs), golden.outputs['logits'], atol=1e-5, rtol=1e-5)
  return model


@pytest.mark.parametrize('name, like', [
    ('vit_plain_patch', dict(pooler='token')),
    ('vit_token_learner_v10',
     dict(num_layers=3, token_learner_location=2)),
    ('vit_token_learner_representation',
     dict(num_layers=3, token_learner_location=2)),
    ('vit_token_learner_fuser_v11', {}),
])
def test_image_models(name, like):
  """Sizes, tokens and, with a Fuser, the location: all from the arrays."""
  golden = goldens.read(name)
  model = check(name, like_image(**like))
  assert model.backbone.spec.num_layers == golden.kwargs['num_layers']


def test_location_that_nothing_tells():
  """Then a plain model is meant, which has no use for the TokenLearner."""
  _, model = build('vit_token_learner_v11', like_image())
  assert model.backbone.spec.token_learners() == [(0, 5)]


@pytest.mark.parametrize('name, like', [
    ('vivit_spacetime', {}),
    ('vivit_token_learner_fuser', dict(size=(8, 40, 40, 3))),
    ('vivit_token_learner_3dconv',
     dict(num_layers=3, token_learner_location=2, size=(8, 48, 32, 3))),
    ('vivit_token_learner_temporal_sampling',
     dict(num_layers=3, token_learner_location=2, variant='Ti/8x1',
          tubelet_embedding='temporal_sampling', num_sampled_frames=4)),
])
def test_video_models(name, like):
  check(name, like_video(**like))


@pytest.mark.parametrize('name', [
    'vivit_factorized_encoder', 'vivit_factorized_encoder_gap'])
def test_factorized_models(name):
  check(name, like_factorized())


def test_clips_of_other_length_and_size_are_ambiguous():
  """64 positions: 4 of 4 x 4, or 16 of 2 x 2?"""
  with pytest.raises(errors.UserError, match='FILE cannot be loaded: it has 64 '
                     'positions, from which frames and grid do not follow'):
    build('vivit_spacetime', like_video(size=(32, 32, 32, 3)))
  _, model = build('vivit_spacetime', like_video(size=(12, 32, 32, 3)))
  assert model.backbone.input_size == (8, 32, 32, 3)


@pytest.mark.parametrize('name, like, message', [
    ('vivit_spacetime', like_image, 'Weights of VideoVisionTransformer cannot '
     'start VisionTransformer'),
    ('vivit_factorized_encoder', like_image, 'Weights of FactorizedVideo'),
    ('vivit_factorized_encoder', like_video, 'cannot start VideoVisionTransf'),
    ('vivit_spacetime', like_factorized, 'cannot start FactorizedVideoVision'),
])
def test_other_kinds_of_models(name, like, message):
  with pytest.raises(errors.UserError, match=message):
    build(name, like())


@pytest.mark.parametrize('prefers_square, expected', [
    (False, (2, 8)), (True, (4, 4))])
def test_square_that_the_grid_of_the_model_would_fit_as_well(
    prefers_square, expected):
  like = backbones.Classifier(backbones.VisionTransformer(
      backbones.ViTSpec('Ti/4', **SIZES), (8, 32, 3)), 2)
  some = weights({}, prefers_square=prefers_square)
  assert flax_models._Sizes(some, like, None)._grid(16) == expected
  assert flax_models._Sizes(some, like, (1, 16))._grid(16) == (1, 16)


def test_numbers_that_lack_one():
  params = goldens.read('vit_token_learner_fuser_v11').params
  for kind in ('TokenFuser_', 'TokenLearnerModuleV11_', 'encoderblock_'):
    damaged = {name: value for name, value in params.items()
               if f'{kind}0/' not in name}
    with pytest.raises(errors.UserError,
                       match=f'FILE cannot be loaded: it lacks .*{kind}0'):
      flax_models.build(weights(damaged), like_image())
