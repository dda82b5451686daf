"""variant=auto takes the architecture from pretrained weights."""

import json
import shutil

import pytest

from tests import goldens
from tf_tokenlearner import errors
from tf_tokenlearner.backbones import specs
from tf_tokenlearner.configs import experiments

IMAGES, CLIPS = 'tokenlearner_image_folder', 'tokenlearner_moving_digits'
FINE_TUNING = 'tokenlearner_finetune'


def parse(experiment, name, *texts, **options):
  """Parses a config that starts from a golden folder."""
  kind = options.pop('kind', 'token_learner_vivit' if experiment == CLIPS
                     else 'token_learner_vit')
  folder = name if '/' in name else str(goldens.FOLDER / 'pretrained' / name)
  return experiments.parse(experiment, [{'task': {
      'init_checkpoint': folder, 'model': {'backbone': {
          'type': kind, kind: {'variant': 'auto', **options}}}}}, *texts])


def with_preprocessor(tmp_path, values):
  """Returns a copy of hf_vit with these values in preprocessor_config.json."""
  folder = tmp_path / 'model'
  shutil.copytree(goldens.FOLDER / 'pretrained' / 'hf_vit', folder)
  (folder / 'preprocessor_config.json').write_text(json.dumps(values))
  return str(folder)


def spec_of(params):
  model = params.task.model
  return model.backbone.get().completed(tuple(model.input_size))


def test_all_options_of_an_image_model():
  params = parse(IMAGES, 'hf_dinov2_registers', token_learner_location=1,
                 num_tokens=4, dropout_rate=.1)
  spec = spec_of(params)
  assert params.task.model.input_size == [32, 32, 3]
  assert params.task.init_checkpoint_modules == 'backbone'
  assert (spec.num_layers, spec.hidden_size, spec.num_heads) == (3, 24, 3)
  assert spec.patch_size == (8, 8)
  assert (spec.num_class_tokens, spec.num_registers) == (1, 4)
  assert (spec.pooler, spec.activation) == ('token_and_mean', 'gelu')
  assert spec.token_learners() == [(1, 4)] and spec.dropout_rate == .1


def test_share_of_the_picture(tmp_path):
  params = parse(IMAGES, 'timm_hub_vit')
  assert params.task.validation_data.center_crop_fraction == .9
  # Models of transformers without a crop see the whole picture.
  assert parse(
      IMAGES, 'hf_vit').task.validation_data.center_crop_fraction == 1.
  folder = with_preprocessor(tmp_path, {
      'do_center_crop': True, 'size': {'shortest_edge': 40},
      'crop_size': {'height': 32, 'width': 32}})
  assert parse(
      IMAGES, folder).task.validation_data.center_crop_fraction == .8
  clips = parse(CLIPS, folder).task
  assert clips.train_data.min_image_size == 40
  assert clips.validation_data.min_image_size == 40
  # As timm does: 32 / .9, rounded down.
  assert parse(CLIPS, 'timm_hub_vit').task.validation_data.min_image_size == 35
  assert parse(
      CLIPS, 'timm_hub_vit', 'task.validation_data.min_image_size=50'
      ).task.validation_data.min_image_size == 50


def test_resizing_of_the_source(tmp_path):
  folder = with_preprocessor(
      tmp_path, {'size': {'height': 32, 'width': 32}, 'resample': 3})
  for experiment, mode in ((IMAGES, 'stretch'), (CLIPS, 'crop')):
    task = parse(experiment, folder).task
    assert (task.resize, task.interpolation, task.antialias) == (
        mode, 'bicubic', True)
  task = parse(
      IMAGES, folder, 'task.resize=letterbox,task.antialias=false').task
  assert (task.resize, task.interpolation, task.antialias) == (
      'letterbox', 'bicubic', False)


@pytest.mark.parametrize('processor, size', [
    # As of DINOv2, whose positions are for larger pictures.
    ({'do_center_crop': True, 'crop_size': {'height': 16, 'width': 24},
      'size': {'shortest_edge': 32}}, [16, 24, 3]),
    ({'do_center_crop': False, 'size': {'height': 16, 'width': 16}},
     [16, 16, 3]),
    ({'size': 16}, [16, 16, 3]),
    ({'size': {'shortest_edge': 16}}, [32, 32, 3]),
    ({'size': {'height': 20, 'width': 16}}, [32, 32, 3])])  # Patches of 8.
def test_size_of_the_picture(tmp_path, processor, size):
  folder = tmp_path / 'model'
  shutil.copytree(goldens.FOLDER / 'pretrained' / 'hf_dinov2', folder)
  (folder / 'preprocessor_config.json').write_text(json.dumps(processor))
  assert parse(IMAGES, str(folder)).task.model.input_size == size


