"""Makes batches of clips in [-1, 1] and labels from encoded frames.

Only the frames of a clip are decoded, and of those only the crop. Every random
augmentation is drawn once for all frames of a clip.
"""

from typing import Dict, List, Optional, Sequence

import tensorflow as tf

from tf_tokenlearner.configs import video_classification as config
from tf_tokenlearner.data import augmentation
from tf_tokenlearner.data import batching
from tf_tokenlearner.data import clip_sampling
from tf_tokenlearner.data import pixel_ops
from tf_tokenlearner.data import resizing as resizing_lib
from tf_tokenlearner.data import tfds_source
from tf_tokenlearner.data import views
from tf_tokenlearner import errors

_LABELS_OF = ('video', 'clip')
_PREFETCHED = 2  # Batches; a batch of clips is large.


def open_source(
    params: config.DataConfig) -> Optional[tfds_source.VideoSource]:
  """Opens the data set that a config names; returns None for TFRecord files.

  Raises:
    UserError: the config names none or two, or what it names is not found or
      does not hold videos.
  """
  return batching.open_source(
      params,
      lambda: tfds_source.open_video_source(
          params.tfds_name, params.tfds_data_dir, params.video_field_key,
          params.label_field_key),
      lambda: tfds_source.open_video_folder(
          params.input_path, params.tfds_data_dir, params.validation_fraction,
          fps=params.fps, short_side=params.stored_short_side,
          max_unreadable_fraction=params.max_unreadable_fraction,
          files_dir=params.files_dir))


def check_options(
    name: str, params: config.DataConfig, input_size: Sequence[int],
    resizing: resizing_lib.Resizing = resizing_lib.Resizing()) -> None:
  """Checks the options, and refuses those that would be ignored.

  Args:
    name: of params in the task, such as 'train_data'.
    params: data config.
    input_size: (frames, height, width, channels) of the clips in the batches.
    resizing: how frames get the size of the input.

  Raises:
    UserError: an option is out of range or incompatible with others.
  """
  _, height, width, channels = input_size
  for key, known in (('short_videos', clip_sampling.SHORT_VIDEOS),
                     ('labels_of', _LABELS_OF)):
    if getattr(params, key) not in known:
      raise errors.unknown_name(
          f'task.{name}.{key}', getattr(params, key), known)
  in_evaluation = not params.is_training
  jitter, mix = list(params.scale_jitter), params.mixup_and_cutmix
  batching.require(name, params, (
      (params.temporal_stride >= 0, 'temporal_stride',
       'must be at least 1, or 0 to repeat one frame'),
      (params.num_test_clips >= 1, 'num_test_clips', 'must be at least 1'),
      (params.num_test_crops in (1, 3), 'num_test_crops',
       'must be 1, the centre, or 3, along the longer side'),
      (in_evaluation or params.num_test_clips == 1, 'num_test_clips',
       'is for evaluation; training takes one clip of each video'),
      (resizing.is_crop or params.num_test_crops == 1, 'num_test_crops',
       f'must be 1 with task.resize={resizing.resize}, which crops nothing'),
      (in_evaluation or params.num_test_crops == 1, 'num_test_crops',
       'is for evaluation; training takes one crop of each clip'),
      (params.labels_of == 'video' or params.is_training, 'labels_of',
       'is for training; evaluation needs the labels of the whole video'),
      *((params.is_training or not getattr(params, key), key,
         'is for training; evaluation does not change clips')
        for key in ('color_jitter_probability', 'color_drop_probability',
                    'aug_type', 'aug_rand_vflip', 'aug_rotation')),
      (0 <= params.aug_rotation <= 180, 'aug_rotation',
       'must lie in [0, 180] degrees'),
      (not resizing.is_crop or params.min_image_size >= min(height, width),
       'min_image_size',
       'must be at least the shorter side of input_size, '
       f'{min(height, width)}'),
      (not jitter or len(jitter) == 2 and 0 < jitter[0] <= jitter[1],
       'scale_jitter', 'must be [] or two numbers, 0 < smallest <= largest'),
      (not mix or not mix.cutmix_alpha or height <= width, 'mixup_and_cutmix',
       'mixes labels wrongly with cutmix_alpha > 0 if clips are higher than '
       'wide'),
      (channels == 3 or not params.color_drop_probability,
       'color_drop_probability', 'needs 3 channels'),
      *((0 <= getattr(params, key) <= 1, key, 'must lie in [0, 1]')
        for key in ('color_jitter_probability', 'color_drop_probability'))))
  augmentation.make_augmenter(
      params.aug_type, channels, f'task.{name}.aug_type')


