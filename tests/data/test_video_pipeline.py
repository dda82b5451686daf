"""Tests of clips, views and labels of the batches."""

import dataclasses
from typing import Optional
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.vision.configs import common
from official.vision.ops import augment
from tensorflow.python.framework import config as determinism

from tests.data import tiny_videos
from tests.data import video_making
from tf_tokenlearner import errors
from tf_tokenlearner.configs import video_classification as config
from tf_tokenlearner.data import augmentation
from tf_tokenlearner.data import resizing
from tf_tokenlearner.data import video_files
from tf_tokenlearner.data import video_pipeline
from tf_tokenlearner.data import views as views_lib


def evaluation_config(**kwargs):
  return config.DataConfig(
      is_training=False, drop_remainder=False, **{
          'global_batch_size': 2, 'tfds_split': 'train', 'temporal_stride': 1,
          'min_image_size': 6, 'scale_jitter': [], **kwargs})


def training_config(**kwargs):
  return config.DataConfig(is_training=True, **{
      'global_batch_size': 2, 'tfds_split': 'train', 'temporal_stride': 1,
      'min_image_size': 6, 'scale_jitter': [], 'aug_rand_hflip': False,
      'seed': 3, 'shuffle_buffer_size': 4, **kwargs})


@dataclasses.dataclass
class Source:
  """Stands for a VideoSource; holds its examples in memory."""
  videos: list
  labels: list
  multi_label: bool = False
  spans: Optional[list] = None
  fps: float = 1.

  @property
  def has_spans(self):
    return self.spans is not None

  def num_files(self, split):
    del split
    return 1

  def as_dataset(self, split, *, read_config, shuffle_files):
    del split, shuffle_files
    is_encoded = isinstance(self.videos[0], list)

    def examples():
      for i, (video, label) in enumerate(zip(self.videos, self.labels)):
        example = {'video': video, 'label': label, 'name': f'video {i}'}
        if self.spans:
          start, end = np.reshape(self.spans[i], [-1, 2]).T
          example.update(label_start=start, label_end=end, fps=self.fps)
        yield example

    signature = {
        'video': (tf.TensorSpec([None], tf.string) if is_encoded else
                  tf.TensorSpec([None, *self.videos[0].shape[1:]], tf.uint8)),
        'label': tf.TensorSpec([None] if self.multi_label else [], tf.int64),
        'name': tf.TensorSpec([], tf.string)}
    if self.spans:
      signature.update(label_start=tf.TensorSpec([None], tf.float32),
                       label_end=tf.TensorSpec([None], tf.float32),
                       fps=tf.TensorSpec([], tf.float32))
    dataset = tf.data.Dataset.from_generator(
        examples, output_signature=signature)
    return dataset.repeat() if read_config.repeat_filenames else dataset


def build(params, source, input_size, num_classes=3):
  return video_pipeline.build_dataset(
      params, source, input_size, num_classes, source.multi_label)


def numbers(pixels):
  """Returns the numbers of the frames."""
  values = (np.asarray(pixels)[..., 0, 0, 0] + 1) * 127.5 / 5
  np.testing.assert_allclose(values, np.round(values), atol=1e-3)
  return np.round(values).astype(int).tolist()


def scaled(frames):
  return np.asarray(frames, np.float32) / 127.5 - 1


@pytest.mark.parametrize('clips, expected', [
    (1, [[2, 4, 6]]),  # In the middle of 0..9: two frames before, three after.
    (2, [[0, 2, 4], [5, 7, 9]]), (3, [[0, 2, 4], [2, 4, 6], [5, 7, 9]])])
def test_clips_of_evaluation(clips, expected):
  source = Source([tiny_videos.numbered_frames(10)], [1])
  (views, labels), = build(
      evaluation_config(num_test_clips=clips, temporal_stride=2), source,
      (3, 6, 6, 3))
  assert views.shape == [1, clips, 3, 6, 6, 3]
  assert numbers(views[0]) == expected
  np.testing.assert_array_equal(labels, [1])


@pytest.mark.parametrize('rule, expected', [
    ('loop', [0, 2, 4, 1, 3]), ('pad', [0, 2, 4, 4, 4])])
