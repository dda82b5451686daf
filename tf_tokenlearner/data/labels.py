"""Labels as the losses take them."""

import tensorflow as tf


def for_network(label: tf.Tensor, num_classes: int,
                multi_label: bool) -> tf.Tensor:
  """The label of one example, checked.

  Args:
    label: int [], or [number of labels] if multi_label.
    num_classes: labels are below it; what is not ends the data set's iterator.
    multi_label: an example has any number of labels.

  Returns:
    int32 [], or float32 [num_classes] of zeros and ones if multi_label.
  """
  in_range = tf.reduce_all((label >= 0) & (label < num_classes))
  checked = tf.debugging.Assert(in_range, [
      f'A label is not in 0..{num_classes - 1}; -1 marks a split '
      'without labels. Received:', label])
  with tf.control_dependencies([checked]):
    if not multi_label:
      return tf.cast(label, tf.int32)
    hot = tf.one_hot(tf.cast(label, tf.int32), num_classes)
    return tf.minimum(tf.reduce_sum(hot, axis=0), 1.)


def within(
    label: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor, first: tf.Tensor,
    last: tf.Tensor, fps: tf.Tensor) -> tf.Tensor:
  """Those labels of a video that hold at some time of a clip.

  Args:
    label: int [L].
    starts: float32 [L], second from which each holds.
    ends: float32 [L], second until which each holds.
    first: int32 [], frame of the video that the clip begins with.
    last: int32 [], frame of the video that it ends with.
    fps: float32 [], frames of the video a second.
  """
  begin, end = tf.cast(first, fps.dtype) / fps, tf.cast(last, fps.dtype) / fps
  return tf.boolean_mask(label, (starts <= end) & (ends >= begin))
