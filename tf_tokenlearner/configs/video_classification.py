"""Configs and experiments of video classification.

Comments name the source of every recipe value. The number of classes and the
video and label keys are read from the data set.
"""

import dataclasses
from typing import ClassVar, List, Optional, Tuple

from official.core import config_definitions as cfg
from official.core import exp_factory
from official.vision.configs import common

from tf_tokenlearner.configs import classification


@dataclasses.dataclass
class DataConfig(cfg.DataConfig):
  """Source of the videos, selection of clips and their augmentation.

  One of tfds_name and input_path is given; validation_data with neither reads
  the source of train_data. model.input_size determines the number of frames of
  a clip; consecutive frames are temporal_stride stored frames apart. Training
  takes one clip at a random position. Evaluation averages the logits of
  num_test_clips clips, evenly spaced over the video, times num_test_crops crops
  of each.

  Attributes:
    tfds_name: TFDS data set: 'name', 'name/config' or the folder of a prepared
      one.
    tfds_split: split, such as 'train' or 'train[:90%]'.
    input_path: folder of class folders of video files; CSV file with columns
      file, label and optionally split; or pattern of TFRecord files of
      SequenceExamples, as the Garden reads them.
    global_batch_size: examples in a batch, over all replicas. None fits it to
      the number of training examples.
    seed: seed of weights, order and augmentation; None draws a new one.
    deterministic: with seed, makes runs repeatable; slower.
    shuffle_buffer_size: number of videos, with all their encoded frames.
    video_field_key: feature of the frames; '' finds it in the data set.
    label_field_key: feature of the label; '' finds it in the data set.
    label_map: {class name in the data: class name of the model}, for data whose
      classes have other names or another order; kept as JSON. Classes that it
      leaves out have the same name in both.
    sampling: order of training: 'natural' passes over the data; 'balanced'
      repeats and leaves out examples at random, so that all classes are equally
      frequent.
    temporal_stride: stored frames from one frame of a clip to the next; 0
      repeats a single frame, a baseline without motion.
    short_videos: continuation of a video that is shorter than a clip: 'loop'
      starts it again, 'pad' repeats its last frame.
    labels_of: 'video': a clip has the labels of its video; 'clip': in training,
      it has those whose time span it overlaps (if the data have spans).
    num_test_clips: clips per video in evaluation.
    num_test_crops: crops per clip in evaluation: 1 in the center, or 3 along
      the longer side.
    min_image_size: shorter side of the frames before the crop, in pixels.
    scale_jitter: range of a random factor of min_image_size in training; [] for
      none.
    aug_rand_hflip: mirrors clips, left to right, with probability 0.5; None
      mirrors unless a class name contains the word left or right or input_path
      is set.
    color_jitter_probability: probability of random brightness, contrast,
      saturation and hue, the same for all frames of a clip.
    color_drop_probability: probability that a clip becomes grey.
    aug_type: the Garden's AutoAugment, or its RandAugment without Cutout, which
      would change only some frames; drawn once per clip.
    aug_rand_vflip: flips clips upside down with probability 0.5.
    aug_rotation: maximum angle of a random rotation of a clip, in degrees.
    mixup_and_cutmix: the Garden's Mixup and CutMix, in training only.
    cache: keeps the encoded examples in memory.
    fps: frames per second that are stored of the files of a folder.
    stored_short_side: shorter side of the stored frames, in pixels.
    files_dir: folder that the paths in a CSV file start from; '' is the folder
      of the CSV file.
    validation_fraction: fraction of a folder or CSV file without splits that is
      held out.
    max_unreadable_fraction: fraction of the files of a folder or CSV file that
      may be unreadable; they are listed and left out.
  """
  global_batch_size: Optional[int] = 0
  shuffle_buffer_size: int = 256
  video_field_key: str = ''
  label_field_key: str = ''
  label_map: str = ''
  sampling: str = 'natural'
  temporal_stride: int = 2
  short_videos: str = 'loop'
  labels_of: str = 'video'
  num_test_clips: int = 1
  num_test_crops: int = 1
  min_image_size: int = 256
  scale_jitter: List[float] = dataclasses.field(
      default_factory=lambda: [0.9, 1.33])
  aug_rand_hflip: Optional[bool] = None
  color_jitter_probability: float = 0.
  color_drop_probability: float = 0.
  aug_type: Optional[common.Augmentation] = None
  aug_rand_vflip: bool = False
  aug_rotation: float = 0.
  mixup_and_cutmix: Optional[common.MixupAndCutmix] = None
  fps: float = 25.
  stored_short_side: int = 256
  files_dir: str = ''
  validation_fraction: float = 0.2
  max_unreadable_fraction: float = 0.01


