"""Tokenizers of the bottleneck video model."""

import numpy as np
import pytest

from tests import layer_checks
from tests import numpy_layers
from tests.backbones import tiny_clips
from tf_tokenlearner.backbones import bottleneck_transformer
from tf_tokenlearner import layers

X = np.random.default_rng(4).normal(size=[3, 4, 6, 8]).astype('float32')


def make(**kwargs):
  spec = tiny_clips.spec(
      num_tokens=4, **kwargs).completed((4, 128, 192, 3))
  layer = bottleneck_transformer.make_tokenizer(spec)
  layer(X)
  layer_checks.draw_weights(layer)
  return layer


def close(ours, expected):
  np.testing.assert_allclose(ours, expected, **layer_checks.CLOSE)


@pytest.mark.parametrize('side', [1, 3])
def test_token_learner_has_one_convolution_and_means(side):
  layer = make(token_learner_kernel_size=side)
  assert type(layer) is layers.TokenLearner
  assert [conv.kernel.shape for conv in layer.convs] == [(side, side, 8, 4)]
  close(layer(X), numpy_layers.token_learner(X, layer) / 24)


def test_fixed_split_means_over_cells():
  cells = X.reshape([3, 2, 2, 2, 3, 8]).mean(axis=(2, 4))
  close(make(tokenizer='fixed_split')(X), cells.reshape([3, 4, 8]))


def test_dense_is_linear_over_positions():
  layer = make(tokenizer='dense')
  tokens = numpy_layers.dense(
      X.reshape([3, 24, 8]).swapaxes(1, 2), layer.dense)
  close(layer(X), tokens.swapaxes(1, 2))


def test_frame_pooling_is_an_mlp_of_the_mean():
  layer = make(tokenizer='frame_pooling')
  tokens = numpy_layers.mlp(X.mean(axis=(1, 2)), layer.mlp)
  assert layer.mlp.hidden.kernel.shape == (8, 8)
  close(layer(X), tokens.reshape([3, 4, 8]))
