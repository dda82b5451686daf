"""Tests of transfer from one model to another, and of resized positions."""

import numpy as np
import pytest
import tensorflow as tf

from tests import goldens
from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import transfer

V10 = backbones.TokenLearnerSpec('v1.0')
V10_MEAN = backbones.TokenLearnerSpec('v1.0', pooling='mean')
SIZES = dict(num_layers=2, hidden_size=8, mlp_dim=16, num_heads=2)


def randomised(model, seed=0):
  generator = np.random.default_rng(seed)
  for variable in model.variables:
    variable.assign(generator.normal(size=variable.shape) * .3)
  return model


def image_model(num_classes=3, size=(16, 16, 3), **options):
  spec = backbones.ViTSpec('Ti/8', **{**SIZES, **options})
  return randomised(backbones.Classifier(
      backbones.VisionTransformer(spec, size), num_classes))


def video_model(num_classes=3, size=(4, 16, 16, 3), variant='Ti/8x2',
                **options):
  spec = backbones.ViViTSpec(variant, **{**SIZES, **options})
  return randomised(backbones.Classifier(
      backbones.VideoVisionTransformer(spec, size), num_classes), seed=1)


def images(size=16):
  return tf.constant(np.random.default_rng(2).normal(
      size=[2, size, size, 3]).astype(np.float32))


def still(pictures, frames=4):
  return tf.repeat(pictures[:, tf.newaxis], frames, axis=1)


def test_still_clip_equals_the_image():
  """Attention over equal frames gives what attention over one gives."""
  for tubelets in transfer.TUBELETS:
    image, video = image_model(), video_model()
    done = transfer.transfer(image, video, tubelets=tubelets)
    np.testing.assert_allclose(
        video(still(images())), image(images()), atol=1e-5)
    assert not done.fresh and not done.unused


def test_central_frame_is_the_one_that_is_seen():
  image, video = image_model(), video_model(variant='Ti/8x4')
  transfer.transfer(image, video)
  clip = np.array(still(images()))
  clip[:, [0, 1, 3]] = 7.
  np.testing.assert_allclose(video(clip), image(images()), atol=1e-5)


def test_average_sees_the_mean_frame():
  image, video = image_model(), video_model(variant='Ti/8x4')
  transfer.transfer(image, video, tubelets='average')
  clip = np.array(still(images()))
  clip += np.array([-1., 2., -2., 1.]).reshape(4, 1, 1, 1)
  np.testing.assert_allclose(video(clip), image(images()), atol=1e-5)


def test_plain_image_model_into_one_with_token_learner():
  image, video = image_model(), video_model(
      token_learner_location=1, num_tokens=2)
  learned = video.backbone.encoder.stages[1]
  before = [array.copy() for array in learned.get_weights()]
  done = transfer.transfer(image, video)
  assert done.fresh == ('encoder/learn_1',)
  for old, new in zip(before, learned.get_weights()):
    np.testing.assert_array_equal(old, new)
  for ours, theirs in ((0, 0), (2, 1)):
    for a, b in zip(video.backbone.encoder.stages[ours].get_weights(),
                    image.backbone.encoder.stages[theirs].get_weights()):
      np.testing.assert_array_equal(a, b)


def test_blocks_inside_of_fuse_stages_have_numbers_too():
  image = image_model()
  video = video_model(token_learner_location=1, num_tokens=2,
                      use_token_fuser=True)
  done = transfer.transfer(image, video)
  assert done.fresh == ('encoder/fuse_1/token_learner',
                        'encoder/fuse_1/token_fuser')
  np.testing.assert_array_equal(
      video.backbone.encoder.stages[1].block.get_weights()[2],
      image.backbone.encoder.stages[1].get_weights()[2])


@pytest.mark.parametrize('options, fresh', [
    (dict(), ()),
    (dict(use_token_fuser=True, fuser='reprojection'),
     ('encoder/fuse_1/token_fuser',))])
def test_what_has_no_weights_is_not_named(options, fresh):
  model = image_model(
      tokenizer='grid_pooling', token_learner_location=1, num_tokens=2,
      **options)
  assert transfer.transfer(image_model(), model).fresh == fresh
  assert transfer.transfer(model, image_model()).unused == fresh


def test_deeper_and_shallower():
  done = transfer.transfer(image_model(), video_model(num_layers=4))
  assert done.fresh == ('encoder/block_2', 'encoder/block_3')
  done = transfer.transfer(image_model(num_layers=4), video_model())
  assert done.unused == ('encoder/block_2', 'encoder/block_3')


