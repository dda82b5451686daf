"""Writes a run's classifier as a SavedModel, and proves that it answers."""

import json
import os
import subprocess
import sys
import tempfile
from typing import Dict, Sequence

import numpy as np
import tensorflow as tf
import tf_keras

import tf_tokenlearner
from tf_tokenlearner import errors
from tf_tokenlearner import files
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.serving import raw_inputs
from tf_tokenlearner.serving import reload_saved_model
from tf_tokenlearner.training import run_folder
from tf_tokenlearner.training import runner

_ORIGIN = 'origin.json'  # Which run and checkpoint an export came from.
TOLERANCE = 1e-5  # Between the model and the SavedModel, on probabilities.


def export(model_dir: str, export_dir: str, checkpoint: str = '') -> None:
  """Writes and verifies a SavedModel, and prints where it lies.

  The default signature takes uint8 images [B, H, W, 3] of any size, or the
  frames of videos [B, T, H, W, 3] at the rate at which they are stored for
  training, and gives probabilities [B, num_classes]; preprocessing is that of
  evaluation (of videos: of their middle clip, seen once, in the centre). The
  signature label_names gives the classes' names, which also lie beside the
  model in assets/labels.txt.

  Args:
    model_dir: folder of a run; its config says all about the architecture.
    export_dir: a folder that does not exist yet; if it holds the very same
      export, nothing is done.
    checkpoint: path, '' for the run's best or else its latest.

  Raises:
    UserError: no such run or checkpoint, export_dir exists or cannot be
      written, or the reloaded model gives other numbers.
  """
  run = experiments.load(model_dir)
  path = run_folder.find_checkpoint(run.params, model_dir, checkpoint)
  if tf.io.gfile.exists(export_dir):
    refuse_foreign(model_dir, export_dir)
    if _read_origin(export_dir)['checkpoint'] == os.path.abspath(path):
      print(f'Exported already: {export_dir} holds {path}.')
      return
    raise errors.UserError(
        f'{export_dir} holds another checkpoint of this run '
        f'({_read_origin(export_dir)["checkpoint"]}). Remove it, or choose '
        'another --export_dir.')
  model = runner.load_model(run.params, path)
  num_classes = run.params.task.model.num_classes
  names = run.label_names or tuple(map(str, range(num_classes)))
  raw = raw_inputs.of_task(run.params.task)
  sample = raw.sample()
  try:
    with files.replacing(export_dir) as beside:
      module = _make_module(
          model, raw, run.params.task.losses.loss, names, beside)
      expected = module.serve(sample)['probabilities'].numpy()
      tf.saved_model.save(module, beside, signatures={
          'serving_default': module.serve,
          'label_names': module.label_names})
      tf.io.gfile.remove(_labels_file(beside))  # The copy is in assets.
      _write_origin(beside, model_dir, path)
      difference = _verify(beside, raw.spec.name, sample, expected, names)
  except (OSError, tf.errors.OpError) as error:
    raise errors.UserError(
        f'{export_dir} cannot be written: {error}') from error
  print(f'Exported to {export_dir}: {num_classes} classes. Loaded again in a '
        f'new process,\nits probabilities are the model\'s within '
        f'{max(difference, 1e-8):.0e}.')


def refuse_foreign(model_dir: str, export_dir: str) -> None:
  """Raises UserError if something else than an export of this run is there."""
  if not tf.io.gfile.exists(export_dir):
    return
  if _read_origin(export_dir).get('model_dir') != os.path.abspath(model_dir):
    raise errors.UserError(
        f'{export_dir} exists already and is no export of {model_dir}. Choose '
        'another --export_dir or remove it first.')


def _read_origin(folder: str) -> Dict[str, str]:
  path = os.path.join(folder, _ORIGIN)
  if not tf.io.gfile.exists(path):
    return {}
  with tf.io.gfile.GFile(path) as file:
    return json.load(file)


def _write_origin(folder: str, model_dir: str, checkpoint: str):
  with tf.io.gfile.GFile(os.path.join(folder, _ORIGIN), 'w') as file:
    json.dump({'model_dir': os.path.abspath(model_dir),
               'checkpoint': os.path.abspath(checkpoint),
               'tf_tokenlearner': tf_tokenlearner.__version__}, file, indent=2)


class _Module(tf.Module):
  """What is saved: the variables and the functions of the signatures."""


def _make_module(model: tf_keras.Model, raw: raw_inputs.RawInputs, loss: str,
                 names: Sequence[str], folder: str) -> _Module:
  """The functions close over the model, so that only variables are tracked.

  A Keras model as an attribute would be saved layer by layer, which takes
  minutes, for loading as Keras, which nobody asked for.
  """
  activate = tf.nn.sigmoid if loss == 'sigmoid' else tf.nn.softmax

  @tf.function(input_signature=[raw.spec])
  def serve(inputs) -> Dict[str, tf.Tensor]:
    pixels = raw.to_pixels(inputs)
    return {'probabilities': activate(model(pixels, training=False))}

  @tf.function(input_signature=[])
  def label_names() -> Dict[str, tf.Tensor]:
    return {'label_names': tf.constant(names)}

  tf.io.gfile.makedirs(folder)
  with tf.io.gfile.GFile(_labels_file(folder), 'w') as file:
    file.write(''.join(f'{name}\n' for name in names))
  module = _Module()
  module.model_variables = model.variables
  module.labels = tf.saved_model.Asset(_labels_file(folder))
  module.serve = serve
  module.label_names = label_names
  return module


def _labels_file(folder: str) -> str:
  return os.path.join(folder, 'labels.txt')


def _verify(folder: str, input_name: str, sample: np.ndarray,
            expected: np.ndarray, names: Sequence[str]) -> float:
  """Largest difference of the probabilities, as a new process sees them."""
  with tempfile.TemporaryDirectory() as scratch:
    request = os.path.join(scratch, 'request.npz')
    answer = os.path.join(scratch, 'answer.npz')
    np.savez(request, **{input_name: sample})
    done = subprocess.run(
        [sys.executable, reload_saved_model.__file__, folder, request, answer],
        capture_output=True, text=True, check=False)
    if done.returncode:
      raise errors.UserError(
          'The SavedModel could not be loaded in a new process:\n'
          + done.stderr[-2000:])
    with np.load(answer, allow_pickle=False) as arrays:
      received = arrays['probabilities']
      received_names = tuple(arrays['label_names'])
  difference = float(np.abs(received - expected).max())
  if not difference <= TOLERANCE or received_names != tuple(names):
    raise errors.UserError(
        f'The reloaded SavedModel differs by {difference:.1e} from the model '
        f'(allowed: {TOLERANCE:.0e}); nothing was kept.')
  return difference
