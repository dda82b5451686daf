"""TFDS data sets of handwritten digits, still and moving, without downloads."""

import io
from typing import Callable, Dict, List, Tuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_tokenlearner.data import stratified_split


_TEST_EXAMPLES = 360
_DARKEST = 16


class Digits(tfds.core.GeneratorBasedBuilder):
  """1,797 digits of 43 writers, 8 x 8 pixels, for demos and tests.

  The images are the test part of 'Optical Recognition of Handwritten Digits',
  which scikit-learn contains: E. Alpaydin and C. Kaynak, 1998, UCI Machine
  Learning Repository, https://doi.org/10.24432/C50P49. Grey values 0..16 become
  0..255. The splits, train with 1,437 and test with 360 images, are stratified
  and always the same.

  Example:
    >>> tfds.builder('digits').info.features['label'].num_classes
    10
  """

  VERSION = tfds.core.Version('1.0.0')
  NEEDS_NO_DOWNLOAD = True

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
        builder=self,
        description='Handwritten digits of 8 x 8 pixels.',
        features=tfds.features.FeaturesDict({
            'image': tfds.features.Image(
                shape=(8, 8, 1), encoding_format='png'),
            'label': tfds.features.ClassLabel(num_classes=10),
        }),
        supervised_keys=('image', 'label'),
        homepage='https://doi.org/10.24432/C50P49',
        citation="""@misc{alpaydin1998optical,
          author = {Alpaydin, E. and Kaynak, C.},
          title = {Optical Recognition of Handwritten Digits},
          year = {1998},
          publisher = {UCI Machine Learning Repository},
          doi = {10.24432/C50P49}}""")

  def _split_generators(self, dl_manager):
    del dl_manager
    return {split: self._generate_examples(*load(split))
            for split in ('train', 'test')}

  def _generate_examples(self, images, labels, indices):
    for image, label, i in zip(images, labels, indices):
      yield i, {'image': image[..., np.newaxis], 'label': label}


def load(split: str) -> Tuple[np.ndarray, List[int], List[int]]:
  """Loads the digits of a split.

  Args:
    split: 'train' or 'test'.

  Returns:
    Images, uint8 [N, 8, 8], their labels, and their indices in scikit-learn.
  """
  from sklearn import datasets  # pylint: disable=g-import-not-at-top, slow
  digits = datasets.load_digits()
  images = np.rint(digits.images * (255 / _DARKEST)).astype(np.uint8)
  labels = digits.target.tolist()
  keys_by_class = {str(label): [] for label in range(10)}
  for i, label in enumerate(labels):
    keys_by_class[str(label)].append(str(i))
  test = stratified_split.held_out(keys_by_class, _TEST_EXAMPLES)
  chosen = [i for i in range(len(labels))
            if (str(i) in test) == (split == 'test')]
  return images[chosen], [labels[i] for i in chosen], chosen


NUM_FRAMES = 16
SIZE = 32  # Height and width of a frame, in pixels.
_DIGIT_SIZE = 16  # In pixels; twice scikit-learn's.
CLIPS_PER_DIGIT = {'train': 4, 'test': 2}
_FPS = 8.
_QUALITY = 95  # JPEG quality; a frame takes 1 KB.

# Takes times t in frames and a speed in pixels per frame. Returns the position
# (x, y) relative to the start, in pixels; y points down.
_Path = Callable[[np.ndarray, float], Tuple[np.ndarray, np.ndarray]]
_TURN = 2 * np.pi / NUM_FRAMES  # One period per clip, in radians per frame.


def _swing(t: np.ndarray, speed: float) -> np.ndarray:
  """Returns a sinusoidal position whose highest speed is `speed`."""
  return speed / _TURN * np.sin(_TURN * t)


