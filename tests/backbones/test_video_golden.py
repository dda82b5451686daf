"""Whole video models equal the official ones."""

import numpy as np
import pytest
import tensorflow as tf

from tests import goldens
from tf_tokenlearner import backbones
from tf_tokenlearner.checkpoints import scenic

NAMES = sorted(path.stem for path in goldens.FOLDER.glob('vivit_*.npz'))
FACTORIZED = [name for name in NAMES if 'factorized' in name]
JOINT = [name for name in NAMES if name not in FACTORIZED]


def classifier(backbone, golden):
  model = backbones.Classifier(backbone, golden.kwargs['num_classes'])
  scenic.load_scenic(model, golden.params)
  return model


def make_joint(golden):
  kwargs = golden.kwargs
  tokenizer = kwargs.get('tokenizer')
  embedding = (tokenizer or kwargs)['temporal_encoding_config']
  height, width, *frames = (tokenizer or kwargs)['patches']['size']
  options = {} if tokenizer is None else dict(
      token_learner_location=tokenizer['tokenlearner_loc'],
      num_tokens=tokenizer['num_tokens'],
      use_token_fuser=tokenizer['use_tokenfuse'],
      token_learner=backbones.TokenLearnerSpec(
          'v1.1' if tokenizer['use_v11'] else 'v1.0'))
  spec = backbones.ViViTSpec(
      variant='Ti/16x2', tubelet_size=[*(frames or [1]), height, width],
      tubelet_embedding=embedding['method'],
      num_sampled_frames=embedding.get('n_sampled_frames'),
      pooler=kwargs['classifier'],
      representation_size=kwargs['representation_size'], **options,
      **{key: kwargs[key]
         for key in ('num_layers', 'hidden_size', 'mlp_dim', 'num_heads')})
  return classifier(backbones.VideoVisionTransformer(
      spec, golden.inputs['video'].shape[1:]), golden)


def make_factorized(golden):
  kwargs = golden.kwargs
  height, width, frames = kwargs['patches']['size']
  spec = backbones.FactorizedViViTSpec(
      variant='Ti/16x2', tubelet_size=[frames, height, width],
      hidden_size=kwargs['hidden_size'], pooler=kwargs['classifier'],
      num_layers=kwargs['spatial_num_layers'],
      mlp_dim=kwargs['spatial_mlp_dim'], num_heads=kwargs['spatial_num_heads'],
      **{key: kwargs[key] for key in (
          'temporal_num_layers', 'temporal_mlp_dim', 'temporal_num_heads')})
  return classifier(backbones.FactorizedVideoVisionTransformer(
      spec, golden.inputs['video'].shape[1:]), golden)


def check_outputs(model, golden):
  endpoints = model.endpoints(tf.constant(golden.inputs['video']))
  for ours, theirs in [('features', 'encoded'), ('pre_logits', 'pre_logits'),
                       ('logits', 'logits')]:
    np.testing.assert_allclose(
        endpoints[ours], golden.outputs[theirs], atol=1e-5, rtol=1e-5)


def test_every_video_model_is_here():
  assert len(JOINT) == 5 and len(FACTORIZED) == 2


@pytest.mark.parametrize('name', JOINT)
def test_joint_equals_scenic(name):
  golden = goldens.read(name)
  model = make_joint(golden)
  check_outputs(model, golden)
  if 'tokens' not in golden.outputs:
    return
  x = model.backbone.embed(tf.constant(golden.inputs['video']))
  block_0, block_1, learn_or_fuse = model.backbone.encoder.stages[:3]
  frames = tf.reshape(block_1(block_0(x)), [2 * 4, 16, 24])
  np.testing.assert_allclose(
      learn_or_fuse.token_learner(frames), golden.outputs['tokens'],
      atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('name', FACTORIZED)
def test_factorized_equals_scenic(name):
  golden = goldens.read(name)
  check_outputs(make_factorized(golden), golden)


def test_sampled_frames_are_those_of_scenic():
  """The other frames have no say."""
  golden = goldens.read('vivit_token_learner_temporal_sampling')
  model = make_joint(golden)
  clips = np.zeros_like(golden.inputs['video'])
  clips[:, [2, 3, 5, 6]] = golden.inputs['video'][:, [2, 3, 5, 6]]
  np.testing.assert_allclose(
      model(clips), golden.outputs['logits'], atol=1e-5, rtol=1e-5)
