"""The arithmetic equals built models, TensorFlow's profiler and the paper."""

import re

import pytest

from tests.analysis import profiler
from tests.backbones import tiny_clips
from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.analysis import bottleneck_cost
from tf_tokenlearner.analysis import counts
from tf_tokenlearner.backbones import bottleneck_spec

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
# Of VectorTransformer the profiler sees the scores, a product for each pair
# of T*S tokens and each of C channels, as Mul: it is no matrix multiplication.
SCORES = counts.row('scores', [], counts.Count(macs=-(4 * 2)**2 * 8))


def of_module(name, **kwargs):
  spec = backbones.BottleneckSpec(name, **kwargs).completed((64, 256, 256, 3))
  assert spec.map_size((64, 256, 256, 3)) == (64, 8, 8)
  assert spec.inner_width(-1) == 432
  return bottleneck_cost.module(
      spec, bottleneck_spec.MODULES[name], (64, 8, 8), 432)


def gflops(rows):
  return 2 * sum(row.macs for row in rows) / 1e9


@pytest.mark.parametrize(
    'kwargs', MODELS, ids=lambda kwargs: '-'.join(map(str, kwargs.values())))
def test_equals_built_model(kwargs):
  model = tiny_clips.model(**kwargs)
  rows = bottleneck_cost.bottleneck_rows(
      tiny_clips.spec(**kwargs), tiny_clips.CLIP)
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
      rows + [SCORES] * len(modules), model, tiny_clips.CLIP)


def test_shapes():
  rows = bottleneck_cost.bottleneck_rows(tiny_clips.spec(), (4, 65, 96, 3))
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


@pytest.mark.parametrize('name, paper', PAPER.items())
def test_parameters_of_modules_are_those_of_the_paper(name, paper):
  assert of_module(name).parameters / 1e6 == pytest.approx(paper[1], rel=.03)


@pytest.mark.parametrize('name, paper', [
    item for item in PAPER.items() if 'token_learner' not in item[0]])
def test_gflops_of_modules_are_those_of_the_paper(name, paper):
  assert 2 * of_module(name).macs / 1e9 == pytest.approx(paper[0], rel=.05)


def test_table_of_the_docstring():
  table = re.findall(
      r'^  (\w+_\w+)  +(\S+) +(\S+) +(\S+) +(\S+)$', bottleneck_cost.__doc__,
      re.MULTILINE)
  assert {row[0]: (float(row[2]), float(row[4])) for row in table} == PAPER
  for name, here, _, parameters, _ in table:
    count = of_module(name)
    assert here == f'{2 * count.macs / 1e9:.1f}'
    assert parameters == f'{count.parameters / 1e6:.2f}'


def test_softmax_brings_joint_attention_to_the_paper():
  softmax = 6 * 8 * 4096**2 / 1e9  # 5 + 1 operations, 8 heads.
  assert f'{2 * of_module("joint_mhsa").macs / 1e9 + softmax:.1f}' == '22.0'
  softmax = 5 * 432 * 512**2 / 1e9  # Scores of heads of width 1 need no scale.
  assert f'{2 * of_module("token_learner").macs / 1e9 + softmax:.1f}' == '1.9'


@pytest.mark.parametrize('name, here, paper', [
    ('conv2d_conv1d', 525, 532), ('spatial_temporal_transformer', 487, 493),
    ('token_learner', 474, 487)])
def test_whole_backbones_of_the_paper(name, here, paper):
  rows = bottleneck_cost.bottleneck_rows(
      backbones.BottleneckSpec(name), (64, 256, 256, 3))
  assert round(gflops(rows)) == here
  assert here == pytest.approx(paper, rel=.03)


def test_refuses_what_the_model_refuses():
  with pytest.raises(errors.UserError, match='num_heads must be'):
    bottleneck_cost.bottleneck_rows(
        backbones.BottleneckSpec(num_heads=0), (64, 256, 256, 3))
