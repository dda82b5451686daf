"""Runs of a few steps: train, continue, evaluate, refuse."""

import dataclasses
import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
# The way back, which the public interface lacks.
from tensorflow.python.framework import config as determinism

from tests import goldens
from tests.checkpoints import hub_server
from tf_tokenlearner import run_folder
from tf_tokenlearner.checkpoints import initialization
from tf_tokenlearner.checkpoints import pretrained
from tf_tokenlearner.checkpoints import tf_checkpoint
from tf_tokenlearner.configs import experiments
from tf_tokenlearner import errors
from tf_tokenlearner.evaluation import run_scores
from tf_tokenlearner.evaluation import score_files
from tf_tokenlearner.serving import saved_model
from tf_tokenlearner.training import runner
from tests.conftest import TINY_DIGITS


@pytest.fixture(name='parse')
def fixture_parse(tiny_digits):
  return lambda *texts: experiments.parse(
      'tokenlearner_digits', [tiny_digits, *texts])


def head_kernel(folder):
  """Returns the head's kernel in the latest checkpoint of a folder."""
  path = run_folder.latest_checkpoint(folder)
  return tf.train.load_checkpoint(path).get_tensor(
      'model/head/kernel/.ATTRIBUTES/VARIABLE_VALUE')


def train(params, folder, evaluate=True):
  runner.train('tokenlearner_digits', params, folder, evaluate)


@pytest.fixture(name='hub')
def fixture_hub(tmp_path, monkeypatch):
  """A hub on the loopback with one repository, some/vit."""
  constants = pytest.importorskip('huggingface_hub.constants')
  folder = tmp_path / 'repository'
  shutil.copytree(goldens.FOLDER / 'pretrained' / 'timm_hub_vit', folder)
  with hub_server.HubServer({'some/vit': str(folder)}) as server:
    # What HF_ENDPOINT and HF_HOME set when the package is imported.
    for name, value in (
        ('ENDPOINT', server.address),
        ('HUGGINGFACE_CO_URL_TEMPLATE',
         server.address + '/{repo_id}/resolve/{revision}/{filename}'),
        ('HF_HUB_CACHE', str(tmp_path / 'cache'))):
      monkeypatch.setattr(constants, name, value)
    yield server


def test_start_from_pretrained_weights(hub, tmp_path, data_dir, capsys):
  """The run keeps where its weights come from; so does one that follows.

  A transfer that breaks leaves no run and no weights; the next one resumes.
  """
  weights = 'hf://some/vit'
  text = f'''
task:
  init_checkpoint: {weights}
  freeze_below: 1
  model: {{backbone: {{token_learner_vit: {{
      variant: auto, token_learner_location: 1, num_tokens: 3}}}}}}
  train_data: {{tfds_data_dir: {data_dir}, global_batch_size: 8, seed: 1}}
trainer: {{train_steps: 2, validation_interval: 2, checkpoint_interval: 2,
  steps_per_loop: 2, summary_interval: 2, validation_steps: 1,
  optimizer_config: {{warmup: {{type: null}}}}}}
runtime: {{distribution_strategy: one_device}}
'''
  folder = str(tmp_path / 'run')
  hub.cut_after, hub.always_cut = {'model.safetensors': 0}, True
  with pytest.raises(errors.UserError, match='could not be downloaded'):
    experiments.parse('tokenlearner_digits', [text])
  assert not list(tmp_path.glob('cache/**/*.safetensors'))
  hub.cut_after = {}
  params = experiments.parse('tokenlearner_digits', [text])
  train(params, folder, evaluate=False)
  said = capsys.readouterr().err
  assert f'Loaded from {weights} (pretrained weights)' in said
  assert 'fresh: encoder/learn_1, head' in said
  assert 'are cached, as each epoch sees the same pictures: 1,437 ' in said
  assert 'Computed features of 1,437 images in 0:' in said
  run = run_folder.load(folder)
  assert run.start == {'weights': weights, 'licence': 'apache-2.0'}
  assert initialization.origin(folder) == run.start
  assert experiments.of_run(run).as_dict() == params.as_dict()
  # Frozen variables are the same bit for bit, the others are not.
  trained = tf.train.load_checkpoint(run.latest_checkpoint())
  source = pretrained.from_pretrained(weights, num_classes=10).backbone
  blocks = source.encoder.stages
  for name, variable, is_frozen in (
      ('patch_embedding/projection/kernel',
       source.patch_embedding.projection.kernel, True),
      ('position_embedding/embedding', source.position_embedding.embedding,
       True),
      ('class_token/embedding', source.class_token.embedding, True),
      ('encoder/stages/0/mlp/hidden/kernel', blocks[0].mlp.hidden.kernel, True),
      ('encoder/stages/2/mlp/hidden/kernel', blocks[1].mlp.hidden.kernel,
       False),
      ('encoder/norm/gamma', source.encoder.norm.gamma, False)):
    value = trained.get_tensor(
        f'model/backbone/{name}/.ATTRIBUTES/VARIABLE_VALUE')
    assert np.array_equal(value, variable.numpy()) == is_frozen, name