def test_short_videos(rule, expected):
  source = Source([tiny_videos.encode(tiny_videos.numbered_frames(5))], [1])
  options = dict(temporal_stride=2, short_videos=rule)
  for clips in (1, 2):
    (views, _), = build(
        evaluation_config(num_test_clips=clips, **options), source,
        (5, 6, 6, 3))
    assert numbers(views[0]) == [expected] * clips
  clip, _ = next(iter(build(training_config(**options), source, (5, 6, 6, 3))))
  assert numbers(clip) == [expected] * 2


def test_stride_of_zero_shows_one_frame():
  source = Source([tiny_videos.numbered_frames(9)], [1])
  options = dict(temporal_stride=0)
  (views, _), = build(
      evaluation_config(num_test_clips=3, **options), source, (4, 6, 6, 3))
  assert numbers(views[0]) == [[0] * 4, [4] * 4, [8] * 4]
  clip, _ = next(iter(build(training_config(**options), source, (4, 6, 6, 3))))
  for seen in numbers(clip):
    assert len(set(seen)) == 1


def test_views_are_slices():
  """Equal exactly for frames that need no scaling."""
  frames = tiny_videos.noise(4, 24, 40)
  source = Source([frames], [0])
  (views, _), = build(
      evaluation_config(num_test_clips=2, num_test_crops=3, min_image_size=24),
      source, (3, 20, 20, 3))
  expected = [frames[t:t + 3, 2:22, x:x + 20]
              for t in (0, 1) for x in (0, 10, 20)]
  np.testing.assert_allclose(views[0], scaled(expected), atol=1e-6)


@pytest.mark.parametrize('clips', [1, 3])
@pytest.mark.parametrize('encode', [tf.io.encode_jpeg, tf.io.encode_png])
def test_encoded_frames_equal_decoded_ones(encode, clips):
  encoded = tiny_videos.encode(tiny_videos.noise(7, 24, 40), encode)
  decoded = np.stack([tf.io.decode_image(frame) for frame in encoded])
  params = evaluation_config(
      num_test_clips=clips, num_test_crops=3, min_image_size=11)
  (a, _), = build(params, Source([encoded], [0]), (4, 8, 10, 3))
  (b, _), = build(params, Source([decoded], [0]), (4, 8, 10, 3))
  np.testing.assert_allclose(a, b, atol=1e-6)
  assert np.std(a) > .1


@pytest.mark.parametrize('length, shape, channels', [
    (9, (24, 40, 3), 3), (3, (40, 24, 3), 1), (1, (7, 9, 1), 3)])
def test_exported_view_equals_evaluation(length, shape, channels):
  height, width, _ = shape
  video = tiny_videos.noise(length, height * 4, width * 4)[
      :, ::4, ::4, :shape[-1]]
  for rule in ('loop', 'pad'):
    (views, _), = build(
        evaluation_config(temporal_stride=2, short_videos=rule,
                          min_image_size=12), Source([video], [0]),
        (4, 8, 10, channels))
    view = views_lib.ClipView((4, 8, 10, channels), None, 2, rule, 12, None)
    served = tf.function(view.to_pixels).get_concrete_function(
        tf.TensorSpec([None, None, None, None, shape[-1]], tf.uint8))
    clips = served(tf.constant(np.stack([video, 255 - video])))
    np.testing.assert_allclose(clips[0], views[0, 0], atol=1e-6)
    np.testing.assert_allclose(clips[1], -clips[0], atol=.02)


@pytest.mark.parametrize('height, width', [(96, 128), (130, 90), (64, 64)])
def test_full_size_frames_are_served_as_they_were_stored(
    tmp_path, height, width):
  """Fine grey noise is the worst case for resizing that skips pixels."""
  frames = np.repeat(np.random.default_rng(0).integers(
      0, 256, [3, height, width, 1], dtype=np.uint8), 3, -1)
  path = str(tmp_path / 'noise.avi')
  video_making.write(path, frames, 10, 'ffv1', 'bgr0')
  stored = list(video_files.decode(path, fps=10, short_side=24))
  size = (3, 16, 16, 3)
  (views, _), = build(
      evaluation_config(min_image_size=20), Source([stored], [0]), size)
  def serve(frames, short_side):
    view = views_lib.ClipView(size, None, 1, 'loop', 20, short_side)
    return tf.function(view.to_pixels)(frames)

  differences = []
  for short_side in (24, None):
    clips = serve(tf.constant(frames[None]), short_side)
    differences.append(np.mean(np.abs(clips[0] - views[0, 0])) * 127.5)
  # In levels of 256. JPEG takes 3.
  assert differences[0] < 4 and differences[1] > 15
  # Frames that are not larger stay as they are.
  small = tf.constant(frames[None, :, :24])
  np.testing.assert_array_equal(
      serve(small, 24), serve(small, None))


