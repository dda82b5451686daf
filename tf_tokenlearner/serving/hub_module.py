"""Exports a run's network as a module for TensorFlow Hub.

The module is a reusable TF2 SavedModel with the interface that tfhub.dev
expects of images, and the same for clips:

  module(inputs, training=False)   float32 RGB in [0, 1] of the network's size,
      [B, height, width, 3] or [B, T, height, width, 3] -> float32 logits [B,
      classes], or pre_logits [B, C]. Models of grey pixels take RGB, too, and
      convert it as evaluation does, without rounding to bytes. training=True
      turns on dropout, stochastic depth and the updates of batch normalization.
  variables, trainable_variables   all weights are trainable, also those that
      the run froze; moving statistics are not.
  regularization_losses            callables; empty for all recipes here, whose
      weight decay is the optimizer's.

Weights and arithmetic are float32, whatever the run was trained in.
"""

import os
from typing import Callable

import numpy as np
import tensorflow as tf
import tf_keras

from tf_tokenlearner import errors
from tf_tokenlearner.serving import exporter
from tf_tokenlearner.serving import manifest
from tf_tokenlearner.serving import model_card
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.serving import tflite_inputs
from tf_tokenlearner.serving import verification

OUTPUT_TYPES = ('classifier', 'feature_vector')
CARD = 'README.md'


def export(model_dir: str, export_dir: str, checkpoint: str = '', *,
           output_type: str = 'classifier', **options) -> None:
  """Exports a module with its model card.

  Args:
    model_dir: see exporter.Exporter.export, as for checkpoint and the result.
    export_dir: absent or empty folder.
    checkpoint: path; '' for the run's best or else its latest.
    output_type: one of OUTPUT_TYPES: logits, or the features that the head
      sees.
    **options: of exporter.Exporter.export.

  Raises:
    UserError: unknown output_type, or see exporter.Exporter.export.
  """
  _HubExporter(output_type).export(model_dir, export_dir, checkpoint, **options)


class _HubExporter(exporter.Exporter):
  """Exporter of TensorFlow Hub modules."""
  export_format = 'tfhub'
  reader = 'TensorFlow Hub'

  def __init__(self, output_type: str):
    self._output_type = output_type

  def check(self, verify):
    if self._output_type not in OUTPUT_TYPES:
      raise errors.unknown_name('--form', self._output_type, OUTPUT_TYPES)

  def options(self):
    return dict(form=self._output_type)

  def build(self):
    self._module = make(self.servable, self._output_type)

  def facts(self):
    return {}

  def write(self, folder):
    tf.saved_model.save(self._module, folder)
    manifest.write_labels(folder, self.servable.label_names)

  def verify(self, folder):
    return _verify(folder, self._module, self.servable, self._output_type,
                   self.examples)

  def describe(self, folder, report):
    card = model_card.render(
        self.run, self.servable, self._module, self._output_type,
        model_card.accuracy(self.run, self.checkpoint, report),
        os.path.basename(os.path.normpath(self.export_dir)))
    with tf.io.gfile.GFile(os.path.join(folder, CARD), 'w') as file:
      file.write(card)

  def summary(self):
    output = model_card.output(self.servable, self._output_type)
    return f'Exported to {self.export_dir}: {output}.'


def make(servable: servable_lib.Servable,
         output_type: str) -> tf.train.Checkpoint:
  """Returns the module, callable and ready to be saved.

  Args:
    servable: in float32. All of its weights become trainable.
    output_type: one of OUTPUT_TYPES.
  """
  is_classifier = output_type == 'classifier'
  network = servable.model if is_classifier else servable.model.backbone
  network.trainable = True

  def call(inputs, training=False):
    pixels = tflite_inputs.to_channels(inputs, servable.input_size[-1])
    outputs = network(2. * pixels - 1., training=training)
    return tf.cast(
        outputs if is_classifier else outputs['pre_logits'], tf.float32)

  # Only variables are tracked. The Keras model as an attribute would be saved
  # layer by layer, and loading it would need this package's classes.
  module = tf.train.Checkpoint()
  module.__call__ = tf.function(call)
  spec = tf.TensorSpec(
      [None, *servable.input_size[:-1], tflite_inputs.COLORS], tf.float32,
      servable.inputs.name)
  for training in (False, True):
    module.__call__.get_concrete_function(spec, training=training)
  module.variables = list(network.variables)
  module.trainable_variables = list(network.trainable_variables)
  module.regularization_losses = [
      _loss(network, i) for i in range(len(network.losses))]
  return module


def _to_inputs(pixels: np.ndarray) -> np.ndarray:
  """Converts pixels in [-1, 1] to RGB in [0, 1]."""
  inputs = (pixels + 1.) / 2.
  return np.repeat(inputs, tflite_inputs.COLORS // inputs.shape[-1], axis=-1)


def _loss(network: tf_keras.Model, number: int) -> Callable[[], tf.Tensor]:
  """Returns a function that computes one of a network's losses."""
  return tf.function(lambda: network.losses[number], input_signature=[])


def _verify(folder: str, module: tf.train.Checkpoint,
            servable: servable_lib.Servable, output_type: str,
            examples: verification.Examples) -> str:
  # Imported by the new process only.
  client = os.path.join(os.path.dirname(__file__), 'clients', 'hub_client.py')
  with manifest.scratch() as scratch:
    inputs = os.path.join(scratch, 'inputs.npy')
    np.save(inputs, _to_inputs(examples.pixels))
    answers = verification.ask(client, folder, inputs)
  is_classifier = output_type == 'classifier'
  first = examples.pixels[:len(answers['layer'])]
  expected = (servable.scores(first)['logits'] if is_classifier
              else servable.features(first)['pre_logits']).numpy()
  counts = [len(module.trainable_variables),
            len(module.variables) - len(module.trainable_variables),
            len(module.regularization_losses)]
  tolerance = verification.tolerance(servable)
  for name, received, wanted in (
      ('The result of hub.load', answers['load'][:len(first)], expected),
      ('The result of hub.KerasLayer', answers['layer'], expected),
      ('The number of variables or losses', answers['counts'],
       np.array(counts)),
      ('The number of infinite results in training',
       np.sum(~np.isfinite(answers['layer_in_training'])), np.array(0))):
    verification.require_close(received, wanted, name, tolerance)
  if is_classifier:
    return verification.report(
        examples, servable.probabilities(answers['load']).numpy(), tolerance)
  logits = servable.model.head(answers['load'])
  return 'with the checkpoint\'s head on top, ' + verification.report(
      examples, servable.probabilities(logits).numpy(), tolerance)
