"""BottleneckTransformer."""

import dataclasses
import json
import os
import subprocess
import sys

from ai_edge_litert import interpreter as litert
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tests.backbones import tiny_clips
from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.backbones import bottleneck_spec

CLIPS = tiny_clips.clips()
ALL = [
    *[dict(module=name) for name in bottleneck_spec.MODULES],
    *[dict(tokenizer=name) for name in bottleneck_spec.TOKENIZERS[1:]],
]
SOME = [dict(), dict(module='conv2d_spatial_temporal_transformer'),
        dict(module='conv2d_mlp_mixer', representation_size=None),
        dict(tokenizer='fixed_split')]
label = lambda kwargs: '-'.join(map(str, kwargs.values())) or 'default'


def equal(ours, theirs, **kwargs):
  assert set(ours) == set(theirs)
  for name in ours:
    np.testing.assert_allclose(
        ours[name], theirs[name], **{**layer_checks.CLOSE, **kwargs})


@pytest.mark.parametrize('kwargs', ALL, ids=label)
def test_equals_its_parts(kwargs):
  model = tiny_clips.shared(**kwargs)
  x = model.stem(CLIPS)
  for block in model.blocks:
    y = block.expand(x)
    for part in block.inside:
      y = part(y)
    x = tf.nn.relu(block.shortcut(x) + block.reduce(y))
  x = model.head_convolution(x)
  assert x.shape == (2, *tiny_clips.MAP, 8)
  pooled = x.numpy().mean(axis=(1, 2, 3))
  outputs = model(CLIPS)
  equal(outputs, {
      'features': tf.reshape(x, [2, -1, 8]),
      'pre_logits': np.maximum(
          pooled @ model.pre_logits.kernel + model.pre_logits.bias, 0)})
  assert np.ptp(outputs['features'], axis=0).max() > .01


def test_without_representation():
  outputs = tiny_clips.shared(representation_size=None)(CLIPS)
  np.testing.assert_allclose(
      outputs['pre_logits'], outputs['features'].numpy().mean(axis=1),
      **layer_checks.CLOSE)


def test_blocks_hold_what_the_spec_says():
  model = tiny_clips.shared(module='spatial_token_learner',
                           num_blocks=[1, 2, 1, 3], num_module_blocks=2)
  names = [[part.name for part in block.inside] for block in model.blocks]
  plain = ['conv2d', 'conv1d']
  assert names == [plain] * 5 + [['spatial_transformer', 'token_learner']] * 2
  assert [block.name for block in model.blocks] == [
      'stage1_0', 'stage2_0', 'stage2_1', 'stage3_0', 'stage4_0', 'stage4_1',
      'stage4_2']


@pytest.mark.parametrize('module', [
    'token_learner', 'conv2d_token_learner', 'spatial_token_learner'])
def test_attention_maps_are_those_of_the_first_module(module):
  model = tiny_clips.shared(
      module=module, num_blocks=[1, 1, 1, 3], num_module_blocks=2)
  x = model.stem(CLIPS)
  for block in model.blocks[:-2]:
    x = block(x)
  x = model.blocks[-2].expand(x)
  for part in model.blocks[-2].inside[:-1]:
    x = part(x)
  maps = model.attention_maps(CLIPS)
  assert maps.shape == (2, 4, 2, 2, 3)
  np.testing.assert_allclose(
      maps, model.blocks[-2].inside[-1].attention(x), **layer_checks.CLOSE)
  assert np.ptp(maps) > 1e-4 and 0 < np.min(maps) and np.max(maps) < 1 / 6


@pytest.mark.parametrize('kwargs, message', [
    (dict(module='conv2d_mlp_mixer'),
     'attention_maps: module=conv2d_mlp_mixer has no TokenLearner'),
    (dict(tokenizer='dense'), 'attention_maps: the tokens come from dense'),
])
def test_no_attention_maps(kwargs, message):
  with pytest.raises(ValueError, match=message):
    tiny_clips.shared(**kwargs).attention_maps(CLIPS)


@pytest.mark.parametrize('kwargs', SOME, ids=label)
def test_rebuilt_from_config_and_checkpoint(kwargs, tmp_path):
  model = tiny_clips.shared(**kwargs)
  config = model.get_config()
  assert set(config) == {'spec', 'input_size', 'name'}
  assert config['spec'] == dataclasses.asdict(tiny_clips.spec(**kwargs))
  again = backbones.BottleneckTransformer.from_config(
      json.loads(json.dumps(config)))  # Tuples come back as lists.
  assert again.get_config() == config
  path = tf.train.Checkpoint(model=model).save(str(tmp_path / 'ckpt'))
  tf.train.Checkpoint(model=again).restore(path).assert_consumed()
  equal(again(CLIPS), model(CLIPS))


