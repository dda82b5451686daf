"""Writes a run's classifier as a TFLite file, and proves that it answers.

The signature serving_default takes float32 pixels from 0 to 255 of the
network's own size, `images` [B, H, W, C] or `clips` [B, T, H, W, C], and gives
`probabilities` and `logits` [B, classes], float32 in every quantization.
Cutting and scaling to that size is left to the device. Labels and metadata are
inside.

Nothing but LiteRT's own operations is ever in a file: no Flex, no custom ones.
"""

import importlib.util
import os
import re
from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional
import warnings

import numpy as np
from official.core import task_factory
import tensorflow as tf

from tf_tokenlearner.data import pixel_ops
from tf_tokenlearner.data import views
from tf_tokenlearner import errors
from tf_tokenlearner import quiet
from tf_tokenlearner.serving import manifest
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.serving import tflite_metadata
from tf_tokenlearner.serving import verification

COLORS = {1: 'grey', 3: 'RGB'}  # Of pixels of so many channels.
_SIGNATURE = 'serving_default'
_CALIBRATION_EXAMPLES = 200
_CALIBRATION_BYTES = 512 * 2**20
# What int8 computes in 8 bits: what multiplies by weights. Of the rest,
# LayerNorm and GELU would cost accuracy and save no time; attention's products,
# BATCH_MATMUL, are not delegated to XNNPACK in 8 bits: four times as long.
_WEIGHTED = ('CONV_2D', 'CONV_3D', 'DEPTHWISE_CONV_2D', 'FULLY_CONNECTED')

_Inputs = Callable[[], Iterator[List[np.ndarray]]]


class _Quantization(NamedTuple):
  """How a file stores and computes numbers.

  Attributes:
    set_options: of a converter.
    tolerance: what it may differ by from the checkpoint.
    calibrates: it needs examples of inputs.
  """
  set_options: Callable[[tf.lite.TFLiteConverter], None]
  tolerance: verification.Tolerance
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
    'none': _Quantization(
        lambda converter: None, verification.Tolerance(1e-4)),
    'float16': _Quantization(
        _set_float16, verification.Tolerance(.05, lost_accuracy=.005)),
    'dynamic': _Quantization(
        _set_dynamic, verification.Tolerance(.5, lost_accuracy=.01)),
    'int8': _Quantization(
        _set_int8, verification.Tolerance(.5, lost_accuracy=.01),
        calibrates=True),
    'int16x8': _Quantization(
        _set_int16x8, verification.Tolerance(.5, lost_accuracy=.01),
        calibrates=True),
}


def export(model_dir: str, export_dir: str, checkpoint: str = '', *,
           quantize: str = 'none', batch_size: int = 1, verify: bool = True,
           verify_examples: int = verification.DEFAULT_EXAMPLES) -> None:
  """Writes export_dir/model.tflite, and prints how well it does.

  Args:
    model_dir: folder of a run; its config says all about the architecture.
    export_dir: a folder that does not exist yet; if it holds the very same
      export, nothing is done.
    checkpoint: path, '' for the run's best or else its latest.
    quantize: of QUANTIZATIONS. dynamic: weights of 8 bits, activations when
      they come; int8: also the activations that weights multiply, by the range
      that they have on training data, and the rest in float; int16x8:
      activations of 16 bits, everywhere.
    batch_size: the only one; 0 for any, which takes more operations.
    verify: ask it in a new process and compare before it is kept.
    verify_examples: of the evaluation data, at most so many.

  Raises:
    UserError: no such run or checkpoint, export_dir exists or cannot be
      written, the model cannot be converted, no data where they are needed, or
      the file does not do well enough.
  """
  _check(quantize, batch_size, verify, verify_examples)
  run, path = servable_lib.find(model_dir, checkpoint)
  wanted = manifest.origin(
      model_dir, path, 'tflite', quantize=quantize, batch_size=batch_size)
  if manifest.is_there(wanted, export_dir, verify):
    return
  with quiet.errors_only():
    servable = servable_lib.load(run, path)
    examples = (
        verification.draw(servable, verify_examples) if verify else None)
    data = make(servable, quantize, batch_size, run.experiment)
    facts = {**wanted, 'input': describe(servable),
             'preprocessing': views.to_json(servable.inputs.view)}
    with manifest.writing(export_dir, facts, verify) as beside:
      manifest.write_labels(beside, servable.label_names)
      file = os.path.join(beside, manifest.TFLITE_FILE)
      with tf.io.gfile.GFile(file, 'wb') as opened:
        opened.write(data)
      report = examples and _verify(
          file, servable, examples, batch_size, quantize)
  path = os.path.join(export_dir, manifest.TFLITE_FILE)
  print(f'Exported to {path}: {len(data):,} bytes.')
  if report:
    print(verification.loaded_again('LiteRT', report))


def make(servable: servable_lib.Servable, quantize: str = 'none',
         batch_size: int = 1, name: str = '') -> bytes:
  """The file, with metadata.

  Args:
    servable: in float32.
    quantize: as in export.
    batch_size: as in export.
    name: of the model.

  Raises:
    UserError: the model cannot be converted, or no data to calibrate with.
  """
  spec = tf.TensorSpec(
      [batch_size or None, *servable.input_size], tf.float32, servable.inputs.name)
  module = tf.Module()
  module.model_variables = servable.model.variables
  function = tf.function(
      lambda pixels: servable.scores(pixel_ops.scale(pixels)),
      input_signature=[spec])
  inputs = (_calibration_inputs(servable, batch_size or 1)
            if QUANTIZATIONS[quantize].calibrates else None)
  return tflite_metadata.add(
      convert(module, {_SIGNATURE: function}, quantize, inputs), name,
      describe(servable),
      servable.input_size[-1], len(servable.input_size) == 3,
      servable.label_names)


