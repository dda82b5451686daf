"""Writes a run's network as a module for TensorFlow Hub.

  python export/export_tfhub.py --model_dir=runs/digits \\
      --export_dir=exported/digits_hub --form=feature_vector

The module is a reusable TF2 SavedModel for hub.load and hub.KerasLayer, also to
be fine-tuned, where nothing but TensorFlow and TensorFlow Hub is installed.
float32 images [B, height, width, 3] or clips [B, T, height, width, 3] in [0, 1]
go in; logits or feature vectors come out. README.md beside it is its model
card. The module is loaded in a new process and compared before it is kept.
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
    'Load the module in a new process by TensorFlow Hub and compare it with '
    'the checkpoint on evaluation data', verify_examples=256)
_FORM = flags.DEFINE_string(
    'form', 'classifier', 'classifier gives logits of the run\'s classes; '
    'feature_vector what its head sees, for classes of one\'s own.')


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  cli.require('model_dir', 'export_dir')
  from tf_tokenlearner.serving import hub_module
  hub_module.export(output_type=_FORM.value, **export_flags.values())


if __name__ == '__main__':
  cli.run(main)