@pytest.mark.parametrize('mode', ['letterbox', 'stretch'])
def test_whole_frames_are_the_same_everywhere(mode):
  """In training, evaluation and exports."""
  options = resizing.Resizing(mode)
  video, size = tiny_videos.noise(2, 9, 30), (2, 8, 8, 3)
  example = {'video': tf.constant(video), 'label': 0}
  trained, evaluated = (
      video_pipeline._Parser(params, size, 5, False, options)(example)[0]
      for params in (training_config(scale_jitter=[.5, 2.]),
                     evaluation_config()))
  view = views_lib.ClipView(size, None, 1, 'loop', 6, None, options)
  served = tf.function(view.to_pixels).get_concrete_function(
      tf.TensorSpec([None, None, None, None, 3], tf.uint8))
  np.testing.assert_array_equal(trained, evaluated[0])
  np.testing.assert_allclose(
      served(tf.constant(video[None]))[0], trained, atol=1e-6)
  image = views_lib.ImageView(size[1:], 1., options)
  np.testing.assert_allclose(
      trained[1], image.to_pixels(video[1]), atol=1e-6)


def test_scaling_is_that_of_the_whole_frame():
  """The crop of a frame twice as large is a box twice as large."""
  frames = tiny_videos.noise(2, 24, 48)
  (views, _), = build(
      evaluation_config(min_image_size=12), Source([frames], [0]),
      (2, 8, 8, 3))
  whole = tf.image.resize(frames, [12, 24])
  np.testing.assert_allclose(
      views[0, 0], scaled(whole[:, 2:10, 8:16]), atol=1e-5)


def test_training_takes_random_clips():
  source = Source([tiny_videos.numbered_frames(8)], [2])
  seen = set()
  for clips, labels in build(
      training_config(temporal_stride=2), source, (3, 6, 6, 3)).take(20):
    np.testing.assert_array_equal(labels, [2, 2])
    seen |= set(map(tuple, numbers(clips)))
  assert seen == {(s, s + 2, s + 4) for s in range(4)}


def test_training_crops_are_the_same_for_all_frames():
  frame = tiny_videos.noise(1, 12, 16)
  source = Source([np.repeat(frame, 3, 0)], [0])
  params = training_config(
      min_image_size=12, scale_jitter=[1., 1.5], aug_rand_hflip=True)
  seen = set()
  for clips, _ in build(params, source, (3, 8, 8, 3)).take(10):
    np.testing.assert_allclose(clips[:, 1:], clips[:, :-1], atol=1e-6)
    seen |= {clip.numpy().tobytes() for clip in clips}
  assert len(seen) > 15


def test_flip_is_the_only_change():
  frames = tiny_videos.noise(2, 8, 8)
  params = training_config(min_image_size=8, aug_rand_hflip=True)
  mirrored = 0
  for clips, _ in build(params, Source([frames], [0]), (2, 8, 8, 3)).take(20):
    for clip in clips:
      is_mirrored = not np.allclose(clip, scaled(frames), atol=1e-6)
      if is_mirrored:
        np.testing.assert_allclose(
            clip, scaled(frames[:, :, ::-1]), atol=1e-6)
      mirrored += is_mirrored
  assert 8 < mirrored < 32


def test_vertical_flip_is_the_only_change():
  frames = tiny_videos.noise(2, 8, 8)
  params = training_config(min_image_size=8, aug_rand_vflip=True)
  seen = set()
  for clips, _ in build(params, Source([frames], [0]), (2, 8, 8, 3)).take(10):
    for clip in clips:
      upright, flipped = (np.allclose(clip, scaled(x), atol=1e-6)
                          for x in (frames, frames[:, ::-1]))
      assert upright != flipped
      seen.add(upright)
  assert seen == {True, False}


