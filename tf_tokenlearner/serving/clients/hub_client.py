"""Runs a reusable SavedModel by TensorFlow Hub, without tf_tokenlearner.

  python hub_client.py MODULE INPUTS.npy ANSWERS.npz

All inputs go through hub.load, the first ones also through a trainable layer.
Runs in a process of its own that cannot import tf_tokenlearner, because users
of the module need not have it.
"""

import sys


sys.modules['tf_tokenlearner'] = None  # Makes importing it fail.

# pylint: disable=g-import-not-at-top
import numpy as np
import tensorflow as tf
import tensorflow_hub as hub

_BATCH = 16


def main(module: str, inputs_path: str, answers_path: str) -> None:
  inputs = np.load(inputs_path, mmap_mode='r')
  batches = [tf.constant(inputs[i:i + _BATCH])
             for i in range(0, len(inputs), _BATCH)]
  loaded = hub.load(module)
  answers = {'load': np.concatenate([loaded(batch) for batch in batches])}
  del loaded  # The layer loads it once more.
  layer = hub.KerasLayer(module, trainable=True)
  np.savez(
      answers_path, **answers, layer=layer(batches[0], training=False),
      layer_in_training=layer(batches[0], training=True),
      counts=[len(layer.trainable_weights), len(layer.non_trainable_weights),
              len(layer.losses)])


if __name__ == '__main__':
  main(*sys.argv[1:])
