"""Writes a run's classifier as a SavedModel, and proves that it answers.

Signatures, of B images or clips; batch B is free unless it was fixed:

  serving_default   uint8 images [B, H, W, 3], or clips [B, T, H, W, 3], of any
                    size -> probabilities and logits [B, classes]; top_classes,
                    top_probabilities and top_names [B, 5 or classes].
  image_bytes       string [B] image files, or [B, T] the frames of clips -> the
                    same, and errors [B]: why an example cannot be read, or ''.
                    Such an example gets 0, -1 and no names; the call fails
                    only if there is no other.
  tf_example        string [B], serialized tf.Examples with image/encoded, or
                    SequenceExamples of frames -> as image_bytes.
  features          as serving_default -> pre_logits [B, C].
  attention_maps    as serving_default -> attention_maps [B, S, H, W], or [B, T,
                    S, H, W], of the first TokenLearner; absent without one.
  label_names       nothing -> label_names [classes].

Preprocessing is that of evaluation. Of files, 16 bits a channel become 8,
transparency is dropped, CMYK becomes RGB, of an animated GIF the first frame is
taken. Animated WebP, a first frame that does not fill its GIF, and announced
sizes above image_bytes.MAX_PIXELS are errors.
"""

import itertools
import os
from typing import Callable, Dict, Optional, Tuple

import numpy as np
import tensorflow as tf

from tf_tokenlearner.data import views
from tf_tokenlearner import errors
from tf_tokenlearner import quiet
from tf_tokenlearner.serving.clients import saved_model_client
from tf_tokenlearner.serving import input_signatures
from tf_tokenlearner.serving import manifest
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.serving import verification

_TOLERANCES = {
    'float32': verification.Tolerance(1e-5),
    'float32, jit_compile': verification.Tolerance(1e-4),
    'bfloat16': verification.Tolerance(0.1, lost_accuracy=0.01),
}
_TOP = 5

_Function = Callable[..., Dict[str, tf.Tensor]]


def export(model_dir: str, export_dir: str, checkpoint: str = '', *,
           precision: str = 'float32', jit_compile: bool = False,
           batch_size: int = 0, verify: bool = True,
           verify_examples: int = verification.DEFAULT_EXAMPLES) -> None:
  """Writes a SavedModel, and prints where it lies and how well it does.

  Args:
    model_dir: folder of a run; its config says all about the architecture.
    export_dir: a folder that does not exist yet; if it holds the very same
      export, nothing is done.
    checkpoint: path, '' for the run's best or else its latest.
    precision: what the network computes in, of servable.PRECISIONS.
    jit_compile: compile the network with XLA when it is first asked.
    batch_size: the only one; 0 for any.
    verify: load it in a new process and compare before it is kept.
    verify_examples: of the evaluation data, at most so many; 0 for none.

  Raises:
    UserError: no such run or checkpoint, export_dir exists or cannot be
      written, no evaluation data, or the reloaded model gives other numbers.
  """
  _check(precision, batch_size, verify_examples)
  with quiet.errors_only():
    _export(
        model_dir, export_dir, checkpoint, precision, jit_compile, batch_size,
        verify, verify_examples)


def _export(model_dir, export_dir, checkpoint, precision, jit_compile,
            batch_size, verify, verify_examples):
  run, path = servable_lib.find(model_dir, checkpoint)
  wanted = manifest.origin(
      model_dir, path, 'saved_model', precision=precision,
      jit_compile=jit_compile, batch_size=batch_size)
  if manifest.is_there(wanted, export_dir, verify):
    return
  reference = servable_lib.load(run, path)
  servable = (reference if precision == 'float32'
              else servable_lib.load(run, path, precision))
  examples = (verification.draw(reference, verify_examples, with_stored=True)
              if verify and verify_examples else None)
  signatures, without_maps = make_signatures(servable, batch_size, jit_compile)
  facts = {**wanted, 'input': servable.inputs.description,
           'preprocessing': views.to_json(servable.inputs.view),
           'signatures': sorted(signatures)}
  lines = [f'Exported to {export_dir}: {len(servable.label_names)} classes.']
  if without_maps:
    lines.append(f'Without the signature attention_maps: {without_maps}')
  with manifest.writing(export_dir, facts, verify) as beside:
    _save(servable, signatures, beside)
    if verify:
      tolerance = _TOLERANCES[precision + ', jit_compile' * (
          jit_compile and precision == 'float32')]
      lines.append(verification.loaded_again('TensorFlow', _verify(
          beside, reference, examples, batch_size, tolerance)))
  print('\n'.join(lines))


