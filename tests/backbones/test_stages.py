"""Stages learn and fuse tokens frame by frame."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tests import numpy_layers
from tests.backbones import tiny
from tf_tokenlearner.backbones import encoder
from tf_tokenlearner.backbones import specs
from tf_tokenlearner import layers

FRAMES, POSITIONS, TOKENS = 3, 6, 4
X = np.random.default_rng(4).normal(
    size=[2, FRAMES * POSITIONS, tiny.WIDTH]).astype('float32')


def make_learner(spec):
  return encoder.make_tokenizer(
      tiny.spec(token_learner=spec, token_learner_location=0, num_tokens=TOKENS,
                dropout_rate=.9), 0, tiny.GRID)


def make_stage(spec, fuses=False):
  if fuses:
    stage = encoder.TokenFuserStage(
        make_learner(spec), layers.TransformerEncoderBlock(2, 12, name='block'),
        layers.TokenFuser(6, name='token_fuser'), FRAMES)
  else:
    stage = encoder.TokenLearnerStage(make_learner(spec), FRAMES)
  stage.build(X.shape)
  layer_checks.draw_weights(stage)
  return stage


def test_make_tokenizer_reads_the_whole_spec():
  learner = make_learner(specs.TokenLearnerSpec(
      'v1.0', pooling='mean', num_convolutions=2, kernel_size=5))
  assert isinstance(learner, layers.TokenLearner)
  assert (learner.num_tokens, learner.pooling, learner.grid_size) == (
      TOKENS, 'mean', tiny.GRID)
  assert (learner.num_convolutions, learner.kernel_size) == (2, 5)
  learner = make_learner(dataclasses.replace(tiny.V11, dropout_rate=.5))
  assert isinstance(learner, layers.TokenLearnerV11)
  assert (learner.num_tokens, learner.bottleneck_dim, learner.dropout_rate) == (
      TOKENS, 6, .5)


def test_dropout_of_the_blocks_keeps_token_scores():
  """A dropped score would be 0 among scores far below: the largest."""
  stage = make_stage(tiny.V11)
  np.testing.assert_array_equal(stage(X, training=True), stage(X))


@pytest.mark.parametrize('spec', [tiny.V10, tiny.V11], ids=['v1.0', 'v1.1'])
def test_learns_in_each_frame(spec):
  stage = make_stage(spec)
  outputs = stage(X)
  weights = stage.attention(tf.constant(X))
  assert outputs.shape == (2, FRAMES * TOKENS, tiny.WIDTH)
  assert weights.shape == (2, FRAMES, TOKENS, POSITIONS)
  for t in range(FRAMES):
    tokens, its_weights = stage.token_learner(
        X[:, t * POSITIONS:(t + 1) * POSITIONS], return_attention=True)
    np.testing.assert_allclose(
        outputs[:, t * TOKENS:(t + 1) * TOKENS], tokens, **layer_checks.CLOSE)
    np.testing.assert_allclose(
        weights[:, t], its_weights, **layer_checks.CLOSE)


def test_equal_frames_learn_equal_tokens():
  frame = X[:, :POSITIONS]
  outputs = make_stage(tiny.V11)(np.tile(frame, [1, FRAMES, 1]))
  first = outputs[:, :TOKENS]
  np.testing.assert_allclose(
      outputs, tf.tile(first, [1, FRAMES, 1]), **layer_checks.CLOSE)
  assert np.ptp(first, axis=1).max() > .1  # Yet the tokens differ.


def test_fuse_equals_numpy():
  """Learning and fusing see one frame, the block sees the tokens of all."""
  stage = make_stage(tiny.V11, fuses=True)
  x = X.astype('float64')
  frames = x.reshape([2 * FRAMES, POSITIONS, tiny.WIDTH])
  tokens = numpy_layers.token_learner_v11(frames, stage.token_learner)
  tokens = numpy_layers.block(
      tokens.reshape([2, FRAMES * TOKENS, tiny.WIDTH]), stage.block)
  fused = numpy_layers.token_fuser(
      tokens.reshape([2 * FRAMES, TOKENS, tiny.WIDTH]), frames,
      stage.token_fuser)
  np.testing.assert_allclose(
      stage(X), x + fused.reshape(x.shape), **layer_checks.CLOSE)


def make_fuse_stage(**kwargs):
  spec = tiny.spec(use_token_fuser=True, token_learner_location=0, **kwargs)
  stage = encoder.make_token_fuser_stage(
      spec.completed(tiny.IMAGE), tiny.GRID,
      layers.TransformerEncoderBlock(2, 12, name='block'), FRAMES, 'fuse_0')
  stage.build(X.shape)
  layer_checks.draw_weights(stage)
  return stage


def test_unpool_equals_numpy():
  """Each position gets the tokens under the masks that made them."""
  stage = make_fuse_stage(fuser='unpooling', token_learner=tiny.MEANS)
  maps = X.astype('float64').reshape([2 * FRAMES, *tiny.GRID, tiny.WIDTH])
  masks = numpy_layers.token_learner_masks(maps, stage.token_learner)
  tokens = np.einsum('bhws,bhwc->bsc', masks, maps) / POSITIONS
  tokens = numpy_layers.block(
      tokens.reshape([2, FRAMES * TOKENS, tiny.WIDTH]), stage.block)
  tokens = tokens.reshape([2 * FRAMES, TOKENS, tiny.WIDTH])
  expected = maps + np.einsum('bhws,bsc->bhwc', masks, tokens)
  np.testing.assert_allclose(
      stage(X), expected.reshape(X.shape), **layer_checks.CLOSE)
  np.testing.assert_allclose(  # Of the masks, as for every stage.
      stage.attention(tf.constant(X)),
      masks.reshape([2, FRAMES, POSITIONS, TOKENS]).swapaxes(2, 3) / POSITIONS,
      **layer_checks.CLOSE)


def test_reproject_equals_numpy():
  stage = make_fuse_stage(fuser='reprojection')
  x = X.astype('float64')
  frames = x.reshape([2 * FRAMES, POSITIONS, tiny.WIDTH])
  tokens = numpy_layers.token_learner_v11(frames, stage.token_learner)
  tokens = numpy_layers.block(
      tokens.reshape([2, FRAMES * TOKENS, tiny.WIDTH]), stage.block)
  fused = numpy_layers.token_reprojection(
      tokens.reshape([2 * FRAMES, TOKENS, tiny.WIDTH]), frames,
      stage.token_fuser)
  np.testing.assert_allclose(
      stage(X), x + fused.reshape(x.shape), **layer_checks.CLOSE)


def test_a_new_fuse_stage_changes_nothing():
  stage = make_stage(tiny.V11, fuses=True)
  stage.token_fuser.mix.kernel.assign(tf.zeros([TOKENS, TOKENS]))
  stage.token_fuser.mix.bias.assign(tf.zeros([TOKENS]))
  stage.token_fuser.norm_after.beta.assign(tf.zeros([tiny.WIDTH]))
  np.testing.assert_array_equal(stage(X), X)


def test_attention_has_no_dropout_even_in_a_training_model():
  class Looker(tf_keras.Model):

    def call(self, inputs, training=None):
      return stage.attention(inputs)

  stage = make_stage(dataclasses.replace(tiny.V11, dropout_rate=.5))
  np.testing.assert_array_equal(
      Looker()(X, training=True), stage.attention(tf.constant(X)))
  assert np.abs(stage(X, training=True) - stage(X)).max() > .1
