"""The Garden builds our backbones, also inside its own classifier."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.vision.modeling import classification_model
from official.vision.modeling.backbones import factory

from tf_tokenlearner import backbones as backbones_lib
from tf_tokenlearner.configs import classification
from tf_tokenlearner import errors

TINY = dict(variant='Ti/4', num_layers=2, hidden_size=8, mlp_dim=8, num_heads=2,
            token_learner_location=1, num_tokens=3)


def build(**kwargs):
  return factory.build_backbone(
      input_specs=tf_keras.layers.InputSpec(shape=[None, 8, 8, 3]),
      backbone_config=classification.Backbone(
          token_learner_vit=classification.TokenLearnerViT(**TINY)),
      norm_activation_config=None, **kwargs)


def test_factory_builds_every_backbone():
  backbone = build()
  assert isinstance(backbone, backbones_lib.VisionTransformer)
  outputs = backbone(tf.zeros([2, 8, 8, 3]))
  assert outputs['features'].shape == [2, 3, 8]
  assert outputs['pre_logits'].shape == [2, 8]


def test_works_in_the_gardens_own_classifier():
  backbone = build()
  model = classification_model.ClassificationModel(
      backbone, num_classes=4,
      input_specs=tf_keras.layers.InputSpec(shape=[None, 8, 8, 3]))
  images = tf.random.stateless_uniform([2, 8, 8, 3], [0, 1])
  kernel, bias = model.layers[-1].get_weights()
  np.testing.assert_allclose(
      model(images), backbone(images)['pre_logits'] @ kernel + bias, atol=1e-5)


def test_l2_regularizer_is_refused():
  with pytest.raises(errors.UserError, match='takes no l2_weight_decay'):
    build(l2_regularizer=tf_keras.regularizers.l2(1e-4))


def test_config_and_spec_have_the_same_fields():
  config = classification.TokenLearnerViT(**TINY)
  assert set(config.as_dict()) == {
      field for field in vars(backbones_lib.ViTSpec(**TINY))}
  assert config.completed((8, 8, 3)) == (
      backbones_lib.ViTSpec(**TINY).completed((8, 8, 3)))