def test_run_leaves_what_others_read(finished_run):
  run = run_folder.load(finished_run)
  assert run.label_names == tuple('0123456789')
  assert run.params['task']['model']['num_classes'] == 10
  assert run.params['task']['validation_data']['tfds_name'] == 'digits'
  assert tf_checkpoint.global_step(run.latest_checkpoint()) == 4
  with open(os.path.join(finished_run, 'best_ckpt', 'info.json')) as file:
    scores = json.load(file)
  assert scores['best_ckpt_global_step'] in (2, 4)
  assert os.listdir(os.path.join(finished_run, 'train'))  # TensorBoard.
  assert os.listdir(os.path.join(finished_run, 'validation'))
  with open(os.path.join(finished_run, 'train.log')) as file:
    assert 'steps/sec' in file.read()


def test_finished_run_says_so(run_copy, parse, capsys):
  before = sorted(os.listdir(run_copy))
  train(parse(), run_copy)
  output = capsys.readouterr().out
  assert 'Finished already' in output and 'step 4 of 4' in output
  assert 'Best accuracy' in output
  assert sorted(os.listdir(run_copy)) == before


def test_kill_before_the_last_evaluation_is_made_up_for(
    run_copy, parse, capsys):
  os.remove(os.path.join(run_copy, 'best_ckpt', 'last_evaluation.json'))
  with run_folder.training_lock(run_copy):
    with pytest.raises(errors.UserError, match='run is in use: process'):
      train(parse(), run_copy)
  train(parse(), run_copy)
  captured = capsys.readouterr()
  assert 'Finished already' in captured.out
  assert 'evaluated at step 4' in captured.err
  train(parse(), run_copy)
  assert 'evaluated' not in capsys.readouterr().err


def test_finished_run_of_another_config(run_copy, parse):
  with pytest.raises(errors.UserError) as caught:
    train(parse('trainer.best_checkpoint_eval_metric=acuracy'), run_copy)
  assert 'is a finished run of another config' in str(caught.value)
  assert str(caught.value).endswith(
      '\n  trainer.best_checkpoint_eval_metric: accuracy -> acuracy')


def test_run_of_another_experiment(run_copy):
  params = experiments.parse('tokenlearner_cifar10')
  with pytest.raises(errors.UserError, match='is a run of tokenlearner_digits'):
    runner.train('tokenlearner_cifar10', params, run_copy, evaluate=True)


