"""Makes batches of pixels in [-1, 1] and labels from encoded images.

Images come from a TFDS data set, a folder or TFRecord files; each is decoded
once and never encoded again.
"""

from typing import List, Optional, Sequence

import tensorflow as tf
from official.vision.ops import augment

from tf_tokenlearner.configs import image_classification as config
from tf_tokenlearner.data import augmentation
from tf_tokenlearner.data import batching
from tf_tokenlearner.data import pixel_ops
from tf_tokenlearner.data import resizing as resizing_lib
from tf_tokenlearner.data import tfds_source
from tf_tokenlearner.data import views


def open_source(
    params: config.DataConfig) -> Optional[tfds_source.ImageSource]:
  """Opens the data set that a config names; returns None for TFRecord files.

  Raises:
    UserError: the config names none or two, or what it names is not found or
      does not hold images.
  """
  return batching.open_source(
      params,
      lambda: tfds_source.open_image_source(
          params.tfds_name, params.tfds_data_dir, params.image_field_key,
          params.label_field_key),
      lambda: tfds_source.open_image_folder(
          params.input_path, params.tfds_data_dir, params.validation_fraction,
          max_unreadable_fraction=params.max_unreadable_fraction,
          files_dir=params.files_dir))


def check_options(
    name: str, params: config.DataConfig, input_size: Sequence[int],
    unused_resizing: resizing_lib.Resizing = resizing_lib.Resizing()) -> None:
  """Checks the options of augmentation.

  Args:
    name: of params in the task, such as 'train_data'.
    params: data config.
    input_size: (height, width, channels) of the images in the batches.

  Raises:
    UserError: an option is out of range or incompatible with input_size.
  """
  low, high = params.crop_area_range
  height, width, channels = input_size
  batching.require(name, params, (
      (0 < params.center_crop_fraction <= 1, 'center_crop_fraction',
       'must lie in (0, 1]'),
      (0 < low <= high <= 1, 'crop_area_range',
       'must be two shares of the area, 0 < smallest <= largest <= 1'),
      (0 <= params.aug_shift < min(height, width), 'aug_shift',
       f'must be at least 0 and below the image size {height} x {width}'),
      (0 <= params.aug_rotation <= 180, 'aug_rotation',
       'must lie in [0, 180] degrees'),
      (params.color_jitter == 0 or (
          params.color_jitter > 0 and channels in (1, 3)),
       'color_jitter', f'must be at least 0, and 0 with {channels} channels')))


def build_dataset(
    params: config.DataConfig, source: Optional[tfds_source.ImageSource],
    input_size: Sequence[int], num_classes: int, multi_label: bool,
    input_context: Optional[tf.distribute.InputContext] = None,
    resizing: resizing_lib.Resizing = resizing_lib.Resizing()
) -> tf.data.Dataset:
  """Makes batches of images and labels for one replica.

  Args:
    params: data config. An unset aug_rand_hflip mirrors nothing.
    source: result of `open_source`.
    input_size: (height, width, channels) of the images in the batches.
    num_classes: classes of the labels.
    multi_label: whether labels are [B, num_classes] of zeros and ones.
    input_context: from tf.distribute.
    resizing: how pictures get the size of the input.

  Returns:
    Data set of (float [B, height, width, channels] in [-1, 1], int [B] or float
    [B, num_classes]); endless in training, each example once in evaluation.
  """
  return batching.make_batches(
      params, source, _tfrecord_decoder(params, multi_label),
      _Parser(params, input_size, num_classes, multi_label, resizing),
      num_classes, input_context)


def evaluation_view(
    params: config.DataConfig, input_size: Sequence[int],
    resizing: resizing_lib.Resizing = resizing_lib.Resizing()
) -> views.ImageView:
  """Returns the view that evaluation takes of an image.

  Args:
    params: of validation_data. Its center_crop_fraction holds for crops only.
    input_size: (height, width, channels) of the network's input.
    resizing: how pictures get the size of the input.
  """
  fraction = params.center_crop_fraction if resizing.is_crop else 1.
  return views.ImageView(tuple(input_size), fraction, resizing)


