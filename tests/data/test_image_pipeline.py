"""Image pipeline: pixels and labels of batches, eagerly and in tf.data."""

import dataclasses
import io

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow.python.framework import config as determinism
import tf_keras

from tf_tokenlearner import errors
from tf_tokenlearner.configs import image_classification as config
from tf_tokenlearner.data import image_pipeline
from tf_tokenlearner.data import resizing
from tf_tokenlearner.data import views
from official.vision.configs import common


def evaluation_config(**kwargs):
  return config.DataConfig(
      is_training=False, drop_remainder=False, **{
          'global_batch_size': 2, 'center_crop_fraction': 1.,
          'tfds_split': 'all', **kwargs})


def training_config(**kwargs):
  return config.DataConfig(is_training=True, **{
      'global_batch_size': 2, 'aug_crop': False, 'aug_rand_hflip': False,
      'tfds_split': 'all', 'seed': 3,
      'shuffle_buffer_size': 4, **kwargs})


@dataclasses.dataclass
class Source:
  """Stands for a tfds_source.ImageSource; holds its examples in memory."""
  images: list
  labels: list
  multi_label: bool = False
  label_names: tuple = ()

  def num_files(self, split):
    del split
    return 1

  def as_dataset(self, split, *, read_config, shuffle_files):
    del split, shuffle_files
    examples = list(zip(self.images, self.labels))
    label = tf.TensorSpec([None] if self.multi_label else [], tf.int64)
    is_encoded = isinstance(self.images[0], bytes)
    image = tf.TensorSpec(
        [] if is_encoded else self.images[0].shape,
        tf.string if is_encoded else tf.uint8)
    dataset = tf.data.Dataset.from_generator(
        lambda: ({'image': i, 'label': l} for i, l in examples),
        output_signature={'image': image, 'label': label})
    return dataset.repeat() if read_config.repeat_filenames else dataset


def noise(height, width, channels=3, seed=0):
  return np.random.default_rng(seed).integers(
      0, 256, [height, width, channels], dtype=np.uint8)


def build(params, source, input_size, num_classes=5):
  return image_pipeline.build_dataset(
      params, source, input_size, num_classes, source.multi_label)


def test_pixels_lie_in_minus_one_to_one():
  image = np.array([[[0], [255]], [[127], [128]]], np.uint8)
  pixels = views.ImageView((2, 2, 1), 1.).to_pixels(tf.constant(image))
  np.testing.assert_allclose(
      pixels[..., 0], [[-1, 1], [-1 / 255, 1 / 255]], atol=1e-6)


def test_evaluation_takes_the_centre():
  image = np.zeros([4, 8, 1], np.uint8)
  image[:, 2:6] = 255
  pixels = views.ImageView((4, 4, 1), 1.).to_pixels(tf.constant(image))
  np.testing.assert_array_equal(pixels, np.ones([4, 4, 1]))
  smaller = views.ImageView((2, 2, 1), .5).to_pixels(
      tf.constant(np.pad(image[:, 2:6], [[2, 2], [2, 2], [0, 0]])))
  np.testing.assert_array_equal(smaller, np.ones([2, 2, 1]))


def test_rectangular_network_sees_a_rectangle():
  image = np.arange(8, dtype=np.uint8)[None, :, None].repeat(8, 0)
  pixels = views.ImageView((8, 4, 1), 1.).to_pixels(tf.constant(image))
  np.testing.assert_allclose(
      (pixels[0, :, 0] + 1) * 127.5, [2, 3, 4, 5], atol=1e-4)


def test_batches_of_images_equal_single_ones():
  images = np.stack([noise(9, 7, seed=i) for i in range(3)])
  together = views.ImageView((4, 4, 3), .9).to_pixels(tf.constant(images))
  for image, pixels in zip(images, together):
    np.testing.assert_allclose(
        views.ImageView((4, 4, 3), .9).to_pixels(tf.constant(image)),
        pixels, atol=1e-6)


def test_channels_are_converted():
  grey = noise(3, 3, 1)
  colour = views.ImageView((3, 3, 3), 1.).to_pixels(tf.constant(grey))
  np.testing.assert_allclose(colour[..., 0], colour[..., 2])
  back = views.ImageView((3, 3, 1), 1.).to_pixels(tf.constant(noise(3, 3)))
  assert back.shape == [3, 3, 1]
  with pytest.raises(errors.UserError, match='only 1 and 3 can be converted'):
    views.ImageView((3, 3, 3), 1.).to_pixels(tf.constant(noise(3, 3, 2)))


