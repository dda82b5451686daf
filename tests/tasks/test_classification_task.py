"""Image and video tasks in common: initialization, types of labels."""

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds
from official.core import task_factory

from tf_tokenlearner import run_folder
from tf_tokenlearner import errors
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.data import class_lists
from tf_tokenlearner.data import views
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner.tasks import classification_task
from tf_tokenlearner.training import runner


@pytest.mark.parametrize('kind, size', [
    ('digits', (8, 8, 1)), ('moving_digits', (4, 16, 16, 1))])
def test_examples_to_start_from_are_the_same_everywhere(request, kind, size):
  overrides = request.getfixturevalue(f'tiny_{kind}')
  params = experiments.parse(f'tokenlearner_{kind}', [overrides])
  classification_task.complete(params.task)
  first, second = (
      task_factory.get_task(params.task).examples(5) for _ in range(2))
  assert first.shape == (5, *size)
  assert first.std() > .1
  np.testing.assert_array_equal(first, second)


def test_new_token_learner_starts_as_the_config_says(
    tiny_digits, tmp_path, capsys):
  backbone = 'task.model.backbone.token_learner_vit.token_learner_location'
  plain = str(tmp_path / 'plain')
  runner.train('tokenlearner_digits', experiments.parse(
      'tokenlearner_digits',
      [tiny_digits, f'{backbone}=null,trainer.train_steps=2']), plain,
      evaluate=False)
  for start, expected in (('random', False), ('mean', True)):
    params = experiments.parse('tokenlearner_digits', [
        tiny_digits, f'task: {{init_checkpoint: {plain}, '
        f'init_token_learner: {start}}}'])
    classification_task.complete(params.task)
    task = task_factory.get_task(params.task)
    capsys.readouterr()
    task.initialize(task.build_model())
    said = capsys.readouterr().err
    assert '  fresh: encoder/learn_1\n' in said
    assert ('encoder/learn_1 starts as means of 3 parts' in said) == expected


@pytest.mark.parametrize('size, message', [
    ('[32, 32, 4]', r'then 1 channel \(grey\) or 3 \(RGB\), got \[32, 32, 4\]'),
    ('[0, 32, 3]', r'sizes of at least 1'),
    ('[32, 32]', r'\[height, width, channels\], got \[32, 32\]')])
def test_input_size_is_refused(size, message):
  params = experiments.parse(
      'tokenlearner_digits', [f'task.model.input_size={size}'])
  with pytest.raises(errors.UserError, match=message):
    classification_task.complete(params.task)


@pytest.mark.parametrize('names, message', [
    (tuple('9876543210'), "label 0 is '0' in the data and '9' in the model"),
    (tuple('012345678x'), r'got 10 \(missing x; new 9\)')])
@pytest.mark.parametrize('is_prepared_folder', [False, True])
def test_classes_of_tfds_data_are_those_of_the_run(
    finished_run, names, message, is_prepared_folder):
  params = experiments.load(finished_run)
  data = params.task.validation_data
  assert data.tfds_name == 'digits'
  if is_prepared_folder:
    data.tfds_name = f'{data.tfds_data_dir}/digits/1.0.0'
  assert classification_task.complete(
      params.task, tuple('0123456789'), is_training=False)
  with pytest.raises(errors.UserError, match=message):
    classification_task.complete(params.task, names, is_training=False)


def test_unknown_start(tiny_digits):
  params = experiments.parse(
      'tokenlearner_digits', [tiny_digits, 'task.init_token_learner=median'])
  with pytest.raises(errors.UserError, match="'median'. Known: mean, random"):
    classification_task.complete(params.task)


@pytest.mark.parametrize('loss', ['softmax', 'sigmoid'])
def test_any_label_counts_where_training_has_one(
    run_copy, real_labels, loss):
  """ReaL labels score only images with a label; checked by hand."""
  params = experiments.load(run_copy, [f"""
      task:
        validation_data: {{
          tfds_name: {real_labels}, tfds_split: validation,
          global_batch_size: 5}}
        losses: {{loss: {loss}, label_smoothing: 0.}}
      """])
  scores = runner.evaluate(params, run_copy)
  model = runner.load_model(
      params, run_folder.load(run_copy).find_checkpoint())
  examples = list(tfds.builder_from_directory(real_labels).as_dataset(
      'validation').as_numpy_iterator())
  hits, losses = [], []
  for example in examples:
    if len(example['real_label']):
      image = views.ImageView((8, 8, 1), 1.).to_pixels(example['image'])
      logits = model(image[None])[0].numpy().astype(np.float64)
      hits.append(logits.argmax() in example['real_label'])
      if loss == 'softmax':
        log_p = logits - np.log(np.exp(logits).sum())
        losses.append(-log_p[example['real_label']].mean())
      else:
        is_label = np.isin(np.arange(10), example['real_label'])
        wrong_way = np.where(is_label, -logits, logits)
        losses.append(np.log1p(np.exp(wrong_way)).sum())
  assert (len(examples), len(hits)) == (23, 17)
  assert 0 < np.mean(hits) < 1
  np.testing.assert_allclose(scores['accuracy'], np.mean(hits), atol=1e-6)
  np.testing.assert_allclose(
      scores['validation_loss'], np.mean(losses), rtol=1e-5)
  assert 'mean_average_precision' not in scores


def test_run_on_a_csv_file_of_several_labels(tiny_digits, tmp_path):
  generator = np.random.default_rng(0)
  rows = ['file,label,split']
  for i in range(12):
    image = PIL.Image.fromarray(
        generator.integers(0, 256, [8, 8, 1], np.uint8)[..., 0])
    image.save(tmp_path / f'{i}.png')
    rows.append(f'{i}.png,{("on", "on;007", "1e3")[i % 3]},'
                f'{("train", "val")[i > 7]}')
  (tmp_path / 'labels.csv').write_text('\n'.join(rows))
  params = experiments.parse('tokenlearner_digits', [tiny_digits, f"""
      task:
        class_weights: {{007: 4}}
        losses: {{loss: sigmoid}}
        train_data: {{
          tfds_name: '', input_path: {tmp_path}/labels.csv,
          tfds_data_dir: {tmp_path}/data, global_batch_size: 4}}
        validation_data: {{tfds_split: validation, global_batch_size: 4}}
      trainer: {{train_steps: 2}}
      """])
  folder = str(tmp_path / 'run')
  runner.train('tokenlearner_digits', params, folder, evaluate=True)
  assert run_folder.load(folder).label_names == ('007', '1e3', 'on')
  params = experiments.load(folder)
  assert params.task.class_weights == '{"007": 4}'
  scores = runner.evaluate(params, folder)
  assert 0 < scores['mean_average_precision'] <= 1
  # 3 of the 8 images have the class: 4 * 3 / 8 + 5 / 8 = 17 / 8 on average.
  weights = task_factory.get_task(params.task).class_weights
  np.testing.assert_allclose(
      [weights.positive[0], weights.negative[0]], [32 / 17, 8 / 17])


def test_labels_of_imagenet_real_are_found_and_those_of_imagenet():
  real, trained = (
      tfds.builder(name).info for name in ('imagenet2012_real', 'imagenet2012'))
  key = labelled_source.find_label(real, '', 'images')
  assert key == 'real_label'
  sources = [labelled_source.LabelledSource(
      None, **labelled_source.label_facts(info, its_key))
             for info, its_key in ((trained, 'label'), (real, key))]
  assert [source.multi_label for source in sources] == [False, True]
  assert len(sources[0].label_names) == 1000
  class_lists.require_same(
      sources[1].label_names, sources[0].label_names, 'data', 'label_map')
