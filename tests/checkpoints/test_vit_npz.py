"""Public ViT weights into our models, and what is wrong with damaged ones."""

import numpy as np
import pytest
import tensorflow as tf

from tests import goldens
from tests.checkpoints import tiny_checkpoints
from tf_tokenlearner import backbones
from tf_tokenlearner import checkpoints
from tf_tokenlearner.checkpoints import flax_models
from tf_tokenlearner.checkpoints import vit_npz
from tf_tokenlearner import errors

BLOCK_1 = 'Transformer/encoderblock_1/'
ATTENTION_1 = f'{BLOCK_1}MultiHeadDotProductAttention_1/'
POSITIONS = 'Transformer/posembed_input/pos_embedding'


@pytest.fixture(scope='module', name='plain')
def fixture_plain():
  """A model that the arrays fit; refused files leave it as it is."""
  return tiny_checkpoints.classifier(pooler='token')


@pytest.mark.parametrize('name', [
    'augreg_vit_ti_like', 'augreg_vit_ti_like_noprelogits'])
def test_golden(name):
  golden = goldens.read(f'{name}_io')
  spec = backbones.ViTSpec(
      'Ti/8', num_layers=3, hidden_size=24, mlp_dim=96, num_heads=3,
      pooler='token', representation_size=golden.kwargs['representation_size'])
  model = backbones.Classifier(
      backbones.VisionTransformer(spec, (32, 32, 3)), 11)
  done = checkpoints.load_vision_transformer_npz(
      model, str(goldens.FOLDER / f'{name}.npz'))
  assert not done.fresh and not done.unused and not done.notes
  endpoints = model.endpoints(tf.constant(golden.inputs['images']))
  for ours, theirs in [('features', 'encoded'), ('pre_logits', 'pre_logits'),
                       ('logits', 'logits')]:
    np.testing.assert_allclose(
        endpoints[ours], golden.outputs[theirs], atol=1e-5, rtol=0)


def test_says_what_came(tmp_path, plain, capsys):
  path = tiny_checkpoints.write_vit(tmp_path / 'vit.npz')
  done = checkpoints.load_vision_transformer_npz(plain, path, head='fresh')
  assert capsys.readouterr().err == (
      f'Loaded from {path} (public ViT weights):\n{done}\n')
  assert str(done).endswith('  fresh: head\n  not used: head')


def test_into_a_larger_one_with_token_learner(tmp_path):
  """Positions as scipy.ndimage.zoom makes them, less the class token's."""
  ndimage = pytest.importorskip('scipy.ndimage')
  arrays = tiny_checkpoints.vit_arrays(grid=(3, 3))
  model = tiny_checkpoints.classifier(
      (20, 24, 3), token_learner_location=1, num_tokens=2)
  learner = model.backbone.encoder.stages[1]
  before = learner.get_weights()
  done = checkpoints.load_vision_transformer_npz(
      model, tiny_checkpoints.write(tmp_path / 'vit.npz', arrays), head='fresh')
  assert done.fresh == ('encoder/learn_1', 'head')
  assert done.unused == ('class_token', 'head')
  grid = arrays[POSITIONS][0, 1:].reshape(3, 3, -1)
  np.testing.assert_allclose(
      model.backbone.position_embedding.embedding.numpy()[0],
      ndimage.zoom(grid, (5 / 3, 6 / 3, 1), order=1).reshape(30, -1), atol=1e-6)
  for now, then in zip(learner.get_weights(), before):
    np.testing.assert_array_equal(now, then)
  np.testing.assert_array_equal(
      model.backbone.encoder.stages[2].mlp.hidden.kernel,
      arrays[f'{BLOCK_1}MlpBlock_3/Dense_0/kernel'])


def test_blocks_are_ordered_by_number(tmp_path):
  arrays = tiny_checkpoints.vit_arrays(num_layers=11)
  model = tiny_checkpoints.classifier(num_layers=11, pooler='token')
  checkpoints.load_vision_transformer_npz(
      model, tiny_checkpoints.write(tmp_path / 'vit.npz', arrays))
  for i in (1, 2, 9, 10):
    np.testing.assert_array_equal(
        model.backbone.encoder.stages[i].attention_norm.gamma,
        arrays[f'Transformer/encoderblock_{i}/LayerNorm_0/scale'])


def test_grid_that_is_no_square(tmp_path, plain):
  arrays = tiny_checkpoints.vit_arrays(grid=(2, 4))
  path = tiny_checkpoints.write(tmp_path / 'vit.npz', arrays)
  with pytest.raises(errors.UserError, match='it has 8 positions in a frame, '
                     r'which are no square: give grid_size=\(height, width\)'):
    checkpoints.load_vision_transformer_npz(plain, path)
  with pytest.raises(errors.UserError, match=r'are not grid_size=\(3, 3\)'):
    checkpoints.load_vision_transformer_npz(plain, path, grid_size=(3, 3))
  model = tiny_checkpoints.classifier(pooler='token')
  done = checkpoints.load_vision_transformer_npz(
      model, path, grid_size=(2, 4))
  assert dict(done.loaded)['position_embedding'] == (
      '2 x 4 positions resized to 2 x 2')
  rows = model.backbone.position_embedding.embedding.numpy()[0]
  np.testing.assert_allclose(
      rows, arrays[POSITIONS][0, [0, 1, 4, 5, 8]], atol=1e-6)
  # A model of the same grid tells as much.
  same = tiny_checkpoints.classifier((8, 16, 3), pooler='token')
  checkpoints.load_vision_transformer_npz(same, path)
  np.testing.assert_array_equal(
      same.backbone.position_embedding.embedding, arrays[POSITIONS])


