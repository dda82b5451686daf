"""Arrays of an official checkpoint go in whole, or not at all."""

import numpy as np
import pytest
import tensorflow as tf

from tests import goldens
from tests.backbones import tiny
from tf_tokenlearner import backbones
from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner.checkpoints import scenic
from tf_tokenlearner import errors
from tf_tokenlearner import layers


def make():
  """A TokenLearnerV11 and arrays that fit it."""
  params = goldens.read('token_learner_v11').params
  layer = layers.TokenLearnerV11(num_tokens=5, bottleneck_dim=12)
  layer.build([None, 36, 16])
  return layer, params


def assign(layer, params):
  flax_names.assign(flax_names.token_learner_entries(layer), params)


def test_assign_gives_every_array():
  layer, params = make()
  assign(layer, params)
  for variable, name in [
      (layer.norm.gamma, 'LayerNorm_0/scale'),
      (layer.norm.beta, 'LayerNorm_0/bias'),
      (layer.mlp.hidden.kernel, 'token_masking/Dense_0/kernel'),
      (layer.mlp.hidden.bias, 'token_masking/Dense_0/bias'),
      (layer.mlp.output_dense.kernel, 'token_masking/Dense_1/kernel'),
      (layer.mlp.output_dense.bias, 'token_masking/Dense_1/bias')]:
    np.testing.assert_array_equal(variable, params[name])
  assert len(params) == len(layer.weights) == 6


def test_all_problems_are_told_and_nothing_is_changed():
  layer, params = make()
  before = layer.get_weights()
  del params['LayerNorm_0/bias']
  params['LayerNorm_1/bias'] = np.zeros(3, 'float32')
  params['token_masking/Dense_1/kernel'] = np.zeros([12, 6], 'float32')
  with pytest.raises(errors.UserError) as caught:
    assign(layer, params)
  assert str(caught.value).splitlines() == [
      'The checkpoint does not fit the model:',
      '  missing: LayerNorm_0/bias',
      '  other shape: token_masking/Dense_1/kernel [(12, 6)] does not fit '
      f'{layer.mlp.output_dense.kernel.name} (12, 5)',
      '  left over: LayerNorm_1/bias']
  for now, then in zip(layer.get_weights(), before):
    np.testing.assert_array_equal(now, then)


def test_one_problem_is_one_line():
  layer, params = make()
  kernel = params['token_masking/Dense_1/kernel']
  params['token_masking/Dense_1/kernel'] = kernel.T
  with pytest.raises(errors.UserError) as caught:
    flax_names.assign(flax_names.token_learner_entries(layer), params,
                       'FILE is damaged')
  assert str(caught.value) == (
      'FILE is damaged: other shape: token_masking/Dense_1/kernel [(5, 12)] '
      f'does not fit {layer.mlp.output_dense.kernel.name} (12, 5), but its '
      'transpose does')


@pytest.mark.parametrize('kind', [object, str, complex])
def test_what_is_no_number_is_refused(kind):
  """TensorFlow would cast it."""
  layer, params = make()
  before = layer.get_weights()
  params['LayerNorm_0/bias'] = params['LayerNorm_0/bias'].astype(kind)
  with pytest.raises(errors.UserError, match='no numbers: LayerNorm_0/bias '
                     f'holds {params["LayerNorm_0/bias"].dtype}'):
    assign(layer, params)
  for now, then in zip(layer.get_weights(), before):
    np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize('dtype', ['float16', 'float64', tf.bfloat16, 'int8'])
def test_every_kind_of_number_is_taken(dtype):
  layer, params = make()
  params['LayerNorm_0/bias'] = np.arange(16).astype(
      tf.as_dtype(dtype).as_numpy_dtype)
  assign(layer, params)
  np.testing.assert_array_equal(layer.norm.beta, np.arange(16))


def test_arrays_that_cannot_even_be_joined():
  """Query, key and value of one block, one of them of another width."""
  block = layers.TransformerEncoderBlock(num_heads=2, mlp_dim=12)
  block.build([None, 6, 8])
  prefix = 'encoderblock_0/'
  entries = list(flax_names.block_entries(block, prefix))
  params = {name: np.zeros([8, 2, 4]) for name in entries[2].sources}
  first = entries[2].sources[0]
  params[first] = np.zeros([9, 2, 4])
  with pytest.raises(errors.UserError) as caught:
    flax_names.assign(entries[2:3], params)
  assert (f'{", ".join(entries[2].sources)} [(9, 2, 4), (8, 2, 4), (8, 2, 4)] '
          'does not fit') in str(caught.value)


