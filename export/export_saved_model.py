"""Writes a run's classifier as a SavedModel.

  python export/export_saved_model.py --model_dir=runs/digits \\
      --export_dir=exported/digits

The run's saved config says all about the architecture. Pixels of any size
(serving_default), image files (image_bytes) or tf.Examples (tf_example) go in;
probabilities, logits and the names of the five likeliest classes come out. The
signatures features and attention_maps give what the network sees in them. The
export is loaded in a new process and compared before it is kept.
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
    'Load the export in a new process and compare it with the checkpoint on '
    'evaluation data (with --verify_examples=0 on a made-up input alone)',
    verify_examples=256)
_PRECISION = flags.DEFINE_string(
    'precision', 'float32',
    'What the network computes in: float32 or bfloat16.')
_JIT_COMPILE = flags.DEFINE_bool(
    'jit_compile', False,
    'Compile the network with XLA when it is first asked.')
_BATCH_SIZE = flags.DEFINE_integer(
    'batch_size', 0, 'The only batch size; 0 for any.')


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  cli.require('model_dir', 'export_dir')
  from tf_tokenlearner.serving import saved_model
  saved_model.export(
      precision=_PRECISION.value, jit_compile=_JIT_COMPILE.value,
      batch_size=_BATCH_SIZE.value, **export_flags.values())


if __name__ == '__main__':
  cli.run(main)