def test_square_that_the_grid_of_the_model_would_fit_as_well(tmp_path):
  path = tiny_checkpoints.write(
      tmp_path / 'vit.npz', tiny_checkpoints.vit_arrays(grid=(4, 4)))
  model = tiny_checkpoints.classifier((8, 32, 3), pooler='token')  # 2 x 8.
  done = checkpoints.load_vision_transformer_npz(model, path)
  assert dict(done.loaded)['position_embedding'] == (
      '4 x 4 positions resized to 2 x 8')


def test_head_is_kept_fresh_or_zero(tmp_path):
  arrays = tiny_checkpoints.vit_arrays()
  path = tiny_checkpoints.write(tmp_path / 'vit.npz', arrays)
  model = tiny_checkpoints.classifier(pooler='token')
  model.head.kernel.assign(tf.ones_like(model.head.kernel))
  for head, expected in (('fresh', np.ones([8, 5])), ('zero', np.zeros([8, 5])),
                         ('keep', arrays['head/kernel'])):
    done = checkpoints.load_vision_transformer_npz(model, path, head)
    np.testing.assert_array_equal(model.head.kernel, expected)
    assert ('head' in done.fresh) == (head == 'fresh')
    assert ('head', 'zero') in done.loaded or head != 'zero'
  with pytest.raises(errors.UserError, match="'none'. Known: "):
    checkpoints.load_vision_transformer_npz(model, path, head='none')


def test_other_classes_need_a_fresh_head(tmp_path):
  path = tiny_checkpoints.write_vit(tmp_path / 'vit.npz')
  model = tiny_checkpoints.classifier(pooler='token', num_classes=3)
  with pytest.raises(errors.UserError, match='Only the head differs'):
    checkpoints.load_vision_transformer_npz(model, path)
  checkpoints.load_vision_transformer_npz(model, path, head='fresh')


def test_pre_logits(tmp_path):
  """The head would fit by shape, but on other features."""
  arrays = tiny_checkpoints.vit_arrays(representation=tiny_checkpoints.WIDTH)
  path = tiny_checkpoints.write(tmp_path / 'vit.npz', arrays)
  without = tiny_checkpoints.classifier(pooler='token')
  with pytest.raises(errors.UserError, match='follows pre_logits, which '
                     'the model does not have: set representation_size=8'):
    checkpoints.load_vision_transformer_npz(without, path)
  done = checkpoints.load_vision_transformer_npz(without, path, head='fresh')
  assert done.unused == ('pre_logits', 'head')
  plain = tiny_checkpoints.write_vit(tmp_path / 'plain.npz')
  model = tiny_checkpoints.classifier(pooler='token', representation_size=8)
  with pytest.raises(errors.UserError, match='no pre_logits, which the model '
                     'has: leave representation_size out'):
    checkpoints.load_vision_transformer_npz(model, plain)
  checkpoints.load_vision_transformer_npz(model, path)
  np.testing.assert_array_equal(
      model.backbone.pre_logits.kernel, arrays['pre_logits/kernel'])


def test_head_of_a_class_token_behind_a_mean_is_told(tmp_path):
  path = tiny_checkpoints.write_vit(tmp_path / 'vit.npz')
  done = checkpoints.load_vision_transformer_npz(
      tiny_checkpoints.classifier(), path)
  assert done.notes == ('the head was trained with pooler=token, the model '
                        'has pooler=gap',)


def without(*names):
  return lambda arrays: [arrays.pop(name) for name in names]


def changed(name, change):
  return lambda arrays: arrays.update({name: change(arrays[name])})


def renamed_block(arrays):
  for name in [name for name in arrays if name.startswith(BLOCK_1)]:
    arrays[name.replace('block_1', 'block_2')] = arrays.pop(name)


