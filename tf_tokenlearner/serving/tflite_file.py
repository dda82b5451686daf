"""Exports a run's classifier as a TFLite file.

The signature serving_default takes float32 RGB from 0 to 255: `images` [B, H,
W, 3], whole pictures resized to the size of the input, or `clips` [B, T, H, W,
3] of the network's size; tflite_inputs tells how they become pixels. It gives
`probabilities` and `logits` [B, classes], float32 in every quantization. Labels
and metadata are inside.

A file holds LiteRT's own operations only: no Flex, no custom operations.
"""

import os
from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional
import warnings

import numpy as np
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner import quiet
from tf_tokenlearner.serving import exporter
from tf_tokenlearner.serving import manifest
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.serving import tflite_inputs
from tf_tokenlearner.serving import tflite_metadata
from tf_tokenlearner.serving import verification
from tf_tokenlearner.tasks import classification_task

_SIGNATURE = 'serving_default'
_CALIBRATION_EXAMPLES = 200
_CALIBRATION_BYTES = 512 * 2**20
# Operations that int8 computes in 8 bits: those that multiply by weights. Of
# the others, LayerNorm and GELU would lose accuracy and save no time, and
# XNNPACK takes no BATCH_MATMUL (attention) in 8 bits: four times as slow.
_WEIGHTED = ('CONV_2D', 'CONV_3D', 'DEPTHWISE_CONV_2D', 'FULLY_CONNECTED')

_Inputs = Callable[[], Iterator[List[np.ndarray]]]


class _Quantization(NamedTuple):
  """Number types of a file.

  Attributes:
    set_options: sets the options of a converter.
    difference: allowed difference of a probability; see
      verification.Tolerance.
    lost_accuracy: see verification.Tolerance.
    calibrates: whether it needs examples of inputs.
  """
  set_options: Callable[[tf.lite.TFLiteConverter], None]
  difference: float = 0.
  lost_accuracy: float = 0.
  calibrates: bool = False


def _set_float16(converter):
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  converter.target_spec.supported_types = [tf.float16]


def _set_dynamic(converter):
  converter.optimizations = [tf.lite.Optimize.DEFAULT]


def _set_int8(converter):
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  converter.target_spec.supported_ops = [
      tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]


def _set_int16x8(converter):
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  converter.target_spec.supported_ops = [
      tf.lite.OpsSet.
      EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]


QUANTIZATIONS: Dict[str, _Quantization] = {
    'none': _Quantization(lambda converter: None),
    'float16': _Quantization(_set_float16, .05, .005),
    'dynamic': _Quantization(_set_dynamic, .5, .01),
    'int8': _Quantization(_set_int8, .5, .01, calibrates=True),
    'int16x8': _Quantization(_set_int16x8, .5, .01, calibrates=True),
}


def export(model_dir: str, export_dir: str, checkpoint: str = '', *,
           quantize: str = 'none', batch_size: int = 1, **options) -> None:
  """Exports a TFLite file, export_dir/model.tflite.

  Args:
    model_dir: see exporter.Exporter.export, as for checkpoint and the result.
    export_dir: absent or empty folder.
    checkpoint: path; '' for the run's best or else its latest.
    quantize: key of QUANTIZATIONS. dynamic: weights in 8 bits, activations
      quantized at run time; int8: also the activations that weights multiply,
      calibrated on training data, the rest in float; int16x8: all activations
      in 16 bits.
    batch_size: the only batch size; 0 for any, which takes more operations.
    **options: of exporter.Exporter.export.

  Raises:
    UserError: an option is out of range, the model cannot be converted, no
      data for calibration, or see exporter.Exporter.export.
  """
  _TFLiteExporter(quantize, batch_size).export(
      model_dir, export_dir, checkpoint, **options)


class _TFLiteExporter(exporter.Exporter):
  """Exporter of TFLite files."""
  export_format = 'tflite'
  reader = 'LiteRT'

  def __init__(self, quantize: str, batch_size: int):
    self._quantize, self._batch_size = quantize, batch_size

  def check(self, verify):
    if self._quantize not in QUANTIZATIONS:
      raise errors.unknown_name('--quantize', self._quantize, QUANTIZATIONS)
    if self._batch_size < 0:
      raise errors.UserError(
          f'--batch_size must be at least 0, got {self._batch_size}.')
    if verify:
      tflite_inputs.require_runtime()

  def options(self):
    return dict(quantize=self._quantize, batch_size=self._batch_size)

  def build(self):
    self._data = make(
        self.servable, self._quantize, self._batch_size, self.run.experiment)

  def facts(self):
    return {'input': describe(self.servable)}

  def write(self, folder):
    manifest.write_labels(folder, self.servable.label_names)
    write_file(self._data, folder)

  def verify(self, folder):
    return _verify(
        os.path.join(folder, manifest.TFLITE_FILE), self.servable,
        self.examples, self._batch_size,
        tolerance(self.servable, self._quantize))

  def summary(self):
    path = os.path.join(self.export_dir, manifest.TFLITE_FILE)
    return f'Exported to {path}: {len(self._data):,} bytes.'


def tolerance(servable: servable_lib.Servable,
              quantize: str) -> verification.Tolerance:
  """Returns the tolerance for a quantization of a model."""
  quantization = QUANTIZATIONS[quantize]
  return verification.tolerance(
      servable, quantization.difference, quantization.lost_accuracy)


def write_file(data: bytes, folder: str) -> None:
  """Writes model.tflite into the folder of an export."""
  with tf.io.gfile.GFile(
      os.path.join(folder, manifest.TFLITE_FILE), 'wb') as file:
    file.write(data)


