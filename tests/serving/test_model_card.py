"""Model cards state the facts of run and module in 80 columns."""

import dataclasses
import types

import tensorflow as tf

from tf_tokenlearner import run_folder
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.serving import input_signatures
from tf_tokenlearner.serving import model_card
from tf_tokenlearner.serving import servable


def module(weights=10, statistics=0):
  """Returns a stand-in for the module."""
  trainable = [tf.Variable(tf.zeros([weights]))]
  moving = [tf.Variable(tf.zeros([statistics]))] if statistics else []
  return types.SimpleNamespace(
      trainable_variables=trainable, variables=trainable + moving,
      regularization_losses=[])


def card(model_dir, options='', output_type='classifier', weights=10,
         statistics=0, **changes):
  """Returns the card as one line; checks that it has 80 columns.

  Args:
    model_dir: folder of a run.
    options: overrides of its config.
    output_type: of the module.
    weights: number of trainable weights.
    statistics: number of moving statistics.
    **changes: to the Servable.
  """
  run, path = servable.find(model_dir)
  loaded = servable.load(run, path)
  params = experiments.load(model_dir, [options])
  task, run = params.task, dataclasses.replace(run, params=params.as_dict())
  loaded = dataclasses.replace(
      loaded, task=task, inputs=input_signatures.of_task(task), **changes)
  text = model_card.render(
      run, loaded, module(weights, statistics), output_type,
      ['Not measured.'], 'it')
  assert max(map(len, text.splitlines())) <= 80
  return ' '.join(text.split())


def test_card_of_an_image_model(finished_run):
  text = card(finished_run, weights=6301)
  for fact in (
      '# tokenlearner_digits: image classifier',
      'float32 [B, height, width, 3] = [B, 8, 8, 3], RGB in [0, 1]; the module '
      'itself scales it to [-1, 1] and converts it to grey',
      'the largest box of the shape 8 x 8 in the middle of an image is resized',
      'float32 [B, 10], logits; probabilities are their softmax',
      'Parameters: 6,301, all trainable. ',
      'Multiply-accumulates: 0.0000688 G an image.',
      'Data: digits/1.0.0, split train.',
      'Model: token_learner_vit (variant Ti/2, num_layers 2, hidden_size 16,',
      'Loss: softmax (label_smoothing 0.1).',
      'Optimizer: adamw (weight_decay_rate 0.0001).',
      'cosine (initial_learning_rate 0.002, decay_steps 4); warm-up linear '
      '(warmup_steps 1).',
      'Length: 4 steps of 32 images.', 'Augmentation: none.',
      'Start: random weights.', 'In the order of the logits, 10: `0`, `1`,',
      'Apache License 2.0', 'trained on (digits/1.0.0).',
      '@inproceedings{ryoo2021tokenlearner'):
    assert fact in text
  assert 'Precision' not in text


def test_card_of_a_video_model(finished_video_run):
  text = card(
      finished_video_run, 'task.train_data.scale_jitter=[0.9,1.33]',
      output_type='feature_vector', weights=1234, statistics=56)
  for fact in (
      '# tokenlearner_moving_digits: video feature vectors',
      'float32 [B, T, height, width, 3] = [B, 4, 16, 16, 3]',
      '4 frames in the middle of a video at 8 frames a second, each 2 after',
      'a shorter side of 18 pixels; the 16 x 16 in the middle is cut out',
      'float32 [B, 16], what the classifier\'s head saw',
      'Parameters: 1,234, all trainable, and 56 moving statistics.',
      '0.00005837 G a clip', 'updates its own', 'tf_keras.layers.Dense(2),',
      'Length: 4 steps of 16 clips.',
      'random crops at 0.9 to 1.33 times the size',
      'trained on, 8: `right`, `left`'):
    assert fact in text


def test_recipe_lists_all_options(finished_run):
  text = card(finished_run, """
task:
  model: {input_size: [8, 8, 3], head_bias: -10.}
  losses: {loss: sigmoid}
  init_checkpoint: /home/me/runs/pictures
  init_checkpoint_modules: backbone
  train_data:
    tfds_name: ''
    input_path: /home/me/birds
    aug_crop: true
    aug_shift: 2
    aug_rand_hflip: true
    aug_type: {type: randaug, randaug: {magnitude: 9}}
    color_jitter: 0.4
    random_erasing: {probability: 0.1}
    mixup_and_cutmix: {mixup_alpha: 0.2}
  validation_data: {center_crop_fraction: 0.5}
trainer:
  optimizer_config:
    optimizer:
      type: lookahead
      lookahead: {optimizer: adamw, sync_period: 5}
      adamw: {weight_decay_rate: 0.05}
    ema: {average_decay: 0.9}
runtime: {mixed_precision_dtype: bfloat16}
""")
  for fact in (
      'scales it to [-1, 1]. ', 'an image, 0.5 of its sides, is resized',
      'probabilities are their sigmoid', 'BinaryCrossentropy(from_logits=True)',
      'model.fit(images, tf.one_hot([0, 9], 10))',
      'Data: own files, birds, split train.', '(head_bias -10)',
      'lookahead (optimizer adamw, sync_period 5), working on adamw '
      '(weight_decay_rate 0.05); an exponential moving average',
      'random crops of 0.08 to 1 of the area, shifts of up to 2 pixels, '
      'mirroring, randaug (magnitude 9), color_jitter 0.4, random_erasing '
      '(probability 0.1), mixup_and_cutmix (mixup_alpha 0.2)',
      'Start: pictures (backbone).', 'Precision: trained in bfloat16',
      'and those of the checkpoint they started from'):
    assert fact in text
  assert '/home' not in text


def test_long_class_list_is_shortened(finished_run):
  text = card(finished_run, label_names=tuple(f'c{i}' for i in range(1020)))
  assert '`c18`, `c19` and 1,000 more. labels.txt beside' in text


def test_missing_data_set_is_named(finished_run):
  assert 'Data: gone, split train.' in card(
      finished_run, 'task.train_data.tfds_name=/data/gone')


def test_accuracy_names_the_checkpoint(finished_run):
  run, best = servable.find(finished_run)
  report = 'with a head, accuracy 0.5'
  told = model_card.accuracy(run, best, report)
  assert told[0] == (
      'This module on digits/1.0.0, split test, loaded by TensorFlow Hub in a '
      'new process: with a head, accuracy 0.5.')
  assert told[1].startswith(
      "The run's own evaluation on digits/1.0.0, split test at step ")
  assert ': accuracy 0.' in told[1] and 'top_5_accuracy' in told[1]
  latest = run_folder.latest_checkpoint(finished_run)
  assert model_card.accuracy(run, latest, report) == told[:1]
  assert model_card.accuracy(run, latest, '') == [
      'Not measured.']


def test_accuracy_states_the_number_of_views(finished_video_run):
  _, best = servable.find(finished_video_run)
  params = experiments.load(
      finished_video_run,
      ['task.validation_data.num_test_clips=4,'
       'task.validation_data.num_test_crops=3'])
  run = run_folder.Run(
      finished_video_run, 'tokenlearner_moving_digits', params.as_dict(), ())
  told, = model_card.accuracy(run, best, '')
  assert ', the mean of 12 views a video: accuracy 0.' in told