def test_factorised_takes_the_spatial_part():
  spec = backbones.FactorizedViViTSpec('Ti/8x2', temporal_num_layers=1, **SIZES)
  video = randomised(backbones.Classifier(
      backbones.FactorizedVideoVisionTransformer(spec, (4, 16, 16, 3)), 3))
  image = image_model()
  done = transfer.transfer(image, video)
  assert set(done.fresh) == {
      'temporal_position_embedding', 'temporal_encoder/block_0',
      'temporal_encoder/norm'}
  tokens = video.backbone.spatial(still(images()))  # [B, T, C]
  np.testing.assert_allclose(
      tokens[:, 1], image.backbone(images())['pre_logits'], atol=1e-5)


def test_positions_are_resized_then_repeated():
  image, video = image_model(), video_model(size=(4, 24, 32, 3))
  done = transfer.transfer(image, video)
  assert dict(done.loaded)['position_embedding'] == (
      '2 x 2 positions resized to 3 x 4, repeated 2 times')
  rows = video.backbone.position_embedding.embedding.numpy()[0]
  theirs = image.backbone.position_embedding.embedding.numpy()[0]
  np.testing.assert_array_equal(rows[:12], rows[12:])
  np.testing.assert_allclose(rows[[0, 3, 8, 11]], theirs, atol=1e-6)
  np.testing.assert_allclose(rows[4], (theirs[0] + theirs[2]) / 2, atol=1e-6)


def test_repeated_positions_are_taken_as_they_are():
  image, video = image_model(), video_model(position_embedding='repeated')
  transfer.transfer(image, video)
  np.testing.assert_array_equal(
      video.backbone.position_embedding.embedding,
      image.backbone.position_embedding.embedding)


@pytest.mark.parametrize('theirs, ours', [
    ('token', 'token'), ('token', 'gap'), ('gap', 'token')])
def test_class_token(theirs, ours):
  image, video = image_model(pooler=theirs), video_model(pooler=ours)
  own = video.backbone.position_embedding.embedding.numpy()[0, 0]
  done = transfer.transfer(image, video)
  assert ('class_token' in done.fresh) == (theirs == 'gap')
  assert ('class_token' in done.unused) == (ours == 'gap')
  first = video.backbone.position_embedding.embedding.numpy()[0, 0]
  expected = (own if theirs == 'gap' else
              image.backbone.position_embedding.embedding.numpy()[
                  0, int(ours == 'gap')])
  np.testing.assert_array_equal(first, expected)


def test_list_is_short_and_says_where_from():
  done = transfer.transfer(
      image_model(num_classes=5, num_layers=4, representation_size=6),
      video_model(num_layers=3, token_learner_location=2, num_tokens=2),
      head='fresh')
  assert str(done).splitlines() == [
      '  tubelet_embedding               from patch_embedding, at frame 1 of '
      '0..1',
      '  position_embedding              2 x 2 positions, repeated 2 times',
      '  encoder/block_0..2              the same',
      '  encoder/norm                    the same',
      '  fresh: encoder/learn_2, head',
      '  not used: encoder/block_3, pre_logits, head',
  ]
  assert max(map(len, str(done).splitlines())) <= 80


@pytest.mark.parametrize('image, video, message', [
    (dict(hidden_size=16), {}, r'tubelet_embedding: \[2, 8, 8, 3, 16\] in the '
     r'checkpoint, \[2, 8, 8, 3, 8\] in the model'),
    (dict(num_classes=5), {}, 'Only the head differs: '
     'task.init_checkpoint_modules=backbone'),
    (dict(size=(16, 16, 1)), {}, r'\[2, 8, 8, 1, 8\] in the checkpoint'),
])
def test_misfits_change_nothing(image, video, message):
  image, video = image_model(**image), video_model(**video)
  before = [array.copy() for array in video.get_weights()]
  with pytest.raises(errors.UserError, match=message):
    transfer.transfer(image, video)
  for old, new in zip(before, video.get_weights()):
    np.testing.assert_array_equal(old, new)


def test_unknown_tubelets():
  with pytest.raises(errors.UserError, match='central_frame'):
    transfer.transfer(image_model(), video_model(), tubelets='central')


def test_clips_of_another_length_and_size():
  """Positions are resized along time as well."""
  theirs, ours = video_model(size=(4, 16, 16, 3)), video_model(
      size=(6, 16, 24, 3))
  done = transfer.transfer(theirs, ours)
  assert dict(done.loaded)['position_embedding'] == (
      '2 x 2 x 2 positions resized to 3 x 2 x 3')
  old = theirs.backbone.position_embedding.embedding.numpy().reshape(2, 2, 2, 8)
  new = ours.backbone.position_embedding.embedding.numpy().reshape(3, 2, 3, 8)
  np.testing.assert_allclose(new[::2, :, ::2], old, atol=1e-6)
  np.testing.assert_allclose(
      new[1, :, 1], old.mean(axis=(0, 2)), atol=1e-6)


def factorized_model(length, **options):
  spec = backbones.FactorizedViViTSpec(
      'Ti/8x2', temporal_num_layers=1, **{**SIZES, **options})
  return randomised(backbones.Classifier(
      backbones.FactorizedVideoVisionTransformer(spec, (length, 16, 16, 3)), 3))


