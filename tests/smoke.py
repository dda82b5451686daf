"""Runs an installation of tf_tokenlearner through its main job.

  PYTHON tests/smoke.py

Imports every module, trains the digits for 20 steps with an official config,
exports a SavedModel and predicts an image, in an empty folder and with the
console scripts of PYTHON's environment. Ends with an error at the first of
these that fails.
"""

import importlib
import importlib.util
import os
import pathlib
import pkgutil
import platform
import re
import subprocess
import sys
import tempfile
import warnings

from absl import flags

_CONFIG = '--config_file=image/tokenlearner_b16'
_TINY = (
    'runtime.distribution_strategy=one_device,trainer.train_steps=20,'
    'trainer.steps_per_loop=10,trainer.validation_steps=2,'
    'trainer.optimizer_config.warmup.linear.warmup_steps=2,'
    'task.model.backbone.token_learner_vit.num_layers=2,'
    'task.model.backbone.token_learner_vit.token_learner_location=1')
_ADDONS_ERROR = "optimizer 'yogi' comes from tensorflow-addons"


def import_all(package) -> int:
  """Imports the modules of a package; returns their number."""
  # The clients run in processes that refuse to import the package.
  names = [module.name for module in pkgutil.walk_packages(
      package.__path__, f'{package.__name__}.')
           if '.serving.clients.' not in module.name]
  for name in names:
    importlib.import_module(name)
    # Two programs may define flags of the same name.
    for flag in flags.FLAGS.get_flags_for_module(name):
      delattr(flags.FLAGS, flag.name)
  return len(names)


def run(name: str, *arguments: str, expected_code: int = 0) -> str:
  """Runs a console script; returns what it printed."""
  program = pathlib.Path(sys.executable).parent / name
  done = subprocess.run(
      [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
      text=True, check=False)
  if done.returncode != expected_code:
    sys.exit(f'{name} {" ".join(arguments)}: expected exit code '
             f'{expected_code}, got {done.returncode}.\n{done.stdout.strip()}')
  return done.stdout


def write_image(path: str) -> None:
  """Writes a PNG file of 8 x 8 pixels."""
  import cv2
  import numpy as np
  cv2.imwrite(path, np.arange(192, dtype=np.uint8).reshape([8, 8, 3]))


def main() -> None:
  """Runs all steps in the current folder."""
  os.environ.update(TF_CPP_MIN_LOG_LEVEL='3', TF_USE_LEGACY_KERAS='1',
                    TFDS_DATA_DIR=os.path.abspath('data'))
  warnings.simplefilter('ignore')  # TensorFlow Hub's about pkg_resources.
  import tf_tokenlearner
  print(f'Python {platform.python_version()}, {tf_tokenlearner.__file__}')
  count = import_all(tf_tokenlearner)
  print(f'{count} modules imported.', flush=True)
  train = ('--experiment=tokenlearner_digits', '--mode=train_and_eval',
           _CONFIG, f'--params_override={_TINY}')
  run('tokenlearner-train', *train, '--model_dir=run')
  print('20 steps trained.', flush=True)
  table = run('tokenlearner-runs', '.')
  assert re.search(r'^1 +run +0\.\d+ +20 ', table, re.M), table
  run('tokenlearner-export', 'saved_model', '--model_dir=run',
      '--export_dir=exported', '--verify_examples=16')
  print('SavedModel exported.', flush=True)
  write_image('image.png')
  answer = run('tokenlearner-predict', '--model=exported', 'image.png')
  # Python 3.10 adds a warning of one of TensorFlow Datasets' dependencies.
  assert re.search(r'^image.png( +\d 0\.\d+){3}$', answer, re.M), answer
  print('Image predicted.', flush=True)
  if importlib.util.find_spec('tensorflow_addons') is None:
    error = run('tokenlearner-train', *train, '--model_dir=other',
                '--params_override=trainer.optimizer_config.optimizer.type='
                'yogi', expected_code=2)
    assert _ADDONS_ERROR in error.splitlines()[-1], error
    print('tensorflow-addons refused.')


if __name__ == '__main__':
  with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    main()
