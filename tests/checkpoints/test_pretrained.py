"""Pretrained models of timm and transformers give their libraries' numbers."""

import json
import os
import shutil

import ml_dtypes
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import pretrained
from tests import goldens

FOLDER = os.path.join(goldens.FOLDER, 'pretrained')
NAMES = sorted(name for name in os.listdir(FOLDER) if '.' not in name)
# Outputs of the libraries by the name of our endpoint.
OUTPUTS = {'logits': 'logits', 'image_embeds': 'logits', 'features': 'features',
           'last_hidden_state': 'features', 'pooler_output': 'pre_logits'}


def read(name):
  """Returns inputs in our layout and outputs by their names."""
  with np.load(os.path.join(FOLDER, name, 'io.npz')) as file:
    arrays = dict(file)
  return np.moveaxis(arrays.pop('pixel_values'), -3, -1), arrays


def load(name, **options):
  folder = os.path.join(FOLDER, name)
  if not os.path.exists(os.path.join(folder, 'config.json')):
    options['num_heads'] = 3
  return pretrained.from_pretrained(folder, **options)


@pytest.mark.parametrize('name', NAMES)
def test_equals_its_library(name):
  pixels, expected = read(name)
  model = load(name)
  endpoints = model.endpoints(pixels)
  compared = 0
  for key, values in expected.items():
    if key in OUTPUTS:
      np.testing.assert_allclose(endpoints[OUTPUTS[key]], values, atol=1e-5)
      compared += 1
  assert compared
  answer = 'pre_logits' if model.num_classes is None else 'logits'
  np.testing.assert_array_equal(model(pixels), endpoints[answer])


def test_heads_of_a_distilled_model():
  """The mean is folded; each head still is half of the joint kernel."""
  pixels, expected = read('hf_deit_distilled')
  model = load('hf_deit_distilled')
  x = model.endpoints(pixels)['pre_logits'].numpy()  # [B, 2 C]
  kernel = model.head.kernel.numpy() * 2
  file = safetensors_numpy.load_file(
      os.path.join(FOLDER, 'hf_deit_distilled', 'model.safetensors'))
  width = x.shape[1] // 2
  for key, part, head in (
      ('cls_logits', slice(0, width), 'cls_classifier'),
      ('distillation_logits', slice(width, None), 'distillation_classifier')):
    np.testing.assert_allclose(
        x[:, part] @ kernel[part] + file[f'{head}.bias'], expected[key],
        atol=1e-5)


@pytest.mark.parametrize('name, num_prefix, frames', [
    ('hf_vit', 1, 1), ('hf_deit_distilled', 2, 1), ('timm_vit_reg4_gap', 4, 1),
    ('hf_dinov2_registers', 5, 1), ('hf_siglip', 0, 1), ('hf_vivit', 1, 2),
    ('hf_videomae', 0, 2)])
def test_with_a_token_learner(name, num_prefix, frames):
  """Class tokens and registers pass by; the blocks before it are the same."""
  pixels, _ = read(name)
  plain = load(name)
  model = load(name, num_classes=5, token_learner_location=1, num_tokens=4)
  assert model(pixels).shape == (2, 5)
  assert set(line for line in model.loading_report if 'fresh' in line) == {
      'fresh: encoder/learn_1', 'fresh: head'}
  tokens = model.backbone.embed(pixels)
  np.testing.assert_array_equal(tokens, plain.backbone.embed(pixels))
  block, learn = model.backbone.encoder.stages[:2]
  before = block(tokens)
  after = learn(before)
  assert after.shape[1] == num_prefix + 4 * frames
  np.testing.assert_array_equal(
      after[:, :num_prefix], before[:, :num_prefix])
  # A TokenLearner sees the positions alone.
  positions = np.reshape(
      before[:, num_prefix:], [2 * frames, -1, before.shape[-1]])
  np.testing.assert_allclose(
      np.reshape(after[:, num_prefix:], [2 * frames, 4, -1]),
      learn.token_learner(positions), atol=1e-6)
  maps = model.backbone.attention_maps(pixels)
  assert maps.shape == (2, frames, 4, 4, 4)
  np.testing.assert_allclose(np.sum(maps, (-1, -2)), 1, atol=1e-5)