@pytest.mark.parametrize('channels', [1, 3])
def test_rotation_is_the_same_for_all_frames(channels):
  frames = np.repeat(tiny_videos.noise(1, 24, 24)[..., :channels], 3, 0)
  seen = set()
  for clips, _ in build(
      training_config(min_image_size=24, aug_rotation=45.),
      Source([frames], [0]), (3, 24, 24, channels)).take(4):
    np.testing.assert_allclose(clips[:, 1:], clips[:, :-1], atol=1e-5)
    seen |= {clip.numpy().tobytes() for clip in clips}
    # About the centre, which stays; corners come from elsewhere.
    centre = np.abs(clips[:, :, 11:13, 11:13] - scaled(frames)[:, 11:13, 11:13])
    assert centre.max() < .3 < np.abs(clips - scaled(frames)).max()
  assert len(seen) == 8


def test_grey_clips_are_jittered():
  frames = np.repeat(tiny_videos.noise(1, 24, 24)[..., :1], 3, 0)
  clips, _ = next(iter(build(
      training_config(min_image_size=24, color_jitter_probability=1.),
      Source([frames], [0]), (3, 24, 24, 1))))
  assert np.abs(clips).max() <= 1 + 1e-6
  assert np.abs(clips - scaled(frames)).max() > .02


def test_seed_reaches_every_random_op():
  """Also with deterministic ops, which refuse ops without a seed."""
  options = dict(
      scale_jitter=[1., 2.], min_image_size=24, aug_rand_hflip=True,
      aug_rand_vflip=True, aug_rotation=20., color_jitter_probability=.5,
      color_drop_probability=.3, aug_type=common.Augmentation(type='randaug'))
  source = Source([tiny_videos.noise(8, 24, 40, seed=i) for i in range(3)],
                  [0, 1, 2])

  def first_clips(seed):
    tf_keras.utils.set_random_seed(seed)  # As the trainer does.
    dataset = build(training_config(**options), source, (3, 16, 16, 3))
    return np.stack([clips for clips, _ in dataset.take(4)])

  determinism.enable_op_determinism()
  try:
    first = first_clips(1)
    np.testing.assert_array_equal(first_clips(1), first)
    assert np.abs(first_clips(2) - first).mean() > .05
  finally:
    determinism.disable_op_determinism()


@pytest.mark.parametrize('options', [
    dict(color_jitter_probability=1.), dict(color_drop_probability=1.),
    dict(aug_type=common.Augmentation(type='randaug')),
    dict(aug_type=common.Augmentation(type='autoaug'))])
def test_augmentations_act_in_training_only(options):
  frames = np.repeat(tiny_videos.noise(1, 24, 24), 3, 0)
  source = Source([tiny_videos.encode(frames, tf.io.encode_png)], [0])
  changed = 0
  for clips, _ in build(training_config(min_image_size=24, **options), source,
                        (3, 24, 24, 3)).take(6):
    assert np.isfinite(clips).all() and np.abs(clips).max() <= 1 + 1e-6
    changed += (np.abs(clips - scaled(frames)).max(axis=(1, 2, 3, 4)) > .02
               ).sum()
  assert changed >= 3
  (views, _), = build(evaluation_config(min_image_size=24, **options), source,
                      (3, 24, 24, 3))
  np.testing.assert_allclose(views[0, 0], scaled(frames), atol=1e-6)


def randaugment_of(*names):
  """One of these operations, and of no other."""
  return common.Augmentation(type='randaug', randaug=common.RandAugment(
      num_layers=1, magnitude=4., exclude_ops=[
          name for name in augment.RandAugment().available_ops
          if name not in names]))


@pytest.mark.parametrize('name', [
    'Rotate', 'ShearX', 'TranslateY', 'Sharpness', 'Equalize', 'AutoContrast',
    'Posterize', 'SolarizeAdd', 'Color', 'Contrast', 'Brightness'])
def test_every_frame_is_augmented_alike(name):
  """The Garden's operations on clips."""
  aug_type = randaugment_of(name)
  tf.random.set_seed(0)  # Half of the clips stay as they are.
  frames = np.repeat(tiny_videos.noise(1, 24, 24), 3, 0)
  changed = 0
  for clips, _ in build(
      training_config(min_image_size=24, aug_type=aug_type),
      Source([frames], [0]), (3, 24, 24, 3)).take(8):
    np.testing.assert_allclose(clips[:, 1:], clips[:, :-1], atol=1e-6)
    changed += (np.abs(clips - scaled(frames)).max(axis=(1, 2, 3, 4)) > .005
               ).sum()
  assert changed >= 1


