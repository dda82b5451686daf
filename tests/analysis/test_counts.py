"""Counts per layer agree with whole models, the profiler and the papers."""

import dataclasses
import re

import pytest
import tensorflow as tf
import tf_keras

from tests.analysis import profiler
from tests.backbones import tiny
from tests.backbones import tiny_clips
from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner import layers
from tf_tokenlearner.analysis import counts
from tf_tokenlearner.analysis import paper_table
from tf_tokenlearner.backbones import bottleneck_spec

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
    'registers': (SQUARE, dict(
        pooler='token_and_mean', num_registers=3, pre_norm=True,
        final_norm='after_pooling', token_learner_location=2)),
    'two_class_tokens': (SQUARE, dict(pooler='token', num_class_tokens=2)),
    'attention_pooling': (SQUARE, dict(
        pooler='attention', num_class_tokens=1, token_learner_location=2)),
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


def check(backbone, built):
  """Checks every layer by its name, and the multiplications of the model.

  test_cost.py adds the head.
  """
  result = counts.classifier_cost(backbone.spec, backbone.input_size, 0)
  assert [(row.name, row.parameters) for row in result.rows
          if row.parameters] == [
      *built, *profiler.parameters_of([backbone.pre_logits])]
  assert result.parameters == backbone.count_params()
  assert result.macs == sum(row.macs for row in result.rows)
  profiler.check_macs(result.rows, backbone, backbone.input_size)


@pytest.mark.parametrize('name', IMAGES)
def test_image_model(name):
  input_size, kwargs = IMAGES[name]
  vit = backbones.VisionTransformer(image_spec(**kwargs), input_size)
  check(vit, profiler.parameters_of(
      [vit.patch_embedding, vit.class_token, vit.position_embedding,
       vit.registers, vit.pre_norm, *vit.encoder.stages, vit.encoder.norm,
       *([vit.pool_tokens] if vit.spec.pooler == 'attention' else []),
       vit.pooled_norm]))


def test_attention_pooling():
  """q of one token, k and v of N, scores and sums over N, output, MLP."""
  spec = image_spec(pooler='attention')
  rows = counts.classifier_cost(spec, SQUARE, 0).rows
  n, c, mlp = 16, spec.hidden_size, spec.mlp_dim
  row, = (row for row in rows if row.name == 'attention_pooling')
  assert row.macs == c * c + 2 * n * c * c + 2 * n * c + c * c + 2 * c * mlp
  assert row.parameters == c + 4 * (c * c + c) + 2 * c + 2 * c * mlp + mlp + c


@pytest.mark.parametrize('name', [*CLIPS, *ONLY_JOINT])
def test_video_model(name):
  vivit = tiny.shared(tiny.vivit, **{**CLIPS, **ONLY_JOINT}[name])
  check(vivit, profiler.parameters_of(
      [vivit.tubelet_embedding, vivit.class_token, vivit.position_embedding,
       *vivit.encoder.stages, vivit.encoder.norm]))


@pytest.mark.parametrize('name', [*CLIPS, *ONLY_FACTORIZED])
def test_factorized_model(name):
  vivit = tiny.shared(tiny.factorized, **{**CLIPS, **ONLY_FACTORIZED}[name])
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
  """The output has T frames; spatial layers run in each of them."""
  outputs = lambda spec: {
      row.name: row.output
      for row in counts.classifier_cost(spec, tiny.CLIP, 0).rows}
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


def test_parameters_of_vit_b16():
  """ViT-B/16 at 224 px with 1000 classes has 86,567,656, as the ViT code."""
  result = counts.classifier_cost(
      backbones.ViTSpec('B/16', pooler='token'), (224, 224, 3), 1000)
  assert result.parameters == 86_567_656


@pytest.mark.parametrize('variant, size, paper', [
    ('L/16x2', 288, 2919), ('H/14x2', 224, 3981)])
def test_video_within_one_and_a_half_percent_of_vivit(variant, size, paper):
  """Figures of arXiv 2103.15691v2 that official_configs does not have."""
  result = counts.classifier_cost(
      backbones.ViViTSpec(variant), (32, size, size, 3), 400)
  assert result.macs / 1e9 == pytest.approx(paper, rel=.015)