def build_dataset(
    params: config.DataConfig,
    source: Optional[tfds_source.VideoSource],
    input_size: Sequence[int], num_classes: int, multi_label: bool,
    input_context: Optional[tf.distribute.InputContext] = None,
    resizing: resizing_lib.Resizing = resizing_lib.Resizing()
) -> tf.data.Dataset:
  """Makes batches of clips and labels for one replica.

  Args:
    params: data config.
    source: result of `open_source`.
    input_size: (frames, height, width, channels) of the clips.
    num_classes: classes of the labels.
    multi_label: whether labels are [B, num_classes] of zeros and ones.
    input_context: from tf.distribute.
    resizing: how frames get the size of the input.

  Returns:
    In training an endless data set of (float [B, T, H, W, C] in [-1, 1], int
    [B] or float [B, num_classes]). In evaluation each video once, as (float
    [B, V, T, H, W, C], labels as above) with V = num_test_clips times
    num_test_crops views.

  Raises:
    UserError: the data lack what params need.
  """
  if params.labels_of == 'clip' and not (
      multi_label and source and source.has_spans):
    raise errors.UserError(
        'task.train_data.labels_of=clip needs data with any number of labels a '
        'video, each from label_start to label_end, and frames at a known fps; '
        f'{params.tfds_name or params.input_path} lacks them.')
  if params.mixup_and_cutmix and multi_label:
    raise errors.UserError(
        'task.train_data.mixup_and_cutmix cannot mix several labels a video.')
  params = params.replace(
      prefetch_buffer_size=params.prefetch_buffer_size or _PREFETCHED)
  return batching.make_batches(
      params, source, _tfrecord_decoder(params, multi_label),
      _Parser(params, input_size, num_classes, multi_label, resizing),
      num_classes, input_context)


def evaluation_examples(
    params: config.DataConfig,
    source: Optional[tfds_source.VideoSource],
    input_size: Sequence[int], num_classes: int,
    multi_label: bool,
    select: batching.Select = batching.select_all,
    resizing: resizing_lib.Resizing = resizing_lib.Resizing()
) -> tf.data.Dataset:
  """Returns the examples of evaluation as stored, and their middle view.

  Args:
    params: of validation_data; num_test_clips and num_test_crops are ignored.
    source: result of `open_source`.
    input_size: (frames, height, width, channels) of the network's input.
    num_classes: classes of the labels.
    multi_label: as in build_dataset.
    select: chooses among the stored examples.
    resizing: as in build_dataset.

  Returns:
    Data set of (string [F], frames as image files, or uint8 [F, H, W, C];
    float [frames, height, width, channels]; label, as in build_dataset without
    B).
  """
  params = params.replace(num_test_clips=1, num_test_crops=1)
  parser = _Parser(params, input_size, num_classes, multi_label, resizing)

  def both(example):
    views, label = parser(example)
    return example['video'], views[0], label

  return batching.stored_examples(
      params, source, _tfrecord_decoder(params, multi_label), select).map(both)


def stored_fps(params: config.DataConfig) -> Optional[float]:
  """Returns the frames per second of stored videos; None if unknown.

  The data are not prepared. TFDS sets of known rate hold it in each example.
  """
  if params.input_path:
    return params.fps if batching.holds_files(
        str(params.input_path)) else None
  return tfds_source.find_fps(params.tfds_name, params.tfds_data_dir)


def evaluation_view(
    params: config.DataConfig, input_size: Sequence[int],
    resizing: resizing_lib.Resizing = resizing_lib.Resizing()
) -> views.ClipView:
  """Returns the middle view of a video, which exports use.

  Args:
    params: of validation_data.
    input_size: (frames, height, width, channels) of the network's input.
    resizing: how frames get the size of the input.
  """
  return views.ClipView(
      tuple(input_size), stored_fps(params), params.temporal_stride,
      params.short_videos, params.min_image_size, params.stored_short_side,
      resizing)


def ordered_examples(
    params: config.DataConfig, source: Optional[tfds_source.VideoSource],
    input_size: Sequence[int], num_classes: int, multi_label: bool,
    num_copies: int,
    resizing: resizing_lib.Resizing = resizing_lib.Resizing()
) -> tf.data.Dataset:
  """Returns the parsed examples in order, the whole set num_copies times.

  Args:
    params: data config; that of training augments.
    source: result of `open_source`.
    input_size: (frames, height, width, channels) of the clips.
    num_classes: classes of the labels.
    multi_label: as in build_dataset.
    num_copies: passes over the set.
    resizing: as in build_dataset.

  Returns:
    Data set of the elements of build_dataset's batches.
  """
  return batching.ordered_examples(
      params, source, _tfrecord_decoder(params, multi_label),
      _Parser(params, input_size, num_classes, multi_label, resizing),
      num_copies, is_random=bool(random_options(params)))


def random_options(params: config.DataConfig) -> List[str]:
  """Returns what training draws at random: always a clip and its place."""
  return ['the random clip of a video'] if params.is_training else []


