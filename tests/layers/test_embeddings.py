"""Embeddings of patches, tubelets, class token and positions."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tf_tokenlearner import layers

EMBEDDING = (
    layer_checks.Case(
        layers.PatchEmbedding, {'hidden_size': 8, 'patch_size': (4, 2)},
        ((8, 6, 3),), (2, 3, 8)),
    layer_checks.Case(layers.ClassToken, {}, ((9, 8),), (10, 8)),
    layer_checks.Case(layers.PositionEmbedding, {}, ((9, 8),), (9, 8)),
    layer_checks.Case(layers.PositionEmbedding, {}, ((2, 3, 8),), (2, 3, 8)),
    layer_checks.Case(
        layers.PositionEmbedding, {'num_repeats': 3}, ((9, 8),), (9, 8)),
)
TUBELET = (
    layer_checks.Case(
        layers.TubeletEmbedding, {'hidden_size': 8, 'tubelet_size': (3, 4, 2)},
        ((6, 8, 6, 3),), (2, 2, 3, 8)),
    layer_checks.Case(
        layers.TubeletEmbedding, {'hidden_size': 8, 'tubelet_size': (1, 2, 2)},
        ((3, 4, 2, 1),), (3, 2, 1, 8)),
)
CASES = (*EMBEDDING, *TUBELET)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


def test_a_patch_is_a_dense_layer_of_its_pixels():
  case = EMBEDDING[0]
  layer, (images,) = case.make(), case.tensors()
  patches = images.numpy().reshape([2, 2, 4, 3, 2, 3])
  patches = patches.transpose([0, 1, 3, 2, 4, 5]).reshape([2, 2, 3, 24])
  kernel, bias = layer.get_weights()
  np.testing.assert_allclose(
      layer(images), patches @ kernel.reshape([24, 8]) + bias,
      **layer_checks.CLOSE)


def test_class_token_comes_first():
  layer, (x,) = EMBEDDING[1].make(), EMBEDDING[1].tensors()
  outputs = layer(x)
  np.testing.assert_array_equal(outputs[:, 1:], x)
  np.testing.assert_array_equal(outputs[0, 0], layer.embedding[0, 0])
  np.testing.assert_array_equal(outputs[1, 0], layer.embedding[0, 0])
  assert not layers.ClassToken()(x)[:, 0].numpy().any()  # Zero at first.


def test_positions_are_added_row_by_row():
  layer, (x,) = EMBEDDING[3].make(), EMBEDDING[3].tensors()
  table = layer.embedding.numpy().reshape([2, 3, 8])
  np.testing.assert_array_equal(layer(x), x + table)
  assert layer.embedding.shape == [1, 6, 8]


def test_positions_start_small():
  layer = layers.PositionEmbedding()
  layer.build([None, 100, 64])
  np.testing.assert_allclose(layer.embedding.numpy().std(), .02, rtol=.05)


@pytest.mark.parametrize('shape, message', [
    ([None, 8, 3], r'expected images \[B, height, width, channels\] of known '
     r'size, got shape \(None, None, 8, 3\)'),
    ([9, 8, 3], 'the image height 9 is no multiple of the patch height 4. '
     'Nearest that fit: 8 and 12.'),
    ([8, 1, 3], 'the image width 1 is no multiple of the patch width 2. '
     'Nearest that fit: 2 and 4.'),
])
def test_patches_refuse_image(shape, message):
  fresh, built = layers.PatchEmbedding(8, (4, 2)), EMBEDDING[0].make()
  for layer in (fresh, built):
    with pytest.raises(ValueError, match=f'PatchEmbedding: {message}'):
      layer(tf_keras.Input(shape))


def test_patches_refuse_rank():
  with pytest.raises(ValueError, match='PatchEmbedding: expected images'):
    layers.PatchEmbedding(8, (4, 2))(tf_keras.Input([8, 8]))


@pytest.mark.parametrize('patch_size, message', [
    (4, r'patch_size must be \(height, width\), got 4'),
    ((4, 4, 4), r'must be \(height, width\)'),
    ((4, 0), 'PatchEmbedding: patch_size width must be .* got 0'),
    ((1.5, 4), 'patch_size height must be a whole number .* got 1.5'),
])
def test_patches_refuse_size(patch_size, message):
  with pytest.raises(ValueError, match=message):
    layers.PatchEmbedding(8, patch_size)


def test_patches_refuse_width():
  with pytest.raises(ValueError, match='PatchEmbedding: hidden_size must be'):
    layers.PatchEmbedding(0, (4, 4))


def test_class_token_refuses_map():
  with pytest.raises(ValueError, match=r'ClassToken: inputs must be tokens '
                     r'\[B, N, C\], got shape \(None, 2, 3, 8\)'):
    layers.ClassToken()(tf_keras.Input([2, 3, 8]))


@pytest.mark.parametrize('shape, message', [
    ([8], 'PositionEmbedding: inputs must be of rank 3'),
    ([None, 8], 'every axis of inputs but the batch must be known'),
])
def test_positions_refuse_shape(shape, message):
  with pytest.raises(ValueError, match=message):
    layers.PositionEmbedding()(tf_keras.Input(shape))


def test_repeated_positions_are_the_same_in_every_frame():
  layer, (x,) = EMBEDDING[4].make(), EMBEDDING[4].tensors()
  assert layer.embedding.shape == [1, 3, 8]
  for frame in range(3):
    part = slice(3 * frame, 3 * frame + 3)
    np.testing.assert_array_equal(
        layer(x)[:, part], x[:, part] + layer.embedding)


def test_repeated_positions_refuse():
  with pytest.raises(ValueError, match='PositionEmbedding: 9 positions are no '
                     'multiple of num_repeats=2.'):
    layers.PositionEmbedding(2)(tf_keras.Input([9, 8]))
  with pytest.raises(ValueError, match='built for 9 positions, got shape '
                     r'\(None, 3, 8\)'):
    EMBEDDING[4].make()(tf_keras.Input([3, 8]))
  with pytest.raises(ValueError, match='PositionEmbedding: num_repeats must'):
    layers.PositionEmbedding(0)


@pytest.mark.parametrize('shape', [[3, 4, 8], [10, 8]])
def test_positions_refuse_another_number(shape):
  layer = EMBEDDING[3].make()
  with pytest.raises(ValueError, match='PositionEmbedding: built for 6 posi'):
    layer(tf_keras.Input(shape))


@pytest.mark.parametrize('case', TUBELET)
def test_tubelet_is_the_strided_convolution(case):
  layer, (clips,) = case.make(), case.tensors()
  expected = tf.nn.conv3d(
      clips, layer.kernel, [1, *layer.tubelet_size, 1], 'VALID') + layer.bias
  np.testing.assert_allclose(layer(clips), expected, **layer_checks.CLOSE)


def test_tubelet_a_tubelet_is_a_dense_layer_of_its_pixels():
  layer, (clips,) = TUBELET[0].make(), TUBELET[0].tensors()
  kernel, bias = layer.get_weights()
  assert kernel.shape == (3, 4, 2, 3, 8)
  corner = clips[1, 3:, 4:, 2:4].numpy()  # Of index 1, row 1, column 1.
  np.testing.assert_allclose(
      layer(clips)[1, 1, 1, 1],
      corner.ravel() @ kernel.reshape([-1, 8]) + bias, **layer_checks.CLOSE)


def test_tubelet_a_tubelet_of_one_frame_is_a_patch():
  layer, (clips,) = TUBELET[1].make(), TUBELET[1].tensors()
  patches = layers.PatchEmbedding(8, (2, 2))
  patches.build([None, 4, 2, 1])
  patches.projection.set_weights(
      [layer.get_weights()[0][0], layer.get_weights()[1]])
  for t in range(3):
    np.testing.assert_allclose(
        layer(clips)[:, t], patches(clips[:, t]), **layer_checks.CLOSE)


def test_tubelet_weights_at_first():
  """Variance 1 / pixels, as the source's lecun_normal; no bias."""
  layer = layers.TubeletEmbedding(200, (2, 4, 5))
  layer.build([None, 2, 4, 5, 3])
  np.testing.assert_allclose(
      layer.kernel.numpy().std(), (2 * 4 * 5 * 3)**-.5, rtol=.05)
  assert not layer.bias.numpy().any()