def test_clips_are_augmented_without_cutout():
  """Cutout differs between frames: 13 of 60 clips showed it."""
  frames = np.repeat(tiny_videos.noise(1, 24, 24), 4, 0)
  source = Source([frames], [0])
  tf.random.set_seed(0)
  for clips, _ in build(
      training_config(min_image_size=24,
                      aug_type=randaugment_of('Brightness', 'Cutout')),
      source, (4, 24, 24, 3)).take(15):
    np.testing.assert_allclose(clips[:, 1:], clips[:, :-1], atol=1e-6)
  with pytest.raises(errors.UserError, match='task.train_data.aug_type.randaug.'
                     'exclude_ops must leave an operation, other than Cutout, '
                     'for clips; got AutoContrast, Equalize, '):
    build(training_config(aug_type=randaugment_of('Cutout')), source,
          (4, 24, 24, 3))
  with pytest.raises(errors.UserError, match='leave an operation; got'):
    augmentation.make_augmenter(randaugment_of(), 3)


@pytest.mark.parametrize('mix', [
    dict(cutmix_alpha=0.), dict(mixup_alpha=0.)])
def test_mixup_and_cutmix_mix_clips(mix):
  videos = [np.full([2, 8, 12, 1], 255 * i, np.uint8) for i in range(2)]
  params = training_config(
      min_image_size=8, shuffle_buffer_size=1,
      mixup_and_cutmix=common.MixupAndCutmix(label_smoothing=0., **mix))
  mixed = 0
  for clips, labels in build(
      params, Source(videos, [0, 1]), (2, 8, 12, 1), num_classes=2).take(5):
    np.testing.assert_allclose(tf.reduce_sum(labels, -1), [1, 1], rtol=1e-5)
    np.testing.assert_allclose(clips[:, 0], clips[:, 1])  # Of all frames alike.
    white = tf.reduce_mean((clips + 1) / 2, axis=(1, 2, 3, 4))
    # Of the other clip: white of the first, which is black, and so on.
    pixels = np.array([white[0], 1 - white[1]])
    shares = np.array([labels[0, 1], labels[1, 0]])
    if 'cutmix_alpha' in mix:
      np.testing.assert_allclose(pixels, shares, atol=.01)
    else:  # A cut that hangs over the edge counts as a whole.
      assert set(np.unique(clips)) <= {-1, 1}
      assert (pixels <= shares + .01).all()
    mixed += pixels.sum()
  assert mixed > .1


def test_labels_of_the_clip():
  """One label at 0-3 s, one at 7-9 s, at 1 frame a second; clips of 3."""
  source = Source([tiny_videos.numbered_frames(10)], [[0, 2]], True,
                  spans=[[[0, 3], [7, 9]]])
  seen = {}
  for clips, labels in build(training_config(labels_of='clip'), source,
                             (3, 6, 6, 3)).take(40):
    for start, row in zip(np.array(numbers(clips))[:, 0], labels):
      seen[int(start)] = row.numpy().tolist()
  assert seen == {
      start: [float(start <= 3), 0., float(start + 2 >= 7)]
      for start in range(8)}
  (_, labels), = build(evaluation_config(), source, (3, 6, 6, 3))
  np.testing.assert_array_equal(labels, [[1, 0, 1]])
  _, labels = next(iter(build(training_config(), source, (3, 6, 6, 3))))
  np.testing.assert_array_equal(labels, [[1, 0, 1]] * 2)


def test_data_without_required_features():
  frames = tiny_videos.numbered_frames(2)
  for source in (Source([frames], [[0]], True),
                 Source([frames], [0], spans=[[[0, 1]]])):
    with pytest.raises(errors.UserError, match='labels_of=clip needs data with '
                       'any number of labels a video'):
      build(training_config(labels_of='clip'), source, (2, 6, 6, 3))
  with pytest.raises(errors.UserError, match='cannot mix several labels'):
    build(training_config(mixup_and_cutmix=common.MixupAndCutmix()),
          Source([frames], [[0]], True), (2, 6, 6, 3))


@pytest.mark.parametrize('label', [3, -1])
def test_label_out_of_range(label):
  dataset = build(evaluation_config(),
                  Source([tiny_videos.numbered_frames(2)], [label]),
                  (2, 6, 6, 3))
  with pytest.raises(tf.errors.InvalidArgumentError,
                     match='A label is not in 0..2; -1 marks a split without'):
    next(iter(dataset))