class _Parser:
  """Converts a video {'video', 'label', ...} to (clip or views, label)."""

  def __init__(self, params: config.DataConfig, input_size: Sequence[int],
               num_classes: int, multi_label: bool,
               resizing: resizing_lib.Resizing = resizing_lib.Resizing()):
    self._params = params
    self._resizing = resizing
    self._num_frames, *self._size, self._channels = input_size
    self._num_classes = num_classes
    self._multi_label = multi_label
    self._augmenter = augmentation.make_augmenter(
        params.aug_type, self._channels, 'task.train_data.aug_type',
        of_clips=True)

  def __call__(self, example):
    params = self._params
    video, label = _refuse_empty(example), example['label']
    length = tf.shape(video)[0]
    if params.is_training:
      start = clip_sampling.random_start(
          length, self._num_frames, params.temporal_stride)
      indices = self._indices(start, length)
      if params.labels_of == 'clip':
        label = batching.within(
            label, example['label_start'], example['label_end'],
            tf.reduce_min(indices), tf.reduce_max(indices), example['fps'])
      pixels = self._train_pixels(tf.gather(video, indices))
    else:
      starts = clip_sampling.even_starts(
          length, params.num_test_clips, self._num_frames,
          params.temporal_stride)
      pixels = self._views(video, self._indices(starts, length))
    return pixels, batching.for_network(
        label, self._num_classes, self._multi_label)

  def _indices(self, starts, length):
    return clip_sampling.frame_indices(
        starts, length, self._num_frames, self._params.temporal_stride,
        self._params.short_videos)

  def _train_pixels(self, frames):
    """Returns the augmented clip [T, H, W, C] of its stored frames."""
    params = self._params
    x, = self._cut(frames, lambda shape: clip_sampling.random_box(
        shape, self._size, params.min_image_size, params.scale_jitter))
    for is_on, flip in ((params.aug_rand_hflip, clip_sampling.flip_left_right),
                        (params.aug_rand_vflip, clip_sampling.flip_up_down)):
      if is_on:
        x = tf.cond(tf.random.uniform([]) < .5, lambda: flip(x), lambda: x)
    x = self._resizing.fit_in_training(x, self._size)
    if params.aug_rotation:
      x = self._rotate(x)
    x = augmentation.maybe_jitter(x, params.color_jitter_probability)
    x = augmentation.maybe_drop(x, params.color_drop_probability)
    if self._augmenter:
      x = self._augmenter.distort(pixel_ops.to_bytes(x))
      x = pixel_ops.scale(tf.cast(x, tf.float32))
    return tf.ensure_shape(x, [self._num_frames, *self._size, self._channels])

  def _cut(self, frames, boxes_of):
    """Returns the boxes of frames, or the whole frames if nothing is cropped.
    """
    return clip_sampling.cut(
        frames, boxes_of if self._resizing.is_crop else None, self._channels)

  def _rotate(self, clip):
    """Rotates all frames by one angle, as channels of one image."""
    t, (h, w), c = self._num_frames, self._size, self._channels
    image = tf.reshape(tf.transpose(clip, [1, 2, 0, 3]), [h, w, t * c])
    image = augmentation.rotate(image, self._params.aug_rotation)
    return tf.transpose(tf.reshape(image, [h, w, t, c]), [2, 0, 1, 3])

  def _views(self, video, indices):
    """Returns the views [V, T, H, W, C] of clips with frames [clips, T]."""
    params = self._params
    several = params.num_test_clips > 1
    # Frames that clips share are decoded and resized once.
    needed, places = (tf.unique(tf.reshape(indices, [-1])) if several
                      else (indices[0], None))
    crops = self._cut(
        tf.gather(video, needed), lambda shape: clip_sampling.even_boxes(
            shape, self._size, params.min_image_size, params.num_test_crops))
    views = []
    for crop in crops:
      x = self._resizing.fit(crop, self._size)
      x = tf.gather(x, places) if several else x
      views.append(tf.reshape(x, [
          params.num_test_clips, self._num_frames, *self._size,
          self._channels]))
    return tf.reshape(tf.stack(views, axis=1), [
        params.num_test_clips * params.num_test_crops, self._num_frames,
        *self._size, self._channels])


def _refuse_empty(example: Dict[str, tf.Tensor]) -> tf.Tensor:
  """Returns the frames of an example; fails if there are none."""
  video = example['video']
  told = ([example['name']] if 'name' in example
          else ['its label is', example['label']])
  has_frames = tf.debugging.Assert(
      tf.shape(video)[0] > 0, ['A video has no frames:', *told])
  with tf.control_dependencies([has_frames]):
    return tf.identity(video)


def _tfrecord_decoder(params: config.DataConfig, multi_label: bool):
  """Returns a parser of tf.SequenceExample as the Garden reads it."""
  video_key = params.video_field_key or 'image/encoded'
  label_key = params.label_field_key or 'clip/label/index'

  def decode(serialized):
    context, lists = tf.io.parse_single_sequence_example(
        serialized,
        {label_key: (tf.io.VarLenFeature(tf.int64) if multi_label
                     else tf.io.FixedLenFeature([], tf.int64))},
        # Missing frames are refused later, with the video's name.
        {video_key: tf.io.FixedLenSequenceFeature(
            [], tf.string, allow_missing=True)})
    label = context[label_key]
    return {'video': lists[video_key],
            'label': tf.sparse.to_dense(label) if multi_label else label}

  return decode
