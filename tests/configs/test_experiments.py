"""Configs are complete, checked, saved and loaded."""

import os

import pytest

from tests import goldens
from tf_tokenlearner import errors
from tf_tokenlearner import registry
from tf_tokenlearner import run_folder
from tf_tokenlearner.configs import catalog
from tf_tokenlearner.configs import experiments


WEIGHTS = {'task': {'init_checkpoint': str(
    goldens.FOLDER / 'pretrained' / 'timm_hub_vit')}}


def test_catalog_lists_the_registered_experiments():
  from official.core import exp_factory
  registry.register_all()
  registered = [
      # pylint: disable-next=protected-access
      name for name in exp_factory._REGISTERED_CONFIGS
      if name.startswith('tokenlearner')]
  assert sorted(registered) == sorted(catalog.EXPERIMENTS)


@pytest.mark.parametrize('name', catalog.EXPERIMENTS)
def test_every_experiment_passes_its_own_checks(name):
  params = experiments.parse(name, [WEIGHTS] if name.endswith(
      '_finetune') else [])
  model = params.task.model
  assert model.backbone.get().completed(tuple(model.input_size))
  schedule = params.trainer.optimizer_config.learning_rate.get()
  assert schedule.decay_steps == params.trainer.train_steps


def test_later_overrides_take_precedence(tmp_path):
  path = tmp_path / 'a.yaml'
  path.write_text('trainer: {train_steps: 500, max_to_keep: 2}')
  params = experiments.parse(
      'tokenlearner_digits', [str(path), '', 'trainer.train_steps=600'])
  assert params.trainer.train_steps == 600
  assert params.trainer.max_to_keep == 2
  schedule = params.trainer.optimizer_config.learning_rate.cosine
  assert schedule.decay_steps == 600


@pytest.mark.parametrize('override, message', [
    ('trainer.train_steps=0', 'train_steps must be at least 1, got 0'),
    ('trainer.validation_steps=0', 'validation_steps must be above 0, or -1'),
    ('trainer.summary_interval=150', 'summary_interval=150 must be a multiple'),
    ('trainer.best_checkpoint_metric_comp=more', "metric_comp 'more'. Known: "),
    ('runtime.run_eagerly=true', 'runtime.run_eagerly is not offered'),
    ('runtime.worker_hosts=a', 'environment variable TF_CONFIG'),
    ('runtime.mixed_precision_dtype=float8', "'float8'. Known: "),
    ('trainer.optimizer_config.learning_rate.type=null',
     'learning_rate.type must be given'),
    ('trainer.train_steps=20', 'warmup_steps=100 must be below trainer.train'),
    ('trainer.optimizer_config.optimizer.type=adamm', "optimizer.type 'adamm'"),
    ('trainer.optimizer_config.optimizer.type=slide', 'placeholder'),
])
def test_invalid_training_options_are_refused(override, message):
  with pytest.raises(errors.UserError) as caught:
    experiments.parse('tokenlearner_digits', [override])
  assert message in str(caught.value)


def test_unknown_experiment_is_refused():
  with pytest.raises(errors.UserError, match='known: tokenlearner_digits'):
    experiments.parse('tokenlearner_digit')


def test_saved_config_is_loaded_unchanged(tmp_path):
  params = experiments.parse('tokenlearner_cifar10', [
      'trainer.train_steps=7700,task.losses.loss=sigmoid'])
  params.task.model.num_classes = 2
  folder = str(tmp_path / 'run')
  assert not run_folder.exists(folder)
  run_folder.save(run_folder.Run(
      folder, 'tokenlearner_cifar10', params.as_dict(), ['Häuser', 'no']))
  run = run_folder.load(folder)
  assert run.experiment == 'tokenlearner_cifar10'
  assert run.label_names == ('Häuser', 'no')
  assert experiments.of_run(run).as_dict() == params.as_dict()
  assert sorted(os.listdir(folder)) == ['params.yaml', 'run.yaml']
  changed = experiments.load(folder, ['trainer.train_steps=5000'])
  assert experiments.changes(params, changed) == [
      'trainer.train_steps: 7700 -> 5000']


def test_paths_are_absolute_and_a_moved_run_finds_its_data(
    tmp_path, monkeypatch):
  """Paths are looked for where one works, then around the run."""
  (tmp_path / 'work' / 'pictures').mkdir(parents=True)
  monkeypatch.setenv('HOME', str(tmp_path / 'home'))
  monkeypatch.chdir(tmp_path / 'work')
  params = experiments.parse('tokenlearner_image_folder', [
      'task.train_data.input_path=pictures,'
      "task.validation_data.input_path='~/more',"
      'task.train_data.tfds_data_dir=data,task.init_checkpoint=start/ckpt-1'])
  data = params.task.train_data
  assert data.input_path == str(tmp_path / 'work' / 'pictures')
  assert data.tfds_data_dir == str(tmp_path / 'work' / 'data')
  assert params.task.validation_data.input_path == str(
      tmp_path / 'home' / 'more')
  assert params.task.init_checkpoint == str(
      tmp_path / 'work' / 'start' / 'ckpt-1')

  data.input_path = 'pictures'  # As runs of version 0.1.0 store it.
  folder = str(tmp_path / 'work' / 'runs' / 'first')
  run_folder.save(run_folder.Run(
      folder, 'tokenlearner_image_folder', params.as_dict(), ['a', 'b']))
  monkeypatch.chdir(tmp_path)
  assert experiments.load(folder).task.train_data.input_path == str(
      tmp_path / 'work' / 'pictures')


def test_other_folders_are_refused(tmp_path):
  with pytest.raises(errors.UserError, match='not the folder of a training'):
    experiments.load(str(tmp_path))
  (tmp_path / 'params.yaml').write_text('task: {}')
  (tmp_path / 'run.yaml').write_text('experiment: tokenlearner_digits')
  with pytest.raises(errors.UserError, match="lacks 'label_names'"):
    experiments.load(str(tmp_path))


def test_only_training_uses_the_data_service():
  params = experiments.parse('tokenlearner_digits')
  experiments.use_data_service(params, 'grpc://localhost:5050')
  train, validation = params.task.train_data, params.task.validation_data
  assert train.enable_tf_data_service
  assert train.tf_data_service_address == 'grpc://localhost:5050'
  assert not validation.enable_tf_data_service
