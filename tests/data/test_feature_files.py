"""Feature files hold tokens bit for bit."""

import ml_dtypes
import numpy as np
import pytest

from tf_tokenlearner import errors
from tf_tokenlearner.data import feature_files


@pytest.mark.parametrize('dtype, label_shape', [
    ('float16', ()), ('bfloat16', (3,)), ('float32', ())])
def test_read_what_was_written(tmp_path, dtype, label_shape):
  layout = feature_files.Layout(
      2, (2, 3), dtype, label_shape, vectors={'logits': 4})
  rng = np.random.default_rng(0)
  stored = getattr(ml_dtypes, dtype, None) or dtype
  tokens = rng.normal(size=[2, 2, 3]).astype(stored)
  labels = rng.integers(9, size=[2, *label_shape]).astype(
      np.float32 if label_shape else np.int32)
  logits = rng.normal(size=[2, 4]).astype(np.float32)
  files = feature_files.FeatureFiles(str(tmp_path), layout)
  assert files.num_done() == 0
  files.write([(tokens, labels, {'logits': logits})], {})
  assert files.num_done() == 2
  records = files.records(is_training=False, shuffle_files=False, seed=None)
  for i, (values, label) in enumerate(records.map(layout.parse)):
    np.testing.assert_array_equal(values['tokens'].numpy(), tokens[i])
    np.testing.assert_array_equal(values['logits'].numpy(), logits[i])
    np.testing.assert_array_equal(label.numpy(), labels[i])
    assert label.numpy().dtype == labels.dtype


def test_says_its_size():
  assert feature_files.Layout(2000, (257, 384), 'float16').describe(
      'pictures') == '2,000 pictures x 257 x 384 float16 = 395 MB'


def test_overflow_is_refused(tmp_path):
  files = feature_files.FeatureFiles(
      str(tmp_path), feature_files.Layout(1, (1, 1), 'float16'))
  tokens = np.array([[[7e4]]], np.float32).astype(np.float16)
  with pytest.raises(errors.UserError, match='Set task.cache_dtype=bfloat16'):
    files.write([(tokens, np.zeros([1], np.int32), {})], {})
  assert files.num_done() == 0
