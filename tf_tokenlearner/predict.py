"""Says what is in images and videos.

  python -m tf_tokenlearner.predict --model=exported/digits photo.png folder/

The model is what export/export_saved_model.py or export_tflite.py wrote, or,
with --stream, export_streaming.py. Of folders all images, or all videos, are
taken, at any depth. Answers go to stdout and all else to stderr; files that
cannot be read are named at the end, and the exit code is 1.
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
    'format', 'table', 'table; json: an object a line; csv.')
_TOP = flags.DEFINE_integer('top', 3, 'How many classes to name.')
_BATCH_SIZE = flags.DEFINE_integer(
    'batch_size', 16, 'How many files of one size to ask about at once.')
_ATTENTION = flags.DEFINE_string(
    'attention', '', 'Folder to draw into where the tokens look, a PNG for '
    'each image, a GIF for each video; files of the same names are replaced.')
_STREAM = flags.DEFINE_bool(
    'stream', False, 'Show how the answer evolves while a video is seen.')
_FPS = flags.DEFINE_float(
    'fps', None, 'Frames a second to read videos at; only for a model that '
    'does not know it.')


def main(arguments) -> int:
  cli.require('model')
  paths = arguments[1:]
  if not paths:
    raise errors.UserError(
        'Which files? Name images, videos or folders of them; see --help.')
  for name in ('top', 'batch_size'):
    if flags.FLAGS[name].value < 1:
      raise errors.UserError(
          f'--{name} must be at least 1, received {flags.FLAGS[name].value}.')
  if _STREAM.value and flags.FLAGS['batch_size'].present:
    raise errors.UserError('--batch_size does not go with --stream.')

  # TensorFlow takes seconds: only now, when the flags make sense.
  from tf_tokenlearner.prediction import writers
  writers.check_format(_FORMAT.value)
  from tf_tokenlearner.prediction import listing
  listing.require(paths)
  from tf_tokenlearner.prediction import run
  try:
    return run.predict(_MODEL.value, paths, run.Options(
        _FORMAT.value, _TOP.value, _BATCH_SIZE.value, _ATTENTION.value,
        _FPS.value, _STREAM.value))
  except BrokenPipeError:  # Whoever reads the answers has seen enough.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == '__main__':
  cli.run(main)
