"""Properties of all vision transformers, for images and clips."""

import dataclasses
import json
from typing import Any, Callable, NamedTuple, Tuple

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tests import numpy_layers
from tests.backbones import tiny
from tf_tokenlearner import backbones
from tf_tokenlearner import errors

POOL = {
    'gap': lambda x: x.mean(axis=1),
    'gmp': lambda x: x.max(axis=1),
    'gsp': lambda x: x.sum(axis=1),
    'token': lambda x: x[:, 0],
}


class Kind(NamedTuple):
  """A backbone, and what its plain form gives.

  Attributes:
    model_class: the class.
    make: makes a tiny one, weights drawn.
    make_spec: makes the spec of it.
    input_size: of what it takes.
    plain: tokens that leave it without TokenLearner.
    learned: tokens that leave it with 4 learned ones at location 1.
  """
  model_class: type
  make: Callable[..., tf_keras.Model]
  make_spec: Callable[..., Any]
  input_size: Tuple[int, ...]
  plain: int
  learned: int

  def shared(self, **kwargs):
    return tiny.shared(self.make, **kwargs)

  def inputs(self, batch=2):
    rng = np.random.default_rng(6)
    return rng.uniform(-1, 1, [batch, *self.input_size]).astype('float32')


KINDS = [
    Kind(backbones.VisionTransformer, tiny.vit, tiny.spec, tiny.IMAGE,
         plain=6, learned=4),
    Kind(backbones.VideoVisionTransformer, tiny.vivit, tiny.vivit_spec,
         tiny.CLIP, plain=18, learned=12),
    Kind(backbones.FactorizedVideoVisionTransformer, tiny.factorized,
         tiny.factorized_spec, tiny.CLIP, plain=3, learned=12),
]
kind_name = lambda x: x.model_class.__name__ if isinstance(x, Kind) else None
every_kind = pytest.mark.parametrize('kind', KINDS, ids=kind_name)


def equal(ours, theirs):
  assert set(ours) == set(theirs)
  for name in ours:
    np.testing.assert_allclose(ours[name], theirs[name], **layer_checks.CLOSE)


@every_kind
@pytest.mark.parametrize('pooler', POOL)
def test_poolers_equal_numpy(kind, pooler):
  outputs = kind.shared(pooler=pooler)(kind.inputs())
  tokens = kind.plain + (pooler == 'token')
  assert outputs['features'].shape == (2, tokens, 8)
  np.testing.assert_allclose(
      outputs['pre_logits'], POOL[pooler](outputs['features'].numpy()),
      **layer_checks.CLOSE)


def test_every_pooler_is_tested():
  # Goldens of pretrained models hold these two: checkpoints/test_pretrained.py.
  goldens = {'token_and_mean', 'attention'}
  assert set(POOL) | goldens == set(backbones.specs.POOLERS)


@every_kind
def test_representation_is_a_tanh_layer(kind):
  model = kind.shared(representation_size=5, token_learner_location=1)
  outputs = model(kind.inputs())
  assert outputs['features'].shape == (2, kind.learned, 8)
  pooled = outputs['features'].numpy().mean(axis=1)
  np.testing.assert_allclose(
      outputs['pre_logits'],
      np.tanh(numpy_layers.dense(pooled, model.pre_logits)),
      **layer_checks.CLOSE)


@every_kind
def test_dropout_in_training_only(kind):
  rates = dict(dropout_rate=.5, attention_dropout_rate=.5,
               stochastic_depth_rate=.5)
  x = kind.inputs()
  equal(kind.shared(**rates)(x), kind.shared()(x))
  trained = kind.shared(**rates)(x, training=True)['pre_logits']
  assert np.abs(trained - kind.shared()(x)['pre_logits']).max() > .1


@pytest.mark.parametrize('kind, kwargs', [
    *[(kind, dict(token_learner_location=[1, 2], num_tokens=[4, 2]))
      for kind in KINDS],
    (KINDS[0], dict(token_learner_location=1, token_learner=tiny.V10)),
    (KINDS[1], dict(pooler='token')),
], ids=kind_name)
def test_rebuilt_from_config_and_checkpoint(kind, kwargs, tmp_path):
  model = kind.shared(**kwargs)
  config = model.get_config()
  assert set(config) == {'spec', 'input_size', 'name'}
  assert config['spec'] == dataclasses.asdict(
      kind.make_spec(**kwargs).completed(kind.input_size))
  again = kind.model_class.from_config(
      json.loads(json.dumps(config)))  # Tuples come back as lists.
  assert again.get_config() == config
  path = tf.train.Checkpoint(model=model).save(str(tmp_path / 'ckpt'))
  tf.train.Checkpoint(model=again).restore(path).assert_consumed()
  equal(again(kind.inputs()), model(kind.inputs()))


@every_kind
def test_keras_file(kind, tmp_path):
  model = kind.shared(token_learner_location=1)
  model.save(tmp_path / 'model.keras')
  loaded = tf_keras.models.load_model(tmp_path / 'model.keras')
  assert type(loaded) is kind.model_class
  equal(loaded(kind.inputs()), model(kind.inputs()))


