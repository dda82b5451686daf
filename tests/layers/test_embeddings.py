"""PatchEmbedding, ClassToken and PositionEmbedding."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tf_tokenlearner import layers

CASES = (
    layer_checks.Case(
        layers.PatchEmbedding, {'hidden_size': 8, 'patch_size': (4, 2)},
        ((8, 6, 3),), (2, 3, 8)),
    layer_checks.Case(layers.ClassToken, {}, ((9, 8),), (10, 8)),
    layer_checks.Case(layers.PositionEmbedding, {}, ((9, 8),), (9, 8)),
    layer_checks.Case(layers.PositionEmbedding, {}, ((2, 3, 8),), (2, 3, 8)),
    layer_checks.Case(
        layers.PositionEmbedding, {'num_repeats': 3}, ((9, 8),), (9, 8)),
)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


def test_a_patch_is_a_dense_layer_of_its_pixels():
  case = CASES[0]
  layer, (images,) = case.make(), case.tensors()
  patches = images.numpy().reshape([2, 2, 4, 3, 2, 3])
  patches = patches.transpose([0, 1, 3, 2, 4, 5]).reshape([2, 2, 3, 24])
  kernel, bias = layer.get_weights()
  np.testing.assert_allclose(
      layer(images), patches @ kernel.reshape([24, 8]) + bias,
      **layer_checks.CLOSE)


def test_class_token_comes_first():
  layer, (x,) = CASES[1].make(), CASES[1].tensors()
  outputs = layer(x)
  np.testing.assert_array_equal(outputs[:, 1:], x)
  np.testing.assert_array_equal(outputs[0, 0], layer.embedding[0, 0])
  np.testing.assert_array_equal(outputs[1, 0], layer.embedding[0, 0])
  assert not layers.ClassToken()(x)[:, 0].numpy().any()  # Zero at first.


def test_positions_are_added_row_by_row():
  layer, (x,) = CASES[3].make(), CASES[3].tensors()
  table = layer.embedding.numpy().reshape([2, 3, 8])
  np.testing.assert_array_equal(layer(x), x + table)
  assert layer.embedding.shape == [1, 6, 8]


def test_positions_start_small():
  layer = layers.PositionEmbedding()
  layer.build([None, 100, 64])
  np.testing.assert_allclose(layer.embedding.numpy().std(), .02, rtol=.05)


@pytest.mark.parametrize('shape, message', [
    ([None, 8, 3], r'expected images \[B, height, width, channels\] of known '
     r'size, received shape \(None, None, 8, 3\)'),
    ([9, 8, 3], 'the image height 9 is no multiple of the patch height 4. '
     'Nearest that fit: 8 and 12.'),
    ([8, 1, 3], 'the image width 1 is no multiple of the patch width 2. '
     'Nearest that fit: 2 and 4.'),
])
def test_patches_refuse_image(shape, message):
  fresh, built = layers.PatchEmbedding(8, (4, 2)), CASES[0].make()
  for layer in (fresh, built):
    with pytest.raises(ValueError, match=f'PatchEmbedding: {message}'):
      layer(tf_keras.Input(shape))


def test_patches_refuse_rank():
  with pytest.raises(ValueError, match='PatchEmbedding: expected images'):
    layers.PatchEmbedding(8, (4, 2))(tf_keras.Input([8, 8]))


@pytest.mark.parametrize('patch_size, message', [
    (4, r'patch_size must be \(height, width\), received 4'),
    ((4, 4, 4), r'must be \(height, width\)'),
    ((4, 0), 'PatchEmbedding: patch_size width must be .* received 0'),
    ((1.5, 4), 'patch_size height must be a whole number .* received 1.5'),
])
def test_patches_refuse_size(patch_size, message):
  with pytest.raises(ValueError, match=message):
    layers.PatchEmbedding(8, patch_size)


def test_patches_refuse_width():
  with pytest.raises(ValueError, match='PatchEmbedding: hidden_size must be'):
    layers.PatchEmbedding(0, (4, 4))


def test_class_token_refuses_map():
  with pytest.raises(ValueError, match=r'ClassToken: inputs must be tokens '
                     r'\[B, N, C\], received shape \(None, 2, 3, 8\)'):
    layers.ClassToken()(tf_keras.Input([2, 3, 8]))


@pytest.mark.parametrize('shape, message', [
    ([8], 'PositionEmbedding: inputs must be of rank 3'),
    ([None, 8], 'every axis of inputs but the batch must be known'),
])
def test_positions_refuse_shape(shape, message):
  with pytest.raises(ValueError, match=message):
    layers.PositionEmbedding()(tf_keras.Input(shape))


def test_repeated_positions_are_the_same_in_every_frame():
  layer, (x,) = CASES[4].make(), CASES[4].tensors()
  assert layer.embedding.shape == [1, 3, 8]
  for frame in range(3):
    part = slice(3 * frame, 3 * frame + 3)
    np.testing.assert_array_equal(
        layer(x)[:, part], x[:, part] + layer.embedding)


def test_repeated_positions_refuse():
  with pytest.raises(ValueError, match='PositionEmbedding: 9 positions are no '
                     'multiple of num_repeats=2.'):
    layers.PositionEmbedding(2)(tf_keras.Input([9, 8]))
  with pytest.raises(ValueError, match='built for 9 positions, received shape '
                     r'\(None, 3, 8\)'):
    CASES[4].make()(tf_keras.Input([3, 8]))
  with pytest.raises(ValueError, match='PositionEmbedding: num_repeats must'):
    layers.PositionEmbedding(0)


@pytest.mark.parametrize('shape', [[3, 4, 8], [10, 8]])
def test_positions_refuse_another_number(shape):
  layer = CASES[3].make()
  with pytest.raises(ValueError, match='PositionEmbedding: built for 6 posi'):
    layer(tf_keras.Input(shape))
