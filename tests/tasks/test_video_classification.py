"""The video task: views, many labels, what starts from images."""

import json

import numpy as np
import pytest
import yaml
from official.core import task_factory

from tf_tokenlearner import run_folder
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.configs import video_classification as config
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner import errors
from tf_tokenlearner.evaluation import class_scores
from tf_tokenlearner.tasks import classification_task
from tf_tokenlearner.training import runner


def params_of(tiny_moving_digits, *overrides, experiment=None):
  return experiments.parse(
      experiment or 'tokenlearner_moving_digits',
      [tiny_moving_digits, *overrides])


def randomised(model):
  generator = np.random.default_rng(0)
  for variable in model.variables:
    variable.assign(generator.normal(size=variable.shape) * .3)
  return model


@pytest.fixture(name='multi_view')
def fixture_multi_view(tiny_moving_digits):
  params = params_of(tiny_moving_digits, """
      task:
        model: {input_size: [4, 16, 16, 1]}
        validation_data: {
          num_test_clips: 4, num_test_crops: 3, tfds_split: 'test[:10]',
          global_batch_size: 4}
      """)
  classification_task.complete(params.task)
  return params


def test_views_are_averaged_as_by_hand(multi_view):
  """Logits of each view on its own, averaged in NumPy, score the same."""
  task = task_factory.get_task(multi_view.task)
  model = randomised(task.build_model())
  metrics = task.build_metrics(training=False)
  hits, losses, count = [], [], 0
  for views, labels in task.build_inputs(multi_view.task.validation_data):
    logs = task.validation_step((views, labels), model, metrics)
    assert views.shape[1:] == (12, 4, 16, 16, 1)
    logits = np.mean([model(views[:, i]) for i in range(12)], axis=0)
    np.testing.assert_allclose(logs['logits'], logits, rtol=1e-4, atol=1e-5)
    labels = labels.numpy()
    hits += list(logits.argmax(-1) == labels)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    batch_losses = -log_p[np.arange(len(labels)), labels]
    assert logs['loss'].numpy() == pytest.approx(batch_losses.mean(), rel=1e-4)
    losses += list(batch_losses)
    count += len(labels)
  assert count == 10  # Batches of 4, 4 and 2.
  assert metrics[0].result().numpy() == pytest.approx(np.mean(hits))


def test_many_labels_are_scored_over_the_whole_set(
    tiny_moving_digits, many_labels, tmp_path):
  params = params_of(tiny_moving_digits, f"""
      task:
        model: {{input_size: [4, 16, 16, 3]}}
        losses: {{loss: sigmoid}}
        train_data: {{tfds_name: {many_labels}, tfds_data_dir: ''}}
        validation_data: {{
          tfds_split: test, num_test_clips: 2, global_batch_size: 3}}
      trainer: {{best_checkpoint_eval_metric: mean_average_precision}}
      """)
  folder = str(tmp_path / 'run')
  runner.train('tokenlearner_moving_digits', params, folder, evaluate=True)
  path = run_folder.load(folder).find_checkpoint()
  scores = runner.evaluate(params, folder, path)
  model = runner.load_model(params, path)
  task = task_factory.get_task(params.task)
  labels, logits = [], []
  for views, rows in task.build_inputs(params.task.validation_data):
    labels.append(rows.numpy())
    logits.append(np.mean([model(views[:, i]) for i in range(2)], axis=0))
  expected = class_scores.compute(
      np.concatenate(labels), class_scores.probabilities_of(
          np.concatenate(logits), 'sigmoid'), any_number=True)
  assert sum(map(len, labels)) == 7
  assert scores['mean_average_precision'] == pytest.approx(
      expected.mean_average_precision, abs=1e-6)
  assert scores['classes_without_positive'] == (
      expected.classes_without_positive) >= 1
  best = np.concatenate(logits).argmax(-1)  # Precision at 1.
  assert scores['accuracy'] == pytest.approx(
      np.concatenate(labels)[np.arange(7), best].mean(), abs=1e-6)


def test_many_labels_want_a_sigmoid(tiny_moving_digits, many_labels):
  params = params_of(tiny_moving_digits, f"""
      task: {{train_data: {{tfds_name: {many_labels}, tfds_data_dir: ''}}}}
      """)
  with pytest.raises(errors.UserError, match='task.losses.loss=sigmoid'):
    classification_task.complete(params.task)


def test_best_metric_of_many_labels_needs_many_labels(
    tiny_moving_digits, tmp_path):
  params = params_of(
      tiny_moving_digits,
      'trainer.best_checkpoint_eval_metric=mean_average_precision')
  with pytest.raises(errors.UserError, match='accuracy'):
    runner.train('tokenlearner_moving_digits', params, str(tmp_path / 'run'),
                 evaluate=True)


def test_evaluation_is_repeatable(finished_video_run):
  params = experiments.load(finished_video_run)
  best = run_folder.load(finished_video_run).find_checkpoint()
  first, second = (runner.evaluate(params, finished_video_run, best)
                   for _ in range(2))
  assert first == second
  assert set(first) == {'accuracy', 'top_5_accuracy', 'validation_loss'}