def test_weights_have_names_of_their_own():
  names = [weight.name for weight in tiny_clips.shared().weights]
  assert len(set(names)) == len(names)
  assert all('/stage' in name or '/stem/' in name or '/head_convolution/' in
             name or '/pre_logits/' in name for name in names)


def test_keras_file(tmp_path):
  model = tiny_clips.shared()
  model.save(tmp_path / 'model.keras')
  loaded = tf_keras.models.load_model(tmp_path / 'model.keras')
  assert type(loaded) is backbones.BottleneckTransformer
  equal(loaded(CLIPS), model(CLIPS))


def test_hdf5_weights(tmp_path):
  model, other = tiny_clips.model(), tiny_clips.model()
  for weight in other.weights:
    weight.assign(weight + 1)
  model.save_weights(tmp_path / 'weights.h5')
  other.load_weights(tmp_path / 'weights.h5')
  equal(other(CLIPS), model(CLIPS))


def test_saved_model_takes_any_batch(tmp_path):
  """Moving statistics, after training has changed them, are included."""
  model = tiny_clips.model()
  model(CLIPS, training=True)
  tf.saved_model.save(model, str(tmp_path / 'saved'))
  serve = tf.saved_model.load(str(tmp_path / 'saved')).signatures[
      'serving_default']
  for batch in (1, 3):
    clips = tiny_clips.clips(batch)
    equal(serve(tf.constant(clips)), model(clips))


@pytest.mark.parametrize('kwargs', SOME, ids=label)
def test_examples_do_not_see_each_other(kwargs):
  model = tiny_clips.shared(**kwargs)
  function = tf.function(
      model, input_signature=[tf.TensorSpec([None, *tiny_clips.CLIP])])
  one_by_one = [model(CLIPS[i:i + 1]) for i in range(2)]
  equal(function(CLIPS), {
      name: tf.concat([outputs[name] for outputs in one_by_one], axis=0)
      for name in one_by_one[0]})


_TWO_REPLICAS = '''
import sys
import numpy as np
import tensorflow as tf
from tests.backbones import tiny_clips
cpu = tf.config.list_physical_devices('CPU')[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
with strategy.scope():
  model = tiny_clips.shared()
clips = tiny_clips.clips(4)
def share(*slices):
  return strategy.experimental_distribute_values_from_function(
      lambda context: tf.constant(
          clips[slices[context.replica_id_in_sync_group]]))

@tf.function
def step(clips, training):
  outputs = strategy.run(
      lambda x: model(x, training=training)['features'], [clips])
  return strategy.experimental_local_results(outputs)

uneven = step(share(slice(0, 1), slice(1, 1)), False)
training = step(share(slice(0, 2), slice(2, 4)), True)
np.savez(sys.argv[1], *model.get_weights(), training=tf.concat(training, 0),
         alone=uneven[0], none=uneven[1])
'''


def test_two_replicas_are_one(tmp_path):
  """Replicas share statistics, and one of them may get an empty batch."""
  program = tmp_path / 'two_replicas.py'
  program.write_text(_TWO_REPLICAS)
  done = subprocess.run(
      [sys.executable, str(program), str(tmp_path / 'answer.npz')],
      capture_output=True, text=True, check=False,
      env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)})
  assert done.returncode == 0, done.stderr[-3000:]
  model, clips = tiny_clips.model(), tiny_clips.clips(4)
  with np.load(tmp_path / 'answer.npz') as answer:
    assert answer['none'].shape == (0, 24, 8)
    np.testing.assert_allclose(
        answer['alone'], model(clips[:1])['features'], **layer_checks.CLOSE)
    np.testing.assert_allclose(
        answer['training'], model(clips, training=True)['features'], atol=1e-3)
    for i, weight in enumerate(model.weights):
      np.testing.assert_allclose(  # The fused kernel divides by one less.
          answer[f'arr_{i}'], weight, rtol=2e-3, atol=1e-5)


def test_training_moves_statistics_and_every_weight_learns():
  model = tiny_clips.model()
  before = [weight.numpy() for weight in model.non_trainable_variables]
  with tf.GradientTape() as tape:
    outputs = model(CLIPS, training=True)
    slope = np.random.default_rng(7).normal(size=outputs['features'].shape)
    total = tf.reduce_sum(outputs['features'] * slope)
    total += tf.reduce_sum(outputs['pre_logits'])
  for weight, value in zip(model.non_trainable_variables, before):
    assert np.abs(weight - value).max() > 1e-4, weight.name
  gradients = tape.gradient(total, model.trainable_variables)
  for weight, gradient in zip(model.trainable_variables, gradients):
    assert np.abs(gradient).max() > 0, weight.name
  assert np.abs(model(CLIPS)['features'] - outputs['features']).max() > .01