def test_video_without_frames_is_named():
  videos = [tiny_videos.encode(tiny_videos.numbered_frames(n)) for n in (2, 0)]
  for params in (evaluation_config(), training_config()):
    with pytest.raises(tf.errors.InvalidArgumentError,
                       match='(?s)A video has no frames:.*video 1'):
      list(build(params, Source(videos, [0, 1]), (2, 6, 6, 3)).take(3))


def test_cache_holds_examples_before_augmentation():
  source = Source([tiny_videos.numbered_frames(4)], [0])
  seen = set()
  for clips, _ in build(training_config(cache=True), source,
                        (2, 6, 6, 3)).take(12):
    seen |= set(map(tuple, numbers(clips)))
  assert seen == {(0, 1), (1, 2), (2, 3)}


@pytest.fixture(scope='module', name='stored')
def fixture_stored(tmp_path_factory):
  """Folder of a data set of 7 videos of 3..9 numbered frames, in 2 files."""
  return tiny_videos.store(
      tmp_path_factory.mktemp('stored'), [
          {'video': tiny_videos.encode(tiny_videos.numbered_frames(3 + i)),
           'label': i % 3, 'name': str(i)} for i in range(7)], num_files=2)


@pytest.mark.parametrize('num_pipelines', [1, 2, 3])
def test_evaluation_gives_every_video_once(stored, num_pipelines):
  """Also where there are fewer files than input pipelines."""
  params = evaluation_config(
      tfds_name=stored, global_batch_size=2 * num_pipelines)
  source = video_pipeline.open_source(params)
  assert source.num_files('train') == 2
  lengths = []
  for i in range(num_pipelines):
    context = tf.distribute.InputContext(
        num_input_pipelines=num_pipelines, input_pipeline_id=i,
        num_replicas_in_sync=num_pipelines)
    for views, labels in video_pipeline.build_dataset(
        params, source, (12, 6, 6, 3), 3, False, context):
      assert len(views) == len(labels) <= 2
      for frames, label in zip(numbers(views[:, 0]), labels):
        lengths.append(max(frames) + 1)  # Short ones repeat.
        assert label == (lengths[-1] - 3) % 3
  assert sorted(lengths) == [3, 4, 5, 6, 7, 8, 9]


def test_same_seed_same_clips(stored):
  params = training_config(
      tfds_name=stored, deterministic=True, aug_rand_hflip=True,
      scale_jitter=[1., 2.], color_jitter_probability=.5)
  runs = []
  determinism.enable_op_determinism()
  try:
    for seed in (1, 1, 2):
      tf.random.set_seed(seed)
      dataset = video_pipeline.build_dataset(
          params.replace(seed=seed), video_pipeline.open_source(params),
          (2, 4, 4, 3), 3, False)
      runs.append([(clips.numpy(), labels.numpy())
                   for clips, labels in dataset.take(4)])
  finally:
    determinism.disable_op_determinism()
  for (clips, labels), (again, labels_again) in zip(*runs[:2]):
    np.testing.assert_array_equal(clips, again)
    np.testing.assert_array_equal(labels, labels_again)
  assert any(not np.array_equal(a, b)
             for (a, _), (b, _) in zip(runs[0], runs[2]))


@pytest.mark.parametrize('mebibytes, wanted, cache, expected', [
    (25, 256, False, 40), (25, 40, False, 40),  # 1024 / 25.
    (200, 256, False, 16),  # The least.
    (0, 256, False, 256),  # Of unknown size.
    (25, 256, True, 256),  # In memory already.
])
def test_shuffle_buffer_takes_at_most_one_gibibyte(
    capfd, mebibytes, wanted, cache, expected):
  """The number of examples taken from a set of this size shows it."""
  split = mock.Mock(num_examples=300, num_bytes=mebibytes * 2**20 * 300)
  source = Source([tiny_videos.numbered_frames(1)] * 300, list(range(300)))
  source.builder = mock.Mock()
  source.builder.info.full_name = 'large/1.0.0'
  source.builder.info.splits = {'train': split}
  for is_training in (True, False):
    make = training_config if is_training else evaluation_config
    dataset = build(make(
        global_batch_size=1, shuffle_buffer_size=wanted, cache=cache), source,
                    (1, 6, 6, 3), num_classes=300)
    said = capfd.readouterr().err
    # An example cannot come before it is read.
    lead = max(int(labels[0]) - i for i, (_, labels) in enumerate(
        dataset.take(150)))
    if not is_training:
      assert not said and lead == 0
    else:
      assert expected // 2 < lead < expected
      assert said == ('' if expected == wanted else (
          f'shuffle_buffer_size is {expected} instead of 256: examples of '
          f'large/1.0.0 take {mebibytes:.1f} MiB each, and the buffer at most '
          '1 GiB.\n'))


