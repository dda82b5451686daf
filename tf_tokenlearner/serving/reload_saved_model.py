"""Runs a SavedModel on stored images or clips, with TensorFlow and nothing of ours.

  python reload_saved_model.py SAVED_MODEL REQUEST.npz ANSWER.npz

A process of its own: what it prints nobody in the writing process has touched.
"""

import sys

import numpy as np
import tensorflow as tf


def main(saved_model: str, request: str, answer: str) -> None:
  signatures = tf.saved_model.load(saved_model).signatures
  with np.load(request, allow_pickle=False) as arrays:
    inputs = {name: tf.constant(arrays[name]) for name in arrays}
  probabilities = signatures['serving_default'](**inputs)['probabilities']
  names = signatures['label_names']()['label_names'].numpy()
  np.savez(answer, probabilities=probabilities.numpy(),
           label_names=[name.decode() for name in names])


if __name__ == '__main__':
  main(*sys.argv[1:])
