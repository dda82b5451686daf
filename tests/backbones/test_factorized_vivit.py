"""FactorizedVideoVisionTransformer."""

import numpy as np
import pytest
import tensorflow as tf

from tests import layer_checks
from tests import numpy_layers
from tests.backbones import tiny
from tf_tokenlearner import backbones
from tf_tokenlearner.backbones import encoder as encoder_lib

CLIPS = np.random.default_rng(8).uniform(
    -1, 1, [2, *tiny.CLIP]).astype('float32')
FORMS = {
    'gap': dict(),
    'token': dict(pooler='token'),
    'learned_behind': dict(token_learner_location=3),
    'learned_amid': dict(token_learner_location=1),
    'learned_v1.0': dict(token_learner_location=3, token_learner=tiny.V10),
    'learned_twice': dict(token_learner_location=[1, 3], num_tokens=[5, 2]),
}


def encoded(x, encoder):
  """The encoder in NumPy, of v1.1 where tokens are learned."""
  for stage in encoder.stages:
    if isinstance(stage, encoder_lib.TokenLearnerStage):
      x = numpy_layers.token_learner_v11(x, stage.token_learner)
    else:
      x = numpy_layers.block(x, stage)
  return numpy_layers.layer_norm(x, encoder.norm)


@pytest.mark.parametrize('form', [f for f in FORMS if f != 'learned_v1.0'])
def test_equals_numpy(form):
  model = tiny.factorized(**FORMS[form])
  x = model.tubelet_embedding(CLIPS).numpy().astype('float64')
  x = x.reshape([2 * 3, 6, 8])
  if form == 'token':
    token = np.tile(model.class_token.embedding, [6, 1, 1])
    x = np.concatenate([token, x], axis=1)
  x = encoded(x + model.position_embedding.embedding.numpy(),
              model.spatial_encoder)
  if form == 'token':
    x = x[:, :1]
  if form == 'gap':
    x = x.mean(axis=1, keepdims=True)
  tokens = x.reshape([2, -1, 8])
  np.testing.assert_allclose(
      model.spatial(CLIPS), tokens, **layer_checks.CLOSE)
  x = tokens
  if form == 'token':
    token = np.tile(model.temporal_class_token.embedding, [2, 1, 1])
    x = np.concatenate([token, x], axis=1)
  x = encoded(x + model.temporal_position_embedding.embedding.numpy(),
              model.temporal_encoder)
  np.testing.assert_allclose(
      model(CLIPS)['features'], x, **layer_checks.CLOSE)
  pooled = x[:, 0] if form == 'token' else x.mean(axis=1)
  np.testing.assert_allclose(
      model(CLIPS)['pre_logits'], pooled, **layer_checks.CLOSE)


@pytest.mark.parametrize('form', FORMS)
def test_one_tubelet_at_a_time_gives_the_same_tokens(form):
  """A stream needs this: no index depends on another."""
  model = tiny.factorized(**FORMS[form])
  whole = model.spatial(CLIPS)
  one_by_one = [model.spatial(CLIPS[:, 2 * t:2 * t + 2])
                for t in range(tiny.FRAMES)]
  tokens = {'learned_twice': 2, 'gap': 1, 'token': 1}.get(form, 4)
  assert one_by_one[0].shape == (2, tokens, 8)
  np.testing.assert_allclose(
      whole, tf.concat(one_by_one, axis=1), **layer_checks.CLOSE)
  for name, value in model.temporal(tf.concat(one_by_one, axis=1)).items():
    np.testing.assert_allclose(
        value, model(CLIPS)[name], **layer_checks.CLOSE)


def test_position_in_time_is_the_place_in_the_window():
  model = tiny.factorized(token_learner_location=3)
  assert model.temporal_position_embedding.embedding.shape == [1, 12, 8]
  tokens = model.spatial(CLIPS)
  moved_on = tf.roll(tokens, shift=4, axis=1)  # By one index of 4 tokens.
  there, here = model.temporal(moved_on), model.temporal(tokens)
  assert np.abs(there['pre_logits'] - here['pre_logits']).max() > .01
  model.temporal_position_embedding.set_weights([np.zeros([1, 12, 8])])
  there, here = model.temporal(moved_on), model.temporal(tokens)
  np.testing.assert_allclose(
      there['pre_logits'], here['pre_logits'], **layer_checks.CLOSE)


def test_sizes_of_the_temporal_part():
  model = tiny.factorized(
      temporal_num_layers=1, temporal_mlp_dim=20, temporal_num_heads=4)
  (block,) = model.temporal_encoder.stages
  assert (block.mlp_dim, block.num_heads) == (20, 4)
  assert {b.mlp_dim for b in model.spatial_encoder.stages} == {12}


def test_stage_behind_the_last_block():
  model = tiny.factorized(token_learner_location=3)
  assert [stage.name for stage in model.spatial_encoder.stages] == [
      'block_0', 'block_1', 'block_2', 'learn_3']
  assert [stage.name for stage in model.temporal_encoder.stages] == [
      'block_0', 'block_1']


@pytest.mark.parametrize('form', ['learned_behind', 'learned_amid'])
def test_attention_maps(form):
  model = tiny.factorized(dropout_rate=.5, **FORMS[form])
  maps = model.attention_maps(tf.constant(CLIPS))
  assert maps.shape == (2, tiny.FRAMES, 4, *tiny.GRID)
  np.testing.assert_allclose(
      tf.reduce_sum(maps, axis=[3, 4]), np.ones([2, 3, 4]), atol=1e-6)
  frame = np.tile(CLIPS[:, 2:4], [1, 3, 1, 1, 1])  # Index 1, three times.
  np.testing.assert_allclose(
      model.attention_maps(tf.constant(frame))[:, 0], maps[:, 1],
      **layer_checks.CLOSE)
  with pytest.raises(ValueError, match='has no TokenLearner'):
    tiny.factorized().attention_maps(tf.constant(CLIPS))


def test_one_index_is_an_image_model_and_more():
  """The spatial part of one frame is a vision transformer."""
  image_model = tiny.vit(token_learner_location=1)
  spec = tiny.factorized_spec(variant='Ti/4x1', token_learner_location=1)
  model = backbones.FactorizedVideoVisionTransformer(spec, (1, *tiny.IMAGE))
  parts = [model.tubelet_embedding, model.position_embedding,
           model.spatial_encoder]
  theirs = [image_model.patch_embedding, image_model.position_embedding,
            image_model.encoder]
  for ours, its in zip(parts, theirs):
    for a, b in zip(ours.weights, its.weights):
      a.assign(tf.reshape(b, a.shape))
  np.testing.assert_allclose(
      model.spatial(CLIPS[:, :1]), image_model(CLIPS[:, 0])['features'],
      **layer_checks.CLOSE)


@pytest.mark.parametrize('shape, message', [
    ((1, 5, 8, 12, 3), 'the clip length 5 is no multiple of the tubelet len'),
    ((1, 4, 8, 12, 3), r'built for 12 positions, got shape \(1, 8, 8\)'),
    ((1, 6, 8, 16, 3), r'built for 6 positions, got shape \(3, 8, 8\)'),
])
def test_refuses_clips_of_another_size(shape, message):
  with pytest.raises(ValueError, match=message):
    tiny.factorized(token_learner_location=3)(tf.zeros(shape))
