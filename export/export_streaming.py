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

_MODEL_DIR = flags.DEFINE_string('model_dir', None, 'Folder of the run.')
_EXPORT_DIR = flags.DEFINE_string(
    'export_dir', None, 'Where to write; must not exist yet.')
_CHECKPOINT = flags.DEFINE_string(
    'checkpoint', '', 'A checkpoint or a folder of them; by default the best '
    'of the run, or else its latest.')
_FORMAT = flags.DEFINE_string(
    'format', 'saved_model', 'saved_model: uint8 frames of any size, any '
    'number of videos; tflite: float32 frames of the network\'s own size, one '
    'video.')
_QUANTIZE = flags.DEFINE_string(
    'quantize', 'none', 'Of a TFLite file: none, float16 or dynamic.')
_VERIFY = flags.DEFINE_bool(
    'verify', True, 'Stream evaluation clips through the export in a new '
    'process and compare it with the checkpoint; --noverify keeps it unseen.')
_VERIFY_EXAMPLES = flags.DEFINE_integer(
    'verify_examples', 32, 'How many clips at most.')


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  cli.require('model_dir', 'export_dir')
  from tf_tokenlearner.serving import streaming
  streaming.export(
      _MODEL_DIR.value, _EXPORT_DIR.value, _CHECKPOINT.value,
      form=_FORMAT.value, quantize=_QUANTIZE.value, verify=_VERIFY.value,
      verify_examples=_VERIFY_EXAMPLES.value)


if __name__ == '__main__':
  cli.run(main)
