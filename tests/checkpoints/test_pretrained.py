"""Pretrained models of timm and transformers give their libraries' numbers."""

import json
import os
import shutil

import ml_dtypes
import numpy as np
import pytest
from safetensors import numpy as safetensors_numpy

from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import hub_files
from tf_tokenlearner.checkpoints import pretrained
from tf_tokenlearner.checkpoints import pretrained_arrays
from tf_tokenlearner.checkpoints import pretrained_config
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
  assert model.backbone.spec.variant == 'auto'  # No letter names these sizes.
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
  assert ('left out: head' in model.loading_report) == bool(plain.head.weights)
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


def edit_config(folder, name='config.json', **values):
  path = os.path.join(folder, name)
  config = {}
  if os.path.exists(path):
    with open(path) as file:
      config = json.load(file)
  with open(path, 'w') as file:
    json.dump({**config, **values}, file)


def test_head_of_the_same_size_is_fresh():
  """The docstring promises a fresh head, which starts at zero."""
  model = load('hf_vit', num_classes=7)
  np.testing.assert_array_equal(model.head.kernel, np.zeros([24, 7]))
  assert {'fresh: head', 'left out: head'} <= set(model.loading_report)


def test_other_pooler_is_reported():
  report = load('hf_vit', pooler='gap').loading_report
  assert any('trained with pooler=token' in line for line in report)


def test_pooling_that_a_classifier_does_not_use(tmp_path):
  """SiglipForImageClassification averages, whatever pooling the file holds."""
  folder = str(tmp_path / 'model')
  tensors = copy('hf_siglip_classifier', folder)
  pooling = {f'vision_model.{name}': value for name, value in copy(
      'hf_siglip', str(tmp_path / 'other')).items() if name.startswith('head.')}
  save({**tensors, **pooling}, folder)
  pixels, expected = read('hf_siglip_classifier')
  model = pretrained.from_pretrained(folder)
  np.testing.assert_allclose(model(pixels), expected['logits'], atol=1e-5)
  assert len(pooling) == 11
  assert {f'left out: {name}' for name in pooling} <= set(model.loading_report)


def test_norm_after_a_pooled_token(tmp_path):
  """A LayerNorm of one token equals that token after a LayerNorm of all."""
  folder = str(tmp_path / 'model')
  tensors = copy('timm_hub_vit', folder)
  for kind in ('weight', 'bias'):
    tensors[f'fc_norm.{kind}'] = tensors.pop(f'norm.{kind}')
  save(tensors, folder)
  pixels, expected = read('timm_hub_vit')
  np.testing.assert_allclose(
      pretrained.from_pretrained(folder)(pixels), expected['logits'], atol=1e-5)


def head_after_clip(tensors):
  tensors['classifier.weight'] = tensors.pop('visual_projection.weight')
  tensors['classifier.bias'] = np.zeros(16, np.float32)


def without_norm(tensors):
  del tensors['norm.weight'], tensors['norm.bias']


def no_change(tensors):
  del tensors


@pytest.mark.parametrize('name, change, values, message', [
    ('hf_clip_vision', head_after_clip, {}, 'before the last LayerNorm'),
    ('timm_hub_vit', no_change,
     dict(global_pool='max', model_args={'num_heads': 3}),
     'global_pool of the pretrained model .max'),
    ('timm_hub_vit', no_change,
     dict(global_pool='avgmax', model_args={'num_heads': 3}),
     'global_pool of the pretrained model .avgmax'),
    ('timm_hub_vit', no_change,
     dict(global_pool='avg',
          model_args={'num_heads': 3, 'pool_include_prefix': True}),
     'got pool_include_prefix=true'),
    ('timm_hub_vit', without_norm,
     dict(model_args={'num_heads': 3, 'final_norm': False}),
     'expected a LayerNorm before or after the pooling'),
    ('hf_videomae', no_change, dict(use_mean_pooling=False),
     'its head reads the first patch'),
    ('hf_vit', no_change, dict(model_type='vit_next', hidden_act=None),
     'expected hidden_act in config.json'),
], ids=lambda value: getattr(value, '__name__', None))
def test_forward_path_that_is_not_supported(
    tmp_path, name, change, values, message):
  folder = str(tmp_path / 'model')
  tensors = copy(name, folder)
  change(tensors)
  save(tensors, folder)
  edit_config(folder, **values)
  with pytest.raises(errors.UserError, match=message) as caught:
    pretrained.from_pretrained(folder)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name, change, values', [
    ('hf_clip_vision', head_after_clip, {}),
    ('hf_videomae', no_change, dict(use_mean_pooling=False))])
