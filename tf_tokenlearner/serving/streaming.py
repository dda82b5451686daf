"""Exports a run's video classifier as one that sees a video step by step.

Two signatures, for B videos at a time:

  init_state   batch_size, int32 [] (in a TFLite file nothing, it is 1)
               -> tokens [B, T*S, C], num_steps [B].
  step         frames of the next tubelet, tokens, num_steps
               -> probabilities and logits [B, classes] of the last T tubelets;
               tokens and num_steps for the next step.

A SavedModel takes frames as uint8 [B, tubelet, H, W, 3] of any size, prepared
as in evaluation; a TFLite file as float32 RGB from 0 to 255 of the network's
own size. SavedModels also have the signature label_names.
"""

import os
from typing import Callable, Dict, List, Mapping

import numpy as np
import tensorflow as tf

from tf_tokenlearner.backbones import streaming
from tf_tokenlearner import errors
from tf_tokenlearner.serving.clients import streaming_client
from tf_tokenlearner.serving import exporter
from tf_tokenlearner.serving import input_signatures
from tf_tokenlearner.serving import manifest
from tf_tokenlearner.serving import saved_model
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.serving import tflite_file
from tf_tokenlearner.serving import tflite_inputs
from tf_tokenlearner.serving import verification

EXPORT_FORMATS = ('saved_model', 'tflite')
DEFAULT_EXAMPLES = 32
_QUANTIZATIONS = ('none', 'float16', 'dynamic')

_Functions = Mapping[str, Callable[..., Dict[str, tf.Tensor]]]


def export(model_dir: str, export_dir: str, checkpoint: str = '', *,
           export_format: str = 'saved_model', quantize: str = 'none',
           verify_examples: int = DEFAULT_EXAMPLES, **options) -> None:
  """Exports a streaming model.

  Verification streams evaluation clips as one video: after every step the
  answer must be that of the checkpoint on the last T tubelets.

  Args:
    model_dir: folder of a run of token_learner_vivit_factorized.
    export_dir: absent or empty folder.
    checkpoint: path; '' for the run's best or else its latest.
    export_format: one of EXPORT_FORMATS.
    quantize: of a TFLite file: none, float16 or dynamic.
    verify_examples: number of clips to compare on.
    **options: of exporter.Exporter.export.

  Raises:
    UserError: an option is unknown, the model cannot stream, or see
      exporter.Exporter.export.
  """
  _StreamExporter(export_format, quantize).export(
      model_dir, export_dir, checkpoint, verify_examples=verify_examples,
      **options)


class _StreamExporter(exporter.Exporter):
  """Exporter of streaming models."""
  keeps_stored = True

  def __init__(self, export_format: str, quantize: str):
    self._format, self._quantize = export_format, quantize
    self._is_tflite = export_format == 'tflite'
    self.export_format = f'streaming_{export_format}'
    self.reader = 'LiteRT' if self._is_tflite else 'TensorFlow'

  def check(self, verify):
    if self._format not in EXPORT_FORMATS:
      raise errors.unknown_name('--format', self._format, EXPORT_FORMATS)
    if self._quantize not in _QUANTIZATIONS:
      raise errors.unknown_name('--quantize', self._quantize, _QUANTIZATIONS)
    if not self._is_tflite and self._quantize != 'none':
      raise errors.UserError(
          f'--quantize={self._quantize} goes with --format=tflite only.')
    if verify and self._is_tflite:
      tflite_inputs.require_runtime()

  def options(self):
    return dict(quantize=self._quantize)

  def build(self):
    self._stream = streaming.StreamingClassifier(self.servable.model)
    self._signatures = make_signatures(
        self.servable, self._stream, self._is_tflite)

  def facts(self):
    return {'input': self._input()}

  def write(self, folder):
    names, variables = self.servable.label_names, self.servable.model.variables
    if not self._is_tflite:
      saved_model.save(variables, self._signatures, names, folder)
      return
    manifest.write_labels(folder, names)
    module = tf.Module()
    module.model_variables = variables
    tflite_file.write_file(
        tflite_file.convert(module, self._signatures, self._quantize), folder)

  def verify(self, folder):
    path = (os.path.join(folder, manifest.TFLITE_FILE) if self._is_tflite
            else folder)
    view, examples = self.servable.inputs.view, self.examples
    clips = (
        tflite_inputs.from_pixels(
            examples.pixels, tflite_inputs.input_shape(view))
        if self._is_tflite else [
            _frames(view.middle(tf.constant(video)[tf.newaxis])[0])
            for video in examples.stored])
    return _verify(path, self._format, clips, self.servable,
                   self._stream.tubelet_shape[0], examples,
                   tflite_file.tolerance(self.servable, self._quantize))

  def summary(self):
    return f'Exported to {self.export_dir}: a step takes {self._input()}.'

  def _input(self) -> str:
    return describe(self.servable, self._stream, self._is_tflite)