# GFLOPs, 2 for a multiply-accumulate, and parameters in millions: arXiv
# 2106.11297v2, tables 11 and 12, and tables 9 and 10 give the first row.
PAPER = {
    'joint_mhsa': (22., .30),
    'conv2d_joint_mhsa': (35.8, 1.98),
    'token_learner': (3.4, .81),
    'conv2d_token_learner': (17.2, 2.49),
    'spatial_token_learner': (6.2, 1.11),
    'conv2d_conv1d': (18.3, 2.24),
    'conv2d_mlp_mixer': (13.8, 2.06),
    'conv2d_temporal_transformer': (16.5, 1.98),
    'spatial_temporal_transformer': (5.5, .59),
    'conv2d_spatial_temporal_transformer': (19.2, 2.27),
}
MODELS = [
    *[dict(module=name) for name in bottleneck_spec.MODULES],
    *[dict(tokenizer=name) for name in bottleneck_spec.TOKENIZERS[1:]],
    dict(token_learner_kernel_size=3, representation_size=None),
    dict(stage_widths=[3, 3, 3, 3], expansion=1.5, module='conv2d_conv1d',
         num_blocks=[2, 1, 3, 2]),
    dict(num_blocks=[1, 1, 1, 3], num_module_blocks=2),
]
# VectorTransformer multiplies each pair of T*S tokens for each of C channels;
# the profiler counts this as Mul.
SCORES = counts.Row('scores', '[]', 0, -(4 * 2)**2 * 8)


@pytest.mark.parametrize(
    'kwargs', MODELS, ids=lambda kwargs: '-'.join(map(str, kwargs.values())))
def test_bottleneck_model(kwargs):
  model = tiny_clips.shared(**kwargs)
  rows = counts.classifier_cost(
      tiny_clips.spec(**kwargs), tiny_clips.CLIP, 0).rows
  trained = lambda layer: sum(
      weight.shape.num_elements() for weight in layer.trainable_weights)
  assert [(row.name, row.parameters) for row in rows] == [
      (layer.name, trained(layer))
      for layer in [model.stem, *model.blocks, model.head_convolution,
                    model.pre_logits] if trained(layer)]
  modules = [part for block in model.blocks for part in block.inside
             if part.name == 'token_learner']
  assert bool(modules) == ('token_learner' in model.spec.module)
  profiler.check_macs(
      [*rows, *[SCORES] * len(modules)], model, tiny_clips.CLIP)


def test_shapes_of_bottleneck():
  rows = counts.classifier_cost(tiny_clips.spec(), (4, 65, 96, 3), 0).rows
  assert [(row.name, row.output) for row in rows] == [
      ('stem', '[4, 33, 48, 2]'),
      ('stage1_0', '[4, 17, 24, 2]'),
      ('stage2_0', '[4, 9, 12, 3]'),
      ('stage3_0', '[4, 5, 6, 4]'),
      ('stage4_0', '[4, 3, 3, 4]'),
      ('stage4_1', '[4, 3, 3, 4]'),
      ('head_convolution', '[4, 3, 3, 8]'),
      ('pre_logits', '[5]'),
  ]


PAPER_CLIP = (64, 256, 256, 3)


def of_module(name):
  spec = backbones.BottleneckSpec(name)
  assert spec.map_size(PAPER_CLIP) == (64, 8, 8)
  assert spec.inner_width(-1) == 432
  return counts.module_cost(spec, PAPER_CLIP)


@pytest.mark.parametrize('name, paper', PAPER.items())
def test_parameters_of_modules_equal_the_paper(name, paper):
  assert of_module(name).parameters / 1e6 == pytest.approx(paper[1], rel=.03)


@pytest.mark.parametrize('name, paper', [
    item for item in PAPER.items() if 'token_learner' not in item[0]])
def test_gflops_of_modules_equal_the_paper(name, paper):
  assert 2 * of_module(name).macs / 1e9 == pytest.approx(paper[0], rel=.05)


