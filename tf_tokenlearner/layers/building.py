"""Builds layers inside layers, each under its own name."""

from typing import Any

import tensorflow as tf
import tf_keras


def build(layer: tf_keras.layers.Layer, input_shape: Any) -> None:
  """Builds a layer within its name scope.

  tf_keras opens the scope only when a layer is called. Without it all kernels
  of a block share one name: HDF5 files refuse that, and optimizers that leave
  out variables by name cannot tell them apart.
  """
  with tf.name_scope(layer.name):
    layer.build(input_shape)
