"""Layer normalisation in the form that runs, fuses and converts everywhere."""

import tensorflow as tf
import tf_keras


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class LayerNorm(tf_keras.layers.Layer):
  """Normalises the last axis to mean 0 and variance 1, then scales and shifts.

  Written with plain means and products: this form has no reshape, no fused
  batch-norm detour (as in tf_keras, twice the operations in TFLite) and no
  SquaredDifference (no int16 kernel in TFLite). Statistics are float32 under
  every mixed-precision policy. Source: Ba et al. 2016, arXiv 1607.06450;
  epsilon as in Flax, where tf_keras has 1e-3.

  Args:
    epsilon: float > 0, added to the variance.

  Call arguments:
    inputs: float tensor [..., C]; C static.

  Returns:
    float tensor [..., C], dtype of the layer's compute policy.

  Raises:
    ValueError: epsilon is not above zero.

  Example:
    >>> LayerNorm()(tf.constant([[1., 3.]])).numpy().round(3).tolist()
    [[-1.0, 1.0]]
  """

  def __init__(self, epsilon: float = 1e-6, **kwargs):
    super().__init__(**kwargs)
    if not epsilon > 0:
      raise ValueError(f'LayerNorm: epsilon must be > 0, received {epsilon}.')
    self.epsilon = epsilon

  def build(self, input_shape):
    width = input_shape[-1]
    self.gamma = self.add_weight(
        'gamma', [width], initializer='ones', experimental_autocast=False)
    self.beta = self.add_weight(
        'beta', [width], initializer='zeros', experimental_autocast=False)
    super().build(input_shape)

  def call(self, inputs):
    x = tf.cast(inputs, self.variable_dtype)
    centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(centred * centred, axis=-1, keepdims=True)
    x = centred * tf.math.rsqrt(variance + self.epsilon)
    return tf.cast(x * self.gamma + self.beta, self.compute_dtype)

  def get_config(self):
    return {**super().get_config(), 'epsilon': self.epsilon}