DAMAGES = {
    'missing key': (
        without(f'{ATTENTION_1}query/kernel'),
        'do not go together: missing: Transformer/encoderblock_1/'
        'MultiHeadDotProductAttention_0/query/kernel$'),
    'missing patches': (without('embedding/kernel'),
                        'cannot be loaded: it lacks embedding/kernel.'),
    'missing head': (without('head/bias'), 'it lacks output_projection/bias.'),
    'missing block': (renamed_block, 'it lacks Transformer/encoderblock_1.'),
    'no blocks': (lambda arrays: [arrays.pop(name) for name in list(arrays)
                                  if 'encoderblock' in name],
                  'it lacks Transformer/encoderblock_0.'),
    'one array more': (
        lambda arrays: arrays.update(extra=np.zeros(3)), 'left over: extra$'),
    'hybrid': (lambda arrays: arrays.update({'conv_root/kernel': np.zeros(3)}),
               'left over: conv_root/kernel$'),
    'wrong shape': (
        changed(f'{BLOCK_1}MlpBlock_3/Dense_1/bias', lambda x: x[:-1]),
        r'other shape: .*Dense_1/bias \[\(7,\)\] does not fit .* \(8,\)$'),
    'transposed kernel': (
        changed(f'{BLOCK_1}MlpBlock_3/Dense_0/kernel', np.transpose),
        r'Dense_0/kernel \[\(12, 8\)\] does not fit .* \(8, 12\), but its '
        'transpose does'),
    'transposed query': (
        changed(f'{ATTENTION_1}query/kernel', np.transpose),
        r'query/kernel.* \[\(4, 2, 8\), \(8, 2, 4\), \(8, 2, 4\)\] does not'),
    'transposed head': (
        changed('head/kernel', np.transpose),
        r'output_projection/kernel \[\(5, 8\)\] .*transpose does'),
    'other heads in one block': (
        changed(f'{ATTENTION_1}out/kernel', lambda x: x.reshape(4, 2, 8)),
        r'out/kernel \[\(4, 2, 8\)\] does not fit'),
    'scale with two axes': (
        changed('Transformer/encoder_norm/scale', lambda x: x[None]),
        r'should be a vector, but its shape is \[1, 8\]'),
    'heads folded': (
        changed('Transformer/encoderblock_0/MultiHeadDotProductAttention_1/'
                'query/bias', np.ravel), r'\[8\] is not \[heads, width of a'),
    'positions folded': (changed(POSITIONS, lambda x: x[0]),
                         r'\[5, 8\] is not \[1, positions, C\]'),
    'patches folded': (
        changed('embedding/kernel', lambda x: x.reshape(48, 8)),
        r'embedding/kernel \[48, 8\] is neither of images'),
    'both spellings of a name': (
        lambda arrays: arrays.update(
            {f'{BLOCK_1}LayerNorm_1/bias': np.ones(8)}),
        'Both Transformer/encoderblock_1/LayerNorm_[12]/bias and Transformer/'
        'encoderblock_1/LayerNorm_[12]/bias are Transformer/encoderblock_1/'
        'LayerNorm_1/bias'),
    'objects': (changed('head/bias', lambda x: x.astype(object)),
                'head/bias is an array of Python objects'),
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_damaged(tmp_path, plain, damage):
  arrays = tiny_checkpoints.vit_arrays()
  change, message = DAMAGES[damage]
  change(arrays)
  before = plain.get_weights()
  with pytest.raises(errors.UserError, match=message) as caught:
    checkpoints.load_vision_transformer_npz(
        plain, tiny_checkpoints.write(tmp_path / 'vit.npz', arrays))
  assert 'vit.npz' in str(caught.value) and '\n' not in str(caught.value)
  for now, then in zip(plain.get_weights(), before):
    np.testing.assert_array_equal(now, then)


def test_cut_off(tmp_path, plain):
  path = tmp_path / 'vit.npz'
  tiny_checkpoints.write_vit(path)
  path.write_bytes(path.read_bytes()[:-100])
  with pytest.raises(errors.UserError, match='is not a complete .npz file'):
    checkpoints.load_vision_transformer_npz(plain, str(path))


def test_other_widths_and_heads(tmp_path, plain):
  """Folded kernels of any number of heads have the same shape."""
  path = tiny_checkpoints.write_vit(tmp_path / 'vit.npz')
  model = tiny_checkpoints.classifier(pooler='token', num_heads=4)
  with pytest.raises(errors.UserError, match='encoder/block_0: num_heads=2 in '
                     'the checkpoint, 4 in the model'):
    checkpoints.load_vision_transformer_npz(model, path)
  model = tiny_checkpoints.classifier(pooler='token', mlp_dim=16)
  with pytest.raises(errors.UserError, match=r'encoder/block_0: \[8, 12\] in '
                     r'the checkpoint, \[8, 16\] in the model'):
    checkpoints.load_vision_transformer_npz(model, path)


def test_model_of_clips(tmp_path):
  arrays = tiny_checkpoints.vit_arrays(class_token=False)
  spec = backbones.ViViTSpec(
      'Ti/4x2', num_layers=2, hidden_size=8, mlp_dim=12, num_heads=2)
  video = backbones.Classifier(
      backbones.VideoVisionTransformer(spec, (4, 8, 8, 3)), 5)
  path = tiny_checkpoints.write(tmp_path / 'vit.npz', arrays)
  image = flax_models.build(vit_npz.read(path), video)
  done = checkpoints.load_vision_transformer_npz(video, path)
  assert not done.fresh and not done.unused
  images = np.random.default_rng(1).normal(size=[2, 8, 8, 3])
  images = images.astype(np.float32)
  np.testing.assert_allclose(
      video(np.repeat(images[:, None], 4, axis=1)), image(images), atol=1e-5)
