"""TubeletEmbedding."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests import layer_checks
from tf_tokenlearner import layers

CASES = (
    layer_checks.Case(
        layers.TubeletEmbedding, {'hidden_size': 8, 'tubelet_size': (3, 4, 2)},
        ((6, 8, 6, 3),), (2, 2, 3, 8)),
    layer_checks.Case(
        layers.TubeletEmbedding, {'hidden_size': 8, 'tubelet_size': (1, 2, 2)},
        ((3, 4, 2, 1),), (3, 2, 1, 8)),
)


@pytest.mark.parametrize('check', layer_checks.CHECKS)
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.label)
def test_contract(case, check, tmp_path):
  check(case, tmp_path)


@pytest.mark.parametrize('case', CASES)
def test_is_the_strided_convolution(case):
  layer, (clips,) = case.make(), case.tensors()
  expected = tf.nn.conv3d(
      clips, layer.kernel, [1, *layer.tubelet_size, 1], 'VALID') + layer.bias
  np.testing.assert_allclose(layer(clips), expected, **layer_checks.CLOSE)


def test_a_tubelet_is_a_dense_layer_of_its_pixels():
  layer, (clips,) = CASES[0].make(), CASES[0].tensors()
  kernel, bias = layer.get_weights()
  assert kernel.shape == (3, 4, 2, 3, 8)
  corner = clips[1, 3:, 4:, 2:4].numpy()  # Of index 1, row 1, column 1.
  np.testing.assert_allclose(
      layer(clips)[1, 1, 1, 1],
      corner.ravel() @ kernel.reshape([-1, 8]) + bias, **layer_checks.CLOSE)


def test_a_tubelet_of_one_frame_is_a_patch():
  layer, (clips,) = CASES[1].make(), CASES[1].tensors()
  patches = layers.PatchEmbedding(8, (2, 2))
  patches.build([None, 4, 2, 1])
  patches.projection.set_weights(
      [layer.get_weights()[0][0], layer.get_weights()[1]])
  for t in range(3):
    np.testing.assert_allclose(
        layer(clips)[:, t], patches(clips[:, t]), **layer_checks.CLOSE)


def test_weights_at_first():
  """Variance 1 / pixels, as the source's lecun_normal; no bias."""
  layer = layers.TubeletEmbedding(200, (2, 4, 5))
  layer.build([None, 2, 4, 5, 3])
  np.testing.assert_allclose(
      layer.kernel.numpy().std(), (2 * 4 * 5 * 3)**-.5, rtol=.05)
  assert not layer.bias.numpy().any()


@pytest.mark.parametrize('shape, message', [
    ([6, None, 6, 3], r'expected clips \[B, frames, height, width, channels\] '
     r'of known size, received shape \(None, 6, None, 6, 3\)'),
    ([8, 6, 3], 'expected clips'),
    ([7, 8, 6, 3], 'the clip length 7 is no multiple of the tubelet length 3. '
     'Nearest that fit: 6 and 9.'),
    ([6, 9, 6, 3], 'the clip height 9 is no multiple of the tubelet height 4'),
    ([6, 8, 1, 3], 'the clip width 1 is no multiple of the tubelet width 2. '
     'Nearest that fit: 2 and 4.'),
])
def test_refuses_clip(shape, message):
  fresh, built = layers.TubeletEmbedding(8, (3, 4, 2)), CASES[0].make()
  for layer in (fresh, built):
    with pytest.raises(ValueError, match=f'TubeletEmbedding: {message}'):
      layer(tf_keras.Input(shape))


@pytest.mark.parametrize('kwargs, message', [
    (dict(tubelet_size=16), r'tubelet_size must be \(frames, height, width\), '
     'received 16'),
    (dict(tubelet_size=(16, 16)), 'tubelet_size must be'),
    (dict(tubelet_size=(0, 4, 4)), 'tubelet_size frames must be .* received 0'),
    (dict(hidden_size=0), 'hidden_size must be .* received 0'),
])
def test_refuses_size(kwargs, message):
  with pytest.raises(ValueError, match=f'TubeletEmbedding: {message}'):
    layers.TubeletEmbedding(
        **{'hidden_size': 8, 'tubelet_size': (2, 4, 4), **kwargs})