@pytest.mark.parametrize('override, message', [
    ('task.validation_data.temporal_stride=3', 'temporal_stride=2, but'),
    ('task.train_data.num_test_clips=4', 'num_test_clips'),
    ('task.train_data.short_videos=pad', 'short_videos=pad, but'),
    ('task: {train_data: {fps: 5, tfds_name: "", input_path: a}, '
     'validation_data: {input_path: b}}', 'fps=5, but'),
    ('task.train_data.fps=5', 'is for the files of a folder'),
    ('task.validation_data.color_drop_probability=.5',
     'color_drop_probability is for training'),
    ('trainer.optimizer_config.ema.average_decay=.5,'
     'task.model.backbone.type=token_learner_bottleneck',
     'token_learner_vivit is set, but'),
    ('task.init_tubelets=middle', 'central_frame'),
    ('task.model.input_size=[5,16,16,1]', 'length 5 is no multiple'),
    ('task.model.input_size=[16,16,1]',
     r'must be \[frames, height, width, channels\], got \[16, 16, 1\]'),
    ('task.validation_data.fps=5', 'fps=5 would be ignored.*train_data.fps=25'),
    ('task: {train_data: {tfds_name: "", input_path: a/b.mp4}}',
     'got the single file input_path=.*a/b.mp4'),
    ('task.losses.label_smoothing=1', r'in \[0, 1\)'),
])
def test_what_makes_no_sense_is_refused(tiny_moving_digits, override, message):
  with pytest.raises(errors.UserError, match=message):
    classification_task.complete(params_of(tiny_moving_digits, override).task)


IMAGE_RUN = """
task:
  model:
    input_size: [16, 16, 1]
    backbone:
      token_learner_vit: {
        variant: Ti/8, patch_size: [8, 8], token_learner_location: null}
  validation_data: {center_crop_fraction: 1.}
"""


def test_starts_from_an_image_run(tiny_digits, tiny_moving_digits, tmp_path,
                                  capfd):
  folder = str(tmp_path / 'images')
  runner.train(
      'tokenlearner_digits',
      experiments.parse('tokenlearner_digits', [tiny_digits, IMAGE_RUN]),
      folder, evaluate=True)
  image_params = experiments.load(folder)
  for start in (folder, f'{folder}/best_ckpt'):
    params = params_of(tiny_moving_digits, f"""
        task: {{init_checkpoint: {start}, init_checkpoint_modules: backbone}}
        """)
    classification_task.complete(params.task)
    task = task_factory.get_task(params.task)
    model = task.build_model()
    task.initialize(model)
    said = capfd.readouterr().err
    assert '1 x 1 positions' not in said
    assert '2 x 2 positions, repeated 2 times' in said
    assert 'fresh: encoder/learn_1, head' in said
    path = (run_folder.load(folder).find_checkpoint()
            if start != folder else run_folder.latest_checkpoint(folder))
    image_model = runner.load_model(image_params, path)
    np.testing.assert_array_equal(
        model.backbone.encoder.stages[0].get_weights()[4],
        image_model.backbone.encoder.stages[0].get_weights()[4])


def test_averaged_weights_want_averaged_statistics():
  with pytest.raises(errors.UserError, match='trainable_weights_only'):
    experiments.parse('tokenlearner_charades', [
        'trainer.optimizer_config.ema.average_decay=.5'])


def test_starts_from_a_video_run(finished_video_run, tiny_moving_digits):
  params = params_of(
      tiny_moving_digits, f'task: {{init_checkpoint: {finished_video_run}}}')
  classification_task.complete(params.task)
  task = task_factory.get_task(params.task)
  model = task.build_model()
  task.initialize(model)
  trained = runner.load_model(
      params, run_folder.load(finished_video_run).find_checkpoint())
  for ours, theirs in zip(model.get_weights(), trained.get_weights()):
    np.testing.assert_array_equal(ours, theirs)


def test_bottleneck_cannot_start_from_images(
    finished_run, tiny_moving_digits):
  values = yaml.safe_load(tiny_moving_digits)
  values['task']['init_checkpoint'] = finished_run
  values['task']['model']['backbone'] = {
      'type': 'token_learner_bottleneck',
      'token_learner_bottleneck': {
          'stage_widths': [4, 4, 4, 4], 'num_blocks': [1, 1, 1, 2],
          'num_module_blocks': 1, 'num_tokens': 2,
          'representation_size': None}}
  params = experiments.parse('tokenlearner_moving_digits', [json.dumps(values)])
  classification_task.complete(params.task)
  task = task_factory.get_task(params.task)
  with pytest.raises(errors.UserError, match='cannot start from an image'):
    task.initialize(task.build_model())


def test_every_experiment_has_what_it_says():
  for name in ('moving_digits', 'video_folder', 'kinetics400', 'kinetics600',
               'charades', 'avid'):
    task = experiments.parse(f'tokenlearner_{name}').task
    assert isinstance(task, config.VideoClassificationTask)
    assert len(task.model.input_size) == 4
    name = str(task.train_data.tfds_name).split('/')[0]
    assert not name or name in labelled_source.OWN_BUILDERS
