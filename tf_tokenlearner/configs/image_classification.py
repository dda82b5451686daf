"""Configs and experiments of image classification.

Comments name the source of every recipe value. The number of classes and the
image and label keys are read from the data set.
"""

import dataclasses
from typing import ClassVar, List, Optional, Tuple

from official.core import config_definitions as cfg
from official.core import exp_factory
from official.vision.configs import common

from tf_tokenlearner.configs import classification


@dataclasses.dataclass
class DataConfig(cfg.DataConfig):
  """Source of the images and their augmentation.

  One of tfds_name and input_path is given; validation_data with neither reads
  the source of train_data.

  Attributes:
    tfds_name: TFDS data set: 'name', 'name/config' or the folder of a prepared
      one.
    tfds_split: split, such as 'train' or 'train[:90%]'.
    input_path: folder of class folders; CSV file with columns file, label and
      optionally split; or pattern of TFRecord files as the Garden's scripts
      write them.
    global_batch_size: examples in a batch, over all replicas. None fits it to
      the number of training examples.
    seed: seed of weights, order and augmentation; None draws a new one.
    deterministic: with seed, makes runs repeatable; slower.
    image_field_key: feature of the image; '' finds it in the data set.
    label_field_key: feature of the label; '' finds it in the data set.
    label_map: {class name in the data: class name of the model}, for data whose
      classes have other names or another order; kept as JSON. Classes that it
      leaves out have the same name in both.
    sampling: order of training: 'natural' passes over the data; 'balanced'
      repeats and leaves out examples at random, so that all classes are equally
      frequent.
    aug_crop: crops a random part of the image (Szegedy et al. 2015).
    crop_area_range: smallest and largest fraction of the area that aug_crop
      keeps.
    aug_shift: maximum shift in pixels, edges reflected; for small images.
    aug_rand_hflip: mirrors images, left to right, with probability 0.5; None
      mirrors unless a class name contains the word left or right.
    aug_rand_vflip: flips images upside down with probability 0.5.
    aug_rotation: maximum angle of a random rotation, in degrees.
    aug_type: the Garden's RandAugment or AutoAugment.
    color_jitter: strength of random brightness, contrast and, for colour
      images, saturation.
    random_erasing: the Garden's random erasing.
    cache: keeps the encoded examples in memory.
    mixup_and_cutmix: the Garden's Mixup and CutMix, in training only.
    center_crop_fraction: fraction of the shorter side that evaluation crops.
    files_dir: folder that the paths in a CSV file start from; '' is the folder
      of the CSV file.
    validation_fraction: fraction of a folder or CSV file without splits that is
      held out.
    max_unreadable_fraction: fraction of the files of a folder or CSV file that
      may be unreadable; they are listed and left out.
  """
  global_batch_size: Optional[int] = 0
  shuffle_buffer_size: int = 10000
  image_field_key: str = ''
  label_field_key: str = ''
  label_map: str = ''
  sampling: str = 'natural'
  aug_crop: bool = True
  crop_area_range: List[float] = dataclasses.field(
      default_factory=lambda: [0.08, 1.0])
  aug_shift: int = 0
  aug_rand_hflip: Optional[bool] = None
  aug_rand_vflip: bool = False
  aug_rotation: float = 0.
  aug_type: Optional[common.Augmentation] = None
  color_jitter: float = 0.
  random_erasing: Optional[common.RandomErasing] = None
  mixup_and_cutmix: Optional[common.MixupAndCutmix] = None
  center_crop_fraction: float = 0.875
  files_dir: str = ''
  validation_fraction: float = 0.2
  max_unreadable_fraction: float = 0.01


@dataclasses.dataclass
class ImageClassifier(classification.Classifier):
  """The network.

  Attributes:
    input_size: [H, W, C], the shape of the network's input.
    backbone: type and options of the backbone.
  """
  input_size: List[int] = dataclasses.field(
      default_factory=lambda: [224, 224, 3])
  backbone: classification.Backbone = dataclasses.field(
      default_factory=classification.Backbone)


@dataclasses.dataclass
class ImageClassificationTask(classification.ClassificationTask):
  """The task; see the base class for more."""
  SOURCE_KEYS: ClassVar[Tuple[str, ...]] = (
      *classification.ClassificationTask.SOURCE_KEYS,
      'image_field_key')
  model: ImageClassifier = dataclasses.field(default_factory=ImageClassifier)
  train_data: DataConfig = dataclasses.field(
      default_factory=lambda: DataConfig(is_training=True))
  validation_data: DataConfig = dataclasses.field(
      default_factory=lambda: DataConfig(
          is_training=False, drop_remainder=False))