def test_interrupted_run_keeps_its_last_step(
    tmp_path, parse, monkeypatch, capsys):
  folder = str(tmp_path / 'run')

  def interrupt(self, step, logs):
    if step == 4:
      raise KeyboardInterrupt

  monkeypatch.setattr(runner.progress.Progress, 'train', interrupt)
  with pytest.raises(KeyboardInterrupt):
    train(parse('trainer.train_steps=20,trainer.checkpoint_interval=20'),
          folder, evaluate=False)
  assert 'Stopped at step 4; the same command' in capsys.readouterr().err
  assert tf_checkpoint.global_step(run_folder.latest_checkpoint(folder)) == 4
  training = run_folder.load(folder).training()
  assert (training['step'], training['is_finished']) == (4, False)


def test_longer_run_continues(run_copy, parse, capsys):
  before = run_folder.load(run_copy).training()
  train(parse('trainer.train_steps=6'), run_copy)
  captured = capsys.readouterr()
  assert 'continuing from step 4' in captured.err
  assert 'trainer.train_steps: 4 -> 6' in captured.out
  assert 'the same model without TokenLearner' in captured.out
  assert tf_checkpoint.global_step(run_folder.latest_checkpoint(run_copy)) == 6
  training = run_folder.load(run_copy).training()
  assert (before['step'], training['step'], training['is_finished']) == (
      4, 6, True)
  assert training['seconds'] > before['seconds'] > 0


def test_training_without_evaluation(tmp_path, parse, capsys):
  folder = str(tmp_path / 'run')
  train(parse('trainer.train_steps=2'), folder, evaluate=False)
  assert 'Checkpoint: ' + os.path.join(folder, 'ckpt-2') in (
      capsys.readouterr().out)
  assert not os.path.exists(os.path.join(folder, 'best_ckpt'))


def test_same_seed_same_weights(tmp_path, parse):
  weights = []
  try:
    for name in ('a', 'b'):
      folder = str(tmp_path / name)
      train(parse('trainer.train_steps=2,task.train_data.deterministic=true'),
            folder, evaluate=False)
      weights.append(head_kernel(folder))
  finally:
    determinism.disable_op_determinism()
  assert np.abs(weights[0]).max() > 0
  np.testing.assert_array_equal(*weights)


def test_evaluation_equals_the_model_by_hand(run_copy, capsys):
  params = experiments.load(run_copy)
  scores = runner.evaluate(params, run_copy)
  path = run_folder.load(run_copy).find_checkpoint()
  assert path in capsys.readouterr().err
  model = runner.load_model(params, path)
  from tf_tokenlearner.data import image_pipeline
  data = params.task.validation_data
  dataset = image_pipeline.build_dataset(
      data, image_pipeline.open_source(data), (8, 8, 1), 10, False)
  hits, losses = [], []
  for images, labels in dataset:
    logits = model(images)
    hits.append(np.argmax(logits, -1) == labels)
    smooth = .9 * np.eye(10)[labels] + .1 / 10  # label_smoothing=0.1.
    losses.append(tf_keras.losses.categorical_crossentropy(
        smooth, logits, from_logits=True))
  hits = np.concatenate(hits)
  assert len(hits) == 360  # The last batch of 60 included.
  np.testing.assert_allclose(scores['accuracy'], hits.mean(), atol=1e-6)
  np.testing.assert_allclose(
      scores['validation_loss'], np.concatenate(losses).mean(), rtol=1e-5)


def test_evaluation_of_a_run_on_a_read_only_disk(
    run_copy, read_only, capsys):
  read_only(pathlib.Path(run_copy))
  scores = run_scores.evaluate(experiments.load(run_copy), run_copy)
  said = capsys.readouterr().out
  assert '(360 examples)' in said and 'the scores were not saved' in said
  assert scores['accuracy'] == (
      run_folder.load(run_copy).best_scores()['accuracy'])


def test_evaluation_never_scores_random_weights(tmp_path, finished_run):
  params = experiments.load(finished_run)
  with pytest.raises(errors.UserError, match='holds no checkpoint'):
    runner.evaluate(params, str(tmp_path))
  with pytest.raises(errors.UserError, match='There is no checkpoint'):
    runner.evaluate(params, finished_run, str(tmp_path / 'ckpt-1'))
  tf.train.Checkpoint(x=tf.Variable(1.)).save(str(tmp_path / 'other' / 'ckpt'))
  with pytest.raises(errors.UserError, match='does not fit the model'):
    runner.evaluate(params, finished_run, str(tmp_path / 'other'))


