"""Whole image models equal the official ones."""

import numpy as np
import pytest
import tensorflow as tf

from tests import goldens
from tf_tokenlearner import backbones
from tf_tokenlearner import checkpoints
from tf_tokenlearner.checkpoints import scenic

SCENIC = sorted(
    path.stem for path in goldens.FOLDER.glob('vit_*.npz'))
AUGREG = ['augreg_vit_ti_like', 'augreg_vit_ti_like_noprelogits']


def make_model(golden, **sizes):
  kwargs = golden.kwargs
  tokenizer = kwargs.get('tokenizer', kwargs)
  is_dynamic = tokenizer.get('type') == 'dynamic'
  spec = backbones.ViTSpec(
      variant='Ti/16', hidden_size=kwargs['hidden_size'],
      patch_size=tokenizer['patches']['size'], pooler=kwargs['classifier'],
      representation_size=kwargs['representation_size'],
      token_learner_location=(
          tokenizer['tokenlearner_loc'] if is_dynamic else None),
      num_tokens=tokenizer['num_tokens'] if is_dynamic else 8,
      use_token_fuser=is_dynamic and tokenizer['use_tokenfuse'],
      token_learner=backbones.TokenLearnerSpec(
          'v1.1' if tokenizer.get('use_v11', True) else 'v1.0'), **sizes)
  images = golden.inputs['images']
  return backbones.Classifier(
      backbones.VisionTransformer(spec, images.shape[1:]),
      kwargs['num_classes'])


def check_outputs(model, golden):
  endpoints = model.endpoints(tf.constant(golden.inputs['images']))
  for ours, theirs in [('features', 'encoded'), ('pre_logits', 'pre_logits'),
                       ('logits', 'logits')]:
    np.testing.assert_allclose(
        endpoints[ours], golden.outputs[theirs], **goldens.TOLERANCE)


def test_every_image_model_is_here():
  assert len(SCENIC) == 6


@pytest.mark.parametrize('name', SCENIC)
def test_equals_scenic(name, capsys):
  golden = goldens.read(name)
  sizes = {key: golden.kwargs[key]
           for key in ('num_layers', 'mlp_dim', 'num_heads')}
  model = make_model(golden, **sizes)
  scenic.load_scenic(model, golden.params)
  assert capsys.readouterr().err == (
      f'Loaded {len(golden.params)} arrays into {len(model.variables)} '
      'variables: nothing stays fresh, nothing is left over.\n')
  check_outputs(model, golden)


@pytest.mark.parametrize('name', AUGREG)
def test_equals_vision_transformer(name):
  golden = goldens.read(name + '_io')
  transformer = golden.kwargs['transformer']
  sizes = {key: transformer[key]
           for key in ('num_layers', 'mlp_dim', 'num_heads')}
  model = make_model(golden, **sizes)
  checkpoints.load_vision_transformer_npz(
      model, str(goldens.FOLDER / f'{name}.npz'))
  check_outputs(model, golden)
  erf = golden.outputs['logits_if_gelu_were_erf']
  assert np.abs(erf - golden.outputs['logits']).max() > 1e-4
