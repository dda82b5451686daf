"""Tests of new TokenLearners in trained models."""

import numpy as np
import pytest
import tensorflow as tf

from tests.backbones import tiny
from tests.backbones import tiny_clips
from tests.checkpoints import tiny_checkpoints
from tf_tokenlearner import backbones
from tf_tokenlearner import checkpoints
from tf_tokenlearner.checkpoints import token_learner_init
from tf_tokenlearner import errors
from tf_tokenlearner import layers

GENERATOR = np.random.default_rng(0)


def softmax(scores):
  weights = np.exp(scores - scores.max(axis=1, keepdims=True))
  return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize('grid, num_tokens, parts', [
    ((4, 4), 4, (2, 2)), ((7, 7), 8, (2, 4)), ((3, 5), 3, (1, 3)),
    ((8, 2), 4, (4, 1)), ((5, 5), 7, (1, 7)), ((2, 2), 16, (4, 4))])
def test_pooling_weights(grid, num_tokens, parts):
  weights = token_learner_init.pooling_weights(grid, num_tokens)
  np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
  # The mean of the parts is the mean of the map.
  np.testing.assert_allclose(
      weights.mean(axis=0), 1 / np.prod(grid), atol=1e-6)
  maps = weights.reshape([*parts, *grid])
  rows, columns = maps.sum(axis=3), maps.sum(axis=2)  # Of the first and last.
  assert rows[0, 0].argmax() == 0 and columns[0, 0].argmax() == 0
  assert rows[-1, 0, -1] > 0 and columns[0, -1, -1] > 0


def test_pooling_weights_by_hand():
  """Three positions for two tokens: the middle one belongs half to each."""
  np.testing.assert_allclose(
      token_learner_init.pooling_weights((1, 3), 2),
      np.array([[2, 1, 0], [0, 1, 2]]) / 3, atol=1e-6)


def test_scores_are_fitted_where_positions_can_be_told():
  """Half of each vector is the position, half is noise."""
  targets = token_learner_init.pooling_weights((4, 4), 4)
  positions = np.repeat(3 * np.eye(16, dtype=np.float32)[np.newaxis], 32, 0)
  noise = GENERATOR.normal(size=[32, 16, 16]).astype(np.float32)
  x = np.concatenate([positions, noise], axis=-1)
  matrix = token_learner_init.fit_scores(x[:16], targets)
  weights = softmax(x[16:] @ matrix)  # Of others than those fitted on.
  inside = (weights * (targets.T > 0)).sum(axis=1).mean()
  assert inside > .8  # By chance a quarter.
  np.testing.assert_array_equal(
      matrix, token_learner_init.fit_scores(x[:16], targets))


def make_learner(**options):
  layer = layers.TokenLearnerV11(**{**dict(num_tokens=3, bottleneck_dim=8),
                                    **options})
  layer.build([None, 10, 6])
  return layer


def weights_of(layer, x):
  _, weights = layer(x, return_attention=True)
  return np.transpose(weights, [0, 2, 1])  # [B, N, S]


@pytest.mark.parametrize('bottleneck_dim', [6, 8])
def test_mlp_scores_as_a_matrix_does(bottleneck_dim):
  layer = make_learner(bottleneck_dim=bottleneck_dim)
  x = GENERATOR.normal(size=[2, 10, 6]).astype(np.float32) * 3 + 1
  normalised = layer.norm(x).numpy()
  matrix = GENERATOR.normal(size=[6, 3]).astype(np.float32)
  spare = layer.mlp.hidden.kernel.numpy()[:, 6:]
  token_learner_init.set_scores(layer, normalised, matrix)
  np.testing.assert_allclose(
      weights_of(layer, x), softmax(normalised @ matrix), atol=1e-5)
  np.testing.assert_array_equal(layer.mlp.hidden.kernel.numpy()[:, 6:], spare)
  z = normalised @ layer.mlp.hidden.kernel.numpy()[:, :3]
  np.testing.assert_allclose(z.std(axis=(0, 1)), 1, rtol=1e-4)


