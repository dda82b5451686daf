"""Runs a SavedModel by TensorFlow, without tf_tokenlearner.

  python saved_model_client.py SAVED_MODEL SAMPLE.npy FILES.npy RECORDS \
      BATCH ANSWERS.npz

Every signature of pixels gets the sample, and those without inputs are called,
too; image_bytes gets the sample as image files, in hexadecimal; tf_example the
records of a TFRecord file, BATCH at a time. Runs in a process of its own, which
has nothing in memory but what it loads.
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