@pytest.mark.parametrize('shape, message', [
    ([6, None, 6, 3], r'expected clips \[B, frames, height, width, channels\] '
     r'of known size, got shape \(None, 6, None, 6, 3\)'),
    ([8, 6, 3], 'expected clips'),
    ([7, 8, 6, 3], 'the clip length 7 is no multiple of the tubelet length 3. '
     'Nearest that fit: 6 and 9.'),
    ([6, 9, 6, 3], 'the clip height 9 is no multiple of the tubelet height 4'),
    ([6, 8, 1, 3], 'the clip width 1 is no multiple of the tubelet width 2. '
     'Nearest that fit: 2 and 4.'),
])
def test_tubelet_refuses_clip(shape, message):
  fresh, built = layers.TubeletEmbedding(8, (3, 4, 2)), TUBELET[0].make()
  for layer in (fresh, built):
    with pytest.raises(ValueError, match=f'TubeletEmbedding: {message}'):
      layer(tf_keras.Input(shape))


@pytest.mark.parametrize('kwargs, message', [
    (dict(tubelet_size=16), r'tubelet_size must be \(frames, height, width\), '
     'got 16'),
    (dict(tubelet_size=(16, 16)), 'tubelet_size must be'),
    (dict(tubelet_size=(0, 4, 4)), 'tubelet_size frames must be .* got 0'),
    (dict(hidden_size=0), 'hidden_size must be .* got 0'),
])
def test_tubelet_refuses_size(kwargs, message):
  with pytest.raises(ValueError, match=f'TubeletEmbedding: {message}'):
    layers.TubeletEmbedding(
        **{'hidden_size': 8, 'tubelet_size': (2, 4, 4), **kwargs})
