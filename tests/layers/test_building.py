"""Building layers inside layers."""

import tensorflow as tf
import tf_keras

from tf_tokenlearner import layers
from tf_tokenlearner.layers import shapes


def test_names_variables_by_path():
  dense = tf_keras.layers.Dense(2, name='inner')
  with tf.name_scope('outer'):
    shapes.build(dense, [None, 3])
  assert [weight.name for weight in dense.weights] == [
      'outer/inner/kernel:0', 'outer/inner/bias:0']


def test_names_are_the_same_inside_a_function():
  block = layers.TransformerEncoderBlock(2, 4, name='block')
  tf.function(block)(tf.zeros([1, 9, 8]))
  names = [weight.name for weight in block.weights]
  assert names[2] == 'block/attention/qkv/kernel:0'
  assert names[-1] == 'block/mlp/output_dense/bias:0'
  assert len(set(names)) == len(names) == 12
