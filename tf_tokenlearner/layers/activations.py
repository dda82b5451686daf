"""The one activation of the family: GELU in its tanh form."""

import tensorflow as tf
import tf_keras


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
def gelu(x: tf.Tensor) -> tf.Tensor:
  """GELU by the tanh approximation, as in the official JAX code.

  tf_keras spells the erf form 'gelu', which moves logits by 1e-4 or more.
  Directly after a matmul and a bias this is fused into one CPU kernel.
  """
  return tf.nn.gelu(x, approximate=True)