def copy(name, folder):
  shutil.copytree(os.path.join(FOLDER, name), folder)
  return safetensors_numpy.load_file(os.path.join(folder, 'model.safetensors'))


def save(tensors, folder, name='model.safetensors'):
  safetensors_numpy.save_file(
      {key: np.ascontiguousarray(value) for key, value in tensors.items()},
      os.path.join(folder, name))


@pytest.mark.parametrize('dtype, tolerance', [
    (np.float16, 2e-3), (ml_dtypes.bfloat16, 2e-2)])
def test_half_precision_in_shards(tmp_path, dtype, tolerance):
  folder = str(tmp_path / 'model')
  tensors = copy('hf_vit', folder)
  os.remove(os.path.join(folder, 'model.safetensors'))
  names = sorted(tensors)
  files = {name: f'model-0000{1 + i % 2}-of-00002.safetensors'
           for i, name in enumerate(names)}
  for file in set(files.values()):
    save({name: tensors[name].astype(dtype) for name in names
          if files[name] == file}, folder, file)
  with open(os.path.join(folder, 'model.safetensors.index.json'), 'w') as file:
    json.dump({'weight_map': files}, file)
  pixels, expected = read('hf_vit')
  np.testing.assert_allclose(
      pretrained.from_pretrained(folder)(pixels), expected['logits'],
      atol=tolerance)
  os.remove(os.path.join(folder, files[names[0]]))
  with pytest.raises(errors.UserError, match='lacks model-00001-of-00002'):
    pretrained.from_pretrained(folder)


def test_pixel_statistics_are_folded(tmp_path):
  """The model sees [-1, 1]; its library saw (x - mean) / deviation."""
  folder = str(tmp_path / 'model')
  copy('hf_vit', folder)
  mean, deviation = [.485, .456, .406], [.229, .224, .225]
  with open(os.path.join(folder, 'preprocessor_config.json'), 'w') as file:
    json.dump({'image_mean': mean, 'image_std': deviation}, file)
  pixels, expected = read('hf_vit')
  unit = pixels * np.float32(deviation) + np.float32(mean)  # In [0, 1], or so.
  model = pretrained.from_pretrained(folder)
  np.testing.assert_allclose(
      model(unit * 2 - 1), expected['logits'], atol=1e-5)
  assert any('pixel mean' in line for line in model.loading_report)


def test_two_tower_file(tmp_path):
  """The text tower and the scale of the logits are left out and named."""
  folder = str(tmp_path / 'model')
  tensors = copy('hf_siglip_v4', folder)
  text = {'text_model.final_layer_norm.weight': np.ones(8, np.float32),
          'logit_scale': np.ones(1, np.float32)}
  save({**tensors, **text}, folder)
  with open(os.path.join(folder, 'config.json')) as file:
    vision = json.load(file)
  with open(os.path.join(folder, 'config.json'), 'w') as file:
    json.dump({'model_type': 'siglip', 'text_config': {'hidden_size': 8},
               'vision_config': vision}, file)
  pixels, expected = read('hf_siglip_v4')
  model = pretrained.from_pretrained(folder)
  np.testing.assert_allclose(
      model(pixels), expected['pooler_output'], atol=1e-5)
  assert {f'left out: {name}' for name in text} <= set(model.loading_report)


def test_attention_pooling_in_the_names_of_timm(tmp_path):
  folder = str(tmp_path / 'model')
  tensors = copy('hf_siglip', folder)
  qkv, bias = (tensors.pop(f'head.attention.in_proj_{kind}')
               for kind in ('weight', 'bias'))
  width = len(bias) // 3
  renamed = {
      'attn_pool.q.weight': qkv[:width], 'attn_pool.q.bias': bias[:width],
      'attn_pool.kv.weight': qkv[width:], 'attn_pool.kv.bias': bias[width:],
      'attn_pool.latent': tensors.pop('head.probe')}
  for theirs, timm in (('attention.out_proj', 'proj'), ('layernorm', 'norm'),
                       ('mlp.fc1', 'mlp.fc1'), ('mlp.fc2', 'mlp.fc2')):
    for kind in ('weight', 'bias'):
      renamed[f'attn_pool.{timm}.{kind}'] = tensors.pop(
          f'head.{theirs}.{kind}')
  save({**tensors, **renamed}, folder)
  pixels, expected = read('hf_siglip')
  np.testing.assert_allclose(
      pretrained.from_pretrained(folder)(pixels), expected['pooler_output'],
      atol=1e-5)


