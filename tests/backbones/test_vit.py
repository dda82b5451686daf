"""VisionTransformer."""

import numpy as np
import pytest
import tensorflow as tf

from tests import layer_checks
from tests import numpy_layers
from tests.backbones import tiny
from tf_tokenlearner import backbones

IMAGES = np.random.default_rng(6).uniform(
    -1, 1, [2, *tiny.IMAGE]).astype('float32')
# Of 224 x 224 with a class token and 1000 classes, as the tests of the public
# vision_transformer code (vit_jax/models_test.py) count them.
PUBLISHED_SIZES = {
    'Ti/16': 5_717_416, 'S/32': 22_878_952, 'B/16': 86_567_656,
    'L/16': 304_326_632, 'H/14': 632_045_800}


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


@pytest.mark.parametrize('learner', [tiny.V10, tiny.V11], ids=['v1.0', 'v1.1'])
def test_empty_share_of_a_batch(learner):
  """A replica may get nothing of the last batch of an evaluation."""
  model = tiny.vit(token_learner_location=1, token_learner=learner)
  function = tf.function(
      model, input_signature=[tf.TensorSpec([None, *tiny.IMAGE])])
  outputs = function(tf.zeros([0, *tiny.IMAGE]))
  assert outputs['features'].shape == (0, 4, 8)
  assert outputs['pre_logits'].shape == (0, 8)


@pytest.mark.parametrize('shape, message', [
    ((1, 9, 12, 3), 'the image height 9 is no multiple of the patch height 4'),
    ((1, 12, 12, 3), r'built for 6 positions, got shape \(1, 9, 8\)'),
])
def test_refuses_images_of_another_size(shape, message):
  with pytest.raises(ValueError, match=message):
    tiny.vit()(tf.zeros(shape))


def count_parameters(variant, num_layers):
  with tf.Graph().as_default():  # Shapes alone, no memory.
    spec = backbones.ViTSpec(variant, num_layers=num_layers, pooler='token')
    model = backbones.Classifier(
        backbones.VisionTransformer(spec, (224, 224, 3)), 1000)
    return sum(weight.shape.num_elements() for weight in model.weights)


@pytest.mark.parametrize('variant', PUBLISHED_SIZES)
def test_as_many_parameters_as_published(variant):
  num_layers = backbones.ViTSpec(variant).completed((224, 224, 3)).num_layers
  one = count_parameters(variant, 1)
  block = count_parameters(variant, 2) - one  # All blocks are alike.
  assert one + (num_layers - 1) * block == PUBLISHED_SIZES[variant]