def test_too_narrow_mlp_keeps_the_strongest():
  layer = make_learner(bottleneck_dim=2)
  x = GENERATOR.normal(size=[2, 10, 6]).astype(np.float32)
  normalised = layer.norm(x).numpy()
  left, right = GENERATOR.normal(size=[6, 1]), GENERATOR.normal(size=[1, 3])
  matrix = (left @ right).astype(np.float32)  # Of rank 1.
  token_learner_init.set_scores(layer, normalised, matrix)
  np.testing.assert_allclose(
      weights_of(layer, x), softmax(normalised @ matrix), atol=1e-5)


def trained(backbone):
  """Positions that stand out, as in a network that is trained."""
  embedding = backbone.position_embedding.embedding
  embedding.assign(5 * GENERATOR.normal(size=embedding.shape))
  return backbones.Classifier(backbone, 2)


def examples(size, count=16):
  return GENERATOR.normal(size=[count, *size]).astype(np.float32)


def test_tokens_are_near_the_means_of_their_parts():
  model = trained(tiny.vit(token_learner_location=1))
  images = examples(tiny.IMAGE)
  note, = token_learner_init.start_at_means(
      model, ['encoder/learn_1'], images)
  block, learn = model.backbone.encoder.stages[:2]
  x = block(model.backbone.embed(images)).numpy()
  means = token_learner_init.pooling_weights((2, 3), 4) @ x
  spread = np.abs(x - x.mean(axis=1, keepdims=True)).mean()
  assert np.abs(learn(x) - means).mean() < .3 * spread
  share = int(note.split('%')[0].split()[-1])
  assert note.startswith(
      'encoder/learn_1 starts as means of 4 parts of the map, ')
  assert share > 80


def test_every_kind_of_model():
  for backbone, names, size in [
      (tiny.vit(token_learner_location=[0, 2], num_tokens=[4, 2]),
       ['encoder/learn_0', 'encoder/learn_2'], tiny.IMAGE),
      (tiny.vit(token_learner_location=1, use_token_fuser=True),
       ['encoder/fuse_1/token_learner', 'encoder/fuse_2/token_learner'],
       tiny.IMAGE),
      (tiny.vivit(token_learner_location=1), ['encoder/learn_1'], tiny.CLIP),
      (tiny.factorized(token_learner_location=3), ['spatial_encoder/learn_3'],
       tiny.CLIP)]:
    notes = token_learner_init.start_at_means(
        trained(backbone), names, examples(size, 5))
    assert [note.split()[0] for note in notes] == names


def test_only_what_is_new_starts_anew():
  model = trained(tiny.vit(token_learner_location=[0, 2], num_tokens=[4, 2]))
  kept = model.backbone.encoder.stages[0].get_weights()
  assert len(token_learner_init.start_at_means(
      model, ['encoder/learn_2', 'head'], examples(tiny.IMAGE))) == 1
  for now, then in zip(model.backbone.encoder.stages[0].get_weights(), kept):
    np.testing.assert_array_equal(now, then)


def test_number_of_examples():
  assert token_learner_init.num_examples(
      tiny_checkpoints.classifier()) == 64
  spec = tiny_checkpoints.spec(patch_size=[1, 1])
  large = backbones.Classifier(
      backbones.VisionTransformer(spec, (64, 64, 1)), 2)
  assert token_learner_init.num_examples(large) == 4


def test_version_without_softmax():
  model = trained(tiny.vit(token_learner_location=1, token_learner=tiny.V10))
  with pytest.raises(errors.UserError, match='needs token_learner.version'):
    token_learner_init.start_at_means(
        model, ['encoder/learn_1'], examples(tiny.IMAGE))


IMAGES = np.random.default_rng(0).normal(size=[8, 16, 16, 3]).astype('f4')


def make_plain(**options):
  model = tiny_checkpoints.classifier((16, 16, 3), **options)
  generator = np.random.default_rng(1)
  for variable in model.variables:
    variable.assign(generator.normal(size=variable.shape) * .3)
  return model