def describe(servable: servable_lib.Servable) -> str:
  """The input in words."""
  size = ' x '.join(map(str, servable.input_size[:-1]))
  colors = COLORS[servable.input_size[-1]]
  return (f'{servable.inputs.name}: float32, {colors} pixels from 0 to 255, '
          f'{size}; cut and scaled by the caller from '
          f'{servable.inputs.description}')


def convert(
    module: tf.Module, functions: Mapping[str, Callable[..., Dict]],
    quantize: str = 'none', inputs: Optional[_Inputs] = None) -> bytes:
  """A TFLite file of LiteRT's own operations.

  Args:
    module: has the variables.
    functions: by the names of their signatures; each a tf.function with an
      input signature that gives a dict of tensors.
    quantize: of QUANTIZATIONS.
    inputs: examples for those that calibrate.

  Raises:
    UserError: it would need other operations, which are named.
  """
  quantization = QUANTIZATIONS[quantize]
  with manifest.scratch() as scratch, quiet.native_output():
    tf.saved_model.save(module, scratch, signatures=functions)
    def make_converter():
      made = tf.lite.TFLiteConverter.from_saved_model(
          scratch, signature_keys=list(functions))
      made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
      return made
    try:
      converter = make_converter()
      if quantize == 'int8':
        data = _convert_weighted(
            make_converter().convert(), converter, inputs)
      else:
        quantization.set_options(converter)
        if quantization.calibrates:
          converter.representative_dataset = inputs
        data = converter.convert()
    except tf.errors.OpError:
      raise
    except Exception as error:  # pylint: disable=broad-except, no public class
      if type(error).__name__ != 'ConverterError':
        raise
      raise errors.UserError(
          'The model cannot be converted without Flex or custom operations: '
          + _reason(str(error))) from error
  require_builtins(data)
  return data


def require_builtins(data: bytes) -> None:
  """Raises UserError if a TFLite file has Flex or custom operations."""
  custom = tflite_metadata.operations(data).custom
  if custom:
    raise errors.UserError(
        'The converted model has operations that LiteRT alone does not know: '
        f'{", ".join(custom)}; nothing was kept.')


def _check(quantize: str, batch_size: int, verify: bool, verify_examples: int):
  if quantize not in QUANTIZATIONS:
    raise errors.unknown_name('--quantize', quantize, QUANTIZATIONS)
  if batch_size < 0:
    raise errors.UserError(
        f'--batch_size must be at least 0, received {batch_size}.')
  verification.check_count(verify, verify_examples)
  if verify:
    require_runtime()


def require_runtime() -> None:
  """Raises UserError if LiteRT is not installed."""
  if not importlib.util.find_spec('ai_edge_litert'):
    raise errors.UserError(
        'LiteRT, which runs the file, is the extra tflite: pip install '
        '\'tf_tokenlearner[tflite]\'; or give --noverify.')


def _calibration_inputs(
    servable: servable_lib.Servable, batch_size: int) -> _Inputs:
  """Training data as the file is given them."""
  size = 4 * int(np.prod(servable.input_size))
  count = max(min(_CALIBRATION_EXAMPLES, _CALIBRATION_BYTES // size), 1)
  pixels = to_inputs(task_factory.get_task(servable.task).examples(count))
  def inputs():
    for start in range(0, len(pixels), batch_size):
      places = np.arange(start, start + batch_size) % len(pixels)
      yield [pixels[places]]
  return inputs


def to_inputs(pixels: np.ndarray) -> np.ndarray:
  """What the network sees, as a file takes it."""
  return np.float32(pixel_ops.unscale(pixels))


def _convert_weighted(
    float_file: bytes, converter: tf.lite.TFLiteConverter,
    inputs: _Inputs) -> bytes:
  """Quantizes these alone; TensorFlow's debugger of quantization is the way."""
  _set_int8(converter)
  converter.representative_dataset = inputs
  others = [name for name in tflite_metadata.operations(float_file).builtin
            if name not in _WEIGHTED]
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Of the interpreter that it makes.
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=inputs,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(
            denylisted_ops=others))
    return debugger.get_nondebug_quantized_model()


def _reason(message: str) -> str:
  """The operations that a ConverterError names, or its first line."""
  named = re.findall(r"'(tf\.\w+)' op is neither a custom", message)
  return ', '.join(sorted(set(named))) or message.partition('\n')[0]


def _verify(file: str, servable: servable_lib.Servable,
            examples: verification.Examples, batch_size: int,
            quantize: str) -> str:
  """What LiteRT says in a new process, in words."""
  # Imported by the new process only.
  client = os.path.join(
      os.path.dirname(__file__), 'clients', 'litert_client.py')
  with manifest.scratch() as scratch:
    inputs = os.path.join(scratch, 'inputs.npy')
    np.save(inputs, to_inputs(examples.pixels))
    answers = verification.ask(client, file, inputs, str(batch_size or 8))
  if (answers['signature'] != _SIGNATURE
      or tuple(answers['label_names']) != servable.label_names):
    raise errors.UserError(
        'The reloaded file has another signature or other names of classes; '
        'nothing was kept.')
  tolerance = QUANTIZATIONS[quantize].tolerance
  first = examples.pixels[:16]
  verification.require_close(
      answers['logits'][:len(first)], servable.scores(first)['logits'].numpy(),
      'logits', tolerance)
  return verification.report(
      examples, answers['probabilities'], tolerance)
