"""Writes a run's classifier as a SavedModel.

  python export/export_saved_model.py --model_dir=runs/digits \\
      --export_dir=exported/digits

The run's saved config says all about the architecture. Images of any size go
in as uint8 [B, H, W, 3], probabilities come out; the names of the classes are
inside. The file is loaded in a new process and compared before it is kept.
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


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  cli.require('model_dir', 'export_dir')
  from tf_tokenlearner.serving import saved_model
  saved_model.export(_MODEL_DIR.value, _EXPORT_DIR.value, _CHECKPOINT.value)


if __name__ == '__main__':
  cli.run(main)
