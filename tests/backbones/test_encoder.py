"""The one encoder, on images and clips."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests import layer_checks
from tests import numpy_layers
from tests.backbones import tiny
from tf_tokenlearner import backbones
from tf_tokenlearner.backbones import encoder as encoder_lib

N = tiny.GRID[0] * tiny.GRID[1]


def clip(num_frames=1, batch=2):
  rng = np.random.default_rng(5)
  return rng.normal(
      size=[batch, num_frames * N, tiny.WIDTH]).astype('float32')


@pytest.mark.parametrize('kwargs, expected, tokens', [
    (dict(), ['block_0', 'block_1', 'block_2'], N),
    (dict(token_learner_location=0),
     ['learn_0', 'block_0', 'block_1', 'block_2'], 4),
    (dict(token_learner_location=2, token_learner=tiny.V10),
     ['block_0', 'block_1', 'learn_2', 'block_2'], 4),
    (dict(token_learner_location=[2, 0], num_tokens=[3, 5]),
     ['learn_0', 'block_0', 'block_1', 'learn_2', 'block_2'], 3),
    (dict(token_learner_location=1, use_token_fuser=True),
     ['block_0', 'fuse_1', 'fuse_2'], N),
    (dict(token_learner_location=0, use_token_fuser=True,
          token_learner=tiny.V10), ['fuse_0', 'fuse_1', 'fuse_2'], N),
    (dict(token_learner_location=[0, 2], num_tokens=[6, 2], **tiny.POOLED),
     ['learn_0', 'block_0', 'block_1', 'learn_2', 'block_2'], 2),
    (dict(token_learner_location=1, num_tokens=None, pooling_window=[2, 1],
          **tiny.POOLED), ['block_0', 'learn_1', 'block_1', 'block_2'], 3),
    (dict(token_learner_location=1, use_token_fuser=True, fuser='unpooling',
          token_learner=tiny.MEANS), ['block_0', 'fuse_1', 'fuse_2'], N),
    (dict(token_learner_location=1, use_token_fuser=True,
          fuser='reprojection'), ['block_0', 'fuse_1', 'fuse_2'], N),
])
@pytest.mark.parametrize('num_frames', [1, 2])
def test_stages_and_tokens(kwargs, expected, tokens, num_frames):
  encoder = tiny.encoder(num_frames, **kwargs)
  assert [stage.name for stage in encoder.stages] == expected
  outputs = encoder(clip(num_frames))
  assert outputs.shape == (2, num_frames * tokens, tiny.WIDTH)


@pytest.mark.parametrize('kwargs', [
    dict(), dict(token_learner_location=1),
    dict(token_learner_location=[0, 2], num_tokens=[5, 2])])
def test_clip_equals_numpy(kwargs):
  """Learning is done in each frame, attention over all of them."""
  encoder = tiny.encoder(3, **kwargs)
  x = clip(3).astype('float64')
  for stage in encoder.stages:
    if isinstance(stage, encoder_lib.TokenLearnerStage):
      frames = x.reshape([2 * 3, -1, tiny.WIDTH])
      x = numpy_layers.token_learner_v11(frames, stage.token_learner)
      x = x.reshape([2, -1, tiny.WIDTH])
    else:
      x = numpy_layers.block(x, stage)
  np.testing.assert_allclose(
      encoder(clip(3)), numpy_layers.layer_norm(x, encoder.norm),
      **layer_checks.CLOSE)


def test_one_frame_equals_an_image():
  """Blocks aside, each frame of a clip is treated as an image is."""
  kwargs = dict(token_learner_location=0, num_layers=1)
  image, video = tiny.encoder(1, **kwargs), tiny.encoder(2, **kwargs)
  frames = clip(2)
  learned = video.stages[0](frames)
  for t in range(2):
    np.testing.assert_allclose(
        learned[:, 4 * t:4 * (t + 1)],
        image.stages[0](frames[:, N * t:N * (t + 1)]), **layer_checks.CLOSE)
  # Attention over equal frames is attention over one.
  twice = np.tile(frames[:, :N], [1, 2, 1])
  once = image(frames[:, :N])
  np.testing.assert_allclose(
      video(twice), tf.tile(once, [1, 2, 1]), **layer_checks.CLOSE)


def test_pooled_twice_is_pooled_once():
  """Cells of cells, without a block between them: the map is kept in order."""
  x = clip(2)
  twice = tiny.encoder(
      2, token_learner_location=[0, 1], num_tokens=[6, 2], **tiny.POOLED).stages
  once = tiny.encoder(
      2, token_learner_location=0, num_tokens=2, **tiny.POOLED).stages
  np.testing.assert_allclose(
      twice[2](twice[0](x)), once[0](x), **layer_checks.CLOSE)
  frames = x.reshape([2 * 2, *tiny.GRID, tiny.WIDTH])
  np.testing.assert_allclose(
      tf.reshape(once[0](x)[:, ::2], [4, -1]),
      frames[:, :, :2].mean(axis=(1, 2)), **layer_checks.CLOSE)


def test_one_token_of_a_frame_is_its_mean():
  x = clip(3)
  learn = tiny.encoder(
      3, token_learner_location=0, num_tokens=1, **tiny.POOLED).stages[0]
  np.testing.assert_allclose(
      learn(x), x.reshape([2, 3, N, tiny.WIDTH]).mean(axis=2),
      **layer_checks.CLOSE)


@pytest.mark.parametrize('fuser', ['token_fuser', 'reprojection'])
def test_new_fuse_stages_change_nothing(fuser):
  encoder = tiny.encoder(
      2, scale=0, token_learner_location=1, use_token_fuser=True, fuser=fuser)
  x = clip(2)
  np.testing.assert_array_equal(
      encoder(x), encoder.norm(encoder.stages[0](x)))


@pytest.mark.parametrize('kwargs', [
    dict(token_learner_location=0),
    dict(token_learner_location=2),
    dict(token_learner_location=[1, 2], num_tokens=[4, 2]),
    dict(token_learner_location=1, use_token_fuser=True),
])
def test_attention_maps(kwargs):
  encoder = tiny.encoder(3, dropout_rate=.5, stochastic_depth_rate=.5, **kwargs)
  x = clip(3)
  maps = encoder.attention_maps(tf.constant(x))
  assert maps.shape == (2, 3, 4, *tiny.GRID)
  np.testing.assert_allclose(
      tf.reduce_sum(maps, axis=[3, 4]), np.ones([2, 3, 4]), atol=1e-6)
  for stage in encoder.stages:
    if isinstance(stage, encoder_lib.TokenLearnerStage):
      break
    x = stage(x)
  frames = tf.reshape(x, [2 * 3, *tiny.GRID, tiny.WIDTH])
  _, expected = stage.token_learner(frames, return_attention=True)
  np.testing.assert_allclose(
      tf.reshape(maps, expected.shape), expected, **layer_checks.CLOSE)


def test_attention_maps_of_v10_are_masks():
  encoder = tiny.encoder(
      2, token_learner_location=0, token_learner=tiny.V10)
  maps = encoder.attention_maps(tf.constant(clip(2))).numpy()
  assert maps.shape == (2, 2, 4, *tiny.GRID)
  assert 0 < maps.min() and maps.max() < 1
  assert maps.sum(axis=(3, 4)).max() > 1.5


def test_attention_maps_need_a_token_learner():
  with pytest.raises(ValueError, match='attention_maps: this encoder has no '
                     'TokenLearner; set token_learner_location.'):
    tiny.encoder().attention_maps(tf.constant(clip()))


@pytest.mark.parametrize('kwargs', [dict(), dict(use_token_fuser=True)])
def test_attention_maps_need_learned_tokens(kwargs):
  options = {**tiny.POOLED, 'token_learner_location': 1, **kwargs}
  with pytest.raises(ValueError, match='attention_maps: the tokens come from '
                     'grid_pooling, which looks everywhere equally; set '
                     'tokenizer=token_learner.'):
    tiny.encoder(**options).attention_maps(tf.constant(clip()))


def test_refuses_other_positions():
  spec = tiny.spec(token_learner_location=1).completed(tiny.IMAGE)
  with pytest.raises(ValueError, match=r'Encoder: expected 12 positions \(2 '
                     r'frames of 2 x 3\), got 6.'):
    backbones.Encoder(spec, tiny.GRID, 2).build([None, N, tiny.WIDTH])
  spec = tiny.spec(token_learner_location=1, pooler='token').completed(
      tiny.IMAGE)
  with pytest.raises(ValueError, match=r'expected 13 positions \(2 frames of '
                     r'2 x 3, 1 class tokens and registers\), got 12.'):
    backbones.Encoder(spec, tiny.GRID, 2).build([None, 2 * N, tiny.WIDTH])


def test_stochastic_depth_grows_linearly():
  blocks = tiny.encoder(stochastic_depth_rate=.5, num_layers=5).stages
  assert [block.stochastic_depth_rate for block in blocks] == [
      0, .125, .25, .375, .5]
  fuses = tiny.encoder(
      stochastic_depth_rate=.5, token_learner_location=0,
      use_token_fuser=True).stages
  assert [fuse.block.stochastic_depth_rate for fuse in fuses] == [0, .25, .5]
  (block,) = tiny.encoder(stochastic_depth_rate=.5, num_layers=1).stages
  assert block.stochastic_depth_rate == 0


def test_rates_reach_every_stage():
  rates = dict(dropout_rate=.1, attention_dropout_rate=.2)
  encoder = tiny.encoder(
      token_learner_location=1, use_token_fuser=True, **rates,
      token_learner=dataclasses.replace(tiny.V11, dropout_rate=.3))
  block, fuse, _ = encoder.stages
  for its in (block, fuse.block):
    assert (its.dropout_rate, its.attention_dropout_rate) == (.1, .2)
  assert fuse.token_learner.dropout_rate == .3
  assert (fuse.token_fuser.dropout_rate, fuse.token_fuser.mlp_dropout_rate) == (
      .1, .3)
  assert fuse.token_learner.bottleneck_dim == fuse.token_fuser.bottleneck_dim
  fuser = tiny.encoder(token_learner_location=1, use_token_fuser=True,
                       fuser='reprojection', **rates).stages[1].token_fuser
  assert (fuser.num_heads, fuser.dropout_rate,
          fuser.attention_dropout_rate) == (2, .1, .2)


@pytest.mark.parametrize('kwargs', [
    dict(token_learner=tiny.V10), dict(use_token_fuser=True), tiny.POOLED,
    dict(use_token_fuser=True, fuser='unpooling', token_learner=tiny.MEANS),
    dict(use_token_fuser=True, fuser='reprojection')],
    ids=['v1.0', 'v1.1-fuser', 'pooled', 'unpooled', 'reprojected'])
def test_compiled_with_unknown_batch(kwargs):
  encoder = tiny.encoder(
      2, num_layers=2, token_learner_location=1, **kwargs)
  signature = [tf.TensorSpec([None, 2 * N, tiny.WIDTH])]
  for jit_compile in (False, True):
    function = tf.function(
        encoder, input_signature=signature, jit_compile=jit_compile)
    np.testing.assert_allclose(
        function(clip(2)), encoder(clip(2)), **layer_checks.CLOSE)