_MOTIONS: Dict[str, _Path] = {
    'right': lambda t, speed: (speed * t, 0 * t),
    'left': lambda t, speed: (-speed * t, 0 * t),
    'up': lambda t, speed: (0 * t, -speed * t),
    'down': lambda t, speed: (0 * t, speed * t),
    'right_and_left': lambda t, speed: (_swing(t, speed), 0 * t),
    'up_and_down': lambda t, speed: (0 * t, _swing(t, speed)),
    'circle': lambda t, speed: (
        _swing(t, speed), _swing(t + NUM_FRAMES / 4, speed)),
    'still': lambda t, speed: (0 * t, 0 * t),
}


class MovingDigits(tfds.core.GeneratorBasedBuilder):
  """Clips of 16 frames of 32 x 32 pixels; the class is the motion.

  A digit moves on a torus (opposite edges are joined) from a random position.
  At every time of every motion its position is therefore distributed uniformly,
  so a single frame does not reveal the class. There are eight classes, the
  names of the label. Speeds are 1.5 to 3 pixels per frame; swings and circles
  start at a random phase. The digits and their splits are those of Digits:
  train has 5,748 clips of 1,437 digits, test 720 clips of 360 other digits. The
  stored bytes are always the same.

  Example:
    >>> tfds.builder('moving_digits').info.features['label'].names[:2]
    ['right', 'left']
  """

  VERSION = tfds.core.Version('1.0.0')
  NEEDS_NO_DOWNLOAD = True

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
        builder=self,
        description='Handwritten digits that move; the class is the motion.',
        features=tfds.features.FeaturesDict({
            'video': tfds.features.Video(
                shape=(NUM_FRAMES, SIZE, SIZE, 1), encoding_format='jpeg'),
            'label': tfds.features.ClassLabel(names=list(_MOTIONS)),
            'fps': tf.float32,
            'name': tfds.features.Text(),
        }),
        supervised_keys=('video', 'label'),
        homepage='https://doi.org/10.24432/C50P49')

  def _split_generators(self, dl_manager):
    del dl_manager
    return {split: self._generate_examples(split)
            for split in CLIPS_PER_DIGIT}

  def _generate_examples(self, split: str):
    images, _, indices = load(split)
    for image, index in zip(images, indices):
      for repeat in range(CLIPS_PER_DIGIT[split]):
        frames, motion = make_clip(image, index, repeat)
        yield f'{index}-{repeat}', {
            'video': [io.BytesIO(tf.io.encode_jpeg(
                frame, quality=_QUALITY).numpy()) for frame in frames],
            'label': motion,
            'fps': _FPS,
            'name': f'digit {index}, {motion}',
        }


def make_clip(
    image: np.ndarray, index: int, repeat: int) -> Tuple[np.ndarray, str]:
  """Returns a clip of a digit, uint8 [16, 32, 32, 1], and its random motion.

  Args:
    image: uint8 [8, 8].
    index: of the digit; seeds the generator.
    repeat: number of the clip among those of the digit; seeds it, too.
  """
  generator = np.random.default_rng([index, repeat])
  motion = list(_MOTIONS)[generator.integers(len(_MOTIONS))]
  return render(image, motion, generator), motion


def render(image: np.ndarray, motion: str,
           generator: np.random.Generator) -> np.ndarray:
  """Renders a clip of one digit.

  Args:
    image: uint8 [8, 8].
    motion: name of the class.
    generator: draws position, speed and phase.

  Returns:
    uint8 [16, 32, 32, 1].
  """
  canvas = np.zeros([SIZE, SIZE], np.uint8)
  scale = _DIGIT_SIZE // image.shape[0]
  canvas[:_DIGIT_SIZE, :_DIGIT_SIZE] = image.repeat(scale, 0).repeat(scale, 1)
  start_x, start_y = generator.integers(SIZE, size=2)
  phase = generator.integers(NUM_FRAMES)
  speed = generator.uniform(1.5, 3)
  x, y = _MOTIONS[motion](phase + np.arange(NUM_FRAMES), speed)
  shifts = np.rint([start_y + y, start_x + x]).astype(int).T
  return np.stack(
      [np.roll(canvas, shift, axis=(0, 1)) for shift in shifts])[..., None]