@pytest.mark.parametrize('encode', [tf.io.encode_png, tf.io.encode_jpeg])
@pytest.mark.parametrize('fraction', [1., .7])
def test_encoded_images_equal_decoded_ones(encode, fraction):
  data = encode(noise(40, 30)).numpy()
  decoded = tf.io.decode_image(data, expand_animations=False)
  expected = views.ImageView((16, 16, 3), fraction).to_pixels(decoded)
  dataset = build(evaluation_config(center_crop_fraction=fraction),
                  Source([data], [1]), (16, 16, 3))
  (pixels, label), = dataset
  np.testing.assert_allclose(pixels[0], expected, atol=1e-6)
  np.testing.assert_array_equal(label, [1])


@pytest.mark.parametrize('mode', ['letterbox', 'stretch'])
def test_training_sees_the_pixels_of_evaluation(mode):
  """Without random crop, whole pictures are the same in both."""
  options = resizing.Resizing(mode, 'bicubic', True)
  for shape in ((40, 13), (17, 60), (1, 50)):
    example = {'image': tf.io.encode_jpeg(noise(*shape)), 'label': 1}
    trained, evaluated = (
        image_pipeline._Parser(params, (16, 12, 3), 5, False, options)(
            example)[0]
        for params in (training_config(),
                       evaluation_config(center_crop_fraction=.5)))
    np.testing.assert_array_equal(trained, evaluated)
    assert (trained == 0).numpy().all(-1).any() == (mode == 'letterbox')


def test_grey_is_kept_and_every_format_converts_to_grey():
  grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
  source = Source([tf.io.encode_png(grey).numpy()], [0])
  (pixels, _), = build(evaluation_config(), source, (16, 16, 1))
  np.testing.assert_array_equal(pixels[0], grey / np.float32(127.5) - 1)
  gif = (b'GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,'
         b'\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;')
  (pixels, _), = build(evaluation_config(), Source([gif], [0]), (1, 1, 1))
  np.testing.assert_array_equal(pixels[0, 0, 0], [1])


def test_evaluation_gives_every_example_once():
  images = [noise(4, 4, seed=i) for i in range(5)]
  dataset = build(evaluation_config(), Source(images, list(range(5))),
                  (4, 4, 3))
  labels = np.concatenate([labels for _, labels in dataset])
  np.testing.assert_array_equal(labels, range(5))


def test_training_without_augmentation_shows_the_image():
  image = noise(6, 6)
  dataset = build(training_config(), Source([image], [2]), (6, 6, 3))
  pixels, labels = next(iter(dataset))
  np.testing.assert_allclose(pixels[1], image / 127.5 - 1, atol=1e-6)
  np.testing.assert_array_equal(labels, [2, 2])


@pytest.mark.parametrize('options', [
    dict(aug_crop=True), dict(aug_rand_hflip=True), dict(aug_shift=2),
    dict(aug_rand_vflip=True), dict(aug_rotation=30.), dict(color_jitter=.5),
    dict(random_erasing=common.RandomErasing(probability=1.)),
    dict(aug_type=common.Augmentation(type='randaug')),
    dict(aug_type=common.Augmentation(type='autoaug'))])
def test_augmentations_act_in_training_only(options):
  image = tf.io.encode_jpeg(noise(48, 48)).numpy()
  decoded = tf.io.decode_jpeg(image).numpy() / 127.5 - 1
  source = Source([image], [0])
  changed = 0
  for pixels, _ in build(
      training_config(**options), source, (48, 48, 3)).take(4):
    assert np.isfinite(pixels).all()
    if 'random_erasing' not in options:  # It erases with noise.
      assert np.abs(pixels).max() <= 1 + 1e-6
    changed += (np.abs(pixels - decoded).max(axis=(1, 2, 3)) > .01).sum()
  assert changed >= 2
  (pixels, _), = build(evaluation_config(**options), source, (48, 48, 3))
  np.testing.assert_allclose(pixels[0], decoded, atol=1e-6)