def test_all_other_weights_are_kept():
  plain = make_plain()
  before = plain.get_weights()
  model = checkpoints.insert_token_learner(
      plain, 1, 4, IMAGES, token_learner=backbones.TokenLearnerSpec(
          bottleneck_dim=10))
  assert model.backbone.spec.token_learners() == [(1, 4)]
  backbone = model.backbone
  kept = [weight for layer in (
      backbone.patch_embedding, backbone.position_embedding,
      backbone.encoder.stages[0], backbone.encoder.stages[2],
      backbone.encoder.norm, model.head) for weight in layer.get_weights()]
  assert len(kept) == len(before) == 31
  for now, then in zip(kept, before):
    np.testing.assert_array_equal(now, then)
  assert model.backbone.encoder.stages[1].token_learner.bottleneck_dim == 10
  assert model(IMAGES).shape == (8, 5)


def test_as_many_tokens_as_positions_change_little(monkeypatch, capsys):
  """Each token is then the mean of one position, and order does not matter."""
  monkeypatch.setattr(token_learner_init, '_STEPS', 100)
  plain = make_plain()
  embedding = plain.backbone.position_embedding.embedding
  embedding.assign(
      np.random.default_rng(2).normal(size=embedding.shape) * 8.)
  expected = plain(IMAGES)
  naive = tiny_checkpoints.classifier(
      (16, 16, 3), token_learner_location=1, num_tokens=16)
  checkpoints.transfer.transfer(plain, naive)
  model = checkpoints.insert_token_learner(plain, 1, 16, IMAGES)
  error = np.abs(model(IMAGES) - expected).mean()
  assert error < .5 * np.abs(naive(IMAGES) - expected).mean()
  assert 'Loaded from the plain model (VisionTransformer):' in (
      capsys.readouterr().err)


def test_class_token_is_dropped():
  model = checkpoints.insert_token_learner(
      make_plain(pooler='token'), 1, 4, IMAGES)
  assert model.backbone.spec.pooler == 'gap'


def test_run_of_ours(tmp_path):
  plain = tiny_checkpoints.classifier()
  path = tiny_checkpoints.write_run(tmp_path / 'run', plain)
  images = IMAGES[:, :8, :8]
  for place in (path, str(tmp_path / 'run')):
    model = checkpoints.insert_token_learner(place, 1, 2, images)
    np.testing.assert_array_equal(
        model.backbone.patch_embedding.get_weights()[0],
        plain.backbone.patch_embedding.get_weights()[0])
  alone = tf.train.Checkpoint(model=plain).write(str(tmp_path / 'ckpt'))
  with pytest.raises(errors.UserError, match='does not belong to a training'):
    checkpoints.insert_token_learner(alone, 1, 2, images)


@pytest.mark.parametrize('plain, location, message', [
    (lambda: make_plain(token_learner_location=1), 1,
     'has a TokenLearner at 1 already'),
    (make_plain, 2, 'outside 0..1'),
    (make_plain, None, 'the number of a block, got None'),
    (lambda: backbones.Classifier(tiny_clips.model(), 2), 1,
     'BottleneckTransformer cannot start'),
])
def test_refused(plain, location, message):
  with pytest.raises(errors.UserError, match=message):
    checkpoints.insert_token_learner(plain(), location, 4, IMAGES)


def test_more_tokens_than_positions_are_refused():
  plain = make_plain()
  height, width = plain.backbone.spec.grid_size(plain.backbone.input_size)
  with pytest.raises(errors.UserError, match=(
      f'num_tokens is {height * width + 1}, but a frame has {height} x '
      f'{width} positions')):
    checkpoints.insert_token_learner(plain, 1, height * width + 1, IMAGES)


@pytest.mark.parametrize('examples', [IMAGES[:0], IMAGES[:, :8], IMAGES[0]])
def test_examples_of_another_size_are_refused(examples):
  with pytest.raises(errors.UserError, match=(
      r'examples must be \[B, 16, 16, 3\] with B of at least 1, got \[')):
    checkpoints.insert_token_learner(make_plain(), 1, 4, examples)
