"""gelu."""

import math

import numpy as np
import tensorflow as tf
import tf_keras

from tests import numpy_layers
from tf_tokenlearner.layers import blocks

X = np.linspace(-6, 6, 121)


def test_is_the_tanh_form_not_the_erf_form():
  ours = blocks.gelu(tf.constant(X, tf.float32))
  np.testing.assert_allclose(ours, numpy_layers.gelu(X), atol=1e-6)
  erf = X / 2 * (1 + np.vectorize(math.erf)(X / math.sqrt(2)))
  assert 1e-4 < np.abs(ours - erf).max() < 1e-3


def test_keras_knows_it_by_name():
  config = tf_keras.activations.serialize(blocks.gelu)
  assert tf_keras.activations.deserialize(config) is blocks.gelu