def make(servable: servable_lib.Servable, quantize: str = 'none',
         batch_size: int = 1, name: str = '') -> bytes:
  """Returns a TFLite file with metadata.

  Args:
    servable: in float32.
    quantize: see export.
    batch_size: see export.
    name: of the model.

  Raises:
    UserError: the model cannot be converted, or no data for calibration.
  """
  shape = tflite_inputs.input_shape(servable.inputs.view)
  spec = tf.TensorSpec(
      [batch_size or None, *shape], tf.float32, servable.inputs.name)
  module = tf.Module()
  module.model_variables = servable.model.variables
  function = tf.function(
      lambda inputs: servable.scores(
          tflite_inputs.to_pixels(inputs, servable.input_size)),
      input_signature=[spec])
  inputs = (_calibration_inputs(servable, batch_size or 1)
            if QUANTIZATIONS[quantize].calibrates else None)
  return tflite_metadata.add(
      convert(module, {_SIGNATURE: function}, quantize, inputs), name,
      describe(servable), is_image=servable.inputs.name == 'images',
      label_names=manifest.label_lines(servable.label_names))


def describe(servable: servable_lib.Servable) -> str:
  """Returns a description of the input."""
  shape = tflite_inputs.input_shape(servable.inputs.view)
  size, seen = (' x '.join(map(str, axes[:-1])) for axes in (
      shape, servable.input_size))
  text = f'{servable.inputs.name}: float32 RGB from 0 to 255, {size}; '
  if servable.inputs.name != 'images':
    return (f'{text}resized and cut by the caller from '
            f'{servable.inputs.description}')
  resizing = servable.inputs.view.resizing
  text += 'a whole picture ' + (
      'resized' if resizing.resize == 'crop' and resizing.method == 'bilinear'
      else resizing.describe(shape[:2]))
  return text if size == seen else (
      f'{text}; the network sees its central {seen}')


def convert(
    module: tf.Module, functions: Mapping[str, Callable[..., Dict]],
    quantize: str = 'none', inputs: Optional[_Inputs] = None) -> bytes:
  """Converts functions to a TFLite file of LiteRT's own operations.

  Args:
    module: holds the variables.
    functions: by signature name; each a tf.function with an input signature
      that returns a dict of tensors.
    quantize: key of QUANTIZATIONS.
    inputs: examples for the quantizations that calibrate.

  Raises:
    UserError: other operations would be needed; the message names them.
  """
  quantization = QUANTIZATIONS[quantize]
  with manifest.scratch() as scratch, quiet.native_output():
    tf.saved_model.save(module, scratch, signatures=functions)
    def make_converter():
      made = tf.lite.TFLiteConverter.from_saved_model(
          scratch, signature_keys=list(functions))
      made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
      # Others are converted as custom ones, so that they can all be named.
      made.allow_custom_ops = True
      return made
    converter = make_converter()
    if quantize == 'int8':
      data = _convert_weighted(make_converter().convert(), converter, inputs)
    else:
      quantization.set_options(converter)
      if quantization.calibrates:
        converter.representative_dataset = inputs
      data = converter.convert()
  _require_builtins(data)
  return data


def _require_builtins(data: bytes) -> None:
  """Raises UserError if a TFLite file has Flex or custom operations."""
  custom = tflite_metadata.operations(data).custom
  if custom:
    raise errors.UserError(
        'The model cannot be converted without Flex or custom operations: '
        f'{", ".join(custom)}. Export a SavedModel instead.')


def _calibration_inputs(
    servable: servable_lib.Servable, batch_size: int) -> _Inputs:
  """Returns training data as inputs of the file."""
  shape = tflite_inputs.input_shape(servable.inputs.view)
  size = 4 * int(np.prod(shape))
  count = max(min(_CALIBRATION_EXAMPLES, _CALIBRATION_BYTES // size), 1)
  examples = tflite_inputs.from_pixels(
      classification_task.make(servable.task).examples(count), shape)
  def inputs():
    for start in range(0, len(examples), batch_size):
      places = np.arange(start, start + batch_size) % len(examples)
      yield [examples[places]]
  return inputs


def _convert_weighted(
    float_file: bytes, converter: tf.lite.TFLiteConverter,
    inputs: _Inputs) -> bytes:
  """Quantizes the weighted operations only, by TensorFlow's debugger."""
  _require_builtins(float_file)
  _set_int8(converter)
  converter.representative_dataset = inputs
  others = [name for name in tflite_metadata.operations(float_file).builtin
            if name not in _WEIGHTED]
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # About the interpreter that it makes.
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=inputs,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(
            denylisted_ops=others))
    return debugger.get_nondebug_quantized_model()


def _verify(file: str, servable: servable_lib.Servable,
            examples: verification.Examples, batch_size: int,
            tolerance: verification.Tolerance) -> str:
  # Imported by the new process only.
  client = os.path.join(
      os.path.dirname(__file__), 'clients', 'litert_client.py')
  with manifest.scratch() as scratch:
    inputs = os.path.join(scratch, 'inputs.npy')
    np.save(inputs, tflite_inputs.from_pixels(
        examples.pixels, tflite_inputs.input_shape(servable.inputs.view)))
    answers = verification.ask(client, file, inputs, str(batch_size or 8))
  if (answers['signature'] != _SIGNATURE
      or tuple(answers['label_names']) != manifest.label_lines(
          servable.label_names)):
    raise verification.RefusedError(
        'The reloaded file has another signature or other class names.')
  first = examples.pixels[:16]
  verification.require_close(
      answers['logits'][:len(first)], servable.scores(first)['logits'].numpy(),
      'logits', tolerance)
  return verification.report(examples, answers['probabilities'], tolerance)