@pytest.mark.parametrize('multi_label', [False, True])
@pytest.mark.parametrize('keys', [(), ('frames', 'tags')])
def test_tfrecord_files(tmp_path, keys, multi_label):
  folder = tmp_path / ('lr=[1e-3] *?' if multi_label else 'plain')
  folder.mkdir()
  frame_key, label_key = keys or ('image/encoded', 'clip/label/index')
  with tf.io.TFRecordWriter(str(folder / 'train-0')) as writer:
    for length, labels in ((2, [2]), (4, [0, 1] if multi_label else [1])):
      frames = tiny_videos.encode(tiny_videos.numbered_frames(length))
      writer.write(tf.train.SequenceExample(
          context=tf.train.Features(feature={label_key: tf.train.Feature(
              int64_list=tf.train.Int64List(value=labels))}),
          feature_lists=tf.train.FeatureLists(feature_list={
              frame_key: tf.train.FeatureList(feature=[
                  tf.train.Feature(bytes_list=tf.train.BytesList(value=[frame]))
                  for frame in frames])})).SerializeToString())
  params = evaluation_config(input_path=str(folder / 'train-*'))
  if keys:
    params.video_field_key, params.label_field_key = keys
  assert video_pipeline.open_source(params) is None
  (views, labels), = video_pipeline.build_dataset(
      params, None, (2, 6, 6, 3), 3, multi_label)
  assert numbers(views[:, 0]) == [[0, 1], [1, 2]]
  expected = [[0, 0, 1], [1, 1, 0]] if multi_label else [2, 1]
  np.testing.assert_array_equal(labels, expected)
  with pytest.raises(errors.UserError, match='cache is not supported'):
    video_pipeline.build_dataset(
        params.replace(cache=True), None, (2, 6, 6, 3), 3, multi_label)


def test_tfrecord_without_frames_is_refused(tmp_path):
  """Be its list of frames empty or missing."""
  for name, lists in (('empty', {'image/encoded': tf.train.FeatureList()}),
                      ('missing', {})):
    path = str(tmp_path / name)
    with tf.io.TFRecordWriter(path) as writer:
      writer.write(tf.train.SequenceExample(
          context=tf.train.Features(feature={
              'clip/label/index': tf.train.Feature(
                  int64_list=tf.train.Int64List(value=[2]))}),
          feature_lists=tf.train.FeatureLists(feature_list=lists)
      ).SerializeToString())
    dataset = video_pipeline.build_dataset(
        evaluation_config(input_path=path), None, (2, 6, 6, 3), 3, False)
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=r'(?s)A video has no frames:.*its label is.*\b2\b'):
      next(iter(dataset))


@pytest.mark.parametrize('options, message', [
    (dict(), 'Give either'),
    (dict(input_path='nowhere/*'), 'There is no folder /.*nowhere/'),
])
def test_invalid_sources(options, message):
  with pytest.raises(errors.UserError, match=message):
    video_pipeline.open_source(evaluation_config(**options))


def test_folders_are_opened(tmp_path):
  folder = tmp_path / 'clips'
  for name in ('jump', 'run'):
    (folder / name).mkdir(parents=True)
    for i in range(3):
      video_making.write(
          folder / name / f'{i}.avi', video_making.numbered(10), 10, 'mpeg4')
  params = evaluation_config(
      input_path=str(folder), tfds_data_dir=str(tmp_path / 'data'), fps=5.,
      stored_short_side=16, validation_fraction=.34)
  source = video_pipeline.open_source(params)
  assert source.label_names == ('jump', 'run') and not source.has_spans
  assert source.num_examples('train') == 4
  assert source.num_examples('validation') == 2
  (views, labels), = video_pipeline.build_dataset(
      params.replace(tfds_split='validation'), source, (5, 6, 6, 3), 2, False)
  assert sorted(labels.numpy()) == [0, 1]
  # Every other one of the frames, which get lighter.
  brightness = np.mean(views[:, 0], axis=(2, 3, 4))
  assert (np.diff(brightness) > .02).all()