def test_shift_moves_the_image():
  image = np.zeros([6, 6, 1], np.uint8)
  image[2:4, 2:4] = 255
  dataset = build(training_config(aug_shift=1), Source([image], [0]), (6, 6, 1))
  corners = set()
  for pixels, _ in dataset.take(20):
    rows, columns = np.where(pixels[0, :, :, 0] > 0)
    assert len(rows) == 4
    corners.add((rows.min(), columns.min()))
  assert len(corners) > 4
  assert corners <= {(y, x) for y in (1, 2, 3) for x in (1, 2, 3)}


def test_mixup_mixes_labels():
  images = [np.full([4, 4, 3], 255 * i, np.uint8) for i in range(2)]
  mix = common.MixupAndCutmix(cutmix_alpha=0., label_smoothing=0.)
  dataset = build(training_config(mixup_and_cutmix=mix),
                  Source(images, [0, 1]), (4, 4, 3), num_classes=2)
  pixels, labels = next(iter(dataset))
  np.testing.assert_allclose(tf.reduce_sum(labels, -1), [1, 1], rtol=1e-5)
  # White is class 1: the share of class 1 is how white the image is.
  np.testing.assert_allclose(
      (pixels[:, 0, 0, 0] + 1) / 2, labels[:, 1], atol=.01)


def test_several_labels_become_multi_hot():
  source = Source([noise(4, 4)] * 2, [[0, 3], []], multi_label=True)
  (_, labels), = build(evaluation_config(), source, (4, 4, 3))
  np.testing.assert_array_equal(labels, [[1, 0, 0, 1, 0], [0, 0, 0, 0, 0]])


@pytest.mark.parametrize('label', [5, -1])
def test_label_out_of_range(label):
  dataset = build(
      evaluation_config(), Source([noise(4, 4)], [label]), (4, 4, 3))
  with pytest.raises(tf.errors.InvalidArgumentError,
                     match='A label is not in 0..4; -1 marks a split without'):
    next(iter(dataset))


def test_cache_holds_examples_before_augmentation():
  image = noise(6, 6)
  dataset = build(training_config(cache=True, aug_rand_hflip=True),
                  Source([image], [0]), (6, 6, 3))
  seen = {pixels[0].numpy().tobytes() for pixels, _ in dataset.take(12)}
  assert len(seen) == 2  # As it is, and mirrored.
  (pixels, _), = build(evaluation_config(cache=True),
                       Source([image], [0]), (6, 6, 3))
  np.testing.assert_allclose(pixels[0], image / 127.5 - 1, atol=1e-6)
  with pytest.raises(errors.UserError, match='cache is not supported'):
    image_pipeline.build_dataset(
        evaluation_config(cache=True), None, (6, 6, 3), 5, False)


@pytest.mark.parametrize('options', [
    dict(color_jitter=.5), dict(aug_rotation=30.), dict(aug_rand_vflip=True),
    dict(aug_type=common.Augmentation(type='randaug'))])
def test_augmentation_of_grey_images(options):
  image = noise(16, 16, 1)
  params = training_config(**options)
  image_pipeline.check_options('train_data', params, (16, 16, 1))
  seen = {pixels[0].numpy().tobytes() for pixels, _ in build(
      params, Source([image], [0]), (16, 16, 1)).take(8)}
  assert len(seen) > 1


def test_vertical_flip():
  image = noise(6, 6)
  seen = {pixels[0].numpy().tobytes() for pixels, _ in build(
      training_config(aug_rand_vflip=True), Source([image], [0]), (6, 6, 3)
      ).take(12)}
  first, second = (np.frombuffer(data, np.float32).reshape(6, 6, 3)
                   for data in seen)
  np.testing.assert_array_equal(first, second[::-1])


@pytest.mark.parametrize('flip', [True, False])
def test_horizontal_flip(flip):
  source = Source([noise(6, 6)], [0])
  dataset = build(training_config(aug_rand_hflip=flip), source, (6, 6, 3))
  seen = {pixels[0].numpy().tobytes() for pixels, _ in dataset.take(12)}
  assert len(seen) == 1 + flip