@dataclasses.dataclass
class VideoClassifier(classification.Classifier):
  """The network.

  Attributes:
    input_size: [T, H, W, C], the shape of the network's input.
    backbone: type and options of the backbone.
  """
  input_size: List[int] = dataclasses.field(
      default_factory=lambda: [32, 224, 224, 3])
  backbone: classification.VideoBackbone = dataclasses.field(
      default_factory=classification.VideoBackbone)


@dataclasses.dataclass
class VideoClassificationTask(classification.ClassificationTask):
  """The task; see the base class for more.

  init_checkpoint may be an image run, whose position embeddings are repeated
  over time.

  Attributes:
    init_tubelets: initialization of tubelet kernels from the patch kernels of
      an image run: 'central_frame' copies them to the middle frame and sets the
      others to zero; 'average' spreads them over all frames (inflation).
  """
  SOURCE_KEYS: ClassVar[Tuple[str, ...]] = (
      *classification.ClassificationTask.SOURCE_KEYS,
      'video_field_key', 'fps', 'stored_short_side')
  model: VideoClassifier = dataclasses.field(default_factory=VideoClassifier)
  train_data: DataConfig = dataclasses.field(
      default_factory=lambda: DataConfig(is_training=True))
  validation_data: DataConfig = dataclasses.field(
      default_factory=lambda: DataConfig(
          is_training=False, drop_remainder=False))
  init_tubelets: str = 'central_frame'


def _experiment(
    *, backbone: dict, input_size: List[int], train_data: dict,
    validation_data: dict, batch_size: int, validation_batch_size: int,
    loss: Optional[dict] = None, model: Optional[dict] = None,
    **training) -> cfg.ExperimentConfig:
  """Returns an experiment; the dicts hold values that differ from defaults.

  backbone is {type: options}. Evaluation inherits temporal_stride and
  min_image_size of train_data.
  """
  (backbone_type, options), = backbone.items()
  chosen = classification.VideoBackbone(type=backbone_type)
  chosen.override({backbone_type: options})
  frames = {
      key: train_data[key] for key in ('temporal_stride', 'min_image_size')
      if key in train_data}
  return classification.experiment(
      VideoClassificationTask(
          model=VideoClassifier(
              input_size=input_size,
              backbone=chosen,
              **(model or {})),
          train_data=DataConfig(
              is_training=True, global_batch_size=batch_size, **train_data),
          validation_data=DataConfig(
              is_training=False, drop_remainder=False,
              global_batch_size=validation_batch_size, scale_jitter=[],
              aug_rand_hflip=False, **{**frames, **validation_data}),
          losses=classification.Losses(**(loss or {}))),
      **training)


@exp_factory.register_config_factory('tokenlearner_moving_digits')
def tokenlearner_moving_digits() -> cfg.ExperimentConfig:
  """Returns the demo on moving real digits; sizes and schedule by trial."""
  batch_size = 64
  steps_per_epoch = 5748 // batch_size
  return _experiment(
      backbone={'token_learner_vivit': dict(
          variant='Ti/8x2', num_layers=4, hidden_size=64, mlp_dim=128,
          num_heads=4, token_learner_location=1, num_tokens=4)},
      input_size=[16, 32, 32, 1],
      train_data=dict(
          tfds_name='moving_digits', tfds_split='train', temporal_stride=1,
          min_image_size=32, scale_jitter=[], aug_rand_hflip=False,
          shuffle_buffer_size=5748),
      validation_data=dict(tfds_split='test'),
      optimizer={'adamw': {'weight_decay_rate': 1e-3}},
      learning_rate={'cosine': {'initial_learning_rate': 2e-3}},
      batch_size=batch_size,
      validation_batch_size=batch_size,
      train_steps=6 * steps_per_epoch,
      validation_interval=steps_per_epoch,
      warmup_steps=100)


