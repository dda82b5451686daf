"""Modules between expansion and reduction of a bottleneck block."""

from ai_edge_litert import interpreter as litert
import numpy as np
import pytest
import tensorflow as tf

from tests import layer_checks
from tests import numpy_layers
from tests.backbones import tiny_clips
from tf_tokenlearner.backbones import bottleneck_spec
from tf_tokenlearner.backbones import bottleneck_transformer
from tf_tokenlearner.backbones import x2plus1d

T, H, W, C = 3, 2, 4, 8
X = np.random.default_rng(5).normal(size=[2, T, H, W, C]).astype('float32')
PARTS = sorted(set().union(*bottleneck_spec.MODULES.values()))


def make(name, draw=True, **kwargs):
  spec = tiny_clips.spec(**kwargs).completed(tiny_clips.CLIP)
  part = bottleneck_transformer.make_part(name, spec, C)
  part(X)
  if draw:
    tiny_clips.draw_weights(part)
  return part


def close(ours, expected):
  np.testing.assert_allclose(ours, expected, **layer_checks.CLOSE)


def attention(x, layer):
  """On sequences [B', N, C], one head after the other."""
  qkv = numpy_layers.dense(numpy_layers.layer_norm(x, layer.norm), layer.qkv)
  q, k, v = np.split(qkv, [4, 8], axis=-1)
  heads = []
  for i in range(2):
    key, value = slice(2 * i, 2 * i + 2), slice(4 * i, 4 * i + 4)
    scores = q[..., key] @ k[..., key].swapaxes(1, 2) / np.sqrt(2)
    heads.append(numpy_layers.softmax(scores) @ v[..., value])
  return x + np.concatenate(heads, axis=-1)


def test_joint_attention_equals_numpy():
  layer = make('joint_mhsa')
  expected = attention(X.reshape([2, T * H * W, C]), layer)
  close(layer(X), expected.reshape(X.shape))


def test_spatial_attention_equals_numpy():
  layer = make('spatial_transformer')
  expected = attention(X.reshape([2 * T, H * W, C]), layer)
  close(layer(X), expected.reshape(X.shape))


def test_temporal_attention_equals_numpy():
  layer = make('temporal_transformer')
  sequences = X.transpose([0, 2, 3, 1, 4]).reshape([-1, T, C])
  expected = attention(sequences, layer).reshape([2, H, W, T, C])
  close(layer(X), expected.transpose([0, 3, 1, 2, 4]))


def test_frame_mixer_equals_numpy():
  layer = make('mlp_mixer')
  x = X.mean(axis=(2, 3))  # [B, T, C]
  y = numpy_layers.layer_norm(x, layer.time_norm).swapaxes(1, 2)
  x = x + numpy_layers.mlp(y, layer.time_mlp).swapaxes(1, 2)
  x = x + numpy_layers.mlp(
      numpy_layers.layer_norm(x, layer.channel_norm), layer.channel_mlp)
  assert layer.time_mlp.hidden.kernel.shape == (T, T)
  close(layer(X), X + x[:, :, None, None])


def test_token_module_equals_numpy():
  layer = make('token_learner')
  frames = X.reshape([2 * T, H, W, C]).astype('float64')
  tokens = numpy_layers.token_learner(frames, layer.tokenizer) / (H * W)
  tokens = numpy_layers.vector_transformer(
      tokens.reshape([2, T * 2, C]), layer.transformer)
  close(layer(X), X + numpy_layers.space_time_token_fuser(
      tokens, X.astype('float64'), layer.fuser))


def test_masks_are_those_of_the_token_learner():
  layer = make('token_learner')
  frames = X.reshape([2 * T, H, W, C])
  _, masks = layer.tokenizer(frames, return_attention=True)
  assert layer.attention(X).shape == (2, T, 2, H, W)
  close(layer.attention(X), tf.reshape(masks, [2, T, 2, H, W]))
  layer = make('token_learner', tokenizer='fixed_split')
  with pytest.raises(ValueError, match='the tokens come from fixed_split, '
                     'which .* set tokenizer=token_learner'):
    layer.attention(X)


def test_token_module_adds_nothing_at_first():
  close(make('token_learner', draw=False)(X), X)


def test_convolutions_and_their_stride():
  spec = tiny_clips.spec().completed(tiny_clips.CLIP)
  space = bottleneck_transformer.make_part('conv2d', spec, C, stride=2)
  time = bottleneck_transformer.make_part('conv1d', spec, C)
  assert type(space) is x2plus1d.SpatialConvolution
  assert type(time) is x2plus1d.TemporalConvolution
  assert time(space(X)).shape == (2, T, H // 2, W // 2, C)
  assert space.conv.kernel.shape == (3, 3, C, C)
  assert time.conv.kernel.shape == (3, 1, C, C)


@pytest.mark.parametrize('name', PARTS)
def test_gradients_reach_every_weight(name):
  part = make(name)
  assert part.name == name
  x = tf.constant(X)
  with tf.GradientTape() as tape:
    tape.watch(x)
    slope = np.random.default_rng(6).normal(size=X.shape)
    total = tf.reduce_sum(part(x) * slope)
  for gradient in tape.gradient(total, [x, *part.trainable_variables]):
    assert np.abs(gradient).max() > 1e-3


@pytest.mark.parametrize('name', PARTS)
def test_examples_do_not_see_each_other(name):
  part = make(name)
  close(part(X), np.concatenate([part(X[:1]), part(X[1:])]))


def convert(part, batch):
  """A flatbuffer; built-ins only, so Flex or custom operations are errors."""
  function = tf.function(
      part, autograph=False,
      input_signature=[tf.TensorSpec([batch, *X.shape[1:]])])
  holder = tf.Module()  # A layer would be saved with all that Keras needs.
  holder.variables_of_part = part.variables
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
      [function.get_concrete_function()], holder)
  converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
  return converter.convert()


@pytest.mark.parametrize('batch', [1, None])
@pytest.mark.parametrize('name, kwargs', [
    *[(name, {}) for name in PARTS],
    *[('token_learner', {'tokenizer': name})
      for name in bottleneck_spec.TOKENIZERS[1:]]])
def test_converts_without_flex(name, kwargs, batch):
  part, x = make(name, **kwargs), X[:batch]
  interpreter = litert.Interpreter(
      model_content=convert(part, batch), num_threads=1)
  (detail,) = interpreter.get_input_details()
  interpreter.resize_tensor_input(detail['index'], x.shape)
  interpreter.allocate_tensors()
  interpreter.set_tensor(detail['index'], x)
  interpreter.invoke()
  (detail,) = interpreter.get_output_details()
  np.testing.assert_allclose(
      interpreter.get_tensor(detail['index']), part(x), atol=1e-4)