@pytest.mark.parametrize('entry', [2, 3, 4])
def test_another_number_of_heads_is_refused(entry):
  """The folded kernels would have the same size, and the model be wrong."""
  block = layers.TransformerEncoderBlock(num_heads=2, mlp_dim=12)
  block.build([None, 6, 8])
  entry = list(flax_names.block_entries(block, ''))[entry]
  shape = {1: [4, 2], 3: [8, 4, 2]}[1 if 'bias' in entry.sources[0] else 3]
  if 'out' in entry.sources[0]:
    shape = [4, 2, 8]
  params = {name: np.zeros(shape) for name in entry.sources}
  with pytest.raises(errors.UserError, match='does not fit'):
    flax_names.assign([entry], params)


def test_flatten():
  tree = {'a': {'b': {'c': [1, 2]}, 'd': np.float32(3)}, 'e/f': 4}
  flat = flax_names.flatten(tree)
  assert {name: value.tolist() for name, value in flat.items()} == {
      'a/b/c': [1, 2], 'a/d': 3, 'e/f': 4}


def test_lists_of_several_lengths_are_no_array():
  with pytest.raises(errors.UserError, match='^a/b is no array.$'):
    flax_names.flatten({'a': {'b': [[1], [2, 3]]}})


@pytest.mark.parametrize('kwargs', [
    dict(pooler='token', representation_size=5),
    dict(token_learner_location=[0, 2], num_tokens=[4, 2]),
    dict(token_learner_location=1, token_learner=tiny.V10,
         use_token_fuser=True),
])
def test_every_variable_has_one_entry(kwargs):
  model = backbones.Classifier(tiny.vit(**kwargs), 5)
  entries = list(flax_names.classifier_entries(model))
  assert sorted(entry.variable.name for entry in entries) == sorted(
      variable.name for variable in model.variables)
  sources = [source for entry in entries for source in entry.sources]
  assert len(set(sources)) == len(sources)


@pytest.mark.parametrize('make, kwargs', [
    (tiny.vivit, dict(pooler='token', representation_size=5)),
    (tiny.vivit, dict(token_learner_location=[0, 2], num_tokens=[4, 2])),
    (tiny.factorized, dict(pooler='token')),
    (tiny.factorized, dict(token_learner_location=3, representation_size=5)),
])
def test_every_variable_of_a_video_model_has_one_entry(make, kwargs):
  model = backbones.Classifier(make(**kwargs), 5)
  entries = list(flax_names.classifier_entries(model))
  assert sorted(entry.variable.name for entry in entries) == sorted(
      variable.name for variable in model.variables)
  sources = [source for entry in entries for source in entry.sources]
  assert len(set(sources)) == len(sources)


def test_a_model_without_official_checkpoints():
  class Other(backbones.VisionTransformer):
    pass

  model = backbones.Classifier(Other(tiny.spec(), tiny.IMAGE), 5)
  with pytest.raises(
      errors.UserError, match='There are no official checkpoints of Other; '
      'they fit VisionTransformer, VideoVisionTransformer, Factorized'):
    scenic.load_scenic(model, {})


@pytest.mark.parametrize('kwargs, kind', [
    (tiny.POOLED, 'GridPooling'),
    (dict(use_token_fuser=True, fuser='reprojection'), 'TokenReprojection'),
    (dict(use_token_fuser=True, fuser='unpooling', token_learner=tiny.MEANS),
     'TokenUnpooling'),
])
def test_what_the_official_code_does_not_have_is_refused(kwargs, kind):
  model = backbones.Classifier(tiny.vit(token_learner_location=1, **kwargs), 5)
  with pytest.raises(
      errors.UserError, match=f'There are no official checkpoints with {kind}; '
      'they have tokenizer=token_learner and fuser=token_fuser.'):
    scenic.load_scenic(model, {})


def test_patches_do_not_become_tubelets_of_several_frames():
  golden = goldens.read('vivit_token_learner_temporal_sampling')
  model = backbones.Classifier(tiny.vivit(), 5)
  with pytest.raises(errors.UserError, match=r'other shape: embedding/kernel '
                     r'\[\(8, 8, 3, 24\)\] does not fit .* \(2, 4, 4, 3, 8\)'):
    scenic.load_scenic(model, golden.params)


def test_whole_model_is_left_as_it_was():
  golden = goldens.read('vit_token_learner_v11')
  model = backbones.Classifier(tiny.vit(token_learner_location=1), 5)
  before = [tf.identity(variable) for variable in model.variables]
  with pytest.raises(errors.UserError, match='The checkpoint does not fit'):
    scenic.load_scenic(model, golden.params)
  for variable, value in zip(model.variables, before):
    np.testing.assert_array_equal(variable, value)