def evaluation_examples(
    params: config.DataConfig, source: Optional[tfds_source.ImageSource],
    input_size: Sequence[int], num_classes: int,
    multi_label: bool,
    select: batching.Select = batching.select_all,
    resizing: resizing_lib.Resizing = resizing_lib.Resizing()
) -> tf.data.Dataset:
  """Returns the examples of evaluation as stored and as the network sees them.

  Args:
    params: of validation_data.
    source: result of `open_source`.
    input_size: (height, width, channels) of the network's input.
    num_classes: classes of the labels.
    multi_label: as in build_dataset.
    select: chooses among the stored examples.
    resizing: as in build_dataset.

  Returns:
    Data set of (string [], the content of an image file, or uint8 [H, W, C];
    float [height, width, channels]; label, as in build_dataset without B).
  """
  parser = _Parser(params, input_size, num_classes, multi_label, resizing)
  return batching.stored_examples(
      params, source, _tfrecord_decoder(params, multi_label), select).map(
          lambda example: (example['image'], *parser(example)))


def ordered_examples(
    params: config.DataConfig, source: Optional[tfds_source.ImageSource],
    input_size: Sequence[int], num_classes: int, multi_label: bool,
    num_copies: int,
    resizing: resizing_lib.Resizing = resizing_lib.Resizing()
) -> tf.data.Dataset:
  """Returns the parsed examples in order, the whole set num_copies times.

  Args:
    params: data config; that of training augments.
    source: result of `open_source`.
    input_size: (height, width, channels) of the images.
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
  """Returns the options of training that draw random numbers."""
  return [name for name in (
      'aug_crop', 'aug_shift', 'aug_rand_hflip', 'aug_rand_vflip',
      'aug_rotation', 'aug_type', 'color_jitter', 'random_erasing')
          if params.is_training and getattr(params, name)]


class _Parser:
  """Converts an example {'image', 'label'} to (pixels, label)."""

  def __init__(self, params: config.DataConfig, input_size: Sequence[int],
               num_classes: int, multi_label: bool,
               resizing: resizing_lib.Resizing = resizing_lib.Resizing()):
    self._params = params
    self._input_size = tuple(input_size)
    self._view = evaluation_view(params, input_size, resizing)
    self._num_classes = num_classes
    self._multi_label = multi_label
    self._augmenter = augmentation.make_augmenter(
        params.aug_type, self._input_size[-1])
    self._erasing = params.random_erasing and augment.RandomErasing(
        **params.random_erasing.as_dict())

  def __call__(self, example):
    pixels = (self._train_pixels(example['image'])
              if self._params.is_training
              else self._view.read(example['image']))
    pixels = tf.ensure_shape(pixels, self._input_size)
    return pixels, batching.for_network(
        example['label'], self._num_classes, self._multi_label)

  def _train_pixels(self, image):
    params = self._params
    height, width, channels = self._input_size
    resizing = self._view.resizing
    if params.aug_crop:
      box = augmentation.random_box(
          params.crop_area_range, of_picture=not resizing.is_crop)
    elif resizing.is_crop:
      box = lambda shape: views.central_box(shape, height / width, 1.)
    else:
      box = resizing_lib.whole
    x = pixel_ops.decode_box(image, box, channels)
    if params.aug_rand_hflip:
      x = tf.image.random_flip_left_right(x)
    if params.aug_rand_vflip:
      x = tf.image.random_flip_up_down(x)
    x = resizing.fit_in_training(x, [height, width])
    if params.aug_rotation:
      x = augmentation.rotate(x, params.aug_rotation)
    if params.aug_shift:
      margin = [[params.aug_shift] * 2] * 2 + [[0, 0]]
      x = tf.image.random_crop(
          tf.pad(x, margin, 'REFLECT'), self._input_size)
    if params.color_jitter > 0 or self._augmenter:
      x = pixel_ops.to_bytes(x)
      if params.color_jitter > 0:
        x = augmentation.jitter(x, params.color_jitter)
      if self._augmenter:
        x = self._augmenter.distort(x)
      x = pixel_ops.scale(tf.cast(x, tf.float32))
    return self._erasing.distort(x) if self._erasing else x


def _tfrecord_decoder(params: config.DataConfig, multi_label: bool):
  """Returns a parser of tf.Example as the Garden's scripts write it."""
  image_key = params.image_field_key or 'image/encoded'
  label_key = params.label_field_key or 'image/class/label'
  features = {
      image_key: tf.io.FixedLenFeature([], tf.string),
      label_key: (tf.io.VarLenFeature(tf.int64) if multi_label
                  else tf.io.FixedLenFeature([], tf.int64)),
  }

  def decode(serialized):
    parsed = tf.io.parse_single_example(serialized, features)
    label = parsed[label_key]
    return {'image': parsed[image_key],
            'label': tf.sparse.to_dense(label) if multi_label else label}

  return decode
