"""Classifies images and videos with an exported model.

  python -m tf_tokenlearner.predict --model=exported/digits photo.png folder/

The model is an export of export/export_saved_model.py or export_tflite.py, or,
with --stream, of export_streaming.py. Folders are searched for images or
videos at any depth. Predictions go to stdout, everything else to stderr. Files
that cannot be read are listed at the end, and the exit code is 1.
"""

import os
import sys

if not __package__:  # Run as a script: the package lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from tf_tokenlearner import cli
from tf_tokenlearner import errors

_MODEL = flags.DEFINE_string(
    'model', None, 'Folder of an export, or its TFLite file.')
_FORMAT = flags.DEFINE_string(
    'format', 'table', 'Output format: table, json (one object per line), csv.')
_TOP = flags.DEFINE_integer('top', 3, 'Number of classes in an answer.')
_BATCH_SIZE = flags.DEFINE_integer(
    'batch_size', 16, 'Maximum number of files in a batch.')
_ATTENTION = flags.DEFINE_string(
    'attention', '', 'Folder for drawings of the attention maps, a PNG for '
    'each image, a GIF for each video. Existing files are replaced.')
_STREAM = flags.DEFINE_bool(
    'stream', False, 'Feed videos step by step and show each prediction.')
_SCORES = flags.DEFINE_string(
    'scores', '', 'Folder for scores by class and predictions.csv; the paths '
    'are folders of class folders. Existing scores are replaced.')
_FPS = flags.DEFINE_float(
    'fps', None, 'Frames per second to read videos at, if the export does not '
    'record it.')


def main(arguments) -> int:
  cli.require('model')
  paths = arguments[1:]
  if not paths:
    raise errors.UserError(
        'Expected images, videos or folders of them, got no path. See --help.')
  for name in ('top', 'batch_size'):
    if flags.FLAGS[name].value < 1:
      raise errors.UserError(
          f'--{name} must be at least 1, got {flags.FLAGS[name].value}.')
  if _STREAM.value and flags.FLAGS['batch_size'].present:
    raise errors.UserError('--batch_size does not go with --stream.')

  # TensorFlow takes seconds to import, so flags are checked before.
  from tf_tokenlearner.prediction import writers
  writers.check_format(_FORMAT.value)
  from tf_tokenlearner.prediction import listing
  listing.require(paths)
  from tf_tokenlearner.prediction import run
  return run.predict(_MODEL.value, paths, run.Options(
      _FORMAT.value, _TOP.value, _BATCH_SIZE.value, _ATTENTION.value,
      _FPS.value, _STREAM.value, _SCORES.value))


def run() -> None:
  """Runs the program with the flags of the command line, and exits."""
  cli.run(main)


if __name__ == '__main__':
  run()