def test_continuous_evaluation_ends_with_the_run(run_copy, capsys):
  shutil.rmtree(os.path.join(run_copy, 'best_ckpt'))
  runner.evaluate_continuously(experiments.load(run_copy), run_copy)
  assert 'at step 4' in capsys.readouterr().out
  assert os.path.exists(os.path.join(run_copy, 'best_ckpt', 'info.json'))


def test_continuous_evaluation_compares_classes_of_a_run_to_come(
    run_copy, monkeypatch):
  """The run begins, with other classes, after the evaluation."""
  params, run = experiments.load(run_copy), run_folder.load(run_copy)
  os.remove(os.path.join(run_copy, 'run.yaml'))

  def begin_run(*unused_args):
    run_folder.save(dataclasses.replace(run, label_names=tuple('abcdefghij')))
    yield run.latest_checkpoint()

  monkeypatch.setattr(runner, '_until_finished', begin_run)
  with pytest.raises(errors.UserError, match='10 classes of the model, got 10'):
    runner.evaluate_continuously(params, run_copy)


def test_continuous_evaluation_gives_up(tmp_path, parse):
  with pytest.raises(errors.UserError, match='No checkpoint came to'):
    runner.evaluate_continuously(
        parse('trainer.continuous_eval_timeout=1'), str(tmp_path / 'run'))


def test_other_architecture_in_the_same_folder(run_copy, parse):
  other = ('trainer.train_steps=6,task.model.backbone.token_learner_vit.'
           'num_layers=3')
  before = experiments.load(run_copy)
  with pytest.raises(errors.UserError) as caught:
    train(parse(other), run_copy)
  assert experiments.load(run_copy).as_dict() == before.as_dict()
  with pytest.raises(errors.UserError, match='does not fit the model'):
    runner.evaluate(experiments.load(run_copy, [other]), run_copy)
  assert 'missing in the checkpoint: model/backbone/encoder/stages/' in str(
      caught.value)


def test_folder_of_something_else(tmp_path, parse):
  tf.train.Checkpoint(x=tf.Variable(1.)).save(str(tmp_path / 'ckpt'))
  with pytest.raises(errors.UserError, match='of something else'):
    train(parse(), str(tmp_path))


@pytest.mark.parametrize('override, message', [
    ('runtime.distribution_strategy=mirored', "'mirored'. Known: "),
    ('runtime.num_gpus=64', 'TensorFlow sees'),
    ('task.freeze_backbone=true', 'random for good'),
    ('task.freeze_below=1', 'keeps the weights of task.init_checkpoint'),
    ('task.train_data.mixup_and_cutmix.prob=1', 'smoothed twice'),
    ('task.train_data.deterministic=true,task.train_data.seed=null',
     'deterministic needs a seed'),
    ('task.validation_data.center_crop_fraction=1.5', 'must lie in (0, 1]'),
    ('task.train_data.crop_area_range=[5, 1]', 'must be two shares'),
    ('task.train_data.aug_shift=8', 'below the image size 8 x 8'),
    ('task.train_data.color_jitter=-0.5', 'must be at least 0'),
    ('task.train_data.aug_rotation=200', 'must lie in [0, 180] degrees'),
    ('task.train_data.tfds_name=digit', "'digit'"),
    ('task.train_data.tfds_split=trian', "'trian'"),
    ('task.model.num_classes=7', 'has 10 classes'),
    ('task.losses.loss=hinge', "'hinge'. Known: "),
    ('task.losses.label_smoothing=1.5', 'must lie in [0, 1)'),
    ('task.init_checkpoint_modules=head', "'head'. Known: "),
    ('task.allow_image_summary=true', 'is not offered'),
    ('task.train_data.tfds_as_supervised=true', 'cannot be set'),
    ('task.train_data.is_training=false', 'is_training must be True'),
    ('task.train_data.global_batch_size=0', 'must be at least 1'),
    ('task.validation_data.mixup_and_cutmix.prob=1', 'cannot be set'),
    ('trainer.best_checkpoint_eval_metric=acuracy', "'acuracy'. Known: "),
    ('task.init_checkpoint=nowhere/ckpt', 'There is no checkpoint'),
    ('task.model.backbone.token_learner_vit.variant=X/2', "letter 'X'"),
    ('task.model.backbone.token_learner_vit.token_learner_location=2',
     'outside 0..1'),
    ('task.model.backbone.token_learner_vit.patch_size=[3, 3]',
     'no multiple of the patch'),
    ('task.model.backbone.token_learner_vit.num_registers=-1', 'at least 0'),
])
def test_refused_before_anything_is_written(tmp_path, parse, override, message):
  folder = tmp_path / 'run'
  with pytest.raises(errors.UserError) as caught:
    train(parse(override), str(folder))
  assert message in str(caught.value)
  assert not list(folder.glob('ckpt*'))


