"""A backbone and its head."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tests.backbones import tiny
from tf_tokenlearner import backbones

IMAGES = np.random.default_rng(6).uniform(
    -1, 1, [2, *tiny.IMAGE]).astype('float32')


def make(drawn=True, **kwargs):
  vit = tiny.vit(token_learner_location=1)
  model = backbones.Classifier(vit, num_classes=5, **kwargs)
  if drawn:
    layer_checks.draw_weights(model.head)
  return model


@pytest.mark.parametrize('head_bias', [0., -10.])
def test_every_class_begins_at_the_bias(head_bias):
  model = make(drawn=False, head_bias=head_bias)
  np.testing.assert_array_equal(model(IMAGES), np.full([2, 5], head_bias))


def test_endpoints():
  model = make()
  endpoints = model.endpoints(IMAGES)
  assert set(endpoints) == {'features', 'pre_logits', 'logits'}
  expected = model.backbone(IMAGES)
  for name, value in expected.items():
    np.testing.assert_array_equal(endpoints[name], value)
  kernel, bias = model.head.get_weights()
  np.testing.assert_allclose(
      endpoints['logits'], expected['pre_logits'] @ kernel + bias,
      **layer_checks.CLOSE)
  np.testing.assert_array_equal(model(IMAGES), endpoints['logits'])


def test_dropout_before_the_head_in_training_only():
  model = make(dropout_rate=.5)
  model.head.set_weights([np.eye(8, 5), np.zeros(5)])
  kept = model(IMAGES, training=True) / model(IMAGES)
  assert set(kept.numpy().round(4).flat) == {0., 2.}
  np.testing.assert_allclose(
      model(IMAGES), model.backbone(IMAGES)['pre_logits'][:, :5],
      **layer_checks.CLOSE)


@pytest.mark.parametrize('policy', ['mixed_bfloat16', 'mixed_float16'])
def test_logits_are_float32_under_every_policy(policy):
  expected = make()(IMAGES)
  tf_keras.mixed_precision.set_global_policy(policy)
  try:
    model = make()
    logits = model(IMAGES)
    assert model.endpoints(IMAGES)['pre_logits'].dtype == policy[6:]
  finally:
    tf_keras.mixed_precision.set_global_policy('float32')
  assert logits.dtype == tf.float32
  np.testing.assert_allclose(logits, expected, atol=.1)


def test_learns():
  """Every variable has a gradient, and a step down it lowers the loss."""
  model, labels = make(), tf.constant([1, 3])

  def loss():
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels, model(IMAGES, training=True)))

  with tf.GradientTape() as tape:
    before = loss()
  gradients = tape.gradient(before, model.trainable_variables)
  for variable, gradient in zip(model.trainable_variables, gradients):
    has_effect = 'token_learner/mlp/output_dense/bias' not in variable.name
    assert (np.abs(gradient).max() > 1e-6) == has_effect, variable.name
    variable.assign_sub(.01 * gradient)
  assert loss() < before


def test_head_learns_first_from_zero():
  model = make(drawn=False)
  with tf.GradientTape() as tape:
    total = tf.reduce_sum(model(IMAGES)[:, 0])
  gradients = tape.gradient(total, model.trainable_variables)
  moved = {variable.name.split('/')[1]
           for variable, gradient in zip(model.trainable_variables, gradients)
           if np.abs(gradient).max() > 0}
  assert moved == {'head'}


def test_variables_have_names_of_their_own():
  model = make()
  names = [variable.name for variable in model.variables]
  assert len(set(names)) == len(names)
  assert any(name.endswith('/encoder/block_0/attention/qkv/kernel:0')
             for name in names)


def test_rebuilt_from_config(tmp_path):
  model = make(dropout_rate=.1, head_bias=-2., name='classifier')
  config = model.get_config()
  assert set(config) == {
      'backbone', 'num_classes', 'dropout_rate', 'head_bias', 'name'}
  again = backbones.Classifier.from_config(json.loads(json.dumps(config)))
  assert (again.num_classes, again.dropout_rate, again.head_bias) == (
      5, .1, -2.)
  assert again.backbone.spec == model.backbone.spec
  np.testing.assert_array_equal(again(IMAGES), np.full([2, 5], -2.))
  path = tmp_path / 'model.keras'
  model.save(path)
  loaded = tf_keras.models.load_model(path)
  assert type(loaded) is backbones.Classifier
  np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))


def test_saved_model_before_the_first_call(tmp_path):
  model = make()
  tf.saved_model.save(model, str(tmp_path))
  serve = tf.saved_model.load(str(tmp_path)).signatures['serving_default']
  (logits,) = serve(tf.constant(IMAGES[:1])).values()
  np.testing.assert_allclose(logits, model(IMAGES[:1]), **layer_checks.CLOSE)