def test_what_is_stated_is_kept():
  params = parse(
      IMAGES, 'timm_hub_vit', 'task.model.input_size=[64, 64, 3]',
      'task.init_checkpoint_modules=all',
      'task.validation_data.center_crop_fraction=0.5', pooler='gap',
      token_learner_location=None)
  assert params.task.model.input_size == [64, 64, 3]
  assert params.task.init_checkpoint_modules == 'all'
  assert params.task.validation_data.center_crop_fraction == .5
  assert spec_of(params).pooler == 'gap'


def test_saved_config_needs_no_weights(tmp_path):
  folder = tmp_path / 'model'
  shutil.copytree(goldens.FOLDER / 'pretrained' / 'hf_vit', folder)
  params = parse(IMAGES, str(folder))
  shutil.rmtree(folder)
  assert experiments.parse(
      IMAGES, [params.as_dict()]).as_dict() == params.as_dict()


@pytest.mark.parametrize('name, tubelet, size', [
    ('hf_videomae', (2, 8, 8), [4, 32, 32, 3]),
    ('hf_vivit', (2, 8, 8), [4, 32, 32, 3]),
    ('timm_hub_vit', (2, 8, 8), None)])
def test_video_model(name, tubelet, size):
  params = parse(CLIPS, name, token_learner_location=1, num_tokens=4)
  assert spec_of(params).tubelet_size == tubelet
  assert params.task.model.input_size[1:] == [32, 32, 3]
  if size:
    assert params.task.model.input_size == size


def test_factorized_model_with_token_learner_has_no_class_token():
  kind = 'token_learner_vivit_factorized'
  plain = spec_of(parse(
      CLIPS, 'timm_hub_vit', kind=kind, token_learner_location=None))
  assert (plain.pooler, plain.num_class_tokens) == ('token', 1)
  spec = spec_of(parse(CLIPS, 'timm_hub_vit', kind=kind,
                       token_learner_location=1, num_tokens=4))
  assert (spec.pooler, spec.num_class_tokens) == ('gap', 0)


@pytest.mark.parametrize('path, message', [
    ('', 'variant=auto takes the architecture from pretrained weights'),
    (str(goldens.FOLDER), 'expected hf://OWNER/NAME, or a folder or file'),
    ('hf://vit', 'Expected hf://OWNER/NAME'),
])
def test_without_weights(path, message):
  with pytest.raises(errors.UserError, match=message) as caught:
    experiments.parse(IMAGES, [
        'task.model.backbone.token_learner_vit.variant=auto',
        {'task': {'init_checkpoint': path}}])
  assert '\n' not in str(caught.value)


def test_middle_follows_the_weights():
  params = parse(FINE_TUNING, 'hf_dinov2_registers')  # Three blocks.
  assert params.task.model.backbone.get().token_learner_location == 1
  assert params.task.freeze_below == 1
  assert params.task.validation_data.center_crop_fraction == 1.
  assert spec_of(parse(
      FINE_TUNING, 'hf_dinov2_registers', token_learner_location=2,
      variant='S/8', num_layers=9)).token_learners() == [(2, 8)]
  later = parse(FINE_TUNING, 'hf_dinov2_registers', token_learner_location=2)
  assert later.task.freeze_below == 2
  plain = parse(FINE_TUNING, 'hf_dinov2_registers', token_learner_location=None)
  assert plain.task.freeze_below == 1
  assert specs.ViTSpec('B/16', token_learner_location='middle').completed(
      (32, 32, 3)).token_learner_location == 6


SOURCE = str(goldens.FOLDER / 'pretrained' / 'hf_vit')


def test_from_pretrained_stands_for_two_keys():
  short = experiments.parse(IMAGES, [
      {'task': {'model': {'backbone': {'from_pretrained': SOURCE}}}}])
  assert short.as_dict() == parse(IMAGES, 'hf_vit').as_dict()
  # Saying both is fine, if they agree.
  assert parse(IMAGES, 'hf_vit', {'task': {'model': {'backbone': {
      'from_pretrained': SOURCE}}}}).as_dict() == short.as_dict()


@pytest.mark.parametrize('text, message', [
    ('task.init_checkpoint=other', 'and variant=auto, got task.init_checkpoint='
     'other. Set one of them'),
    ('task.model.backbone.token_learner_vit.variant=B/16', 'got task.model.'
     'backbone.token_learner_vit.variant=B/16'),
    ('task.model.backbone.type=from_pretrained', "'from_pretrained'. Known: "),
])
def test_from_pretrained_and_something_else(text, message):
  with pytest.raises(errors.UserError) as caught:
    experiments.parse(IMAGES, [text, {'task': {'model': {'backbone': {
        'from_pretrained': SOURCE}}}}])
  assert message in str(caught.value)


def test_clips_cannot_start_images():
  with pytest.raises(errors.UserError, match='are of clips and cannot start'):
    parse(IMAGES, 'hf_vivit')