def test_wrong_init_checkpoint_is_told_first(tmp_path, parse, monkeypatch):
  monkeypatch.setattr(
      runner.experiment_runner, 'make_strategy', lambda _: 1 / 0)
  with pytest.raises(errors.UserError, match='no checkpoint at .*none'):
    train(parse('task.init_checkpoint=none'), str(tmp_path / 'run'))


def test_divergence_is_told(tmp_path, parse):
  with pytest.raises(errors.UserError, match='Training diverged'):
    train(parse('trainer.loss_upper_bound=0.001'), str(tmp_path / 'run'))


@pytest.mark.parametrize('optimizer_config', [
    '{ema: {average_decay: 0.5}}',
    '{optimizer: {type: swa, swa: {optimizer: adamw, start_averaging: 0, '
    'average_period: 1}}}'])
def test_averaged_weights_are_what_is_scored_and_loaded(
    tmp_path, parse, optimizer_config):
  folder = str(tmp_path / 'run')
  train(parse(
      f'trainer: {{optimizer_config: {optimizer_config}, '
      'best_checkpoint_eval_metric: validation_loss, '
      'best_checkpoint_metric_comp: lower, '
      'best_checkpoint_export_subdir: lowest}'), folder)
  params = experiments.load(folder)
  latest = run_folder.latest_checkpoint(folder)
  best = run_folder.load(folder).find_checkpoint()
  averaged = runner.load_model(params, latest)
  assert np.abs(averaged.head.kernel - head_kernel(folder)).max() > 1e-5
  scores = runner.evaluate(params, folder, latest)
  with open(os.path.join(folder, 'lowest', 'info.json')) as file:
    info = json.load(file)
  assert info['best_ckpt_global_step'] == 4  # Of two, by falling loss.
  np.testing.assert_allclose(
      runner.load_model(params, best).head.kernel, averaged.head.kernel)
  np.testing.assert_allclose(
      scores['validation_loss'], info['validation_loss'], rtol=1e-5)
  np.testing.assert_allclose(
      runner.evaluate(params, folder, best)['validation_loss'],
      info['validation_loss'], rtol=1e-5)


def test_mixed_precision(tmp_path, parse):
  try:
    train(parse('runtime.mixed_precision_dtype=bfloat16'),
          str(tmp_path / 'run'))
  finally:
    tf_keras.mixed_precision.set_global_policy('float32')
  model = runner.load_model(  # Exports are float32 whatever the policy is.
      experiments.load(str(tmp_path / 'run')),
      run_folder.latest_checkpoint(str(tmp_path / 'run')))
  assert model(tf.zeros([1, 8, 8, 1])).dtype == tf.float32
  assert model.backbone.encoder.stages[0].compute_dtype == 'float32'
  kernel = head_kernel(str(tmp_path / 'run'))
  assert kernel.dtype == np.float32 and np.isfinite(kernel).all()