def make_signatures(
    servable: servable_lib.Servable, batch_size: int = 0,
    jit_compile: bool = False) -> Tuple[Dict[str, _Function], str]:
  """The signatures by name, and why attention_maps is not there, or ''.

  Args:
    servable: what they compute.
    batch_size: the only one; 0 for any.
    jit_compile: compile the network with XLA.
  """
  raw, batch = servable.inputs, batch_size or None
  # A function of its own, so that signatures share what is traced and saved.
  compiled = lambda function: tf.function(
      function, jit_compile=jit_compile or None, autograph=False)
  scores = compiled(servable.scores)

  def answers(pixels):
    return _with_names(scores(pixels), servable.label_names)

  def of_pixels(function):
    spec = tf.TensorSpec([batch, *raw.shape], tf.uint8, raw.name)
    return tf.function(
        lambda inputs: function(
            raw.to_pixels(input_signatures.require_spec(inputs, spec))),
        input_signature=[spec])

  def of_strings(reader, shape, name):
    spec = tf.TensorSpec([batch, *shape], tf.string, name)
    def serve(inputs):
      pixels, reasons = tf.map_fn(
          reader, input_signatures.require_spec(inputs, spec), fn_output_signature=(
              tf.TensorSpec(servable.input_size), tf.TensorSpec([], tf.string)))
      return _with_errors(answers(pixels), reasons, name)
    return tf.function(serve, input_signature=[spec])

  signatures = {
      'serving_default': of_pixels(answers),
      'image_bytes': of_strings(
          raw.read_files, raw.bytes_shape, 'image_bytes'),
      'tf_example': of_strings(raw.read_example, (), 'tf_example'),
      'features': of_pixels(compiled(servable.features)),
      'label_names': tf.function(
          lambda: {'label_names': tf.constant(servable.label_names)},
          input_signature=[]),
  }
  try:
    attention_maps = of_pixels(compiled(servable.attention_maps))
    attention_maps.get_concrete_function()
  except ValueError as error:  # The model has none, and says why.
    return signatures, str(error).strip().splitlines()[-1]
  return {**signatures, 'attention_maps': attention_maps}, ''


def _check(precision: str, batch_size: int, verify_examples: int):
  if precision not in servable_lib.PRECISIONS:
    raise errors.unknown_name(
        '--precision', precision, servable_lib.PRECISIONS)
  for name, value in (('batch_size', batch_size),
                      ('verify_examples', verify_examples)):
    if value < 0:
      raise errors.UserError(f'--{name} must be at least 0, received {value}.')


def _with_names(scores: Dict[str, tf.Tensor],
                label_names: Tuple[str, ...]) -> Dict[str, tf.Tensor]:
  top = tf.math.top_k(
      scores['probabilities'], min(_TOP, len(label_names)))
  return {**scores, 'top_classes': top.indices,
          'top_probabilities': top.values,
          'top_names': tf.gather(tf.constant(label_names), top.indices)}


def _with_errors(answers: Dict[str, tf.Tensor], reasons: tf.Tensor,
                 name: str) -> Dict[str, tf.Tensor]:
  """Nothing is said of examples for which there is a reason, string [B]."""
  is_read = tf.equal(reasons, '')
  is_any_read = tf.debugging.Assert(
      tf.reduce_any(is_read) | tf.equal(tf.size(reasons), 0),
      [f'Nothing of {name} can be read. Reasons:', reasons])
  with tf.control_dependencies([is_any_read]):
    reasons = tf.identity(reasons)
  # No NaN: strict readers of JSON refuse the whole answer for it.
  nothing = {tf.float32: 0., tf.int32: -1, tf.string: ''}
  answers = {
      key: tf.where(is_read[:, tf.newaxis], value, nothing[value.dtype])
      for key, value in answers.items()}
  return {**answers, 'errors': reasons}


def _save(servable: servable_lib.Servable, signatures: Dict[str, _Function],
          folder: str):
  """The functions close over the model, so that only variables are tracked.

  A Keras model as an attribute would be saved layer by layer, which takes
  minutes, for loading as Keras, which nobody asked for.
  """
  labels = manifest.write_labels(folder, servable.label_names)
  module = tf.Module()
  module.model_variables = servable.model.variables
  module.labels = tf.saved_model.Asset(labels)
  tf.saved_model.save(module, folder, signatures=signatures)
  tf.io.gfile.remove(labels)  # The copy is in assets.


def _verify(folder: str, reference: servable_lib.Servable,
            examples: Optional[verification.Examples], batch_size: int,
            tolerance: verification.Tolerance) -> str:
  """What a new process sees, in words."""
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
    raise errors.UserError(
        'The reloaded SavedModel has other names of classes; nothing was kept.')
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
  """uint8 [..., H, W, 3] -> PNG files as hexadecimal text, [...].

  An array of bytes would lose zeros at their ends.
  """
  places = pixels.shape[:-3]
  images = pixels.reshape([-1, *pixels.shape[-3:]])
  return np.array([tf.io.encode_png(image).numpy().hex()
                   for image in images]).reshape(places)


def _require_top(answers: Dict[str, np.ndarray], label_names: Tuple[str, ...]):
  """Raises UserError if the likeliest classes are not those."""
  of = lambda key: answers[f'serving_default/{key}']
  # Numbers beyond the classes name none; clipped, they name the wrong one.
  places = np.clip(of('top_classes'), 0, len(label_names) - 1)
  found = np.take_along_axis(of('probabilities'), places, axis=1)
  wanted = -np.sort(-of('probabilities'))[:, :places.shape[1]]
  if not (np.array_equal(places, of('top_classes'))
          and np.array_equal(found, wanted)
          and np.array_equal(of('top_probabilities'), wanted)
          and np.array_equal(of('top_names'), np.array(label_names)[places])):
    raise errors.UserError(
        'The reloaded SavedModel names other classes than the likeliest; '
        'nothing was kept.')


def _write_records(
    servable: servable_lib.Servable, examples: Optional[verification.Examples],
    batch_size: int, path: str):
  """The examples as tf_example takes them, the last again to fill a batch."""
  stored = [] if examples is None else examples.stored
  missing = -len(stored) % batch_size
  with tf.io.TFRecordWriter(path) as writer:
    for example in itertools.chain(stored, stored[-1:] * missing):
      writer.write(servable.inputs.serialize(example))