@exp_factory.register_config_factory('tokenlearner_video_folder')
def tokenlearner_video_folder() -> cfg.ExperimentConfig:
  """Returns an experiment on a folder, task.train_data.input_path."""
  return _experiment(
      backbone={'token_learner_vivit': dict(
          variant='Ti/16x4', token_learner_location=6, num_tokens=8)},
      input_size=[32, 224, 224, 3],
      train_data=dict(tfds_split='train', color_jitter_probability=0.8),
      validation_data=dict(tfds_split='validation'),
      batch_size=16,
      validation_batch_size=16,
      **classification.own_data_recipe())


@exp_factory.register_config_factory('tokenlearner_kinetics400')
def tokenlearner_kinetics400() -> cfg.ExperimentConfig:
  """Returns Kinetics-400 as in ViViT, from the image model init_checkpoint."""
  return _kinetics('kinetics400', num_examples=214834)


@exp_factory.register_config_factory('tokenlearner_kinetics600')
def tokenlearner_kinetics600() -> cfg.ExperimentConfig:
  """Returns Kinetics-600 as in ViViT, from the image model init_checkpoint."""
  return _kinetics('kinetics600', num_examples=363213)


def _kinetics(name: str, num_examples: int) -> cfg.ExperimentConfig:
  """Returns the paper's '16at12 + L/16', trained as ViViT.

  Arnab et al. 2021 (arXiv 2103.15691 v2), table 7: SGD with momentum 0.9, batch
  64, base rate 0.1, cosine, 30 epochs, 2.5 of warm-up, flips, scale jitter of
  0.9 to 1.33, colour jitter for 0.8 of the clips, no label smoothing, mixup or
  stochastic depth; 4 x 3 views. The number of clips, the norm clipped at 1 and
  grey for 0.1 of the clips are from the configs of the official Scenic code.
  """
  batch_size = 64
  steps_per_epoch = num_examples // batch_size
  return _experiment(
      backbone={'token_learner_vivit': dict(
          variant='L/16x2', token_learner_location=12, num_tokens=16)},
      input_size=[32, 224, 224, 3],
      train_data=dict(
          tfds_name=name, tfds_split='train', color_jitter_probability=0.8,
          color_drop_probability=0.1),
      validation_data=dict(
          tfds_split='validation', num_test_clips=4, num_test_crops=3),
      optimizer={'sgd': {'momentum': 0.9, 'global_clipnorm': 1.0}},
      learning_rate={'cosine': {'initial_learning_rate': 0.1}},
      batch_size=batch_size,
      validation_batch_size=8,  # Times 12 views.
      train_steps=30 * steps_per_epoch,
      validation_interval=5 * steps_per_epoch,
      warmup_steps=round(2.5 * steps_per_epoch))


@exp_factory.register_config_factory('tokenlearner_charades')
def tokenlearner_charades() -> cfg.ExperimentConfig:
  """Returns an experiment on Charades at 12 frames per second, 157 actions.

  This is the model of the paper's section 6 on clips of 64 frames, which have
  the labels whose time span they overlap. The optimizer is a plain choice, as
  the authors' could not be confirmed.
  """
  return _bottleneck(
      'charades/12fps', num_examples=8000, epochs=100,
      validation_split='test', labels_of='clip', loss=dict(loss='sigmoid'),
      best_metric='mean_average_precision')


@exp_factory.register_config_factory('tokenlearner_avid')
def tokenlearner_avid() -> cfg.ExperimentConfig:
  """Returns an experiment on AViD, 887 actions; optimizer as for Charades."""
  return _bottleneck(
      'avid', num_examples=410000, epochs=30, validation_split='validation')


def _bottleneck(name: str, num_examples: int, epochs: int,
                validation_split: str, labels_of: str = 'video',
                **options) -> cfg.ExperimentConfig:
  batch_size = 64
  steps_per_epoch = num_examples // batch_size
  return _experiment(
      backbone={'token_learner_bottleneck': {}},
      input_size=[64, 224, 224, 3],
      train_data=dict(
          tfds_name=name, tfds_split='train', temporal_stride=1,
          labels_of=labels_of),
      validation_data=dict(tfds_split=validation_split, num_test_clips=4),
      optimizer={'sgd': {'momentum': 0.9, 'global_clipnorm': 1.0}},
      learning_rate={'cosine': {'initial_learning_rate': 0.1}},
      batch_size=batch_size,
      validation_batch_size=8,
      train_steps=epochs * steps_per_epoch,
      validation_interval=5 * steps_per_epoch,
      warmup_steps=2 * steps_per_epoch,
      **options)