def test_sigmoid_loss_and_frozen_backbone(tmp_path, parse, finished_run):
  folder = str(tmp_path / 'run')
  train(parse(f'task.init_checkpoint={finished_run},'
              'task.init_checkpoint_modules=backbone,task.losses.loss=sigmoid,'
              'task.model.head_bias=-2,task.freeze_backbone=true,'
              'trainer.train_steps=2'), folder, evaluate=False)
  name = 'model/backbone/position_embedding/embedding'
  np.testing.assert_array_equal(
      *[tf.train.load_checkpoint(path).get_tensor(
          f'{name}/.ATTRIBUTES/VARIABLE_VALUE')
        for path in (run_folder.latest_checkpoint(folder),
                     run_folder.load(finished_run).find_checkpoint())])
  reader = tf.train.load_checkpoint(run_folder.latest_checkpoint(folder))
  bias = reader.get_tensor('model/head/bias/.ATTRIBUTES/VARIABLE_VALUE')
  assert (bias != -2).all() and (abs(bias + 2) < .1).all()


def test_initialised_from_another_run(tmp_path, parse, finished_run, capsys):
  train(parse(f'task.init_checkpoint={finished_run},'
              'task.init_checkpoint_modules=backbone,trainer.train_steps=2'),
        str(tmp_path / 'run'), evaluate=False)
  error_output = capsys.readouterr().err
  assert f'starting from {finished_run}' in error_output
  assert '(run of this project):' in error_output
  assert '  fresh: head' in error_output


CLASSES = """
task:
  model: {input_size: [8, 8, 3]}
  train_data: {input_path: DATA, tfds_data_dir: COPIES, validation_fraction: 0}
  validation_data: {input_path: DATA, tfds_data_dir: COPIES,
                    validation_fraction: 1}
trainer: {train_steps: 30, steps_per_loop: 5, summary_interval: 5,
          checkpoint_interval: 5, validation_interval: 15, max_to_keep: 2}
"""


def write_classes(folder, **levels):
  """Writes a folder of 10 pictures a class, each of one level and noise."""
  shutil.rmtree(folder, ignore_errors=True)
  noise = np.random.default_rng(0)
  for name, level in levels.items():
    (folder / name).mkdir(parents=True)
    for i in range(10):
      (folder / name / f'{i}.png').write_bytes(tf.io.encode_png(
          noise.integers(level, level + 40, [8, 8, 3], np.uint8)).numpy())


