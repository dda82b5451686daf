"""Writes a run's network as a module for TensorFlow Hub, and proves that it is.

The module is a reusable TF2 SavedModel, with the interface that tfhub.dev
expects of images, and the same for clips:

  module(inputs, training=False)   float32 [B, height, width, 3], or [B, T,
      height, width, 3], of the network's size, RGB in [0, 1] -> float32 logits
      [B, classes], or pre_logits [B, C]. A network of grey pixels is given
      colours, too, and makes them grey as evaluation does, without its rounding
      to bytes. With training=True
      dropout and stochastic depth act, batch normalisation takes the batch's
      statistics and moves its own.
  variables, trainable_variables   all weights are trainable, also those that
      the run had frozen; moving statistics are not.
  regularization_losses            callables; empty where, as in all our
      recipes, decay of weights is the optimizer's.

Weights and arithmetic are float32, whatever the run was trained in.
"""

import os
from typing import Callable, Optional

import numpy as np
import tensorflow as tf
import tf_keras

from tf_tokenlearner.data import pixel_ops
from tf_tokenlearner import errors
from tf_tokenlearner import quiet
from tf_tokenlearner.serving import manifest
from tf_tokenlearner.serving import model_card
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.serving import verification

FORMS = ('classifier', 'feature_vector')
CARD = 'README.md'
_CHANNELS = 3  # Of the inputs; the field knows no others.
_GREY = 0.2989 + 0.5870 + 0.1140  # What TensorFlow's grey makes of white.
_TOLERANCE = verification.Tolerance(1e-5)


def export(model_dir: str, export_dir: str, checkpoint: str = '', *,
           form: str = 'classifier', verify: bool = True,
           verify_examples: int = verification.DEFAULT_EXAMPLES) -> None:
  """Writes a module with its card, and prints how well it does.

  Args:
    model_dir: folder of a run; its config says all about the architecture.
    export_dir: a folder that does not exist yet; if it holds the very same
      export, nothing is done.
    checkpoint: path, '' for the run's best or else its latest.
    form: of FORMS, what comes out: logits, or what the head sees.
    verify: load it in a new process and compare before it is kept.
    verify_examples: of the evaluation data, at most so many.

  Raises:
    UserError: no such run or checkpoint, export_dir exists or cannot be
      written, no evaluation data, or the reloaded module gives other numbers.
  """
  if form not in FORMS:
    raise errors.unknown_name('--form', form, FORMS)
  verification.check_count(verify, verify_examples)
  run, path = servable_lib.find(model_dir, checkpoint)
  wanted = manifest.origin(model_dir, path, 'tfhub', form=form)
  if manifest.is_there(wanted, export_dir, verify):
    return
  with quiet.errors_only():
    servable = servable_lib.load(run, path)
    examples = (
        verification.draw(servable, verify_examples) if verify else None)
    module = make(servable, form)
    with manifest.writing(export_dir, wanted, verify) as beside:
      tf.saved_model.save(module, beside)
      manifest.write_labels(beside, servable.label_names)
      report = examples and _verify(beside, module, servable, form, examples)
      card = model_card.render(
          run, servable, module, form,
          model_card.accuracy(run, path, report),
          os.path.basename(os.path.normpath(export_dir)))
      with tf.io.gfile.GFile(os.path.join(beside, CARD), 'w') as file:
        file.write(card)
  print(verification.in_lines(
      f'Exported to {export_dir}: {model_card.output(servable, form)}.'))
  if report:
    print(verification.loaded_again('TensorFlow Hub', report))


def make(servable: servable_lib.Servable, form: str) -> tf.train.Checkpoint:
  """The module, callable and ready to be saved.

  Args:
    servable: in float32. All of its weights become trainable.
    form: of FORMS.
  """
  network = (servable.model if form == 'classifier'
             else servable.model.backbone)
  network.trainable = True

  def call(inputs, training=False):
    outputs = network(_to_pixels(inputs, servable), training=training)
    return tf.cast(
        outputs if form == 'classifier' else outputs['pre_logits'], tf.float32)

  # Only variables are tracked. The Keras model as an attribute would be saved
  # layer by layer, and loading it would ask for our classes.
  module = tf.train.Checkpoint()
  module.__call__ = tf.function(call)
  spec = tf.TensorSpec(
      [None, *servable.input_size[:-1], _CHANNELS], tf.float32,
      servable.inputs.name)
  for training in (False, True):
    module.__call__.get_concrete_function(spec, training=training)
  module.variables = list(network.variables)
  module.trainable_variables = list(network.trainable_variables)
  module.regularization_losses = [
      _loss(network, i) for i in range(len(network.losses))]
  return module


def _to_pixels(
    inputs: tf.Tensor, servable: servable_lib.Servable) -> tf.Tensor:
  """RGB in [0, 1] -> what the network sees."""
  channels = servable.input_size[-1]
  x = pixel_ops.convert_channels(inputs, channels)
  return 2. * (x / _GREY if channels == 1 else x) - 1.


def _to_inputs(pixels: np.ndarray) -> np.ndarray:
  """The other way round; grey becomes a colour."""
  inputs = (pixels + 1.) / 2.
  return np.repeat(inputs, _CHANNELS // inputs.shape[-1], axis=-1)


def _loss(network: tf_keras.Model, place: int) -> Callable[[], tf.Tensor]:
  """One of a network's losses, computed anew whenever it is asked for."""
  return tf.function(lambda: network.losses[place], input_signature=[])


def _verify(folder: str, module: tf.train.Checkpoint,
            servable: servable_lib.Servable, form: str,
            examples: verification.Examples) -> str:
  """What a new process sees, in words."""
  # Imported by the new process only.
  client = os.path.join(os.path.dirname(__file__), 'clients', 'hub_client.py')
  with manifest.scratch() as scratch:
    inputs = os.path.join(scratch, 'inputs.npy')
    np.save(inputs, _to_inputs(examples.pixels))
    answers = verification.ask(client, folder, inputs)
  first = examples.pixels[:len(answers['layer'])]
  expected = (servable.scores(first)['logits'] if form == 'classifier'
              else servable.features(first)['pre_logits']).numpy()
  counts = [len(module.trainable_variables),
            len(module.variables) - len(module.trainable_variables),
            len(module.regularization_losses)]
  for name, received, wanted in (
      ('What hub.load answers', answers['load'][:len(first)], expected),
      ('What hub.KerasLayer answers', answers['layer'], expected),
      ('The number of variables or losses', answers['counts'],
       np.array(counts)),
      ('What is not finite in training',
       np.sum(~np.isfinite(answers['layer_in_training'])), np.array(0))):
    verification.require_close(received, wanted, name, _TOLERANCE)
  if form == 'classifier':
    return verification.report(
        examples, servable.probabilities(answers['load']).numpy(), _TOLERANCE)
  logits = servable.model.head(answers['load'])
  return 'with the checkpoint\'s head on top, ' + verification.report(
      examples, servable.probabilities(logits).numpy(), _TOLERANCE)
