"""Writes a run's classifier as a TFLite file.

  python export/export_tflite.py --model_dir=runs/digits \\
      --export_dir=exported/digits_tflite --quantize=dynamic

model.tflite takes float32 pixels from 0 to 255 of the network's own size and
gives probabilities and logits; labels and metadata are inside, and nothing but
LiteRT's own operations. It is run by LiteRT in a new process and compared
before it is kept.
"""

import os
import sys

# Run as a script: the package lies beside the folder of this one.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from tf_tokenlearner import cli

_MODEL_DIR = flags.DEFINE_string('model_dir', None, 'Folder of the run.')
_EXPORT_DIR = flags.DEFINE_string(
    'export_dir', None, 'Where to write; must not exist yet.')
_CHECKPOINT = flags.DEFINE_string(
    'checkpoint', '', 'A checkpoint or a folder of them; by default the best '
    'of the run, or else its latest.')
_QUANTIZE = flags.DEFINE_string(
    'quantize', 'none', 'none; float16 (half the size); dynamic (8 bits, the '
    'smallest and fastest); int8 (calibrated on training data: matrix '
    'multiplications and convolutions in 8 bits, the rest in float); int16x8 '
    '(activations of 16 bits, slow).')
_BATCH_SIZE = flags.DEFINE_integer(
    'batch_size', 1, 'The only batch size; 0 for any, which is slower.')
_VERIFY = flags.DEFINE_bool(
    'verify', True, 'Run the file by LiteRT in a new process and compare it '
    'with the checkpoint on evaluation data; --noverify keeps it unseen.')
_VERIFY_EXAMPLES = flags.DEFINE_integer(
    'verify_examples', 256, 'How many of the evaluation data at most.')


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  cli.require('model_dir', 'export_dir')
  from tf_tokenlearner.serving import tflite_file
  tflite_file.export(
      _MODEL_DIR.value, _EXPORT_DIR.value, _CHECKPOINT.value,
      quantize=_QUANTIZE.value, batch_size=_BATCH_SIZE.value,
      verify=_VERIFY.value, verify_examples=_VERIFY_EXAMPLES.value)


if __name__ == '__main__':
  cli.run(main)