def test_changed_classes_in_a_folder_with_wildcards(tmp_path):
  """A class renamed, then one added: refused, or mapped on purpose."""
  folder, data = str(tmp_path / 'sweep [lr=1e-3] *?'), tmp_path / 'data'
  def parse_with(*more):
    return experiments.for_training('tokenlearner_image_folder', folder, [
        TINY_DIGITS, CLASSES.replace('DATA', str(data)).replace(
            'COPIES', str(tmp_path / 'copies')), *more])
  def train_with(*more):
    runner.train('tokenlearner_image_folder', parse_with(*more), folder, True)
  def evaluate_with(*more):
    return runner.evaluate(experiments.load(folder, more), folder)['accuracy']

  write_classes(data, cat=20, dog=180)
  train_with()
  assert evaluate_with() == 1.
  best = score_files.read(run_folder.load(folder).scores_folder())
  assert (best['accuracy'], best['confusion']) == (1., [[10, 0], [0, 10]])
  kept = {name for name in os.listdir(folder) if name.endswith('.index')}
  assert kept == {'ckpt-25.index', 'ckpt-30.index'}
  assert len(os.listdir(os.path.join(folder, 'best_ckpt'))) == 5

  write_classes(data, dog=180, zebra=20)
  differences = r'got 2 \(missing cat; new zebra\)'
  with pytest.raises(errors.UserError, match=differences):
    evaluate_with()
  with pytest.raises(errors.UserError, match=differences):
    train_with('trainer.train_steps=35')
  with pytest.raises(errors.UserError, match=differences):
    saved_model.export(folder, str(tmp_path / 'export'))
  with pytest.raises(errors.UserError, match=differences):
    train_with()  # The run is finished.
  with pytest.raises(errors.UserError, match=(
      'expected some of the 2 classes of the model, ' + differences)):
    run_scores.evaluate(experiments.load(
        folder, [run_scores.on_data(experiments.load(folder), str(data))]),
                        folder, data=str(data))
  assert run_folder.load(folder).label_names == ('cat', 'dog')
  assert evaluate_with(
      'task.validation_data.label_map={zebra: cat}') == 1.
  train_with('trainer.train_steps=35',
             'task.train_data.label_map={zebra: cat},'
             'task.validation_data.label_map={zebra: cat}')
  assert evaluate_with() == 1.
  assert run_folder.load(folder).label_names == ('cat', 'dog')

  write_classes(data, cat=20, dog=180, emu=100)
  unmapped = ('task.train_data.label_map={},'
              'task.validation_data.label_map={}')
  with pytest.raises(errors.UserError, match=r'got 3 \(new emu\)'):
    evaluate_with(unmapped)
  with pytest.raises(errors.UserError, match=r'got 3 \(new emu\)'):
    train_with('trainer.train_steps=40', unmapped)


def test_full_disk_is_one_line(tiny_digits, tmp_path, monkeypatch):
  def fail(*args, **kwargs):
    raise tf.errors.ResourceExhaustedError(
        None, None, '/x/ckpt-2; No space left on device')

  monkeypatch.setattr(tf.train.CheckpointManager, 'save', fail)
  with pytest.raises(errors.UserError, match='disk of .* is full: make room'):
    runner.train(
        'tokenlearner_digits',
        experiments.parse('tokenlearner_digits', [tiny_digits]),
        str(tmp_path / 'run'), evaluate=False)


def test_folder_that_cannot_be_written(tiny_digits, tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(errors.UserError, match='cannot be written: '):
    runner.train(
        'tokenlearner_digits',
        experiments.parse('tokenlearner_digits', [tiny_digits]),
        str(tmp_path / 'file' / 'run'), evaluate=False)


@pytest.mark.parametrize('optimizer_config', [
    '{ema: {average_decay: 0.9}}',
    '{optimizer: {type: swa, swa: {optimizer: adamw, start_averaging: 0, '
    'average_period: 1}}}'])
def test_interrupted_evaluation_saves_weights_not_averages(
    tmp_path, parse, monkeypatch, optimizer_config):
  """Interrupted at step 4, which has no checkpoint: as if it had not been."""
  texts = (f'trainer: {{optimizer_config: {optimizer_config}, '
           'checkpoint_interval: 4, validation_interval: 4}',
           'task: {train_data: {seed: 1, deterministic: true}}')
  train(parse(*texts), str(tmp_path / 'whole'), evaluate=False)

  def interrupt(self, iterator):
    raise KeyboardInterrupt

  monkeypatch.setattr(runner.experiment_runner.trainer_lib.Trainer,
                      'next_eval_inputs', interrupt)
  with pytest.raises(KeyboardInterrupt):
    train(parse(*texts, 'trainer: {train_steps: 8, checkpoint_interval: 8, '
                'optimizer_config: {learning_rate: {cosine: {decay_steps: 4}}}}'
               ), str(tmp_path / 'interrupted'))
  paths = [run_folder.latest_checkpoint(str(tmp_path / name))
           for name in ('whole', 'interrupted')]
  assert all(path.endswith('ckpt-4') for path in paths)
  weights, interrupted = (head_kernel(str(tmp_path / name))
                          for name in ('whole', 'interrupted'))
  np.testing.assert_allclose(interrupted, weights, atol=1e-6)
