"""Writes a run's video classifier as one that is shown a video bit by bit.

  python export/export_streaming.py --model_dir=runs/moving_digits_factorized \\
      --export_dir=exported/stream --format=saved_model

The run must be one of token_learner_vivit_factorized. The signature init_state
gives the state of a video that has not begun; step takes the next frames and
the state, and gives probabilities of the last frames as the whole model would,
and the next state, at the cost of the new frames. Evaluation clips are streamed
through the export in a new process and compared before it is kept.
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
    'Stream evaluation clips through the export in a new process and compare '
    'it with the checkpoint', verify_examples=32)
_FORMAT = flags.DEFINE_string(
    'format', 'saved_model', 'saved_model: uint8 frames of any size, any '
    'number of videos; tflite: float32 frames of the network\'s own size, one '
    'video.')
_QUANTIZE = flags.DEFINE_string(
    'quantize', 'none', 'Of a TFLite file: none, float16 or dynamic.')


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  cli.require('model_dir', 'export_dir')
  from tf_tokenlearner.serving import streaming
  streaming.export(
      export_format=_FORMAT.value, quantize=_QUANTIZE.value,
      **export_flags.values())


if __name__ == '__main__':
  cli.run(main)
