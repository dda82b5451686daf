"""The cost of vision transformers equals built ones, the profiler, papers."""

import pytest

from tests.analysis import profiler
from tests.backbones import tiny
from tf_tokenlearner import backbones
from tf_tokenlearner.analysis import cost

V10 = tiny.V10
V11 = tiny.V11
SQUARE = (16, 16, 3)
IMAGES = {
    'plain': (SQUARE, dict()),
    'class_token': (SQUARE, dict(pooler='token')),
    'v1.0': (SQUARE, dict(token_learner_location=2, token_learner=V10)),
    'v1.0_mean': (SQUARE, dict(
        token_learner_location=0,
        token_learner=backbones.TokenLearnerSpec('v1.0', pooling='mean'))),
    'v1.1': (SQUARE, dict(token_learner_location=3, token_learner=V11)),
    'fuser_v1.0': (SQUARE, dict(
        token_learner_location=2, token_learner=V10, use_token_fuser=True)),
    'fuser_v1.1': (SQUARE, dict(
        token_learner_location=1, token_learner=V11, use_token_fuser=True)),
    'several_locations': (SQUARE, dict(
        token_learner_location=[1, 3], num_tokens=[7, 2], token_learner=V11)),
    'pooled': (SQUARE, dict(
        token_learner_location=[1, 3], num_tokens=[8, 2],
        tokenizer='grid_pooling')),
    'pooled_windows': ((16, 24, 3), dict(
        token_learner_location=2, num_tokens=None, tokenizer='grid_pooling',
        pooling_window=[2, 3])),
    'pooled_and_fused': (SQUARE, dict(
        token_learner_location=2, tokenizer='grid_pooling', num_tokens=4,
        use_token_fuser=True)),
    'unpooled': (SQUARE, dict(
        token_learner_location=2, use_token_fuser=True, fuser='unpooling',
        token_learner=backbones.TokenLearnerSpec('v1.0', pooling='mean'))),
    'reprojected': (SQUARE, dict(
        token_learner_location=2, use_token_fuser=True, fuser='reprojection',
        token_learner=V11)),
    'one_convolution': (SQUARE, dict(
        token_learner_location=2, token_learner=backbones.TokenLearnerSpec(
            'v1.0', num_convolutions=1, kernel_size=1))),
    'rectangle': ((16, 24, 3), dict(
        token_learner_location=2, token_learner=V10, use_token_fuser=True)),
    'rectangular_patches_and_grey': ((16, 24, 1), dict(patch_size=(8, 4))),
    'representation_size': (SQUARE, dict(representation_size=11)),
}


CLIPS = {
    'plain': dict(),
    'class_token': dict(pooler='token', representation_size=11),
    'v1.0': dict(token_learner_location=2, token_learner=V10),
    'v1.1': dict(token_learner_location=1),
    'several_locations': dict(
        token_learner_location=[1, 2], num_tokens=[5, 2]),
}
ONLY_JOINT = {
    'fuser': dict(token_learner_location=1, use_token_fuser=True),
    'repeated': dict(position_embedding='repeated'),
    'pooled': dict(
        token_learner_location=[1, 2], num_tokens=[3, 1], **tiny.POOLED),
    'reprojected': dict(token_learner_location=1, use_token_fuser=True,
                        fuser='reprojection'),
    'sampling': dict(
        variant='Ti/4x1', tubelet_embedding='temporal_sampling',
        num_sampled_frames=5, position_embedding='repeated',
        token_learner_location=0),
}
ONLY_FACTORIZED = {
    'behind': dict(token_learner_location=3),
    'frame_means_behind': dict(
        token_learner_location=3, num_tokens=1, **tiny.POOLED),
    'behind_v1.0': dict(token_learner_location=3, token_learner=V10),
    'twice': dict(token_learner_location=[0, 3], num_tokens=[3, 2]),
    'temporal_sizes': dict(
        temporal_num_layers=3, temporal_mlp_dim=7, temporal_num_heads=4),
}


def image_spec(**kwargs):
  return backbones.ViTSpec(**{**dict(
      variant='Ti/16', num_layers=4, hidden_size=12, mlp_dim=20, num_heads=3,
      patch_size=(4, 4), num_tokens=5), **kwargs})