def damage_missing(tensors):
  del tensors['vit.encoder.layer.1.output.dense.bias']


def damage_missing_bias(tensors):
  del tensors['vit.encoder.layer.1.attention.attention.key.bias']


def damage_extra(tensors):
  tensors['vit.encoder.layer.0.adapter.weight'] = np.ones([2, 2], np.float32)


def damage_transposed(tensors):
  name = 'vit.encoder.layer.2.intermediate.dense.weight'
  tensors[name] = tensors[name].T


def damage_renamed(tensors):
  tensors['vit.layer_norm.weight'] = tensors.pop('vit.layernorm.weight')


def damage_nan(tensors):
  tensors['vit.embeddings.cls_token'][0, 0, 3] = np.nan


def damage_short(tensors):
  name = 'vit.embeddings.position_embeddings'
  tensors[name] = tensors[name][:, :12]


def damage_integers(tensors):
  tensors['vit.layernorm.weight'] = np.ones(24, np.int8)


@pytest.mark.parametrize('damage, message', [
    (damage_missing, r'it lacks block\.1\.fc2\.bias'),
    (damage_missing_bias, r'it lacks block\.1\.k\.bias'),
    (damage_extra, r'belong to no supported model: .*adapter\.weight'),
    (damage_transposed, r'Dense_0/kernel .*does not fit.*transpose'),
    (damage_renamed, r'no supported model: vit\.layer_norm\.weight'),
    (damage_nan, r'vit\.embeddings\.cls_token holds NaN'),
    (damage_short, '12 positions fit no grid'),
    (damage_integers, r'vit\.layernorm\.weight has type I8'),
], ids=lambda value: getattr(value, '__name__', None))
def test_damaged_file(tmp_path, damage, message):
  folder = str(tmp_path / 'model')
  tensors = copy('hf_vit', folder)
  damage(tensors)
  save(tensors, folder)
  with pytest.raises(errors.UserError, match=message) as caught:
    pretrained.from_pretrained(folder)
  assert '\n' not in str(caught.value)


def test_truncated_file(tmp_path):
  folder = str(tmp_path / 'model')
  copy('hf_vit', folder)
  path = os.path.join(folder, 'model.safetensors')
  os.truncate(path, os.path.getsize(path) - 100)
  with pytest.raises(errors.UserError, match='is damaged or no safetensors'):
    pretrained.from_pretrained(folder)


@pytest.mark.parametrize('name', ['pytorch_model.bin', 'model.pt'])
def test_pickles_are_refused(tmp_path, name):
  (tmp_path / name).write_bytes(b'\x80\x04.')
  for path in (tmp_path, tmp_path / name):
    with pytest.raises(errors.UserError, match='save_file') as caught:
      pretrained.from_pretrained(str(path))
    assert 'pickle, which may execute code' in str(caught.value)


@pytest.mark.parametrize('options, message', [
    (dict(num_tokenz=8), 'Unknown option of from_pretrained .num_tokenz'),
    (dict(token_learner_location=3), 'outside 0..2'),
    (dict(token_learner_location=1, use_token_fuser=True), 'class tokens'),
])
def test_options_that_do_not_fit(options, message):
  with pytest.raises(errors.UserError, match=message):
    load('hf_vit', **options)


def test_missing_source(tmp_path):
  with pytest.raises(errors.UserError, match='does not exist'):
    pretrained.from_pretrained(str(tmp_path / 'nothing'))
  with pytest.raises(errors.UserError, match=r'holds no \.safetensors'):
    pretrained.from_pretrained(str(tmp_path))


def test_heads_must_be_told():
  with pytest.raises(errors.UserError, match='give num_heads'):
    pretrained.from_pretrained(os.path.join(FOLDER, 'timm_vit'))
