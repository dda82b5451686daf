"""VideoVisionTransformer."""

import numpy as np
import pytest
import tensorflow as tf

from tests import layer_checks
from tests import numpy_layers
from tests.backbones import tiny
from tf_tokenlearner import backbones

CLIPS = np.random.default_rng(7).uniform(
    -1, 1, [2, *tiny.CLIP]).astype('float32')


@pytest.mark.parametrize('position_embedding', ['learned', 'repeated'])
def test_features_equal_numpy(position_embedding):
  """Tubelets, positions, blocks over all of them, LayerNorm."""
  model = tiny.vivit(position_embedding=position_embedding)
  x = model.tubelet_embedding(CLIPS).numpy().astype('float64')
  table = model.position_embedding.embedding.numpy()
  if position_embedding == 'repeated':
    assert table.shape == (1, 6, 8)
    table = np.tile(table, [1, tiny.FRAMES, 1])
  x = x.reshape([2, 18, 8]) + table
  for stage in model.encoder.stages:
    x = numpy_layers.block(x, stage)
  np.testing.assert_allclose(
      model(CLIPS)['features'], numpy_layers.layer_norm(x, model.encoder.norm),
      **layer_checks.CLOSE)


def test_class_token_comes_before_all_frames():
  model = tiny.vivit(pooler='token')
  x = model.embed(CLIPS)
  assert x.shape == (2, 19, 8)
  table = model.position_embedding.embedding
  np.testing.assert_allclose(
      x[1, 0], (model.class_token.embedding + table[:, :1])[0, 0],
      **layer_checks.CLOSE)


@pytest.mark.parametrize('kwargs', [
    dict(pooler='token'),
    dict(token_learner_location=1),
    dict(token_learner_location=1, token_learner=tiny.V10),
    dict(token_learner_location=1, use_token_fuser=True),
    dict(token_learner_location=[0, 2], num_tokens=[5, 2]),
])
def test_one_frame_equals_the_image(kwargs):
  """Weights go over as they are; a tubelet of one frame is a patch."""
  image_model = tiny.vit(**kwargs)
  images = CLIPS[:, 0]
  for position_embedding in ['learned', 'repeated'][:1 + (
      kwargs.get('pooler') != 'token')]:
    spec = tiny.vivit_spec(
        variant='Ti/4x1', position_embedding=position_embedding, **kwargs)
    video_model = backbones.VideoVisionTransformer(spec, (1, *tiny.IMAGE))
    for ours, theirs in zip(video_model.weights, image_model.weights):
      ours.assign(tf.reshape(theirs, ours.shape))
    ours, theirs = video_model(images[:, np.newaxis]), image_model(images)
    for name in theirs:
      np.testing.assert_allclose(
          ours[name], theirs[name], **layer_checks.CLOSE)


def test_learns_tokens_in_every_tubelet_index():
  model = tiny.vivit(token_learner_location=0, num_layers=1)
  learned = model.encoder.stages[0](model.embed(CLIPS))
  assert learned.shape == (2, 3 * 4, 8)
  frames = tf.reshape(model.embed(CLIPS), [2, 3, 6, 8])
  for t in range(3):
    np.testing.assert_allclose(
        learned[:, 4 * t:4 * t + 4],
        model.encoder.stages[0].token_learner(frames[:, t]),
        **layer_checks.CLOSE)


def test_attention_maps():
  model = tiny.vivit(token_learner_location=1, dropout_rate=.5)
  maps = model.attention_maps(tf.constant(CLIPS))
  assert maps.shape == (2, tiny.FRAMES, 4, *tiny.GRID)
  np.testing.assert_allclose(
      tf.reduce_sum(maps, axis=[3, 4]), np.ones([2, 3, 4]), atol=1e-6)
  np.testing.assert_allclose(
      maps, model.encoder.attention_maps(model.embed(CLIPS)),
      **layer_checks.CLOSE)
  with pytest.raises(ValueError, match='has no TokenLearner'):
    tiny.vivit().attention_maps(tf.constant(CLIPS))


def test_sampled_frames_are_a_shorter_clip():
  """Frames 2, 3 and 4 of 6 are looked at; a clip of these alone is the same."""
  kwargs = dict(variant='Ti/4x1', token_learner_location=1)
  sampling = tiny.vivit(tubelet_embedding='temporal_sampling',
                        num_sampled_frames=3, **kwargs)
  assert sampling.spec.num_frames(tiny.CLIP) == 3
  frames = sampling.spec.sampled_frames(tiny.CLIP)
  shorter = backbones.VideoVisionTransformer(
      tiny.vivit_spec(**kwargs), (3, *tiny.IMAGE))
  shorter.set_weights(sampling.get_weights())
  np.testing.assert_allclose(
      sampling(CLIPS)['features'], shorter(CLIPS[:, frames])['features'],
      **layer_checks.CLOSE)
  for frames in (1, 8):
    with pytest.raises(ValueError, match=r'VideoVisionTransformer: frames '
                       r'\[2, 3, 4\] of clips of 6 are sampled, got'):
      sampling(tf.zeros([1, frames, *tiny.IMAGE]))


@pytest.mark.parametrize('shape, message', [
    ((1, 5, 8, 12, 3), 'the clip length 5 is no multiple of the tubelet len'),
    ((1, 4, 8, 12, 3), r'built for 18 positions, got shape \(1, 12, 8\)'),
    ((1, 8, 12, 3), 'expected clips'),
])
def test_refuses_clips_of_another_size(shape, message):
  with pytest.raises(ValueError, match=message):
    tiny.vivit()(tf.zeros(shape))
