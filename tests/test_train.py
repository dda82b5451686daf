"""train.py as users run it, in separate processes where that matters."""

import os
import pathlib
import signal
import subprocess
import sys
import time

from absl import flags
from absl.testing import flagsaver
import pytest

from tests import conftest
from tf_tokenlearner import errors

ROOT = pathlib.Path(__file__).parents[1]
TRAIN = str(ROOT / 'tf_tokenlearner' / 'train.py')


def run(*arguments):
  """Runs train.py; returns (exit code, stdout, stderr)."""
  done = subprocess.run(
      [sys.executable, TRAIN, *arguments], capture_output=True, text=True,
      check=False, cwd='/')
  return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope='module', name='main')
def fixture_main():
  """Yields main(flag, ...), which runs train.py in this process."""
  # Modules that define flags come first: flagsaver removes what is defined
  # while it is active.
  from absl import logging  # pylint: disable=unused-import
  from tf_tokenlearner.training import runner  # pylint: disable=unused-import
  known = set(flags.FLAGS)
  from tf_tokenlearner import train

  def main(*arguments):
    with flagsaver.flagsaver():
      flags.FLAGS(['train.py', *arguments])
      train.main(['train.py'])

  yield main
  # Other programs define flags of the same names.
  for name in set(flags.FLAGS) - known:
    delattr(flags.FLAGS, name)
  del sys.modules['tf_tokenlearner.train']


def test_help_lists_the_experiments_without_tensorflow():
  code = subprocess.run(
      [sys.executable, '-X', 'importtime', TRAIN, '--help'],
      capture_output=True, text=True, check=True)
  out = code.stdout
  assert 'absl' in code.stderr
  assert 'tensorflow' not in code.stderr and 'official' not in code.stderr
  for text in ('tokenlearner_digits', 'tokenlearner_image_folder',
               '--params_override', '--export_dir', 'continues a run'):
    assert text in out
  assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize('arguments, message', [
    (['--mode=train'], '--model_dir must be given'),
    (['--mode=train', '--model_dir=x'], '--experiment must be given'),
    (['--experiment=tokenlearner_digit', '--mode=train', '--model_dir=x'],
     "Unknown experiment 'tokenlearner_digit'. Nearest of the 14 known: "
     'tokenlearner_digits'),
    (['--mode=tran', '--model_dir=x'], 'value should be one of'),
    (['--mode=train', '--model_dir=x', '--experiment=tokenlearner_digits',
      '--checkpoint=y'], '--checkpoint goes with --mode=eval'),
    (['--mod=train'], 'Did you mean: mode'),
    (['--mode=few_shot', '--model_dir=x'], '--few_shot_data must be given'),
    (['--mode=few_shot', '--model_dir=x', '--few_shot_data=y', '--shots=5,ten'],
     '--shots takes whole numbers such as 5,10,25; got 5,ten.'),
    (['--mode=few_shot', '--model_dir=x', '--few_shot_data=y', '--tpu=z'],
     '--tpu does not go with --mode=few_shot'),
    (['--mode=eval', '--model_dir=x', '--few_shot_seed=0'],
     '--few_shot_seed goes with --mode=few_shot.'),
])
def test_mistakes_in_flags_are_one_line(arguments, message):
  code, out, err = run(*arguments)
  assert (code, out) == (2, '')
  assert message in err and err.count('\n') == 1


def test_mistakes_found_after_loading_tensorflow_are_one_line(tmp_path, main):
  code, _, err = run(
      '--experiment=tokenlearner_digits', '--mode=train',
      f'--model_dir={tmp_path / "run"}',
      '--params_override=trainer.train_step=5')
  assert code == 2
  assert err.splitlines() == [
      "train.py: Unknown config key 'trainer.train_step'. Nearest of the "
      + err.split('Nearest of the ')[1].strip()]
  assert 'known: trainer.train_steps' in err
  with pytest.raises(
      errors.UserError, match='is not the folder of a training run'):
    main('--mode=eval', f'--model_dir={tmp_path / "run"}')
  assert not (tmp_path / 'run').exists()


def test_killed_run_continues_to_its_end_and_exports(
    tmp_path, data_dir, main, capfd):
  """SIGKILL comes after a checkpoint; the same command continues the run."""
  overrides = tmp_path / 'tiny.yaml'
  overrides.write_text(conftest.TINY_DIGITS.replace(
      'train_data: {', f'train_data: {{tfds_data_dir: {data_dir}, ').replace(
          'train_steps: 4', 'train_steps: 200'))
  command = [
      '--experiment=tokenlearner_digits', '--mode=train_and_eval',
      f'--model_dir={tmp_path / "run"}', f'--config_file={overrides}',
      f'--export_dir={tmp_path / "exported"}']
  victim = subprocess.Popen(
      [sys.executable, TRAIN, *command], stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE, text=True, start_new_session=True)
  state = tmp_path / 'run' / 'checkpoint'
  deadline = time.monotonic() + 300
  while not state.exists() and time.monotonic() < deadline:
    assert victim.poll() is None, victim.stderr.read()
    time.sleep(0.05)
  os.killpg(victim.pid, signal.SIGKILL)
  victim.communicate()
  assert not (tmp_path / 'exported').exists()

  command.append('--params_override=trainer.train_steps=202,'
                 'trainer.validation_interval=202,'
                 'trainer.checkpoint_interval=200,trainer.steps_per_loop=100,'
                 'trainer.summary_interval=100')
  code, out, err = run(*command)
  assert code == 0, err
  assert 'continuing from step ' in err
  assert 'Best accuracy' in out and 'at step ' in out
  assert 'multiply-accumulates an image' in out
  assert 'Exported' in out and 'Loaded again in a new process' in out
  assert (tmp_path / 'exported' / 'saved_model.pb').exists()
  assert 'Traceback' not in err

  capfd.readouterr()
  main(*command)
  out = capfd.readouterr().out
  assert 'Finished already' in out and 'Exported already' in out

  model_dir = f'--model_dir={tmp_path / "run"}'
  with pytest.raises(
      errors.UserError, match='is a run of tokenlearner_digits, not of'):
    main('--mode=eval', model_dir, '--experiment=tokenlearner_tfds')
  main('--mode=eval', model_dir)
  assert 'evaluated at step' in capfd.readouterr().err
  main('--mode=few_shot', model_dir, '--few_shot_data=digits', '--shots=5',
       '--few_shot_seed=3')
  captured = capfd.readouterr()
  assert 'Few-shot evaluation, seed 3, of' in captured.out
  assert 'WARNING' not in captured.err
  assert (tmp_path / 'run' / 'few_shot.json').exists()