def test_backbone_of_a_head_that_is_not_supported(
    tmp_path, name, change, values):
  """The head is left out; the backbone gives the features of its library."""
  folder = str(tmp_path / 'model')
  tensors = copy(name, folder)
  change(tensors)
  save(tensors, folder)
  edit_config(folder, **values)
  model = pretrained.from_pretrained(folder, num_classes=3)
  pixels, _ = read(name)
  np.testing.assert_allclose(
      model.backbone(pixels)['features'],
      load(name).backbone(pixels)['features'], atol=1e-6)
  assert 'left out: classifier.weight' in model.loading_report
  assert model.head.kernel.shape[-1] == 3


def make_config(config, preprocessor=None):
  return pretrained_config.Config(
      hub_files.PretrainedFiles('here', None, config, preprocessor or {}, None))


@pytest.mark.parametrize('model_type, activation, epsilon', [
    ('vit', 'gelu', 1e-12), ('deit', 'gelu', 1e-12), ('dinov2', 'gelu', 1e-6),
    ('dinov2_with_registers', 'gelu', 1e-6), ('clip', 'quick_gelu', 1e-5),
    ('clip_vision_model', 'quick_gelu', 1e-5), ('siglip', 'gelu_tanh', 1e-6),
    ('siglip_vision_model', 'gelu_tanh', 1e-6), ('videomae', 'gelu', 1e-12),
    ('vivit', 'gelu_tanh', 1e-6)])
