"""Writes a run's video classifier as one that is shown a video bit by bit.

Two signatures, of B videos at a time:

  init_state   batch_size, int32 [] (in a TFLite file nothing, it is 1)
               -> tokens [B, T*S, C], num_steps [B].
  step         frames of the next tubelet, tokens, num_steps
               -> probabilities and logits [B, classes] of the last T tubelets;
               tokens and num_steps for the next step.

A SavedModel takes frames as uint8 [B, tubelet, H, W, 3] of any size, prepared
as in evaluation; a TFLite file as float32 from 0 to 255 of the network's own
size. SavedModels have the signature label_names as well.
"""

import os
from typing import Callable, Dict, Mapping

import numpy as np
import tensorflow as tf

from tf_tokenlearner.backbones import streaming
from tf_tokenlearner.data import pixel_ops
from tf_tokenlearner.data import views
from tf_tokenlearner import errors
from tf_tokenlearner import quiet
from tf_tokenlearner.serving.clients import streaming_client
from tf_tokenlearner.serving import input_signatures
from tf_tokenlearner.serving import manifest
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.serving import tflite_file
from tf_tokenlearner.serving import verification

FORMATS = ('saved_model', 'tflite')
DEFAULT_EXAMPLES = 32
_QUANTIZATIONS = ('none', 'float16', 'dynamic')
_FLOAT32_TOLERANCE = verification.Tolerance(1e-5)

_Functions = Mapping[str, Callable[..., Dict[str, tf.Tensor]]]


def export(model_dir: str, export_dir: str, checkpoint: str = '', *,
           form: str = 'saved_model', quantize: str = 'none',
           verify: bool = True,
           verify_examples: int = DEFAULT_EXAMPLES) -> None:
  """Writes a streaming model, and prints how well it does.

  Verified on evaluation clips that follow each other as one video: after every
  step the answer must be that of the checkpoint on the last T tubelets.

  Args:
    model_dir: folder of a run of token_learner_vivit_factorized.
    export_dir: a folder that does not exist yet; if it holds the very same
      export, nothing is done.
    checkpoint: path, '' for the run's best or else its latest.
    form: of FORMATS.
    quantize: of a TFLite file: none, float16 or dynamic.
    verify: stream through it in a new process before it is kept.
    verify_examples: clips, at most so many.

  Raises:
    UserError: no such run or checkpoint, a model that cannot stream,
      export_dir exists or cannot be written, or the export gives other numbers.
  """
  _check(form, quantize, verify, verify_examples)
  run, path = servable_lib.find(model_dir, checkpoint)
  wanted = manifest.origin(
      model_dir, path, f'streaming_{form}', quantize=quantize)
  if manifest.is_there(wanted, export_dir, verify):
    return
  with quiet.errors_only():
    servable = servable_lib.load(run, path)
    stream = streaming.StreamingClassifier(servable.model)
    examples = (
        verification.draw(servable, verify_examples) if verify else None)
    tolerance = (
        _FLOAT32_TOLERANCE if quantize == 'none'
        else tflite_file.QUANTIZATIONS[quantize].tolerance)
    facts = {**wanted, 'input': describe(servable, stream, form),
             'preprocessing': views.to_json(servable.inputs.view)}
    with manifest.writing(export_dir, facts, verify) as beside:
      _write(servable, make_signatures(servable, stream, form), form, quantize,
             beside)
      report = examples and _verify(
          beside, form, servable, stream, examples, tolerance)
  print(verification.in_lines(
      f'Exported to {export_dir}: a step takes '
      f'{describe(servable, stream, form)}.'))
  if report:
    print(verification.in_lines(report))


def describe(servable: servable_lib.Servable,
             stream: streaming.StreamingClassifier, form: str) -> str:
  """What a step takes, in words."""
  count, height, width, channels = stream.tubelet_shape
  stride = servable.task.validation_data.temporal_stride
  which = 'one' if count == 1 else f'{count}'
  apart = '' if stride == 1 else f', {stride} apart'
  kind = (f'float32 {tflite_file.COLORS[channels]} pixels from 0 to 255, '
          f'[1, {count}, {height}, {width}, {channels}]' if form == 'tflite'
          else f'uint8 RGB pixels of any size, [B, {count}, H, W, 3]')
  return (f'the next {which} of the frames of a video{apart}, at '
          f'{servable.inputs.rate}: {kind}')


def make_signatures(
    servable: servable_lib.Servable,
    stream: streaming.StreamingClassifier, form: str) -> _Functions:
  """The signatures by name, of a SavedModel or of a TFLite file."""
  is_tflite = form == 'tflite'
  batch = 1 if is_tflite else None
  length, *size = stream.tubelet_shape
  frames = (tf.TensorSpec([1, length, *size], tf.float32, 'frames') if is_tflite
            else tf.TensorSpec([None, length, None, None, 3], tf.uint8,
                               'frames'))
  tokens = tf.TensorSpec([batch, *stream.state_shape], tf.float32, 'tokens')
  num_steps = tf.TensorSpec([batch], tf.int32, 'num_steps')

  @tf.function(input_signature=[frames, tokens, num_steps])
  def step(frames, tokens, num_steps):
    if not is_tflite:  # There all sizes are fixed.
      frames, tokens, num_steps = _refuse_others(
          (frames, tokens, num_steps), step.input_signature)
    logits, state = stream.step(
        _to_pixels(servable, form)(frames), streaming.State(tokens, num_steps))
    return {**servable.scores_of(logits), **state._asdict()}

  if is_tflite:
    first = tf.function(
        lambda: stream.init_state(1)._asdict(), input_signature=[])
    return {'init_state': first, 'step': step}
  first = tf.function(
      lambda batch_size: stream.init_state(batch_size)._asdict(),
      input_signature=[tf.TensorSpec([], tf.int32, 'batch_size')])
  names = tf.function(
      lambda: {'label_names': tf.constant(servable.label_names)},
      input_signature=[])
  return {'init_state': first, 'step': step, 'label_names': names}


