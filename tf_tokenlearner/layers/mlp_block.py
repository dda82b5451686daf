"""The two-layer perceptron of a transformer block."""

from typing import Optional

import tf_keras

from tf_tokenlearner.layers import activations
from tf_tokenlearner.layers import building
from tf_tokenlearner.layers import matmul_dense
from tf_tokenlearner.layers import shapes


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class MlpBlock(tf_keras.layers.Layer):
  """Dense, GELU, dropout, dense, dropout over the last axis.

  Source: Dosovitskiy et al. 2021 (arXiv 2010.11929), section 3.1, and
  MlpBlock of the official Scenic code; no difference.

  Args:
    mlp_dim: int > 0. Hidden width.
    out_dim: int > 0 or None. Output width; None keeps the input's.
    dropout_rate: float in [0, 1), after both dense layers.

  Call arguments:
    inputs: float tensor [B, ..., C]; everything but B static.
    training: bool. Turns dropout on.

  Returns:
    float tensor [B, ..., out_dim].

  Raises:
    ValueError: a size below 1, a rate outside [0, 1).

  Example:
    >>> MlpBlock(mlp_dim=32)(tf.zeros([2, 9, 8])).shape
    TensorShape([2, 9, 8])
  """

  def __init__(self, mlp_dim: int, out_dim: Optional[int] = None,
               dropout_rate: float = 0., **kwargs):
    super().__init__(**kwargs)
    shapes.require_positive('MlpBlock', mlp_dim=mlp_dim)
    if out_dim is not None:
      shapes.require_positive('MlpBlock', out_dim=out_dim)
    shapes.require_rate('MlpBlock', dropout_rate=dropout_rate)
    self.mlp_dim = mlp_dim
    self.out_dim = out_dim
    self.dropout_rate = dropout_rate

  def build(self, input_shape):
    def dense(units, name, activation=None):
      return matmul_dense.MatmulDense(
          units, activation, kernel_initializer='glorot_uniform',
          bias_initializer=tf_keras.initializers.RandomNormal(stddev=1e-6),
          name=name, dtype=self.dtype_policy)

    self.hidden = dense(self.mlp_dim, 'hidden', activations.gelu)
    self.output_dense = dense(self.out_dim or input_shape[-1], 'output_dense')
    self.dropout = tf_keras.layers.Dropout(
        self.dropout_rate, dtype=self.dtype_policy)
    building.build(self.hidden, input_shape)
    building.build(self.output_dense, [*input_shape[:-1], self.mlp_dim])
    super().build(input_shape)

  def call(self, inputs, training=None):
    x = self.hidden(inputs)  # [B, ..., mlp_dim]
    x = self.dropout(x, training=training)
    x = self.output_dense(x)  # [B, ..., out_dim]
    return self.dropout(x, training=training)

  def get_config(self):
    return {
        **super().get_config(),
        'mlp_dim': self.mlp_dim,
        'out_dim': self.out_dim,
        'dropout_rate': self.dropout_rate,
    }