def _experiment(
    *, vit: dict, input_size: List[int], train_data: dict,
    validation_data: dict, batch_size: Optional[int],
    loss: Optional[dict] = None, model: Optional[dict] = None,
    task: Optional[dict] = None, **training) -> cfg.ExperimentConfig:
  """Returns an experiment; the dicts hold values that differ from defaults."""
  return classification.experiment(
      ImageClassificationTask(
          model=ImageClassifier(
              input_size=input_size,
              backbone=classification.Backbone(
                  token_learner_vit=classification.TokenLearnerViT(**vit)),
              **(model or {})),
          train_data=DataConfig(
              is_training=True, global_batch_size=batch_size, **train_data),
          validation_data=DataConfig(
              is_training=False, drop_remainder=False,
              global_batch_size=batch_size, **validation_data),
          losses=classification.Losses(**(loss or {})),
          **(task or {})),
      **training)


@exp_factory.register_config_factory('tokenlearner_digits')
def tokenlearner_digits() -> cfg.ExperimentConfig:
  """Returns the demo on 1,797 real digits; sizes and schedule by trial."""
  steps_per_epoch = 1437 // 64
  return _experiment(
      vit=dict(
          variant='Ti/2', patch_size=[4, 2], num_layers=6, hidden_size=64,
          mlp_dim=128, num_heads=4, token_learner_location=2, num_tokens=2,
          dropout_rate=0.3),
      input_size=[8, 8, 1],
      train_data=dict(
          tfds_name='digits', tfds_split='train', shuffle_buffer_size=1437,
          aug_crop=False, aug_rand_hflip=False),
      validation_data=dict(tfds_split='test', center_crop_fraction=1.),
      optimizer={'adamw': {'weight_decay_rate': 1e-4}},
      learning_rate={'cosine': {'initial_learning_rate': 2e-3}},
      loss=dict(label_smoothing=0.1),
      batch_size=64,
      train_steps=120 * steps_per_epoch,
      validation_interval=10 * steps_per_epoch,
      warmup_steps=100)


@exp_factory.register_config_factory('tokenlearner_fashion_mnist')
def tokenlearner_fashion_mnist() -> cfg.ExperimentConfig:
  """Returns an experiment on Fashion-MNIST (arXiv 1708.07747), from scratch."""
  steps_per_epoch = 60000 // 128
  return _experiment(
      vit=dict(
          variant='Ti/4', num_layers=6, hidden_size=64, mlp_dim=256,
          num_heads=4, token_learner_location=3, num_tokens=8,
          dropout_rate=0.1),
      input_size=[28, 28, 1],
      train_data=dict(
          tfds_name='fashion_mnist', tfds_split='train', aug_crop=False,
          aug_shift=2),
      validation_data=dict(tfds_split='test', center_crop_fraction=1.),
      optimizer={'adamw': {'weight_decay_rate': 0.05}},
      learning_rate={'cosine': {'initial_learning_rate': 1e-3}},
      batch_size=128,
      train_steps=10 * steps_per_epoch,
      validation_interval=steps_per_epoch,
      warmup_steps=steps_per_epoch)


@exp_factory.register_config_factory('tokenlearner_cifar10')
def tokenlearner_cifar10() -> cfg.ExperimentConfig:
  """Returns an experiment on CIFAR-10 at 32 px; not a recipe of the paper."""
  steps_per_epoch = 50000 // 256
  return _experiment(
      vit=dict(variant='Ti/4', token_learner_location=6, num_tokens=8,
               stochastic_depth_rate=0.1),
      input_size=[32, 32, 3],
      train_data=dict(
          tfds_name='cifar10', tfds_split='train', aug_crop=False, aug_shift=4,
          aug_type=_randaugment(num_layers=2, magnitude=9)),
      validation_data=dict(tfds_split='test', center_crop_fraction=1.),
      optimizer={'adamw': {'weight_decay_rate': 0.05}},
      learning_rate={'cosine': {'initial_learning_rate': 1e-3}},
      loss=dict(label_smoothing=0.1),
      batch_size=256,
      train_steps=200 * steps_per_epoch,
      validation_interval=steps_per_epoch,
      warmup_steps=10 * steps_per_epoch)


@exp_factory.register_config_factory('tokenlearner_tfds')
def tokenlearner_tfds() -> cfg.ExperimentConfig:
  """Returns an experiment on the data set task.train_data.tfds_name."""
  return _own_data(train_data=dict(tfds_split='train'),
                   validation_data=dict(tfds_split='test'))