@every_kind
def test_saved_model_before_the_first_call(kind, tmp_path):
  model = kind.make(token_learner_location=1)
  tf.saved_model.save(model, str(tmp_path / 'saved'))
  serve = tf.saved_model.load(str(tmp_path / 'saved')).signatures[
      'serving_default']
  equal(serve(tf.constant(kind.inputs(1))), model(kind.inputs(1)))


@every_kind
def test_spec_may_be_the_dict_of_one(kind):
  patch = 'Ti/4' if kind.input_size == tiny.IMAGE else 'Ti/4x2'
  model = kind.model_class(
      {'variant': patch, 'num_layers': 1, 'token_learner_location': 0},
      kind.input_size)
  assert model.spec.token_learner == backbones.TokenLearnerSpec()
  assert (model.spec.hidden_size, model.spec.num_heads) == (192, 3)


@pytest.fixture
def set_policy():
  yield tf_keras.mixed_precision.set_global_policy
  tf_keras.mixed_precision.set_global_policy('float32')


@pytest.mark.parametrize('kind, dtype', [
    *[(kind, 'bfloat16') for kind in KINDS], (KINDS[0], 'float16'),
], ids=kind_name)
def test_global_policy(kind, dtype, set_policy):
  full = kind.shared(token_learner_location=1)(kind.inputs())
  set_policy(f'mixed_{dtype}')
  half = kind.make(token_learner_location=1)
  outputs = half(kind.inputs())
  assert {x.dtype for x in outputs.values()} == {tf.as_dtype(dtype)}
  assert {weight.dtype for weight in half.weights} == {tf.float32}
  assert half.attention_maps(tf.constant(kind.inputs())).dtype == dtype
  for name, value in outputs.items():
    assert full[name].dtype == tf.float32
    np.testing.assert_allclose(
        tf.cast(value, tf.float32), full[name], atol=.1)


@every_kind
def test_any_batch_compiled(kind):
  """Three examples, one and none: a replica may get nothing of a batch."""
  model = kind.shared(token_learner_location=1)
  signature = [tf.TensorSpec([None, *kind.input_size])]
  for jit_compile in (False, True):
    function = tf.function(
        model, input_signature=signature, jit_compile=jit_compile)
    equal(function(kind.inputs(3)), model(kind.inputs(3)))
    equal(function(kind.inputs(1)), model(kind.inputs(1)))
  outputs = tf.function(model, input_signature=signature)(kind.inputs(0))
  assert outputs['features'].shape == (0, kind.learned, 8)
  assert outputs['pre_logits'].shape == (0, 8)


@every_kind
def test_every_variable_has_a_gradient(kind):
  model = kind.shared(token_learner_location=1)
  slope = np.random.default_rng(2).normal(size=[2, 8])
  with tf.GradientTape() as tape:
    total = tf.reduce_sum(model(kind.inputs(), training=True)['pre_logits']
                          * slope)
  gradients = tape.gradient(total, model.trainable_variables)
  for variable, gradient in zip(model.trainable_variables, gradients):
    has_effect = 'token_learner/mlp/output_dense/bias' not in variable.name
    assert (np.abs(gradient).max() > 1e-5) == has_effect, variable.name


@every_kind
def test_variables_have_names_of_their_own(kind):
  names = [weight.name for weight in kind.shared(pooler='token').weights]
  assert len(set(names)) == len(names)


@every_kind
def test_refuses_a_policy_of_its_own(kind):
  with pytest.raises(TypeError, match='dtype'):
    kind.model_class(kind.make_spec(), kind.input_size, dtype='float16')


@every_kind
def test_refuses_spec(kind):
  with pytest.raises(errors.UserError, match='token_learner_location=7'):
    kind.model_class(
        kind.make_spec(token_learner_location=7), kind.input_size)


@every_kind
def test_refuses_spec_of_another_kind(kind):
  other = KINDS[KINDS.index(kind) - 1]
  with pytest.raises(ValueError, match=(
      f'{kind.model_class.__name__}: spec must be a '
      f'{type(kind.make_spec()).__name__}, got a '
      f'{type(other.make_spec()).__name__}')):
    kind.model_class(other.make_spec(), kind.input_size)


@pytest.mark.parametrize('make', [tiny.vit, tiny.vivit, tiny.factorized])
def test_freeze_below(make):
  """Frozen parts have no dropout and no trainable variables."""
  rates = dict(dropout_rate=.5, attention_dropout_rate=.5)
  model = make(**rates, token_learner_location=2)
  inputs = tf.random.normal([2, *model.input_size])
  model.freeze_below(2)
  stages = model.first_encoder.stages
  assert not any(stage.trainable_variables for stage in stages[:2])
  assert all(stage.trainable_variables for stage in stages[2:])
  assert not any('_embedding/' in v.name and 'temporal' not in v.name
                 for v in model.trainable_variables)
  tokens = []
  learner = stages[2]
  call = learner.call
  learner.call = lambda x, training=None: tokens.append(x) or call(
      x, training=training)
  evaluated = model(inputs, training=False)['features']
  trained = model(inputs, training=True)['features']
  np.testing.assert_array_equal(tokens[0], tokens[1])
  assert not np.allclose(evaluated, trained)
  split = model.upper(model.lower(inputs), training=False)
  np.testing.assert_array_equal(split['features'], evaluated)
  with pytest.raises(errors.UserError, match='freeze_below=3 expects 3 blocks'):
    model.freeze_below(3)