def test_table_in_the_docstring_is_current():
  table = re.findall(
      r'^  (\w+_\w+)  +(\S+) +(\S+) +(\S+) +(\S+)$', paper_table.__doc__,
      re.MULTILINE)
  assert {row[0]: (float(row[2]), float(row[4])) for row in table} == PAPER
  for name, here, _, parameters, _ in table:
    count = of_module(name)
    assert here == f'{2 * count.macs / 1e9:.1f}'
    assert parameters == f'{count.parameters / 1e6:.2f}'


def test_joint_attention_with_softmax_equals_the_paper():
  softmax = 6 * 8 * 4096**2 / 1e9  # 5 + 1 operations, 8 heads.
  assert f'{2 * of_module("joint_mhsa").macs / 1e9 + softmax:.1f}' == '22.0'
  softmax = 5 * 432 * 512**2 / 1e9  # Scores of heads of width 1 need no scale.
  assert f'{2 * of_module("token_learner").macs / 1e9 + softmax:.1f}' == '1.9'


@pytest.mark.parametrize('name, here, paper', [
    ('conv2d_conv1d', 525, 532), ('spatial_temporal_transformer', 487, 493),
    ('token_learner', 474, 487)])
def test_whole_backbones_are_close_to_the_paper(name, here, paper):
  cost = counts.classifier_cost(backbones.BottleneckSpec(name), PAPER_CLIP, 0)
  assert round(2 * cost.macs / 1e9) == here
  assert here == pytest.approx(paper, rel=.03)


@pytest.mark.parametrize('layer, shape, parameters, macs', [
    (layers.MatmulDense(5), (4, 3), 20, 60),
    (layers.PatchEmbedding(2, (3, 5)), (12, 30, 7), 212, 24 * 210),
    (layers.LayerNorm(), (4, 3), 6, 0),
    (layers.GridPooling(1, 2), (2, 2, 3), 0, 24),
    (layers.VectorTransformer(), (4, 3), 42, 4 * 3 * 9 + 2 * 4 * 4 * 3),
    (layers.TransformerEncoderBlock(2, 12), (6, 8), 532,
     6 * 8 * 32 + 2 * 6 * 6 * 8 + 2 * 6 * 8 * 12),
])
def test_macs_of_single_layers(layer, shape, parameters, macs):
  walk = counts._Walk()
  walk('layer', layer, shape)
  (row,) = walk.rows
  assert (row.parameters, row.macs) == (parameters, macs)


def test_equal_layers_are_counted_once(monkeypatch):
  counted = []
  count = counts._count
  monkeypatch.setattr(counts, '_count', lambda layer, shape: (
      counted.append(layer.name) or count(layer, shape)))
  monkeypatch.setattr(counts._Walk, '_counted', {})
  spec = tiny.spec(num_layers=6, token_learner_location=3,
                   stochastic_depth_rate=.1)
  first = counts.classifier_cost(spec, tiny.IMAGE, 7)
  assert counted == ['patch_embedding', 'position_embedding', 'block_0',
                     'learn_3', 'block_3', 'norm', 'head']
  deeper = counts.classifier_cost(
      dataclasses.replace(spec, num_layers=7), tiny.IMAGE, 7)
  wider = counts.classifier_cost(
      dataclasses.replace(spec, mlp_dim=13), tiny.IMAGE, 7)
  assert counted[7:] == ['block_0', 'block_3']
  assert deeper.parameters - first.parameters == first.rows[-3].parameters
  assert wider.parameters - first.parameters == 6 * (2 * 8 + 1)


def test_unknown_multiplications_are_refused():
  layer = tf_keras.layers.DepthwiseConv2D(2)
  with tf.Graph().as_default(), pytest.raises(
      NotImplementedError, match='DepthwiseConv2dNative in .* is not counted.'):
    counts._count(layer, (4, 4, 2))


def test_specs_that_models_refuse_are_refused():
  with pytest.raises(errors.UserError, match='num_heads must be'):
    counts.classifier_cost(
        backbones.BottleneckSpec(num_heads=0), PAPER_CLIP, 0)
