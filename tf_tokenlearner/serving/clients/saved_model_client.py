"""Asks a SavedModel, with TensorFlow and nothing of ours.

  python saved_model_client.py SAVED_MODEL SAMPLE.npy FILES.npy RECORDS \
      BATCH ANSWERS.npz

Every signature that takes pixels is given the sample, and those that take
nothing are asked, too; image_bytes gets the sample as image files, in
hexadecimal; tf_example the records of a TFRecord file, so many at a time. A
process of its own: what it loads nobody in the writing process has touched.
"""

import sys

import numpy as np
import tensorflow as tf


def main(saved_model: str, sample_path: str, files_path: str, records: str,
         batch_size: str, answers_path: str) -> None:
  signatures = tf.saved_model.load(saved_model).signatures
  sample = tf.constant(np.load(sample_path))
  files = np.vectorize(bytes.fromhex, otypes=[object])(np.load(files_path))
  answers = {
      f'image_bytes/{key}': _as_array(value) for key, value in
      signatures['image_bytes'](image_bytes=tf.constant(files)).items()}
  for name, signature in signatures.items():
    inputs = signature.structured_input_signature[1]
    if all(spec.dtype == sample.dtype for spec in inputs.values()):
      outputs = signature(**{key: sample for key in inputs})
      answers.update({
          f'{name}/{key}': _as_array(value) for key, value in outputs.items()})
  batches = [
      _as_array(signatures['tf_example'](tf_example=batch)['probabilities'])
      for batch in tf.data.TFRecordDataset(records).batch(int(batch_size))]
  if batches:
    answers['probabilities'] = np.concatenate(batches)
  np.savez(answers_path, **answers)


def _as_array(tensor: tf.Tensor) -> np.ndarray:
  array = tensor.numpy()
  if tensor.dtype == tf.string:
    return np.char.decode(array.astype(bytes), 'utf-8')
  return array


if __name__ == '__main__':
  main(*sys.argv[1:])