def describe(servable: servable_lib.Servable,
             stream: streaming.StreamingClassifier, is_tflite: bool) -> str:
  """Returns a description of the input of a step."""
  count, height, width, _ = stream.tubelet_shape
  stride = servable.task.validation_data.temporal_stride
  which = 'frame' if count == 1 else f'{count} frames'
  apart = '' if stride == 1 else f', {stride} apart'
  pixels = (f'float32 RGB from 0 to 255, [1, {count}, {height}, {width}, 3]'
            if is_tflite else
            f'uint8 RGB of any size, [B, {count}, H, W, 3]')
  return (f'the next {which} of a video{apart}, at {servable.inputs.rate}: '
          f'{pixels}')


def make_signatures(
    servable: servable_lib.Servable,
    stream: streaming.StreamingClassifier, is_tflite: bool) -> _Functions:
  """Returns the signatures of a SavedModel or of a TFLite file by name."""
  batch = 1 if is_tflite else None
  length, *size, _ = stream.tubelet_shape
  frames = (
      tf.TensorSpec([1, length, *size, 3], tf.float32, 'frames') if is_tflite
      else tf.TensorSpec([None, length, None, None, 3], tf.uint8, 'frames'))
  tokens = tf.TensorSpec([batch, *stream.state_shape], tf.float32, 'tokens')
  num_steps = tf.TensorSpec([batch], tf.int32, 'num_steps')

  @tf.function(input_signature=[frames, tokens, num_steps])
  def step(frames, tokens, num_steps):
    if is_tflite:  # All sizes are fixed.
      pixels = tflite_inputs.to_pixels(frames, servable.input_size)
    else:
      frames, tokens, num_steps = _require_specs(
          (frames, tokens, num_steps), step.input_signature)
      pixels = servable.inputs.view.to_view(frames)
    logits, state = stream.step(pixels, streaming.State(tokens, num_steps))
    return {**servable.scores_of(logits), **state._asdict()}

  if is_tflite:
    first = tf.function(
        lambda: stream.init_state(1)._asdict(), input_signature=[])
    return {'init_state': first, 'step': step}
  first = tf.function(
      lambda batch_size: stream.init_state(batch_size)._asdict(),
      input_signature=[tf.TensorSpec([], tf.int32, 'batch_size')])
  return {
      'init_state': first, 'step': step, 'label_names':
          saved_model.label_names_signature(servable.label_names)}


def _require_specs(tensors, specs):
  """Returns the tensors, or fails at run time if numbers do not match."""
  frames, *state = (
      input_signatures.require_spec(*pair) for pair in zip(tensors, specs))
  checks = [
      tf.debugging.assert_equal(
          tf.shape(frames)[0], tf.shape(tensor)[0],
          'frames and state are of different numbers of videos.')
      for tensor in state]
  with tf.control_dependencies(checks):
    return tf.identity(frames), *state


def _frames(files: tf.Tensor) -> np.ndarray:
  """Decodes stored frames, files or pixels [T, ...], to uint8 [T, H, W, 3]."""
  if files.dtype == tf.string:
    files = tf.stack([tf.io.decode_image(
        file, channels=3, expand_animations=False) for file in files])
  return np.broadcast_to(files, [*files.shape[:-1], 3])


def _verify(path: str, export_format: str, clips: List[np.ndarray],
            servable: servable_lib.Servable, length: int,
            examples: verification.Examples,
            tolerance: verification.Tolerance) -> str:
  """Streams clips through an export, one after the other as one video.

  Args:
    path: of the export.
    export_format: one of EXPORT_FORMATS.
    clips: the frames of each example, as a step takes them.
    servable: the checkpoint.
    length: frames of a step.
    examples: the same clips and the checkpoint's answers.
    tolerance: allowed differences.
  """
  with manifest.scratch() as scratch:
    inputs = os.path.join(scratch, 'clips.npz')
    np.savez(inputs, *clips)
    received = verification.ask(
        streaming_client.__file__, export_format, path, inputs,
        str(length))['probabilities']
  steps_per_clip = servable.input_size[0] // length  # T
  ends = np.arange(1, len(clips) + 1) * steps_per_clip - 1
  # Three windows, each with its neighbours, step by step.
  compared = np.union1d(np.arange(min(3 * steps_per_clip, len(received))), ends)
  verification.require_close(
      received[compared],
      _of_windows(servable, examples.pixels, compared, length),
      'The answers of steps', tolerance)
  report = verification.report(examples, received[ends], tolerance)
  return f'{len(received)} steps streamed; at the ends of {report}'


def _of_windows(servable: servable_lib.Servable, clips: np.ndarray,
                steps: np.ndarray, length: int) -> np.ndarray:
  """Computes the checkpoint's probabilities for the window of each step.

  Args:
    servable: the checkpoint.
    clips: pixels [N, *input_size], one video when joined.
    steps: int [K], numbers of steps.
    length: frames of a step.

  Returns:
    float32 [K, classes].
  """
  frames = np.concatenate(clips)
  # As if the video had stood still before it began.
  before = np.tile(frames[:length],
                   [servable.input_size[0] // length - 1, 1, 1, 1])
  frames = np.concatenate([before, frames])
  windows = np.stack([
      frames[start:start + servable.input_size[0]]
      for start in steps * length])
  return verification.in_batches(
      lambda pixels: servable.scores(pixels)['probabilities'],
      servable.input_size, windows)
