"""The convolutional parts of the bottleneck video model."""

import numpy as np
import pytest
import tensorflow as tf

from tests import layer_checks
from tests import numpy_layers
from tests.backbones import tiny_clips
from tf_tokenlearner.backbones import x2plus1d

SPEC = tiny_clips.spec(norm_epsilon=.1).completed(tiny_clips.CLIP)
X = np.random.default_rng(3).normal(size=[2, 3, 5, 4, 6]).astype('float32')


def drawn(layer, x=X):
  layer(x)
  tiny_clips.draw_weights(layer)
  return layer


def normalised(x, layer, cut=True):
  """Returns what a trained SpatialConvolution does after its convolution."""
  own = numpy_layers.weights(layer.norm)
  x = (x - own['moving_mean']) / np.sqrt(own['moving_variance'] + .1)
  x = x * own['gamma'] + own['beta']
  return np.maximum(x, 0) if cut else x


def spatial(x, layer):
  """Stride 1."""
  frames = x.reshape([-1, *x.shape[2:]])
  y = numpy_layers.convolution(frames, layer.conv)
  return y.reshape([*x.shape[:4], -1])


def temporal(x, layer):
  kernel = layer.conv.kernel.numpy()[:, 0]
  reach = len(kernel) // 2
  padded = np.pad(x, [(0, 0), (reach, reach)] + 3 * [(0, 0)])
  return sum(padded[:, i:i + x.shape[1]] @ kernel[i]
             for i in range(len(kernel)))


def close(ours, expected):
  np.testing.assert_allclose(ours, expected, **layer_checks.CLOSE)


@pytest.mark.parametrize('kernel_size', [1, 3])
def test_spatial_convolution_equals_numpy(kernel_size):
  layer = drawn(x2plus1d.SpatialConvolution(SPEC, 7, kernel_size))
  expected = normalised(spatial(X, layer), layer)
  assert expected.shape == (2, 3, 5, 4, 7) and (expected == 0).any()
  close(layer(X), expected)


@pytest.mark.parametrize('kernel_size', [3, 5])
def test_temporal_convolution_equals_numpy(kernel_size):
  layer = drawn(x2plus1d.TemporalConvolution(SPEC, 7, kernel_size))
  close(layer(X), normalised(temporal(X, layer), layer))


def test_the_two_are_a_3d_convolution():
  """A 3D kernel that is a product, except for normalization in between."""
  space = x2plus1d.SpatialConvolution(SPEC, 6, 3, activation='linear')
  time = x2plus1d.TemporalConvolution(SPEC, 6, 3, activation='linear')
  for layer in (space, time):
    drawn(layer)
    layer.norm.set_weights([np.full(6, np.sqrt(1.1)), np.zeros(6), np.zeros(6),
                            np.ones(6)])
  kernel = tf.einsum('hwij,tjk->thwik', space.conv.kernel,
                     time.conv.kernel[:, 0])
  close(time(space(X)), tf.nn.conv3d(X, kernel, [1, 1, 1, 1, 1], 'SAME'))


def test_stride_halves_maps_rounding_up():
  layer = drawn(x2plus1d.SpatialConvolution(SPEC, 7, 1, stride=2))
  expected = normalised(spatial(X, layer), layer)[:, :, ::2, ::2]
  assert expected.shape == (2, 3, 3, 2, 7)
  close(layer(X), expected)


def test_training_normalises_by_the_batch():
  layer = drawn(x2plus1d.SpatialConvolution(
      SPEC, 7, 3, activation='linear'))
  y = spatial(X, layer)
  before = numpy_layers.weights(layer.norm)
  mean, variance = y.mean(axis=(0, 1, 2, 3)), y.var(axis=(0, 1, 2, 3))
  expected = (y - mean) / np.sqrt(variance + .1)
  close(layer(X, training=True),
        expected * before['gamma'] + before['beta'])
  after = numpy_layers.weights(layer.norm)
  close(after['moving_mean'], .99 * before['moving_mean'] + .01 * mean)
  np.testing.assert_allclose(  # The fused kernel divides by one less.
      after['moving_variance'],
      .99 * before['moving_variance'] + .01 * variance, rtol=1e-3)


def test_norm_reads_its_options():
  spec = tiny_clips.spec(norm_momentum=.5, norm_epsilon=.2)
  norm = x2plus1d.SpatialConvolution(spec, 7, 3).norm
  assert (norm.momentum, norm.epsilon, norm.synchronized) == (.5, .2, False)


def test_stem_equals_numpy():
  stem = drawn(x2plus1d.Stem(SPEC))
  frames = X.reshape([-1, 5, 4, 6])
  kernel = stem.space.kernel.numpy()
  # 'Same' puts the row that 5 lack before and behind, the one of 4 behind.
  padded = np.pad(frames, [(0, 0), (1, 1), (0, 1), (0, 0)])
  y = sum(padded[:, i:i + 5:2, j:j + 4:2] @ kernel[i, j]
          for i in range(3) for j in range(3)).reshape([2, 3, 3, 2, 2])
  assert stem.time.conv.kernel.shape == (5, 1, 2, 2)
  close(stem(X), normalised(temporal(y, stem.time), stem.time))


def test_block_equals_its_parts():
  inside = [x2plus1d.SpatialConvolution(SPEC, 8, 3),
            x2plus1d.TemporalConvolution(SPEC, 8, 3)]
  block = drawn(x2plus1d.BottleneckBlock(SPEC, inside, 8, 6, stride=1))
  y = normalised(spatial(X, block.expand), block.expand)
  y = normalised(spatial(y, inside[0]), inside[0])
  y = normalised(temporal(y, inside[1]), inside[1])
  y = normalised(spatial(y, block.reduce), block.reduce, cut=False)
  close(block(X), np.maximum(X + y, 0))


def test_block_with_stride_has_a_shortcut_of_its_own():
  inside = [x2plus1d.SpatialConvolution(SPEC, 8, 3, 2)]
  block = drawn(x2plus1d.BottleneckBlock(SPEC, inside, 8, 5, stride=2))
  y = block.reduce(inside[0](block.expand(X)))
  shortcut = normalised(
      spatial(X, block.shortcut)[:, :, ::2, ::2], block.shortcut, cut=False)
  assert (shortcut < 0).any()
  close(block(X), np.maximum(shortcut + y, 0))


def test_block_starts_as_its_shortcut():
  block = x2plus1d.BottleneckBlock(SPEC, [], 8, 6, stride=1)
  close(block(X), np.maximum(X, 0))
  close(block(X, training=True), np.maximum(X, 0))