@exp_factory.register_config_factory('tokenlearner_image_folder')
def tokenlearner_image_folder() -> cfg.ExperimentConfig:
  """Returns an experiment on a folder, task.train_data.input_path."""
  return _own_data(train_data=dict(tfds_split='train'),
                   validation_data=dict(tfds_split='validation'))


def _own_data(train_data: dict, validation_data: dict) -> cfg.ExperimentConfig:
  """Returns an experiment with a small model for the user's own data."""
  return _experiment(
      vit=dict(variant='Ti/16', token_learner_location=6, num_tokens=8),
      input_size=[224, 224, 3],
      train_data={'crop_area_range': [0.3, 1.0], **train_data},
      validation_data=validation_data,
      batch_size=64,
      **classification.own_data_recipe())


@exp_factory.register_config_factory('tokenlearner_finetune')
def tokenlearner_finetune() -> cfg.ExperimentConfig:
  """Returns fine-tuning of task.init_checkpoint on the user's own data.

  Learned tokens replace the positions in the middle of the network. The blocks
  before are frozen, and pictures are not augmented.
  """
  return _experiment(
      vit=dict(variant='auto', token_learner_location='middle', num_tokens=8),
      input_size=[224, 224, 3],
      train_data=dict(tfds_split='train', aug_crop=False, aug_rand_hflip=False),
      validation_data=dict(tfds_split='validation', center_crop_fraction=1.),
      task=dict(freeze_below='auto', class_weights='balanced'),
      **classification.fine_tuning_recipe())


@exp_factory.register_config_factory('tokenlearner_imagenet_pretrain')
def tokenlearner_imagenet_pretrain() -> cfg.ExperimentConfig:
  """Returns the recipe that the authors published, ImageNet-1k from scratch.

  Every value is from im1k_token_learner_config.py of the official Scenic code,
  except its stochastic depth of 0.1, which that code sets but never reads.
  """
  batch_size = 4096
  steps_per_epoch = 1281167 // batch_size
  return _experiment(
      vit=dict(variant='B/16', token_learner_location=9, num_tokens=16),
      input_size=[224, 224, 3],
      train_data=dict(tfds_name='imagenet2012', tfds_split='train',
                      crop_area_range=[0.05, 1.0]),
      validation_data=dict(tfds_split='validation'),
      optimizer={'adamw': {
          'weight_decay_rate': 0.3, 'beta_1': 0.9, 'beta_2': 0.999,
          'gradient_clip_norm': 1.0}},
      learning_rate={'polynomial': {
          'initial_learning_rate': 5e-3, 'end_learning_rate': 1e-5}},
      loss=dict(loss='sigmoid'),
      model=dict(head_bias=-10.),
      batch_size=batch_size,
      train_steps=90 * 1281167 // batch_size,
      validation_interval=steps_per_epoch,
      warmup_steps=10000)


@exp_factory.register_config_factory('tokenlearner_imagenet_finetune')
def tokenlearner_imagenet_finetune() -> cfg.ExperimentConfig:
  """Returns fine-tuning on ImageNet-1k at 384 px, "the same as ViT".

  Dosovitskiy et al. 2021 (arXiv 2010.11929), table 4: SGD with momentum 0.9,
  batch 512, cosine, no weight decay, norm clipped at 1, 20,000 steps, learning
  rate one of 0.003, 0.01, 0.03, 0.06. Warm-up of 500 steps and 0.03 are from
  common.py of google-research/vision_transformer.
  """
  batch_size = 512
  return _experiment(
      vit=dict(variant='B/16', token_learner_location=6, num_tokens=8,
               use_token_fuser=True),
      input_size=[384, 384, 3],
      train_data=dict(tfds_name='imagenet2012', tfds_split='train',
                      crop_area_range=[0.05, 1.0]),
      validation_data=dict(tfds_split='validation', center_crop_fraction=1.),
      optimizer={'sgd': {'momentum': 0.9, 'global_clipnorm': 1.0}},
      learning_rate={'cosine': {'initial_learning_rate': 0.03}},
      batch_size=batch_size,
      train_steps=20000,
      validation_interval=1281167 // batch_size,
      warmup_steps=500)


def _randaugment(num_layers: int, magnitude: float) -> common.Augmentation:
  return common.Augmentation(
      type='randaug',
      randaug=common.RandAugment(num_layers=num_layers, magnitude=magnitude))
