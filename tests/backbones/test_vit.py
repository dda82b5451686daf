"""VisionTransformer."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tests import numpy_layers
from tests.backbones import tiny
from tf_tokenlearner import backbones
from tf_tokenlearner import errors

IMAGES = np.random.default_rng(6).uniform(
    -1, 1, [2, *tiny.IMAGE]).astype('float32')
POOL = {
    'gap': lambda x: x.mean(axis=1),
    'gmp': lambda x: x.max(axis=1),
    'gsp': lambda x: x.sum(axis=1),
    'token': lambda x: x[:, 0],
}
# Of 224 x 224 with a class token and 1000 classes, as the tests of the public
# vision_transformer code (vit_jax/models_test.py) count them.
PUBLISHED_SIZES = {
    'Ti/16': 5_717_416, 'S/32': 22_878_952, 'B/16': 86_567_656,
    'L/16': 304_326_632, 'H/14': 632_045_800}


def equal(ours, theirs):
  assert set(ours) == set(theirs)
  for name in ours:
    np.testing.assert_allclose(ours[name], theirs[name], **layer_checks.CLOSE)


@pytest.mark.parametrize('pooler', POOL)
def test_poolers_equal_numpy(pooler):
  model = tiny.vit(pooler=pooler)
  outputs = model(IMAGES)
  positions = 7 if pooler == 'token' else 6
  assert outputs['features'].shape == (2, positions, 8)
  np.testing.assert_allclose(
      outputs['pre_logits'], POOL[pooler](outputs['features'].numpy()),
      **layer_checks.CLOSE)


def test_every_pooler_is_tested():
  assert set(POOL) == set(backbones.specs.POOLERS)


def test_features_equal_numpy():
  """Patches, class token, positions, blocks, LayerNorm."""
  model = tiny.vit(pooler='token')
  x = model.patch_embedding(IMAGES).numpy().astype('float64')
  token = np.tile(model.class_token.embedding, [2, 1, 1])
  x = np.concatenate([token, x.reshape([2, 6, 8])], axis=1)
  x += model.position_embedding.embedding.numpy()
  for stage in model.encoder.stages:
    x = numpy_layers.block(x, stage)
  np.testing.assert_allclose(
      model(IMAGES)['features'], numpy_layers.layer_norm(x, model.encoder.norm),
      **layer_checks.CLOSE)


def test_representation_is_a_tanh_layer():
  model = tiny.vit(representation_size=5, token_learner_location=1)
  outputs = model(IMAGES)
  assert outputs['features'].shape == (2, 4, 8)
  pooled = outputs['features'].numpy().mean(axis=1)
  np.testing.assert_allclose(
      outputs['pre_logits'],
      np.tanh(numpy_layers.dense(pooled, model.pre_logits)),
      **layer_checks.CLOSE)


def test_attention_maps_are_those_of_the_encoder():
  model = tiny.vit(token_learner_location=1, dropout_rate=.5)
  maps = model.attention_maps(tf.constant(IMAGES))
  assert maps.shape == (2, 1, 4, *tiny.GRID)
  np.testing.assert_allclose(
      tf.reduce_sum(maps, axis=[3, 4]), np.ones([2, 1, 4]), atol=1e-6)
  np.testing.assert_allclose(
      maps, model.encoder.attention_maps(model.embed(IMAGES)),
      **layer_checks.CLOSE)
  with pytest.raises(ValueError, match='has no TokenLearner'):
    tiny.vit().attention_maps(tf.constant(IMAGES))


def test_dropout_in_training_only():
  rates = dict(dropout_rate=.5, attention_dropout_rate=.5,
               stochastic_depth_rate=.5)
  equal(tiny.vit(**rates)(IMAGES), tiny.vit()(IMAGES))
  trained = tiny.vit(**rates)(IMAGES, training=True)['pre_logits']
  assert np.abs(trained - tiny.vit()(IMAGES)['pre_logits']).max() > .1


@pytest.mark.parametrize('kwargs', [
    dict(pooler='token'),
    dict(token_learner_location=[1, 2], num_tokens=[4, 2]),
    dict(token_learner_location=1, token_learner=tiny.V10,
         use_token_fuser=True, patch_size=[4, 2]),
])
def test_rebuilt_from_config_and_checkpoint(kwargs, tmp_path):
  model = tiny.vit(**kwargs)
  config = model.get_config()
  assert set(config) == {'spec', 'input_size', 'name'}
  assert config['spec'] == dataclasses.asdict(
      tiny.spec(**kwargs).resolved(tiny.IMAGE))
  again = backbones.VisionTransformer.from_config(
      json.loads(json.dumps(config)))  # Tuples come back as lists.
  assert again.get_config() == config
  path = tf.train.Checkpoint(model=model).save(str(tmp_path / 'ckpt'))
  tf.train.Checkpoint(model=again).restore(path).assert_consumed()
  equal(again(IMAGES), model(IMAGES))


def test_keras_file(tmp_path):
  model = tiny.vit(token_learner_location=1)
  model.save(tmp_path / 'model.keras')
  loaded = tf_keras.models.load_model(tmp_path / 'model.keras')
  assert type(loaded) is backbones.VisionTransformer
  equal(loaded(IMAGES), model(IMAGES))


def test_saved_model_before_the_first_call(tmp_path):
  model = tiny.vit(token_learner_location=1)
  tf.saved_model.save(model, str(tmp_path / 'saved'))
  serve = tf.saved_model.load(str(tmp_path / 'saved')).signatures[
      'serving_default']
  equal(serve(tf.constant(IMAGES[:1])), model(IMAGES[:1]))


def test_spec_may_be_the_dict_of_one():
  model = backbones.VisionTransformer(
      {'variant': 'Ti/4', 'num_layers': 1, 'token_learner_location': 0},
      tiny.IMAGE)
  assert model.spec.token_learner == backbones.TokenLearnerSpec()
  assert (model.spec.hidden_size, model.spec.num_heads) == (192, 3)


@pytest.fixture
def mixed_bfloat16():
  tf_keras.mixed_precision.set_global_policy('mixed_bfloat16')
  yield
  tf_keras.mixed_precision.set_global_policy('float32')


def test_global_policy(mixed_bfloat16):
  del mixed_bfloat16
  half = tiny.vit(token_learner_location=1, use_token_fuser=True)
  outputs = half(IMAGES)
  assert {x.dtype for x in outputs.values()} == {tf.bfloat16}
  assert {weight.dtype for weight in half.weights} == {tf.float32}
  assert half.attention_maps(tf.constant(IMAGES)).dtype == tf.bfloat16
  tf_keras.mixed_precision.set_global_policy('float32')
  full = tiny.vit(token_learner_location=1, use_token_fuser=True)(IMAGES)
  for name, value in outputs.items():
    assert full[name].dtype == tf.float32
    np.testing.assert_allclose(
        tf.cast(value, tf.float32), full[name], atol=.1)


@pytest.mark.parametrize('learner', [tiny.V10, tiny.V11], ids=['v1.0', 'v1.1'])
def test_empty_share_of_a_batch(learner):
  """A replica may get nothing of the last batch of an evaluation."""
  model = tiny.vit(token_learner_location=1, token_learner=learner)
  function = tf.function(
      model, input_signature=[tf.TensorSpec([None, *tiny.IMAGE])])
  outputs = function(tf.zeros([0, *tiny.IMAGE]))
  assert outputs['features'].shape == (0, 4, 8)
  assert outputs['pre_logits'].shape == (0, 8)


def test_refuses_a_policy_of_its_own():
  with pytest.raises(TypeError, match='dtype'):
    backbones.VisionTransformer(tiny.spec(), tiny.IMAGE, dtype='float16')


@pytest.mark.parametrize('shape, message', [
    ((1, 9, 12, 3), 'the image height 9 is no multiple of the patch height 4'),
    ((1, 12, 12, 3), r'built for 6 positions, received shape \(1, 9, 8\)'),
])
def test_refuses_images_of_another_size(shape, message):
  with pytest.raises(ValueError, match=message):
    tiny.vit()(tf.zeros(shape))


def test_refuses_spec():
  with pytest.raises(errors.UserError, match='token_learner_location=7'):
    backbones.VisionTransformer(
        tiny.spec(token_learner_location=7), tiny.IMAGE)


def count_parameters(variant, num_layers):
  with tf.Graph().as_default():  # Shapes alone, no memory.
    spec = backbones.ViTSpec(variant, num_layers=num_layers, pooler='token')
    model = backbones.Classifier(
        backbones.VisionTransformer(spec, (224, 224, 3)), 1000)
    return sum(weight.shape.num_elements() for weight in model.weights)


@pytest.mark.parametrize('variant', PUBLISHED_SIZES)
def test_as_many_parameters_as_published(variant):
  num_layers = backbones.ViTSpec(variant).resolved((224, 224, 3)).num_layers
  one = count_parameters(variant, 1)
  block = count_parameters(variant, 2) - one  # All blocks are alike.
  assert one + (num_layers - 1) * block == PUBLISHED_SIZES[variant]
