"""Exports a trained run: SavedModel, TFLite file, TF Hub module or stream.

  tokenlearner-export saved_model --model_dir=runs/digits \\
      --export_dir=exported/digits

Every export is loaded in a new process and compared with the checkpoint before
it is kept. `tokenlearner-export SUBCOMMAND --help` shows a subcommand's flags.
"""

import sys
from typing import Callable

from absl import flags

from tf_tokenlearner import cli
from tf_tokenlearner import errors
from tf_tokenlearner.serving import export_flags

_OWNER = dict(module_name='__main__')  # --help lists the flags of this owner.


def saved_model() -> Callable[[], None]:
  """Exports a run's classifier as a SavedModel.

    tokenlearner-export saved_model --model_dir=runs/digits \\
        --export_dir=exported/digits

  The architecture is read from the run's saved config. Inputs are pixels of any
  size (serving_default), image files (image_bytes) or tf.Examples (tf_example);
  outputs are probabilities, logits and the names of the top five classes. The
  signatures features and attention_maps return intermediate values.
  """
  export_flags.define(
      'Load the export in a new process and compare it with the checkpoint on '
      'evaluation data (with --verify_examples=0 on synthetic input alone)',
      verify_examples=256)
  precision = flags.DEFINE_string(
      'precision', 'float32', 'Type of the computation: float32 or bfloat16.',
      **_OWNER)
  jit_compile = flags.DEFINE_bool(
      'jit_compile', False, 'Compile the network with XLA at the first call.',
      **_OWNER)
  batch_size = flags.DEFINE_integer(
      'batch_size', 0, 'The only batch size; 0 for any.', **_OWNER)

  def export():
    from tf_tokenlearner.serving import saved_model as saved_model_lib
    saved_model_lib.export(
        precision=precision.value, jit_compile=jit_compile.value,
        batch_size=batch_size.value, **export_flags.values())
  return export


def tflite() -> Callable[[], None]:
  """Exports a run's classifier as a TFLite file.

    tokenlearner-export tflite --model_dir=runs/digits \\
        --export_dir=exported/digits_tflite --quantize=dynamic

  The input of model.tflite is float32 pixels in [0, 255] at the network's own
  size; the outputs are probabilities and logits. The file contains the labels
  and metadata, and uses only built-in operations of LiteRT.
  """
  export_flags.define(
      'Run the file by LiteRT in a new process and compare it with the '
      'checkpoint on evaluation data', verify_examples=256)
  quantize = flags.DEFINE_string(
      'quantize', 'none', 'none; float16 (half the size); dynamic (8 bits, the '
      'smallest and fastest); int8 (calibrated on training data: matrix '
      'multiplications and convolutions in 8 bits, the rest in float); int16x8 '
      '(activations of 16 bits, slow).', **_OWNER)
  batch_size = flags.DEFINE_integer(
      'batch_size', 1, 'The only batch size; 0 for any, which is slower.',
      **_OWNER)

  def export():
    from tf_tokenlearner.serving import tflite_file
    tflite_file.export(
        quantize=quantize.value, batch_size=batch_size.value,
        **export_flags.values())
  return export


def tfhub() -> Callable[[], None]:
  """Exports a run's network as a module for TensorFlow Hub.

    tokenlearner-export tfhub --model_dir=runs/digits \\
        --export_dir=exported/digits_hub --form=feature_vector

  The module is a reusable TF2 SavedModel for hub.load and hub.KerasLayer, also
  for fine-tuning; it needs only TensorFlow and TensorFlow Hub. The input is
  float32 images [B, H, W, 3] or clips [B, T, H, W, 3] in [0, 1]; the output is
  logits or feature vectors. Its README.md is the model card.
  """
  export_flags.define(
      'Load the module in a new process by TensorFlow Hub and compare it with '
      'the checkpoint on evaluation data', verify_examples=256)
  output_type = flags.DEFINE_string(
      'form', 'classifier', 'classifier returns logits of the run\'s classes; '
      'feature_vector returns the input of the head, to train other classes.',
      **_OWNER)

  def export():
    from tf_tokenlearner.serving import hub_module
    hub_module.export(output_type=output_type.value, **export_flags.values())
  return export


def streaming() -> Callable[[], None]:
  """Exports a run's video classifier as a model that reads a video in parts.

    tokenlearner-export streaming --export_dir=exported/stream \\
        --model_dir=runs/moving_digits_factorized --format=saved_model

  The run's backbone must be token_learner_vivit_factorized. The signature
  init_state returns the state before the first frame; step takes the next
  frames and the state, and returns the next state and the probabilities that
  the whole model gives for the latest frames, at the cost of the new frames.
  """
  export_flags.define(
      'Stream evaluation clips through the export in a new process and compare '
      'it with the checkpoint', verify_examples=32)
  export_format = flags.DEFINE_string(
      'format', 'saved_model', 'saved_model: uint8 frames of any size, any '
      'number of videos; tflite: float32 frames of the network\'s own size, '
      'one video.', **_OWNER)
  quantize = flags.DEFINE_string(
      'quantize', 'none', 'With --format=tflite: none, float16 or dynamic.',
      **_OWNER)

  def export():
    from tf_tokenlearner.serving import streaming as streaming_lib
    streaming_lib.export(
        export_format=export_format.value, quantize=quantize.value,
        **export_flags.values())
  return export


SUBCOMMANDS = {subcommand.__name__: subcommand for subcommand in (
    saved_model, tflite, tfhub, streaming)}


def run_subcommand(name: str) -> None:
  """Runs one of SUBCOMMANDS with the flags of the command line, and exits."""
  export = SUBCOMMANDS[name]()

  def main(arguments):
    cli.refuse_arguments(arguments)
    cli.require('model_dir', 'export_dir')
    export()
  cli.run(main, about=SUBCOMMANDS[name].__doc__)


def run() -> None:
  """Runs the subcommand that the first argument names, and exits."""
  name = sys.argv[1] if len(sys.argv) > 1 else 'nothing'
  if name in SUBCOMMANDS:
    sys.argv[:2] = [f'{sys.argv[0]} {name}']
    run_subcommand(name)

  def refuse(_):
    if name == 'nothing' or name.startswith('-'):
      raise errors.UserError(
          f'Expected a subcommand, got {name}. Start with one of '
          f'{", ".join(SUBCOMMANDS)}; see --help.')
    raise errors.unknown_name('subcommand', name, SUBCOMMANDS)
  if not cli.asks_for_help():
    del sys.argv[1:]  # The flags of no subcommand are defined.
  cli.run(refuse, _describe, about=__doc__)


def _describe() -> str:
  lines = ['Subcommands:']
  for name, subcommand in SUBCOMMANDS.items():
    lines += [f'  {name}', f'      {subcommand.__doc__.splitlines()[0]}']
  return '\n'.join(lines)


if __name__ == '__main__':
  run()
