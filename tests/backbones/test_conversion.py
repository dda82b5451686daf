"""Image models become TFLite files of built-in operations only."""

from ai_edge_litert import interpreter as litert
import numpy as np
import pytest
import tensorflow as tf

from tests import layer_checks
from tests.backbones import tiny
from tf_tokenlearner import backbones


def convert(model, batch):
  """A flatbuffer; built-ins only, so Flex or custom operations are errors."""
  function = tf.function(
      lambda images: {'logits': model(images)},
      input_signature=[tf.TensorSpec([batch, *tiny.IMAGE], name='images')])
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
      [function.get_concrete_function()], model)
  converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
  return converter.convert()


def run(flatbuffer, images):
  interpreter = litert.Interpreter(model_content=flatbuffer, num_threads=1)
  (detail,) = interpreter.get_input_details()
  interpreter.resize_tensor_input(detail['index'], images.shape)
  runner = interpreter.get_signature_runner()
  return runner(images=images)['logits']


@pytest.mark.parametrize('batch', [1, None])
@pytest.mark.parametrize('kwargs', [
    dict(token_learner_location=1, token_learner=tiny.V10),
    dict(token_learner_location=[0, 1]),
    dict(token_learner_location=1, use_token_fuser=True),
    dict(pooler='token', representation_size=5),
], ids=['v1.0', 'v1.1', 'fuser', 'plain'])
def test_converts_without_flex(kwargs, batch):
  model = backbones.Classifier(tiny.vit(num_layers=2, **kwargs), 5)
  layer_checks.draw_weights(model.head)
  flatbuffer = convert(model, batch)
  assert b'Flex' not in flatbuffer
  images = np.random.default_rng(7).uniform(
      -1, 1, [batch or 3, *tiny.IMAGE]).astype('float32')
  np.testing.assert_allclose(run(flatbuffer, images), model(images), atol=1e-4)
