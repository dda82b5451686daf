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
from tf_tokenlearner.serving import export_flags

export_flags.define(
    'Run the file by LiteRT in a new process and compare it with the '
    'checkpoint on evaluation data', verify_examples=256)
_QUANTIZE = flags.DEFINE_string(
    'quantize', 'none', 'none; float16 (half the size); dynamic (8 bits, the '
    'smallest and fastest); int8 (calibrated on training data: matrix '
    'multiplications and convolutions in 8 bits, the rest in float); int16x8 '
    '(activations of 16 bits, slow).')
_BATCH_SIZE = flags.DEFINE_integer(
    'batch_size', 1, 'The only batch size; 0 for any, which is slower.')


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  cli.require('model_dir', 'export_dir')
  from tf_tokenlearner.serving import tflite_file
  tflite_file.export(
      quantize=_QUANTIZE.value, batch_size=_BATCH_SIZE.value,
      **export_flags.values())


if __name__ == '__main__':
  cli.run(main)
