"""Models become TFLite files of built-in operations only."""

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
      lambda inputs: {'logits': model(inputs)}, input_signature=[
          tf.TensorSpec([batch, *model.backbone.input_size], name='inputs')])
  holder = tf.Module()  # A model would be saved with all that Keras needs.
  holder.variables_of_model = model.variables
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
      [function.get_concrete_function()], holder)
  converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
  return converter.convert()


def run(flatbuffer, inputs):
  interpreter = litert.Interpreter(model_content=flatbuffer, num_threads=1)
  (detail,) = interpreter.get_input_details()
  interpreter.resize_tensor_input(detail['index'], inputs.shape)
  runner = interpreter.get_signature_runner()
  return runner(inputs=inputs)['logits']


def check(model, batch):
  layer_checks.draw_weights(model.head)
  flatbuffer = convert(model, batch)
  assert b'Flex' not in flatbuffer
  inputs = np.random.default_rng(7).uniform(
      -1, 1, [batch or 3, *model.backbone.input_size]).astype('float32')
  np.testing.assert_allclose(run(flatbuffer, inputs), model(inputs), atol=1e-4)


@pytest.mark.parametrize('batch, kwargs', [
    (1, dict(token_learner_location=1, token_learner=tiny.V10)),
    (1, dict(token_learner_location=[0, 1])),
    (None, dict(token_learner_location=[0, 1])),
    (1, dict(token_learner_location=1, use_token_fuser=True)),
    (None, dict(token_learner_location=1, use_token_fuser=True)),
    (None, dict(pooler='token', representation_size=5)),
    (1, dict(token_learner_location=[0, 1], num_tokens=[6, 2], **tiny.POOLED)),
    (None, dict(token_learner_location=1, use_token_fuser=True,
                fuser='unpooling', token_learner=tiny.MEANS)),
    (None, dict(token_learner_location=1, use_token_fuser=True,
                fuser='reprojection')),
], ids=['v1.0', 'v1.1', 'v1.1-any', 'fuser', 'fuser-any', 'plain-any', 'pooled',
        'unpooled-any', 'reprojected-any'])
def test_image_models_convert_without_flex(batch, kwargs):
  check(backbones.Classifier(tiny.vit(num_layers=2, **kwargs), 5), batch)


@pytest.mark.parametrize('make, kwargs', [
    (tiny.vivit, dict(pooler='token')),
    (tiny.vivit, dict(
        token_learner_location=1, use_token_fuser=True, variant='Ti/4x1',
        tubelet_embedding='temporal_sampling', num_sampled_frames=3,
        position_embedding='repeated')),
    (tiny.factorized, dict(pooler='token')),
    (tiny.factorized, dict(token_learner_location=2)),
], ids=['vivit', 'vivit-fuser', 'factorized', 'factorized-learned'])
def test_video_models_convert_without_flex(make, kwargs):
  check(backbones.Classifier(make(num_layers=2, **kwargs), 5), batch=None)


def test_video_model_of_one_clip_converts_without_flex():
  check(backbones.Classifier(
      tiny.vivit(token_learner_location=1, token_learner=tiny.V10), 5), batch=1)
