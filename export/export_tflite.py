"""The script form of `tokenlearner-export tflite`."""

import os
import sys

# Run as a script: the package lies beside the folder of this one.
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from tf_tokenlearner import export

if __name__ == '__main__':
  export.run_subcommand('tflite')
