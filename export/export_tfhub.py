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

_MODEL_DIR = flags.DEFINE_string('model_dir', None, 'Folder of the run.')
_EXPORT_DIR = flags.DEFINE_string(
    'export_dir', None, 'Where to write; must not exist yet.')
_CHECKPOINT = flags.DEFINE_string(
    'checkpoint', '', 'A checkpoint or a folder of them; by default the best '
    'of the run, or else its latest.')
_FORM = flags.DEFINE_string(
    'form', 'classifier', 'classifier gives logits of the run\'s classes; '
    'feature_vector what its head sees, for classes of one\'s own.')
_VERIFY = flags.DEFINE_bool(
    'verify', True, 'Load the module in a new process by TensorFlow Hub and '
    'compare it with the checkpoint on evaluation data; --noverify keeps it '
    'unseen.')
_VERIFY_EXAMPLES = flags.DEFINE_integer(
    'verify_examples', 256, 'How many of the evaluation data at most.')


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  cli.require('model_dir', 'export_dir')
  from tf_tokenlearner.serving import hub_module
  hub_module.export(
      _MODEL_DIR.value, _EXPORT_DIR.value, _CHECKPOINT.value, form=_FORM.value,
      verify=_VERIFY.value, verify_examples=_VERIFY_EXAMPLES.value)


if __name__ == '__main__':
  cli.run(main)