def test_defaults_of_transformers(model_type, activation, epsilon):
  """A config.json that states nothing means the defaults of its class."""
  for values in ({'model_type': model_type},
                 {'vision_config': {'model_type': model_type}}):
    config = make_config(values)
    assert config.activation() == activation
    assert config.norm_epsilon() == epsilon
    assert config.num_heads(768) == 12
  if model_type in ('videomae', 'vivit'):
    frames = {'videomae': 16, 'vivit': 32}[model_type]
    assert config.grid([2, 16, 16], 0) == (frames // 2, 14, 14)


@pytest.mark.parametrize('architecture, activation', [
    ('vit_base_patch16_siglip_224', 'gelu'),
    ('vit_base_patch16_siglip_gap_512', 'gelu'),
    ('vit_large_patch16_siglip_256', 'gelu'),
    ('vit_large_patch16_siglip_gap_384', 'gelu'),
    ('vit_so400m_patch14_siglip_378', 'gelu'),
    ('vit_so400m_patch14_siglip_gap_224', 'gelu'),
    ('vit_base_patch32_siglip_256', 'gelu_tanh'),
    ('vit_large_patch16_siglip_512', 'gelu_tanh'),
    ('vit_so400m_patch16_siglip_256', 'gelu_tanh'),
    ('vit_giantopt_patch16_siglip_gap_384', 'gelu_tanh'),
    ('vit_base_patch32_clip_quickgelu_224', 'quick_gelu'),
    ('vit_base_patch16_clip_224', 'gelu')])
def test_activations_of_timm(architecture, activation):
  assert make_config({'architecture': architecture}).activation() == activation


def test_unknown_siglip_of_timm():
  values = {'architecture': 'vit_huge_patch8_siglip_224'}
  with pytest.raises(errors.UserError, match='Put act_layer'):
    make_config(values).activation()
  values['model_args'] = {'act_layer': 'gelu_tanh'}
  assert make_config(values).activation() == 'gelu_tanh'


@pytest.mark.parametrize('preprocessor, mean, deviation', [
    ({}, .5, .5),
    ({'do_normalize': False, 'image_mean': .4, 'image_std': .2}, 0, 1),
    ({'image_mean': .4, 'image_std': .2, 'do_rescale': False},
     .4 / 255, .2 / 255),
    # ViViT: 2 * pixels - 1, then normalised: black is -3, white is 1.
    ({'image_mean': .5, 'image_std': .5, 'rescale_factor': 1 / 127.5,
      'offset': True}, .75, .25)])
def test_rescaling_of_pixels(preprocessor, mean, deviation):
  config = make_config({}, preprocessor)
  statistics = config.pixel_statistics(3)
  np.testing.assert_allclose(statistics[0], [mean] * 3, rtol=1e-6)
  np.testing.assert_allclose(statistics[1], [deviation] * 3, rtol=1e-6)
  assert config.states_pixels() == bool(preprocessor)


@pytest.mark.parametrize('config, preprocessor, expected', [
    ({}, {}, {}),
    ({'pretrained_cfg': {'interpolation': 'bicubic', 'crop_mode': 'center'}},
     {}, dict(resize='crop', interpolation='bicubic', antialias=True)),
    ({'pretrained_cfg': {'crop_mode': 'squash'}}, {}, dict(resize='stretch')),
    ({'pretrained_cfg': {'crop_mode': 'border'}}, {}, dict(resize='letterbox')),
    # ViT, in the new and the old form.
    ({}, {'size': {'height': 32, 'width': 32}, 'resample': 2},
     dict(resize='stretch', interpolation='bilinear', antialias=True)),
    ({}, {'size': 32, 'resample': 0},
     dict(resize='stretch', interpolation='nearest', antialias=False)),
    # CLIP.
    ({}, {'size': {'shortest_edge': 32}, 'do_center_crop': True, 'resample': 3},
     dict(resize='crop', interpolation='bicubic', antialias=True)),
    ({}, {'size': {'height': 32, 'width': 32}, 'do_resize': False}, {})])
def test_resizing_of_the_source(config, preprocessor, expected):
  assert make_config(config, preprocessor).resizing() == expected


def test_unknown_interpolation_of_the_source():
  with pytest.raises(errors.UserError, match=(
      "Unknown interpolation of the pretrained model '5'. Known: ")):
    make_config({}, {'resample': 5}).resizing()


def test_pixels_that_are_not_normalised(tmp_path):
  """The library of this model saw pixels in [0, 1]."""
  folder = str(tmp_path / 'model')
  copy('hf_vit', folder)
  edit_config(folder, 'preprocessor_config.json', do_normalize=False)
  pixels, expected = read('hf_vit')
  np.testing.assert_allclose(pretrained.from_pretrained(folder)(
      pixels * 2 - 1), expected['logits'], atol=1e-5)


def test_assumptions_are_reported():
  note = 'assumed: pixels in [-1, 1], no file states their mean and deviation'
  notes = lambda name, heads=0: pretrained_arrays.convert(
      hub_files.read(os.path.join(FOLDER, name)), heads).notes
  assert note in notes('hf_vit')
  assert note not in notes('timm_hub_vit')
  assert any(line.startswith('assumed: GELU') for line in notes('timm_vit', 3))


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


def damage_twice(tensors):
  tensors['norm.weight'] = tensors['vit.layernorm.weight']


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
    (damage_short, '12 positions fit no grid.*image size of config.json'),
    (damage_twice, 'both are norm.weight'),
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


def test_positions_without_config(tmp_path):
  folder = str(tmp_path / 'model')
  tensors = copy('timm_vit', folder)
  tensors['pos_embed'] = tensors['pos_embed'][:, :12]
  save(tensors, folder)
  with pytest.raises(errors.UserError, match='Put config.json next to'):
    pretrained.from_pretrained(folder, num_heads=3)


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
