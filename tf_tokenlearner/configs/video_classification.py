"""Configs and experiments of video classification.

Every recipe value has its source beside it. Shapes and names that the data set
knows (number of classes, video and label keys) are read from it.
"""

import dataclasses
from typing import List, Optional

from official.core import config_definitions as cfg
from official.vision.configs import common


@dataclasses.dataclass
class DataConfig(cfg.DataConfig):
  """Where videos come from, how clips are cut out and augmented.

  One of tfds_name and input_path is given; validation_data with neither reads
  what train_data reads. A clip has as many frames as model.input_size says, of
  which each lies temporal_stride stored frames after the one before. Training
  takes one clip at a random place, evaluation num_test_clips evenly spread over
  the video times num_test_crops of each, and averages their logits.

  Attributes:
    tfds_name: a TFDS data set, 'name', 'name/config' or the folder of a prepared
      one.
    tfds_split: such as 'train' or 'train[:90%]'.
    input_path: a folder of class folders of video files, or TFRecord files of
      SequenceExamples by pattern, as the Garden reads them.
    seed: of weights, order and augmentation; None draws anew each time.
    deterministic: with seed, the same weights come out of every run, slower.
    shuffle_buffer_size: videos, all their frames encoded.
    video_field_key: feature of the frames; '' lets the data set say.
    label_field_key: feature of the label; '' lets the data set say.
    temporal_stride: stored frames from one frame of a clip to the next.
    short_videos: what follows the last frame of a video that is shorter than a
      clip: 'loop', its first; 'pad', its last again and again.
    labels_of: 'video', a clip has the labels of its video; 'clip', in training
      only those whose span of time it touches (where the data have spans).
    num_test_clips: clips of each video in evaluation.
    num_test_crops: crops of each clip, along the longer side: 1 central, or 3.
    min_image_size: the frames' shorter side in pixels, before the crop.
    scale_jitter: in training the shorter side is min_image_size times a random
      number between these two; [] for none.
    aug_rand_hflip: mirror every second clip.
    color_jitter_probability: of random brightness, contrast, saturation and hue
      for a whole clip.
    color_drop_probability: of a clip becoming grey.
    aug_type: the Garden's RandAugment or AutoAugment, one draw for a clip.
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
  temporal_stride: int = 2
  short_videos: str = 'loop'
  labels_of: str = 'video'
  num_test_clips: int = 1
  num_test_crops: int = 1
  min_image_size: int = 256
  scale_jitter: List[float] = dataclasses.field(
      default_factory=lambda: [0.9, 1.33])
  aug_rand_hflip: bool = True
  color_jitter_probability: float = 0.
  color_drop_probability: float = 0.
  aug_type: Optional[common.Augmentation] = None
  mixup_and_cutmix: Optional[common.MixupAndCutmix] = None
  fps: float = 25.
  stored_short_side: int = 256
  validation_fraction: float = 0.2
  max_unreadable_fraction: float = 0.01