def test_invalid_augmentation():
  with pytest.raises(errors.UserError, match='needs 1 or 3 channels'):
    build(training_config(aug_type=common.Augmentation(type='randaug')),
          Source([noise(4, 4, 2)], [0]), (4, 4, 2))
  with pytest.raises(errors.UserError, match='Unknown aug_type.type'):
    build(training_config(aug_type=common.Augmentation(
        type='ssd_random_crop')), Source([noise(4, 4)], [0]), (4, 4, 3))
  for options, message in (
      (dict(aug_rotation=181.), r'aug_rotation must lie in \[0, 180\] degrees'),
      (dict(color_jitter=.1), 'color_jitter must be at least 0, and 0 with 2')):
    with pytest.raises(errors.UserError, match=message):
      image_pipeline.check_options(
          'train_data', training_config(**options), (4, 4, 2))


def stored_and_upright(kind, tag):
  """Returns a file with an orientation tag, and as PNG the upright image."""
  exif = PIL.Image.Exif()
  exif[0x0112] = tag
  file, upright = io.BytesIO(), io.BytesIO()
  options = {'lossless': True} if kind == 'WEBP' else {'quality': 95}
  # Blocks, as two JPEG decoders differ at edges of colour only.
  pixels = noise(3, 4, seed=2).repeat(16, 0).repeat(16, 1)
  PIL.Image.fromarray(pixels).save(file, kind, exif=exif, **options)
  plain = tf.io.decode_image(
      file.getvalue(), channels=3, expand_animations=False).numpy()
  image = PIL.Image.fromarray(plain)
  image.getexif()[0x0112] = tag
  PIL.ImageOps.exif_transpose(image).save(upright, 'PNG')
  return file.getvalue(), upright.getvalue()


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
def test_images_are_upright(kind):
  """Evaluation of a tagged file equals that of the turned image."""
  files = [stored_and_upright(kind, tag) for tag in range(1, 9)]
  params = evaluation_config(center_crop_fraction=.7, global_batch_size=8)
  (tagged, _), = build(
      params, Source([file for file, _ in files], [0] * 8), (10, 6, 3))
  (turned, _), = build(
      params, Source([file for _, file in files], [0] * 8), (10, 6, 3))
  np.testing.assert_array_equal(tagged, turned)
  assert len({pixels.numpy().tobytes() for pixels in turned}) == 8


def test_random_crops_are_upright():
  """The same boxes are cut from a tagged file and from the turned image."""
  for tag in (3, 7):  # Half a turn; a quarter and a mirror.
    crops = []
    for data in stored_and_upright('JPEG', tag):
      tf_keras.utils.set_random_seed(5)
      parser = image_pipeline._Parser(
          training_config(aug_crop=True), (12, 12, 3), 2, False)
      crops.append(np.stack(list(tf.data.Dataset.range(6).map(
          lambda _, parser=parser, data=data: parser(
              {'image': tf.constant(data), 'label': 0})[0]
          ).as_numpy_iterator())))
    np.testing.assert_array_equal(*crops)


@pytest.mark.parametrize('options', [
    dict(aug_crop=True), dict(aug_rand_hflip=True), dict(aug_shift=2),
    dict(aug_rand_vflip=True), dict(aug_rotation=30.), dict(color_jitter=.5),
    dict(random_erasing=common.RandomErasing(probability=1.)),
    dict(aug_type=common.Augmentation(
        type='randaug', randaug=common.RandAugment(num_layers=1)))])
def test_seed_reaches_every_augmentation(options):
  def draw(seed):
    tf_keras.utils.set_random_seed(seed)
    parser = image_pipeline._Parser(
        training_config(**options), (16, 16, 3), 2, False)
    image = tf.constant(noise(24, 24))
    return [pixels.tobytes() for pixels in tf.data.Dataset.range(6).map(
        lambda _: parser({'image': image, 'label': 0})[0]).as_numpy_iterator()]

  first = draw(0)
  assert first == draw(0) and first != draw(1) and len(set(first)) > 1


def test_deterministic_training_with_all_augmentations():
  """Deterministic ops refuse random ops without a seed."""
  params = training_config(
      aug_crop=True, aug_rand_hflip=True, deterministic=True, aug_shift=1,
      aug_rand_vflip=True, aug_rotation=20., color_jitter=.3,
      random_erasing=common.RandomErasing(),
      mixup_and_cutmix=common.MixupAndCutmix(label_smoothing=0.))
  batches = []
  determinism.enable_op_determinism()
  try:
    for _ in range(2):
      tf_keras.utils.set_random_seed(3)
      source = Source([noise(12, 12, seed=i) for i in range(6)], [0] * 6)
      batches.append([pixels.numpy() for pixels, _ in build(
          params, source, (8, 8, 3), 2).take(3)])
  finally:
    determinism.disable_op_determinism()
  np.testing.assert_array_equal(*batches)


