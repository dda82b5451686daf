"""Spec of the bottleneck video model, and its refusals."""

import dataclasses

import pytest

from tf_tokenlearner import errors
from tf_tokenlearner.backbones import bottleneck_spec

PAPER = (64, 224, 224, 3)
TINY = (4, 64, 64, 3)


def spec(**kwargs):
  return bottleneck_spec.BottleneckSpec(**{
      **dict(num_blocks=[1, 1, 1, 3], num_module_blocks=2), **kwargs})


def test_sizes_of_x3d_m():
  paper = bottleneck_spec.BottleneckSpec().completed(PAPER)
  assert [paper.inner_width(i) for i in range(4)] == [54, 108, 216, 432]
  assert paper.map_size(PAPER) == (64, 7, 7)
  assert paper.map_size((64, 256, 256, 3)) == (64, 8, 8)
  assert paper.map_size((5, 33, 1, 3)) == (5, 2, 1)
  plain, module = ('conv2d', 'conv1d'), ('conv2d', 'token_learner')
  assert [paper.parts(3, i) for i in range(7)] == [plain] * 4 + [module] * 3
  assert {paper.parts(2, i) for i in range(11)} == {plain}
  assert [paper.stride(i) for i in range(3)] == [2, 1, 1]


@pytest.mark.parametrize('name, parts', bottleneck_spec.MODULES.items())
def test_modules_are_named_after_their_parts(name, parts):
  assert spec(module=name).completed(TINY).parts(3, 2) == parts
  words = [part.removesuffix('_transformer') for part in parts]
  assert name.removesuffix('_transformer') == '_'.join(words)


@pytest.mark.parametrize('num_tokens, grid', [
    (1, (1, 1)), (7, (1, 7)), (8, (2, 4)), (9, (3, 3)), (12, (3, 4))])
def test_split_grid(num_tokens, grid):
  assert spec(num_tokens=num_tokens).split_grid() == grid


@pytest.mark.parametrize('kwargs', [
    dict(), dict(module='token_learner', tokenizer='dense'),
    dict(stage_widths=(8, 8, 8, 16), representation_size=None)])
def test_completed_is_idempotent(kwargs):
  completed = spec(**kwargs).completed(TINY)
  again = completed.completed(TINY)
  assert again == completed and again is not completed
  assert again.num_blocks is not completed.num_blocks
  assert isinstance(again.stage_widths, list)


@pytest.mark.parametrize('kwargs, message', [
    (dict(module='conv2d'), "Unknown module 'conv2d'. Nearest of the 10 known"),
    (dict(tokenizer='split'), "Unknown tokenizer 'split'. Known: fixed_split,"),
    (dict(num_module_blocks=0),
     'num_module_blocks must be a whole number of at least 1, got 0.'),
    (dict(num_module_blocks=3), 'num_module_blocks=3 must be less than the 3 '
     'blocks of the last stage: its first halves the map'),
    (dict(num_tokens=0), 'num_tokens must be .* got 0.'),
    (dict(token_learner_kernel_size=1.5), 'token_learner_kernel_size must be'),
    (dict(attention_dim=True), 'attention_dim must be .* got True.'),
    (dict(num_heads=None), 'num_heads must be .* got None.'),
    (dict(representation_size=0), 'representation_size must be .* 0.'),
    (dict(stage_widths=[8, 8]),
     r'stage_widths must be \[stage 1, stage 2, stage 3, stage 4\], got '
     r'\[8, 8\].'),
    (dict(num_blocks=[1, 0, 1, 3]), 'num_blocks stage 2 must be .* 0.'),
    (dict(expansion='2'), "expansion must be a number, got '2'."),
    (dict(expansion=.5), 'expansion must be at least 1, got 0.5.'),
    (dict(norm_momentum=None),
     r'norm_momentum must lie in \[0, 1\), got None'),
    (dict(norm_momentum=1), r'norm_momentum must lie in \[0, 1\), got 1.'),
    (dict(norm_epsilon=0), 'norm_epsilon must be above 0, got 0.'),
    (dict(module='joint_mhsa', attention_dim=12),
     'attention_dim=12 is no multiple of num_heads=8.'),
    (dict(module='spatial_token_learner', num_heads=64),
     r'stage_widths=\[.*192\] with expansion=2.25 gives the last stage an '
     'inner '
     'width that is no multiple of num_heads=64.'),
    (dict(module='conv2d_conv1d', tokenizer='dense'),
     'tokenizer=dense takes the place of a TokenLearner, but '
     'module=conv2d_conv1d has none. Known with one: token_learner, '
     'conv2d_token_learner, spatial_token_learner.'),
    (dict(tokenizer='dense', token_learner_kernel_size=3),
     'token_learner_kernel_size=3 goes with tokenizer=token_learner only, '
     'got dense.'),
    (dict(tokenizer='fixed_split'), 'tokenizer=fixed_split cuts a frame into 2 '
     'x 4 cells, more than its map of 2 x 2 has.'),
])
def test_refuses(kwargs, message):
  refused = spec(**kwargs)
  before = dataclasses.asdict(refused)
  with pytest.raises(errors.UserError, match=f'^{message}'):
    refused.completed(TINY)
  assert dataclasses.asdict(refused) == before


@pytest.mark.parametrize('input_size, message', [
    ((64, 64, 3),
     r'input_size must be \[frames, height, width, channels\], got'),
    ((0, 64, 64, 3), 'input_size frames must be .* got 0.'),
])
def test_refuses_input_size(input_size, message):
  with pytest.raises(errors.UserError, match=f'^{message}'):
    spec().completed(input_size)
