"""Classes of data are those of the model, or are mapped on purpose."""

import numpy as np
import pytest
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner.tasks import class_names


def source(names):
  return labelled_source.LabelledSource(
      None, 'label', len(names), tuple(names), False)


def test_labels_are_mapped():
  """dog, zebra -> positions in cat, dog; an example without label stays so."""
  mapped = class_names.mapped(
      source(['dog', 'zebra']), {'zebra': 'cat'}, ['cat', 'dog'], 'label_map')
  examples = tf.data.Dataset.from_tensor_slices(
      {'label': np.array([0, 1, -1], np.int64)})
  labels = [int(example['label']) for example in mapped.select(examples)]
  assert labels == [1, 0, -1]
  assert mapped.label_names == ('cat', 'dog') and mapped.num_classes == 2


@pytest.mark.parametrize('label_map, message', [
    ({'zebar': 'cat'}, "class in label_map 'zebar'"),
    ({'zebra': 'cow'}, "'cow'")])
def test_maps_that_do_not_fit(label_map, message):
  with pytest.raises(errors.UserError, match=message):
    class_names.mapped(
        source(['dog', 'zebra']), label_map, ['cat', 'dog'], 'label_map')
