"""Configs and experiments of video classification.

Every recipe value has its source beside it. Shapes and names that the data set
knows (number of classes, video and label keys) are read from it.
"""

import dataclasses
from typing import ClassVar, List, Optional, Tuple

from official.core import config_definitions as cfg
from official.core import exp_factory
from official.vision.configs import common

from tf_tokenlearner.configs import classification


@dataclasses.dataclass
class DataConfig(cfg.DataConfig):
  """Where videos come from, how clips are cut out and augmented.

  One of tfds_name and input_path is given; validation_data with neither reads
  what train_data reads. A clip has as many frames as model.input_size says, of
  which each lies temporal_stride stored frames after the one before. Training
  takes one clip at a random place, evaluation num_test_clips evenly spread over
  the video times num_test_crops of each, and averages their logits.

  Attributes:
    tfds_name: a TFDS data set, 'name', 'name/config' or the folder of a
      prepared one.
    tfds_split: such as 'train' or 'train[:90%]'.
    input_path: a folder of class folders of video files, or TFRecord files of
      SequenceExamples by pattern, as the Garden reads them.
    seed: of weights, order and augmentation; None draws anew each time.
    deterministic: with seed, the same weights come out of every run, slower.
    shuffle_buffer_size: videos, all their frames encoded.
    video_field_key: feature of the frames; '' lets the data set say.
    label_field_key: feature of the label; '' lets the data set say.
    label_map: {class name in the data: class name of the model}, for data whose
      classes have other names or another order; kept as JSON. Classes that it
      leaves out have the same name in both.
    temporal_stride: stored frames from one frame of a clip to the next; 0: one
      frame all along, to see what it alone can tell.
    short_videos: what follows the last frame of a video that is shorter than a
      clip: 'loop', its first; 'pad', its last again and again.
    labels_of: 'video', a clip has the labels of its video; 'clip', in training
      only those whose span of time it touches (where the data have spans).
    num_test_clips: clips of each video in evaluation.
    num_test_crops: crops of each clip: 1 central, or 3 where most room is.
    min_image_size: the frames' shorter side in pixels, before the crop.
    scale_jitter: in training the shorter side is min_image_size times a random
      number between these two; [] for none.
    aug_rand_hflip: mirror every second clip; None mirrors unless a class name
      contains left or right or the videos are files of a folder.
    color_jitter_probability: of random brightness, contrast, saturation and hue
      for a whole clip.
    color_drop_probability: of a clip becoming grey.
    aug_type: the Garden's RandAugment, less its Cutout, which is of some frames
      only, or AutoAugment; one draw for a clip.
    aug_rand_vflip: turn every second clip upside down, mirrored.
    aug_rotation: rotate a clip by a random angle of up to so many degrees.
    mixup_and_cutmix: the Garden's mixup and cutmix; a batch in training.
    cache: keep what was read, encoded, in memory.
    fps: frames a second that are stored of the files of a folder.
    stored_short_side: pixels of the shorter side, as stored of the files.
    validation_fraction: of a folder without splits, held out.
    max_unreadable_fraction: of a folder's files; they are named and left out.
  """
  shuffle_buffer_size: int = 256
  video_field_key: str = ''
  label_field_key: str = ''
  label_map: str = ''
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
  validation_fraction: float = 0.2
  max_unreadable_fraction: float = 0.01


@dataclasses.dataclass
class VideoClassifier(classification.Classifier):
  """The network.

  Attributes:
    input_size: [frames, height, width, channels] of what the network sees.
    backbone: which one, with its options.
  """
  input_size: List[int] = dataclasses.field(
      default_factory=lambda: [32, 224, 224, 3])
  backbone: classification.VideoBackbone = dataclasses.field(
      default_factory=classification.VideoBackbone)


@dataclasses.dataclass
class VideoClassificationTask(classification.ClassificationTask):
  """The task; see the base class for more.

  init_checkpoint may be of an image run: positions are repeated over time.

  Attributes:
    init_tubelets: what becomes of the patch kernels of an image run:
      'central_frame', they look at the middle frame of a tubelet and the others
      start at zero; 'average', at all frames alike (inflation).
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
  """An experiment; the dicts hold what differs from the defaults.

  backbone is {type: options}; what train_data says of the frames themselves
  holds for evaluation, too.
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
  """The demo: real digits in motion; sizes and schedule found by trial."""
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
  """A folder of class folders; set task.train_data.input_path.

  A small model and a plain recipe for videos that nobody has seen yet.
  """
  return _experiment(
      backbone={'token_learner_vivit': dict(
          variant='Ti/16x4', token_learner_location=6, num_tokens=8)},
      input_size=[32, 224, 224, 3],
      train_data=dict(tfds_split='train', color_jitter_probability=0.8),
      validation_data=dict(tfds_split='validation'),
      optimizer={'adamw': {'weight_decay_rate': 0.05}},
      learning_rate={'cosine': {'initial_learning_rate': 5e-4}},
      loss=dict(label_smoothing=0.1),
      batch_size=16,
      validation_batch_size=16,
      train_steps=10000,
      validation_interval=500,
      warmup_steps=500)


@exp_factory.register_config_factory('tokenlearner_kinetics400')
def tokenlearner_kinetics400() -> cfg.ExperimentConfig:
  """Kinetics-400 as ViViT; task.init_checkpoint gives the image weights."""
  return _kinetics('kinetics400', num_examples=214834)


@exp_factory.register_config_factory('tokenlearner_kinetics600')
def tokenlearner_kinetics600() -> cfg.ExperimentConfig:
  """Kinetics-600 as ViViT; task.init_checkpoint gives the image weights."""
  return _kinetics('kinetics600', num_examples=363213)


def _kinetics(name: str, num_examples: int) -> cfg.ExperimentConfig:
  """'16at12 + L/16', trained as ViViT.

  Arnab et al. 2021 (arXiv 2103.15691 v2), table 7: SGD with momentum 0.9, batch
  64, base rate 0.1, cosine, 30 epochs, 2.5 of warm-up, flips, scale jitter of
  0.9 to 1.33, colour jitter for 0.8 of the clips, no label smoothing, mixup or
  stochastic depth; 4 x 3 views. Numbers of clips, norm clipped at 1, and grey
  for 0.1 of the clips from the configs of the official Scenic code.
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
  """Charades at 12 frames a second: any number of 157 actions a video.

  The model of the paper's section 6 on clips of 64 frames, which have the
  labels whose span they touch. The optimizer is a plain choice, not the
  authors': theirs could not be confirmed.
  """
  return _bottleneck(
      'charades/12fps', num_examples=8000, epochs=100,
      validation_split='test', labels_of='clip', loss=dict(loss='sigmoid'),
      best_metric='mean_average_precision')


@exp_factory.register_config_factory('tokenlearner_avid')
def tokenlearner_avid() -> cfg.ExperimentConfig:
  """AViD, 887 actions, from scratch; the same remark on the optimizer."""
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
