"""Shape checks, reshapes and building."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tf_tokenlearner import layers
from tf_tokenlearner.layers import shapes


def test_num_positions():
  assert shapes.num_positions(tf.TensorShape([None, 12, 8])) == 12
  assert shapes.num_positions((None, 3, 4, 8)) == 12


def test_to_tokens_goes_row_by_row():
  x = tf.reshape(tf.range(2 * 3 * 4 * 5), [2, 3, 4, 5])
  tokens = shapes.to_tokens(x)
  assert tokens.shape == (2, 12, 5)
  np.testing.assert_array_equal(tokens[1, 6], x[1, 1, 2])
  assert shapes.to_tokens(tokens) is tokens


@pytest.mark.parametrize('value', [0, -1, 1.0, True, '8', None])
def test_require_positive(value):
  shapes.require_positive('Layer', width=1)
  with pytest.raises(ValueError, match='^Layer: width must be a whole number '
                     f'of at least 1, got {value!r}.$'):
    shapes.require_positive('Layer', height=2, width=value)


@pytest.mark.parametrize('value', [-.1, 1, 1.5, float('nan')])
def test_require_rate(value):
  shapes.require_rate('Layer', rate=0, other_rate=.99)
  with pytest.raises(ValueError, match=r'^Layer: rate must lie in \[0, 1\), '
                     f'got {value}.$'):
    shapes.require_rate('Layer', rate=value)


def test_require_pair():
  assert shapes.require_pair('Layer', 'size', [3, 4]) == (3, 4)
  for value in (3, (3,), (3, 4, 5), '34', None):
    with pytest.raises(ValueError, match=r'size must be \(height, width\)'):
      shapes.require_pair('Layer', 'size', value)
  with pytest.raises(ValueError, match='Layer: size width must be a whole'):
    shapes.require_pair('Layer', 'size', (3, 0))


def test_require_sizes():
  axes = ('frames', 'height', 'width')
  assert shapes.require_sizes('Layer', 'size', [2, 3, 4], axes) == (2, 3, 4)
  with pytest.raises(ValueError, match=r'^Layer: size must be \(frames, '
                     r'height, width\), got \[3, 4\].$'):
    shapes.require_sizes('Layer', 'size', [3, 4], axes)
  with pytest.raises(ValueError, match='Layer: size frames must be a whole'):
    shapes.require_sizes('Layer', 'size', [0, 3, 4], axes)


@pytest.mark.parametrize('pixels, nearest', [
    (33, '32 and 48'), (9, '16 and 32')])
def test_require_tiled(pixels, nearest):
  tiled = lambda width: shapes.require_tiled(
      'Layer', 'image', (8, width), 'patch', (4, 16), ('height', 'width'))
  tiled(48)
  with pytest.raises(ValueError, match=f'^Layer: the image width {pixels} is '
                     f'no multiple of the patch width 16. Nearest that fit: '
                     f'{nearest}.$'):
    tiled(pixels)


@pytest.mark.parametrize('shape, message', [
    ([2, 8], r'x must be of rank 3, \[B, N, C\], or rank 4, \[B, H, W, C\], '
     r'got shape \(2, 8\)'),
    ([2, 3, 4, 5, 8], 'must be of rank 3'),
    (None, 'got shape <unknown>'),
    ([2, None, 8], r'every axis of x but the batch must be known, got '
     r'shape \(2, None, 8\). Fix the image size, .* tf.ensure_shape'),
    ([2, 9, None], 'but the batch must be known'),
])
def test_require_tokens_or_map(shape, message):
  shapes.require_tokens_or_map('Layer', 'x', [None, 9, 8])
  shapes.require_tokens_or_map('Layer', 'x', (None, 3, 3, 8))
  with pytest.raises(ValueError, match=f'^Layer: .*{message}'):
    shapes.require_tokens_or_map('Layer', 'x', shape)


@pytest.mark.parametrize('shape, grid_size, expected', [
    ([None, 3, 4, 8], None, (3, 4)),
    ([None, 3, 4, 8], (3, 4), (3, 4)),
    ([None, 12, 8], (2, 6), (2, 6)),
    ([None, 16, 8], None, (4, 4)),
])
def test_map_size(shape, grid_size, expected):
  shape = tf.TensorShape(shape)
  assert shapes.map_size('Layer', shape, grid_size) == expected


@pytest.mark.parametrize('shape, grid_size, message', [
    ([None, 3, 4, 8], (4, 3), r'^Layer: grid_size=\(4, 3\) was given, but the '
     'input is a map of 3 x 4. Leave grid_size out for maps.$'),
    ([None, 12, 8], None, r'^Layer: 12 positions do not form a map of 3 x 3. '
     r'Give grid_size=\(height, width\) with height \* width == 12, or pass a '
     r'map \[B, H, W, C\].$'),
    ([None, 12, 8], (2, 5), '12 positions do not form a map of 2 x 5'),
])
def test_map_size_refuses(shape, grid_size, message):
  with pytest.raises(ValueError, match=message):
    shapes.map_size('Layer', tf.TensorShape(shape), grid_size)


def test_building_names_variables_by_path():
  dense = tf_keras.layers.Dense(2, name='inner')
  with tf.name_scope('outer'):
    shapes.build(dense, [None, 3])
  assert [weight.name for weight in dense.weights] == [
      'outer/inner/kernel:0', 'outer/inner/bias:0']


def test_building_names_are_the_same_inside_a_function():
  block = layers.TransformerEncoderBlock(2, 4, name='block')
  tf.function(block)(tf.zeros([1, 9, 8]))
  names = [weight.name for weight in block.weights]
  assert names[2] == 'block/attention/qkv/kernel:0'
  assert names[-1] == 'block/mlp/output_dense/bias:0'
  assert len(set(names)) == len(names) == 12
