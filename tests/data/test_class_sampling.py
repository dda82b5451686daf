"""Balanced sampling: equal shares, of all examples, again with the seed."""

import numpy as np
import tensorflow as tf

from tf_tokenlearner.data import class_sampling

COUNTS = np.array([300, 30, 3, 0])


def draw(seed, passes=20):
  labels = np.random.default_rng(0).permutation(
      np.repeat(np.arange(4), COUNTS))
  tf.random.set_seed(seed)
  dataset = class_sampling.balance(tf.data.Dataset.from_tensor_slices(
      {'label': labels, 'id': np.arange(333)}).repeat(passes), COUNTS)
  examples = list(dataset.as_numpy_iterator())
  return (np.array([example['label'] for example in examples]),
          np.array([example['id'] for example in examples]))


def test_classes_are_equally_frequent():
  """333 examples a pass, 111 of each class; rounding leaves 0.7 % of them."""
  labels, ids = draw(seed=1)
  counts = np.bincount(labels, minlength=4)
  np.testing.assert_allclose(counts[:3], 20 * 111, rtol=.03)
  assert counts[3] == 0
  uses = np.bincount(ids, minlength=333)
  assert uses.min() >= 1  # Not the same ones are left out in every pass.
  assert set(np.bincount(ids[labels == 2])[ids[labels == 2]]) == {20 * 37}


def test_seed_repeats_the_order():
  (first, _), (second, _), (third, _) = draw(1, 2), draw(1, 2), draw(2, 2)
  np.testing.assert_array_equal(first, second)
  assert len(first) != len(third) or (first != third).any()