def _refuse_others(tensors, specs):
  """The same tensors, if they are of the right number of videos and frames."""
  frames, *state = (
      input_signatures.require_spec(*pair) for pair in zip(tensors, specs))
  are_right = [
      tf.debugging.assert_equal(
          tf.shape(frames)[0], tf.shape(tensor)[0],
          'frames and state are of different numbers of videos.')
      for tensor in state]
  with tf.control_dependencies(are_right):
    return tf.identity(frames), *state


def _check(form: str, quantize: str, verify: bool, verify_examples: int):
  if form not in FORMATS:
    raise errors.unknown_name('--format', form, FORMATS)
  if quantize not in _QUANTIZATIONS:
    raise errors.unknown_name('--quantize', quantize, _QUANTIZATIONS)
  if form != 'tflite' and quantize != 'none':
    raise errors.UserError(
        f'--quantize={quantize} goes with --format=tflite only.')
  verification.check_count(verify, verify_examples)
  if verify and form == 'tflite':
    tflite_file.require_runtime()


def _write(servable: servable_lib.Servable, signatures: _Functions, form: str,
           quantize: str, folder: str):
  labels = manifest.write_labels(folder, servable.label_names)
  module = tf.Module()
  module.model_variables = servable.model.variables
  if form == 'tflite':
    with tf.io.gfile.GFile(_file(folder, form), 'wb') as file:
      file.write(tflite_file.convert(module, signatures, quantize))
    return
  module.labels = tf.saved_model.Asset(labels)
  tf.saved_model.save(module, folder, signatures=signatures)
  tf.io.gfile.remove(labels)  # The copy is in assets.


def _file(folder: str, form: str) -> str:
  return (os.path.join(folder, manifest.TFLITE_FILE) if form == 'tflite'
          else folder)


def _verify(folder: str, form: str, servable: servable_lib.Servable,
            stream: streaming.StreamingClassifier,
            examples: verification.Examples,
            tolerance: verification.Tolerance) -> str:
  """What a new process sees of the clips in a row, in words."""
  length = stream.tubelet_shape[0]
  frames = _frames(examples.pixels, form)
  with manifest.scratch() as scratch:
    inputs = os.path.join(scratch, 'frames.npy')
    np.save(inputs, frames)
    received = verification.ask(
        streaming_client.__file__, form, _file(folder, form), inputs,
        str(length))['probabilities']
  steps_per_clip = servable.input_size[0] // length  # T
  ends = np.arange(1, len(examples.labels) + 1) * steps_per_clip - 1
  # Three windows, each with its neighbours, step by step.
  compared = np.union1d(np.arange(min(3 * steps_per_clip, len(received))), ends)
  expected = _whole_clips(servable, form, frames, compared, length)
  verification.require_close(
      received[compared], expected, 'The answers of steps', tolerance)
  report = verification.report(
      examples._replace(probabilities=expected[np.isin(compared, ends)]),
      received[ends], tolerance)
  return (f'Streamed through in a new process, {len(received)} steps; at the '
          f'ends of {report}.')


def _frames(clips: np.ndarray, form: str) -> np.ndarray:
  """Pixels in [-1, 1] of clips -> all frames, as a step takes them."""
  frames = tflite_file.to_inputs(np.concatenate(clips))
  if form == 'tflite':
    return frames
  return np.uint8(np.broadcast_to(
      np.round(frames), [*frames.shape[:-1], 3]))  # Of grey ones all are equal.


def _to_pixels(servable: servable_lib.Servable,
               form: str) -> Callable[[tf.Tensor], tf.Tensor]:
  """Frames as a step takes them -> what the network sees."""
  if form == 'tflite':
    return pixel_ops.scale
  return servable.inputs.to_view


def _whole_clips(servable: servable_lib.Servable, form: str,
                 frames: np.ndarray, steps: np.ndarray,
                 length: int) -> np.ndarray:
  """What the checkpoint says of the window of each step, [steps, classes]."""
  scores = tf.function(
      lambda frames: servable.scores(_to_pixels(servable, form)(frames)))
  # As if the video had stood still before it began.
  before = np.tile(frames[:length],
                   [servable.input_size[0] // length - 1, 1, 1, 1])
  frames = np.concatenate([before, frames])
  return np.concatenate([
      scores(frames[np.newaxis, start:start + servable.input_size[0]])[
          'probabilities'].numpy()
      for start in steps * length])