def test_transparency_is_dropped():
  """The colour below transparent pixels is kept in every format."""
  pixels = noise(8, 8)
  alpha = np.arange(64, dtype=np.uint8).reshape(8, 8)
  image = PIL.Image.fromarray(np.dstack([pixels, alpha]), 'RGBA')
  files = []
  for kind, options in (('PNG', {}), ('WEBP', {'lossless': True,
                                               'exact': True})):
    file = io.BytesIO()
    image.save(file, kind, **options)
    files.append(file.getvalue())
  (batch, _), = build(evaluation_config(), Source(files, [0, 0]), (8, 8, 3))
  for result in batch:
    np.testing.assert_allclose(result, pixels / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize('keys, multi_label', [
    (('image/encoded', 'image/class/label'), False), (('a', 'b'), True)])
def test_tfrecord_files(tmp_path, keys, multi_label):
  folder = tmp_path / ('lr=[1e-3] *?' if multi_label else 'plain')
  folder.mkdir()
  path = str(folder / 'train-0')
  image = noise(4, 4)
  with tf.io.TFRecordWriter(path) as writer:
    for labels in [[3], [1, 2] if multi_label else [1]]:
      features = {
          keys[0]: tf.train.Feature(bytes_list=tf.train.BytesList(
              value=[tf.io.encode_png(image).numpy()])),
          keys[1]: tf.train.Feature(int64_list=tf.train.Int64List(
              value=labels))}
      writer.write(tf.train.Example(features=tf.train.Features(
          feature=features)).SerializeToString())
  params = evaluation_config(input_path=str(folder / 'train-*'))
  if multi_label:
    params.image_field_key, params.label_field_key = keys
  assert image_pipeline.open_source(params) is None
  (pixels, labels), = image_pipeline.build_dataset(
      params, None, (4, 4, 3), 5, multi_label)
  np.testing.assert_allclose(pixels[0], image / 127.5 - 1, atol=1e-6)
  expected = ([[0, 0, 0, 1, 0], [0, 1, 1, 0, 0]] if multi_label else [3, 1])
  np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize('options, message', [
    (dict(), 'Give either'),
    (dict(tfds_name='digits', input_path='x'), 'Give either'),
    (dict(input_path='nowhere/train*'),
     'There is no folder /.*, and no TFRecord files match'),
])
def test_invalid_sources(options, message):
  with pytest.raises(errors.UserError, match=message):
    image_pipeline.open_source(evaluation_config(**options))


def test_folder_or_tfds_source(tmp_path, data_dir):
  for name in ('cat', 'dog'):
    for i in range(5):
      path = tmp_path / 'pictures' / name / f'{i}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(tf.io.encode_png(noise(5, 5, seed=i)).numpy())
  source = image_pipeline.open_source(evaluation_config(
      input_path=str(tmp_path / 'pictures'), tfds_data_dir=data_dir))
  assert source.label_names == ('cat', 'dog')
  assert source.num_examples('train') + source.num_examples('validation') == 10
  source = image_pipeline.open_source(
      evaluation_config(tfds_name='digits', tfds_data_dir=data_dir))
  assert source.num_classes == 10


def test_workers_share_the_examples(data_dir):
  """Each of two input pipelines reads its own half of the digits."""
  params = evaluation_config(tfds_name='digits', tfds_split='test',
                             tfds_data_dir=data_dir, global_batch_size=40)
  source = image_pipeline.open_source(params)
  total = 0
  for i in range(2):
    context = tf.distribute.InputContext(
        num_input_pipelines=2, input_pipeline_id=i, num_replicas_in_sync=2)
    dataset = image_pipeline.build_dataset(
        params, source, (8, 8, 1), 10, False, context)
    sizes = [len(labels) for _, labels in dataset]
    assert max(sizes) == 20
    total += sum(sizes)
  assert total == source.num_examples('test')
  assert isinstance(source.builder, tfds.core.DatasetBuilder)
