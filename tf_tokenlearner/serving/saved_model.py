"""Exports a run's classifier as a SavedModel.

Signatures, for B images or clips; B is free unless it was fixed:

  serving_default   uint8 images [B, H, W, 3], or clips [B, T, H, W, 3], of any
                    size -> probabilities and logits [B, classes]; top_classes,
                    top_probabilities and top_names [B, 5 or classes].
  image_bytes       string [B] image files, or [B, T] the frames of clips -> the
                    same, and errors [B]: the reason why an example cannot be
                    decoded, or ''. Such an example gets 0, -1 and no names.
  tf_example        string [B], serialized tf.Examples with image/encoded, or
                    SequenceExamples of frames -> as image_bytes.
  features          as serving_default -> pre_logits [B, C].
  attention_maps    as serving_default -> attention_maps [B, S, H, W], or [B, T,
                    S, H, W], of the first TokenLearner; absent without one.
  label_names       nothing -> label_names [classes].

Preprocessing is that of evaluation; image_bytes.py lists the file formats.
"""

import itertools
import os
from typing import Callable, Dict, Optional, Tuple

import numpy as np
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.serving.clients import saved_model_client
from tf_tokenlearner.serving import exporter
from tf_tokenlearner.serving import input_signatures
from tf_tokenlearner.serving import manifest
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.serving import verification

# Allowed difference of a probability and loss of accuracy.
_BFLOAT16 = dict(difference=0.1, lost_accuracy=0.01)
_TOP = 5

_Function = Callable[..., Dict[str, tf.Tensor]]


def export(model_dir: str, export_dir: str, checkpoint: str = '', *,
           precision: str = 'float32', jit_compile: bool = False,
           batch_size: int = 0, **options) -> None:
  """Exports a SavedModel.

  Args:
    model_dir: see exporter.Exporter.export, as for checkpoint and the result.
    export_dir: absent or empty folder.
    checkpoint: path; '' for the run's best or else its latest.
    precision: compute precision, a key of servable.PRECISIONS.
    jit_compile: whether XLA compiles the network at the first call.
    batch_size: the only batch size; 0 for any.
    **options: of exporter.Exporter.export; verify_examples may be 0.

  Raises:
    UserError: an option is out of range, or see exporter.Exporter.export.
  """
  _SavedModelExporter(precision, jit_compile, batch_size).export(
      model_dir, export_dir, checkpoint, **options)


class _SavedModelExporter(exporter.Exporter):
  """Exporter of SavedModels."""
  export_format = 'saved_model'
  reader = 'TensorFlow'
  least_examples = 0  # Verification also uses a sample of noise.
  keeps_stored = True

  def __init__(self, precision: str, jit_compile: bool, batch_size: int):
    self._precision, self._jit_compile = precision, jit_compile
    self._batch_size = batch_size

  def check(self, verify):
    if self._precision not in servable_lib.PRECISIONS:
      raise errors.unknown_name(
          '--precision', self._precision, servable_lib.PRECISIONS)
    if self._batch_size < 0:
      raise errors.UserError(
          f'--batch_size must be at least 0, got {self._batch_size}.')

  def options(self):
    return dict(precision=self._precision, jit_compile=self._jit_compile,
                batch_size=self._batch_size)

  def build(self):
    served = (
        self.servable if self._precision == 'float32' else servable_lib.load(
            self.run, self.checkpoint, self._precision))
    self._variables = served.model.variables
    self._signatures, self._without_maps = make_signatures(
        served, self._batch_size, self._jit_compile)

  def facts(self):
    return {'input': self.servable.inputs.description,
            'signatures': sorted(self._signatures)}

  def write(self, folder):
    save(self._variables, self._signatures, self.servable.label_names, folder)

  def verify(self, folder):
    return _verify(folder, self.servable, self.examples, self._batch_size,
                   verification.tolerance(self.servable, **(
                       {} if self._precision == 'float32' else _BFLOAT16)))

  def summary(self):
    text = (f'Exported to {self.export_dir}: '
            f'{len(self.servable.label_names)} classes.')
    if self._without_maps:
      text += f' Without the signature attention_maps: {self._without_maps}'
    return text


def make_signatures(
    servable: servable_lib.Servable, batch_size: int = 0,
    jit_compile: bool = False) -> Tuple[Dict[str, _Function], str]:
  """Returns the signatures by name, and why attention_maps is absent, or ''.

  Args:
    servable: the model that they compute.
    batch_size: the only batch size; 0 for any.
    jit_compile: whether XLA compiles the network.
  """
  inputs, batch = servable.inputs, batch_size or None
  # A function of its own, so that signatures share what is traced and saved.
  compiled = lambda function: tf.function(
      function, jit_compile=jit_compile or None, autograph=False)
  scores = compiled(servable.scores)

  def answers(pixels):
    return _with_names(scores(pixels), servable.label_names)

  def of_pixels(function):
    spec = tf.TensorSpec([batch, *inputs.shape], tf.uint8, inputs.name)
    return tf.function(
        lambda examples: function(inputs.to_pixels(
            input_signatures.require_spec(examples, spec))),
        input_signature=[spec], autograph=False)

  def of_strings(reader, shape, name):
    spec = tf.TensorSpec([batch, *shape], tf.string, name)
    def serve(strings):
      pixels, reasons = tf.map_fn(
          reader, input_signatures.require_spec(strings, spec),
          fn_output_signature=(
              tf.TensorSpec(servable.input_size), tf.TensorSpec([], tf.string)))
      return _with_errors(answers(pixels), reasons)
    return tf.function(serve, input_signature=[spec], autograph=False)

  signatures = {
      'serving_default': of_pixels(answers),
      'image_bytes': of_strings(
          inputs.read_files, inputs.bytes_shape, 'image_bytes'),
      'tf_example': of_strings(inputs.read_example, (), 'tf_example'),
      'features': of_pixels(compiled(servable.features)),
      'label_names': label_names_signature(servable.label_names),
  }
  try:
    attention_maps = of_pixels(compiled(servable.attention_maps))
    attention_maps.get_concrete_function()
  except ValueError as error:  # The model has none, and says why.
    return signatures, str(error).strip().splitlines()[-1]
  return {**signatures, 'attention_maps': attention_maps}, ''