def test_factorised_clips_of_another_length():
  theirs, ours = factorized_model(4), factorized_model(6)
  done = transfer.transfer(theirs, ours)
  assert dict(done.loaded)['temporal_position_embedding'] == (
      '2 x 1 positions resized to 3 x 1')
  old = theirs.backbone.temporal_position_embedding.embedding.numpy()[0]
  new = ours.backbone.temporal_position_embedding.embedding.numpy()[0]
  np.testing.assert_allclose(new[[0, 2]], old, atol=1e-6)
  np.testing.assert_allclose(new[1], old.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize('theirs, ours, message', [
    (video_model, image_model, 'Weights of VideoVisionTransformer cannot start '
     'VisionTransformer'),
    (video_model, lambda: factorized_model(4), 'cannot start Factorized'),
    (lambda: image_model(num_heads=4), image_model,
     'encoder/block_0: num_heads=4 in the checkpoint, 2 in the model'),
    (lambda: image_model(token_learner_location=1, num_tokens=2,
                         token_learner=V10),
     lambda: image_model(token_learner_location=1, num_tokens=2),
     'learn_1: TokenLearner with 6 weights in the checkpoint, TokenLearnerV11'),
    (lambda: image_model(token_learner_location=1, num_tokens=2,
                         token_learner=V10),
     lambda: image_model(token_learner_location=1, num_tokens=2,
                         token_learner=V10_MEAN),
     'learn_1: pooling=sum in the checkpoint, mean in the model'),
    (lambda: factorized_model(4, token_learner_location=1, num_tokens=4),
     lambda: factorized_model(8, token_learner_location=2, num_tokens=2),
     'temporal_position_embedding: 4 tokens of each frame in the check'),
    (lambda: image_model(representation_size=8), image_model,
     'follows pre_logits'),
])
def test_weights_that_would_fit_and_be_wrong(theirs, ours, message):
  with pytest.raises(errors.UserError, match=message):
    transfer.transfer(theirs(), ours())


def test_another_pooler_is_told():
  done = transfer.transfer(image_model(pooler='gmp'), image_model())
  assert done.notes == ('the head was trained with pooler=gmp, the model has '
                        'pooler=gap',)
  assert str(done).splitlines()[-1] == f'  note: {done.notes[0]}'


def test_one_position_and_a_class_token():
  done = transfer.transfer(image_model(size=(8, 8, 3), pooler='token'),
                           image_model(pooler='token'))
  assert dict(done.loaded)['position_embedding'] == (
      '1 x 1 positions resized to 2 x 2')


@pytest.mark.parametrize('name, old, new', [
    ('grid4x4_to_6x6', (4, 4), (6, 6)),
    ('grid4x4_to_9x9', (4, 4), (9, 9)),
    ('grid7x7_to_5x5', (7, 7), (5, 5)),
    ('line8_to_12', (8,), (12,)),
    ('line8_to_5', (8,), (5,)),
])
def test_resize_matches_golden(name, old, new):
  golden = goldens.read('posembed_resize')
  resized = transfer.resize(
      golden.inputs[name.split('_')[0]], old, new)
  np.testing.assert_allclose(
      resized, golden.outputs[name][0], atol=1e-5, rtol=1e-5)


def test_repeat_matches_golden():
  golden = goldens.read('posembed_resize')
  np.testing.assert_array_equal(
      transfer.repeat(golden.inputs['grid4x4'], 4),
      golden.outputs['grid4x4_tile_to_64'][0])


def test_same_grid_changes_nothing():
  x = np.random.default_rng(0).normal(size=[6, 4]).astype(np.float32)
  np.testing.assert_array_equal(
      transfer.resize(x, (2, 3), (2, 3)), x)


def test_linear_stays_linear_on_any_grid():
  y, x = np.mgrid[0:3, 0:5].astype(np.float32)
  flat = np.stack([y / 2, x / 4, 3 - y + x], -1).reshape(-1, 3)
  resized = transfer.resize(flat, (3, 5), (7, 4)).reshape(7, 4, 3)
  rows, columns = np.mgrid[0:1:7j, 0:1:4j]
  np.testing.assert_allclose(resized[..., 0], rows, atol=1e-6)
  np.testing.assert_allclose(resized[..., 1], columns, atol=1e-6)
  np.testing.assert_allclose(
      resized[..., 2], 3 - 2 * rows + 4 * columns, atol=1e-6)


def test_one_position():
  one = np.array([[1., 2.]], np.float32)
  np.testing.assert_array_equal(
      transfer.resize(one, (1, 1), (2, 2)), np.repeat(one, 4, 0))
  np.testing.assert_array_equal(
      transfer.resize(np.arange(4.)[:, None], (4,), (1,)), [[0.]])