def check(backbone, layers):
  """Every layer by its name, then the whole model and what it multiplies."""
  model = backbones.Classifier(backbone, num_classes=7)
  result = cost.classifier_cost(backbone.spec, backbone.input_size, 7)
  assert [(row.name, row.parameters) for row in result.rows
          if row.parameters] == [
      *layers, *profiler.parameters_of([backbone.pre_logits, model.head])]
  assert result.parameters == model.count_params()
  assert result.macs == sum(row.macs for row in result.rows)
  profiler.check_macs(result.rows, model, backbone.input_size)


@pytest.mark.parametrize('name', IMAGES)
def test_image_model(name):
  input_size, kwargs = IMAGES[name]
  vit = backbones.VisionTransformer(image_spec(**kwargs), input_size)
  check(vit, profiler.parameters_of(
      [vit.patch_embedding, vit.class_token, vit.position_embedding,
       *vit.encoder.stages, vit.encoder.norm]))


@pytest.mark.parametrize('name', [*CLIPS, *ONLY_JOINT])
def test_video_model(name):
  vivit = tiny.vivit(**{**CLIPS, **ONLY_JOINT}[name])
  check(vivit, profiler.parameters_of(
      [vivit.tubelet_embedding, vivit.class_token, vivit.position_embedding,
       *vivit.encoder.stages, vivit.encoder.norm]))


@pytest.mark.parametrize('name', [*CLIPS, *ONLY_FACTORIZED])
def test_factorized_model(name):
  vivit = tiny.factorized(**{**CLIPS, **ONLY_FACTORIZED}[name])
  parts = lambda prefix, layers: [
      (f'{prefix}_{row}', count)
      for row, count in profiler.parameters_of(layers)]
  space = parts('space', [
      vivit.class_token, vivit.position_embedding,
      *vivit.spatial_encoder.stages, vivit.spatial_encoder.norm])
  time = parts('time', [
      *vivit.temporal_encoder.stages, vivit.temporal_encoder.norm])
  embeddings = profiler.parameters_of(
      [vivit.temporal_class_token, vivit.temporal_position_embedding])
  time = [(row.replace('temporal', 'time'), count)
          for row, count in embeddings] + time
  check(vivit, [('tubelet_embedding', vivit.tubelet_embedding.count_params()),
                *space, *time])


def test_shapes_of_clips():
  """T first, and the spatial part in each of T indices."""
  outputs = lambda spec: {
      row.name: row.output
      for row in cost.classifier_cost(spec, tiny.CLIP, 0).rows}
  assert outputs(tiny.vivit_spec(token_learner_location=1)) == {
      'tubelet_embedding': '[3, 2, 3, 8]', 'position_embedding': '[18, 8]',
      'block_0': '[18, 8]', 'learn_1': '[12, 8]', 'block_1': '[12, 8]',
      'block_2': '[12, 8]', 'norm': '[12, 8]'}
  assert outputs(tiny.factorized_spec(
      num_layers=1, temporal_num_layers=1, token_learner_location=1)) == {
          'tubelet_embedding': '[3, 2, 3, 8]',
          'space_position_embedding': '[3, 6, 8]', 'space_block_0': '[3, 6, 8]',
          'space_learn_1': '[3, 4, 8]', 'space_norm': '[3, 4, 8]',
          'time_position_embedding': '[12, 8]', 'time_block_0': '[12, 8]',
          'time_norm': '[12, 8]'}
  assert outputs(tiny.factorized_spec(
      num_layers=1, temporal_num_layers=1, pooler='token')) == {
          'tubelet_embedding': '[3, 2, 3, 8]',
          'space_class_token': '[3, 7, 8]',
          'space_position_embedding': '[3, 7, 8]', 'space_block_0': '[3, 7, 8]',
          'space_norm': '[3, 7, 8]', 'time_class_token': '[4, 8]',
          'time_position_embedding': '[4, 8]', 'time_block_0': '[4, 8]',
          'time_norm': '[4, 8]'}


def test_known_number_of_parameters():
  """ViT-B/16 at 224 with 1000 classes, as in its own paper's code."""
  result = cost.classifier_cost(
      backbones.ViTSpec('B/16', pooler='token'), (224, 224, 3), 1000)
  assert result.parameters == 86_567_656


@pytest.mark.parametrize('variant, size, paper', [
    ('L/16x2', 288, 2919), ('H/14x2', 224, 3981)])
def test_video_within_one_and_a_half_percent_of_vivit(variant, size, paper):
  """arXiv 2103.15691v2; what official_configs has, test_paper_table checks."""
  result = cost.classifier_cost(
      backbones.ViViTSpec(variant), (32, size, size, 3), 400)
  assert result.macs / 1e9 == pytest.approx(paper, rel=.015)
