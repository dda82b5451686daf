"""A TokenLearner comes into a plain network; all else stays."""

import numpy as np
import pytest
import tensorflow as tf

from tests.backbones import tiny_clips
from tests.checkpoints import tiny_checkpoints
from tf_tokenlearner import backbones
from tf_tokenlearner import checkpoints
from tf_tokenlearner.checkpoints import token_learner_init
from tf_tokenlearner import errors

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
  assert 'What came from the plain model (VisionTransformer):' in (
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
  with pytest.raises(errors.UserError, match='lies in no training run'):
    checkpoints.insert_token_learner(alone, 1, 2, images)


@pytest.mark.parametrize('plain, location, message', [
    (lambda: make_plain(token_learner_location=1), 1,
     'has a TokenLearner at 1 already'),
    (make_plain, 2, 'outside 0..1'),
    (make_plain, None, 'the number of a block, received None'),
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
      r'examples must be \[B, 16, 16, 3\] with B of at least 1, received \[')):
    checkpoints.insert_token_learner(make_plain(), 1, 4, examples)