def test_valid_options():
  size = (4, 6, 6, 3)
  for name, params in (
      ('validation_data', evaluation_config(
          num_test_clips=4, num_test_crops=3)),
      ('train_data', training_config(
          labels_of='clip', scale_jitter=[.5, .5], color_jitter_probability=1.,
          mixup_and_cutmix=common.MixupAndCutmix(),
          aug_type=common.Augmentation(type='randaug'))),
      ('train_data', training_config(short_videos='pad'))):
    video_pipeline.check_options(name, params, size)
  video_pipeline.check_options(
      'train_data', training_config(scale_jitter=[1, 2]), (4, 6, 6, 1))


def test_options_of_whole_frames():
  """They need no size before a crop, and have no places for three crops."""
  stretch = resizing.Resizing('stretch')
  video_pipeline.check_options(
      'validation_data', evaluation_config(min_image_size=1), (4, 6, 6, 3),
      stretch)
  with pytest.raises(errors.UserError, match=(
      'num_test_crops must be 1 with task.resize=stretch, which crops nothing; '
      'got 3')):
    video_pipeline.check_options(
        'validation_data', evaluation_config(num_test_crops=3), (4, 6, 6, 3),
        stretch)


@pytest.mark.parametrize('options, channels, message', [
    (dict(temporal_stride=-1), 3, 'temporal_stride must be at least 1, or 0 .*'
     '; got -1'),
    (dict(num_test_clips=2), 3, 'num_test_clips is for evaluation; training '
     'takes one clip of each video; got 2'),
    (dict(num_test_crops=3), 3, 'num_test_crops is for evaluation; training '
     'takes one crop'),
    (dict(num_test_clips=0), 3, 'num_test_clips must be at least 1'),
    (dict(num_test_crops=2), 3, 'num_test_crops must be 1, the centre, or 3'),
    (dict(min_image_size=5), 3, 'min_image_size must be at least the shorter '
     'side of input_size, 6; got 5'),
    (dict(scale_jitter=[1.]), 3, 'scale_jitter must be .* two numbers'),
    (dict(scale_jitter=[2., 1.]), 3, 'scale_jitter must be .* two numbers'),
    (dict(scale_jitter=[0., 1.]), 3, 'scale_jitter must be .* two numbers'),
    (dict(color_jitter_probability=1.1), 3, 'color_jitter_probability must lie '
     'in'),
    (dict(color_drop_probability=-.1), 3, 'color_drop_probability must lie in'),
    (dict(color_drop_probability=.1), 1, 'color_drop_probability needs 3 '
     'channels; got 0.1'),
    (dict(aug_rotation=200.), 3, 'aug_rotation must lie in .* degrees'),
    (dict(short_videos='repeat'), 3,
     "^Unknown task.train_data.short_videos 'repeat'. Known: "),
    (dict(labels_of='frame'), 3,
     "^Unknown task.train_data.labels_of 'frame'. Known: "),
    (dict(aug_type=common.Augmentation(type='randaug')), 2,
     'task.train_data.aug_type=randaug needs 1 or 3 channels'),
    (dict(aug_type=common.Augmentation(type='ssd_random_crop')), 3,
     'Unknown task.train_data.aug_type.type'),
])
def test_invalid_options(options, channels, message):
  with pytest.raises(errors.UserError, match=message) as error:
    video_pipeline.check_options(
        'train_data', training_config(**options), (4, 6, 6, channels))
  assert 'task.train_data.' in str(error.value)


def test_incompatible_options():
  with pytest.raises(errors.UserError, match='task.validation_data.labels_of '
                     'is for training; evaluation needs the'):
    video_pipeline.check_options(
        'validation_data', evaluation_config(labels_of='clip'), (4, 6, 6, 3))
  mix = training_config(mixup_and_cutmix=common.MixupAndCutmix())
  with pytest.raises(errors.UserError, match='if clips are higher than '
                     'wide'):
    video_pipeline.check_options('train_data', mix, (4, 8, 6, 3))