def label_names_signature(label_names: Tuple[str, ...]) -> _Function:
  """Returns the signature that gives the class names."""
  return tf.function(
      lambda: {'label_names': tf.constant(label_names, tf.string)},
      input_signature=[])


def _with_names(scores: Dict[str, tf.Tensor],
                label_names: Tuple[str, ...]) -> Dict[str, tf.Tensor]:
  """Adds the likeliest classes to scores."""
  top = tf.math.top_k(
      scores['probabilities'], min(_TOP, len(label_names)))
  return {**scores, 'top_classes': top.indices,
          'top_probabilities': top.values,
          'top_names': tf.gather(
              tf.constant(label_names, tf.string), top.indices)}


def _with_errors(answers: Dict[str, tf.Tensor],
                 reasons: tf.Tensor) -> Dict[str, tf.Tensor]:
  """Blanks the answers of examples that have a reason, string [B]."""
  is_read = tf.equal(reasons, '')
  # No NaN: strict readers of JSON refuse the whole answer for it.
  blanks = {tf.float32: 0., tf.int32: -1, tf.string: ''}
  answers = {
      key: tf.where(is_read[:, tf.newaxis], value, blanks[value.dtype])
      for key, value in answers.items()}
  return {**answers, 'errors': reasons}


def save(variables, signatures: Dict[str, _Function],
         label_names: Tuple[str, ...], folder: str) -> None:
  """Saves signatures and labels.txt, as an asset, into a folder.

  The functions close over the model, so that only variables are tracked: a
  Keras model as an attribute would be saved layer by layer, which takes
  minutes, for loading as Keras, which nobody needs.
  """
  labels = manifest.write_labels(folder, label_names)
  module = tf.Module()
  module.model_variables = variables
  module.labels = tf.saved_model.Asset(labels)
  tf.saved_model.save(module, folder, signatures=signatures)
  tf.io.gfile.remove(labels)  # The copy is in assets.


def _verify(folder: str, reference: servable_lib.Servable,
            examples: Optional[verification.Examples], batch_size: int,
            tolerance: verification.Tolerance) -> str:
  sample = reference.inputs.sample(batch_size or 3)
  batch_size = batch_size or 8
  with manifest.scratch() as scratch:
    sample_path = os.path.join(scratch, 'sample.npy')
    files_path = os.path.join(scratch, 'files.npy')
    records = os.path.join(scratch, 'examples.tfrecord')
    np.save(sample_path, sample)
    np.save(files_path, _files(sample))
    _write_records(reference, examples, batch_size, records)
    answers = verification.ask(
        saved_model_client.__file__, folder, sample_path, files_path, records,
        str(batch_size))
  if tuple(answers['label_names/label_names']) != reference.label_names:
    raise verification.RefusedError(
        'The reloaded SavedModel has other class names.')
  pixels = reference.inputs.to_pixels(tf.constant(sample))
  expected = {'serving_default': reference.scores(pixels),
              'image_bytes': reference.scores(pixels),
              'features': reference.features(pixels)}
  if 'attention_maps/attention_maps' in answers:
    expected['attention_maps'] = reference.attention_maps(pixels)
  for signature, outputs in expected.items():
    for key, value in outputs.items():
      name = f'{signature}/{key}'
      verification.require_close(answers[name], value.numpy(), name, tolerance)
  _require_top(answers, reference.label_names)
  if examples is None:
    return 'its signatures give what the checkpoint gives'
  count = len(examples.labels)
  return verification.report(
      examples, answers['probabilities'][:count], tolerance)


def _files(pixels: np.ndarray) -> np.ndarray:
  """Encodes uint8 [..., H, W, 3] as PNG files in hexadecimal, [...].

  An array of bytes would lose zeros at their ends.
  """
  places = pixels.shape[:-3]
  images = pixels.reshape([-1, *pixels.shape[-3:]])
  return np.array([tf.io.encode_png(image).numpy().hex()
                   for image in images]).reshape(places)


def _require_top(answers: Dict[str, np.ndarray], label_names: Tuple[str, ...]):
  """Raises RefusedError if the top classes are not the likeliest ones."""
  of = lambda key: answers[f'serving_default/{key}']
  # Numbers beyond the classes name none; clipped, they name the wrong one.
  places = np.clip(of('top_classes'), 0, len(label_names) - 1)
  found = np.take_along_axis(of('probabilities'), places, axis=1)
  wanted = -np.sort(-of('probabilities'))[:, :places.shape[1]]
  if not (np.array_equal(places, of('top_classes'))
          and np.array_equal(found, wanted)
          and np.array_equal(of('top_probabilities'), wanted)
          and np.array_equal(of('top_names'), np.array(label_names)[places])):
    raise verification.RefusedError(
        'The reloaded SavedModel names other classes than the likeliest.')


def _write_records(
    servable: servable_lib.Servable, examples: Optional[verification.Examples],
    batch_size: int, path: str):
  """Writes examples for tf_example, the last one again to fill a batch."""
  stored = [] if examples is None else examples.stored
  missing = -len(stored) % batch_size
  with tf.io.TFRecordWriter(path) as writer:
    for example in itertools.chain(stored, stored[-1:] * missing):
      writer.write(servable.inputs.serialize(example))