def test_fits_two_clips():
  """From its own start, whose modules and branches add nothing."""
  tf_keras.utils.set_random_seed(1)
  model = backbones.Classifier(
      backbones.BottleneckTransformer(
          tiny_clips.spec(norm_momentum=.5, stage_widths=[4, 4, 6, 6],
                          representation_size=None), tiny_clips.CLIP), 2)
  optimizer = tf_keras.optimizers.Adam(.02)
  step = tf.function(lambda: _train_step(model, optimizer))
  losses = [float(step()) for _ in range(30)]
  assert losses[0] == pytest.approx(np.log(2), abs=1e-3)  # The head is zero.
  assert losses[-1] < .1
  assert tf.argmax(model(CLIPS), axis=1).numpy().tolist() == [0, 1]
  assert np.abs(model.backbone.blocks[-1].inside[-1].fuser.mix.kernel).max() > 0


def _train_step(model, optimizer):
  with tf.GradientTape() as tape:
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
        [0, 1], model(CLIPS, training=True)))
  gradients = tape.gradient(loss, model.trainable_variables)
  optimizer.apply_gradients(zip(gradients, model.trainable_variables))
  return loss


@pytest.mark.parametrize('kwargs', [
    *SOME, dict(module='joint_mhsa'), dict(tokenizer='frame_pooling'),
], ids=label)
def test_weights_fit_other_heights_and_widths(kwargs):
  """The paper tests on larger frames than it trains on."""
  large = (4, 96, 80, 3)
  model = tiny_clips.shared(**kwargs)
  rebuilt = backbones.BottleneckTransformer(tiny_clips.spec(**kwargs), large)
  rebuilt.set_weights(model.get_weights())
  clips = tiny_clips.clips(input_size=large)
  assert rebuilt(clips)['features'].shape == (2, 4 * 3 * 3, 8)
  equal(model(clips), rebuilt(clips))


def test_dense_tokenizer_belongs_to_one_size():
  other = backbones.BottleneckTransformer(
      tiny_clips.spec(tokenizer='dense'), (4, 96, 80, 3))
  with pytest.raises(ValueError, match='not compatible'):
    other.set_weights(tiny_clips.shared(tokenizer='dense').get_weights())


def test_number_of_frames_is_part_of_the_weights():
  with pytest.raises(ValueError, match='not compatible'):
    backbones.BottleneckTransformer(
        tiny_clips.spec(), (2, 64, 96, 3)).set_weights(
            tiny_clips.shared().get_weights())


@pytest.fixture(name='half')
def fixture_half(request):
  tf_keras.mixed_precision.set_global_policy(f'mixed_{request.param}')
  yield request.param
  tf_keras.mixed_precision.set_global_policy('float32')


@pytest.mark.parametrize('kwargs, half', [
    *[(kwargs, 'bfloat16') for kwargs in SOME], (SOME[0], 'float16'),
], indirect=['half'])
def test_mixed_precision(kwargs, half):
  model = tiny_clips.model(**kwargs)
  outputs = model(CLIPS)
  assert {x.dtype for x in outputs.values()} == {tf.as_dtype(half)}
  assert {weight.dtype for weight in model.weights} == {tf.float32}
  assert model(CLIPS, training=True)['features'].dtype == half
  tf_keras.mixed_precision.set_global_policy('float32')
  full = tiny_clips.shared(**kwargs)(CLIPS)
  for name, value in outputs.items():
    np.testing.assert_allclose(
        tf.cast(value, tf.float32), full[name], rtol=0,
        atol=.1 * np.abs(full[name]).max())


def test_converts_without_flex():
  """The whole of one; each module by itself is in test_bottleneck_modules."""
  model = tiny_clips.shared()
  function = tf.function(
      lambda clips: {'pre_logits': model(clips)['pre_logits']},
      input_signature=[tf.TensorSpec([None, *tiny_clips.CLIP], name='clips')])
  holder = tf.Module()  # A model would be saved with all that Keras needs.
  holder.variables_of_model = model.variables
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
      [function.get_concrete_function()], holder)
  converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
  clips = CLIPS
  interpreter = litert.Interpreter(
      model_content=converter.convert(), num_threads=1)
  (detail,) = interpreter.get_input_details()
  interpreter.resize_tensor_input(detail['index'], clips.shape)
  outputs = interpreter.get_signature_runner()(clips=clips)
  np.testing.assert_allclose(
      outputs['pre_logits'], model(clips)['pre_logits'], atol=1e-4)


def test_spec_may_be_the_dict_of_one():
  model = backbones.BottleneckTransformer(
      dataclasses.asdict(tiny_clips.spec(num_tokens=3)), tiny_clips.CLIP)
  assert model.spec == tiny_clips.spec(num_tokens=3)


def test_refuses_spec():
  with pytest.raises(errors.UserError, match='num_tokens must be'):
    backbones.BottleneckTransformer(
        tiny_clips.spec(num_tokens=0), tiny_clips.CLIP)
