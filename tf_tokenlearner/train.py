"""Trains, evaluates and exports a TokenLearner classifier.

  python tf_tokenlearner/train.py --experiment=tokenlearner_digits \\
      --mode=train_and_eval --model_dir=runs/digits

The same command continues a run that was stopped. Overrides, later ones win:
the experiment's own values, --config_file, --params_override.
"""

import functools
import os
import sys

if not __package__:  # Run as a script: the package lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags

from tf_tokenlearner import cli
from tf_tokenlearner import errors
from tf_tokenlearner.configs import catalog

_MODES = ('train', 'eval', 'train_and_eval', 'continuous_eval', 'few_shot')

_EXPERIMENT = flags.DEFINE_string(
    'experiment', None, 'Name of the experiment. Optional in evaluation, which '
    'reads it from the run.')
_MODE = flags.DEFINE_enum(
    'mode', None, _MODES, 'eval: score a checkpoint; train_and_eval: both '
    'in turn; continuous_eval: score each new checkpoint; few_shot: score '
    'features on other data.')
_MODEL_DIR = flags.DEFINE_string(
    'model_dir', None, 'Folder of the run: config, checkpoints, summaries.')
_CONFIG_FILE = flags.DEFINE_multi_string(
    'config_file', [], 'YAML file of overrides; may be given several times.')
_PARAMS_OVERRIDE = flags.DEFINE_string(
    'params_override', '', 'Overrides as YAML, JSON or a.b=1,c=text. A value '
    'may hold spaces, brackets, # and commas; quote it, as in c="x, d=y", if a '
    'comma, a word and = follow in it.')
_CHECKPOINT = flags.DEFINE_string(
    'checkpoint', '', 'With --mode=eval or few_shot, the checkpoint to score, '
    'or a folder of checkpoints; by default the best one of the run or, '
    'without one, its latest.')
_DATA = flags.DEFINE_string(
    'data', '', 'With --mode=eval, other data to score: a folder of class '
    'folders, a CSV file, or a TFDS data set, NAME or NAME@SPLIT. All examples '
    'are scored; classes of the run may be missing.')
_FEW_SHOT_DATA = flags.DEFINE_list(
    'few_shot_data', [], 'With --mode=few_shot, TFDS data sets of images: '
    'NAME, or NAME@TRAIN@TEST with its two splits, separated by commas.')
_SHOTS = flags.DEFINE_list(
    'shots', ['5', '10', '25'], 'With --mode=few_shot, training images '
    'per class, such as 5,10,25.')
_FEW_SHOT_SEED = flags.DEFINE_integer(
    'few_shot_seed', 0, 'With --mode=few_shot, seed of the drawn images.')
_EXPORT_DIR = flags.DEFINE_string(
    'export_dir', '', 'Folder for a SavedModel, exported at the end.')
_TPU = flags.DEFINE_string('tpu', '', 'Name or address of the TPU.')
_TF_DATA_SERVICE = flags.DEFINE_string(
    'tf_data_service', '', 'Address of a tf.data service, such as '
    'grpc://host:5050.')


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  cli.require('mode', 'model_dir')
  is_training = 'train' in _MODE.value
  is_few_shot = _MODE.value == 'few_shot'
  if is_training:
    cli.require('experiment')
  if is_few_shot:
    cli.require('few_shot_data')
  _refuse_flags_of_other_modes()
  if _EXPERIMENT.value and _EXPERIMENT.value not in catalog.EXPERIMENTS:
    raise errors.unknown_name(
        'experiment', _EXPERIMENT.value, catalog.EXPERIMENTS)

  # These imports take seconds, so the flags are checked first.
  from tf_tokenlearner import run_folder
  from tf_tokenlearner.configs import experiments
  from tf_tokenlearner.evaluation import few_shot_run
  from tf_tokenlearner.evaluation import run_scores
  from tf_tokenlearner.serving import manifest
  from tf_tokenlearner.serving import saved_model
  from tf_tokenlearner.training import runner

  if _EXPORT_DIR.value:
    manifest.refuse_foreign(_MODEL_DIR.value, _EXPORT_DIR.value)
  overrides = [*_CONFIG_FILE.value, _PARAMS_OVERRIDE.value]
  if is_training or not (is_few_shot or run_folder.exists(_MODEL_DIR.value)):
    if not _EXPERIMENT.value:
      raise errors.UserError(
          f'{_MODEL_DIR.value} is not the folder of a training run. To wait '
          'for one to begin, give --experiment.')
    parse = functools.partial(
        experiments.for_training, _EXPERIMENT.value, _MODEL_DIR.value)
  else:
    run = run_folder.load(_MODEL_DIR.value)
    parse = functools.partial(experiments.of_run, run)
    if _EXPERIMENT.value not in (None, run.experiment):
      raise errors.UserError(
          f'{_MODEL_DIR.value} is a run of {run.experiment}, not of '
          f'{_EXPERIMENT.value}. Leave --experiment out.')
  if _DATA.value:
    overrides.insert(0, run_scores.on_data(parse(), _DATA.value))
  params = parse(overrides)
  if _TPU.value:
    params.runtime.tpu = _TPU.value
    params.runtime.distribution_strategy = 'tpu'
  if _TF_DATA_SERVICE.value:
    experiments.use_data_service(params, _TF_DATA_SERVICE.value)

  if is_training:
    runner.train(_EXPERIMENT.value, params, _MODEL_DIR.value,
                 evaluate='eval' in _MODE.value)
  elif _MODE.value == 'continuous_eval':
    runner.evaluate_continuously(params, _MODEL_DIR.value)
  elif is_few_shot:
    few_shot_run.evaluate(
        params, _MODEL_DIR.value, _FEW_SHOT_DATA.value,
        [int(shots) for shots in _SHOTS.value], _FEW_SHOT_SEED.value,
        _CHECKPOINT.value)
  else:
    run_scores.evaluate(
        params, _MODEL_DIR.value, _CHECKPOINT.value, _DATA.value)
  if _EXPORT_DIR.value:
    saved_model.export(_MODEL_DIR.value, _EXPORT_DIR.value, _CHECKPOINT.value)


def _refuse_flags_of_other_modes() -> None:
  """Raises UserError for flags that the chosen mode would ignore."""
  mode = _MODE.value
  if _DATA.value and mode != 'eval':
    raise errors.UserError('--data goes with --mode=eval.')
  if _CHECKPOINT.value and mode not in ('eval', 'few_shot'):
    raise errors.UserError(
        '--checkpoint goes with --mode=eval or few_shot; to start training '
        'from one, set task.init_checkpoint.')
  if mode == 'few_shot':
    if not all(map(str.isdecimal, _SHOTS.value)):
      raise errors.UserError(
          '--shots takes whole numbers such as 5,10,25; got '
          f'{",".join(_SHOTS.value)}.')
    for name in ('tpu', 'tf_data_service'):
      if flags.FLAGS[name].value:
        raise errors.UserError(
            f'--{name} does not go with --mode=few_shot, which runs on one '
            'device.')
    return
  for name in ('few_shot_data', 'shots', 'few_shot_seed'):
    if flags.FLAGS[name].present:
      raise errors.UserError(f'--{name} goes with --mode=few_shot.')


def _describe() -> str:
  lines = ['Experiments:']
  for name, text in catalog.EXPERIMENTS.items():
    lines += [f'  {name}', f'      {text}']
  return '\n'.join(lines)


def run() -> None:
  """Runs the program with the flags of the command line, and exits."""
  cli.run(main, _describe)


if __name__ == '__main__':
  run()
