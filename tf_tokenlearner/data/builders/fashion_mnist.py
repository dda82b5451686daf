"""Fashion-MNIST out of the four IDX files, without a network."""

import gzip
import os
import struct
from typing import Tuple
import zlib

import numpy as np
from tensorflow_datasets.image_classification import mnist

from tf_tokenlearner import errors


_FILES = {
    'train': ('train-images-idx3-ubyte.gz', 'train-labels-idx1-ubyte.gz'),
    'test': ('t10k-images-idx3-ubyte.gz', 't10k-labels-idx1-ubyte.gz'),
}
_UNSIGNED_BYTE = 8


class FashionMnistFiles(mnist.FashionMNIST, skip_registration=True):
  """What TFDS calls fashion_mnist, made from files that are already here.

  The result is, bit for bit, what TFDS makes by downloading, and TFDS reads it.
  Unlike TFDS it takes any number of examples, checks the files, and does not
  mind if they were compressed anew, as in Debian's dataset-fashion-mnist.

  Args:
    from_dir: folder of the four files.
    data_dir: as in TFDS.

  Raises:
    UserError: while preparing, a file is missing, cut off or not of its kind.
  """

  name = 'fashion_mnist'
  NEEDS_NO_DOWNLOAD = True

  def __init__(self, *, from_dir: str, **kwargs):
    self._from_dir = os.path.expanduser(from_dir)
    super().__init__(**kwargs)

  def _split_generators(self, dl_manager):
    del dl_manager
    self._require_files()
    splits = {split: self._read_split(*files)
              for split, files in _FILES.items()}
    return {split: self._generate_examples(*arrays)
            for split, arrays in splits.items()}

  def _generate_examples(self, images, labels):
    for i, (image, label) in enumerate(zip(images, labels)):
      yield i, {'image': image[..., np.newaxis], 'label': label}

  def _require_files(self) -> None:
    if not os.path.isdir(self._from_dir):
      raise errors.UserError(f'There is no folder {self._from_dir}.')
    missing = sorted(
        name for files in _FILES.values() for name in files
        if not os.path.isfile(os.path.join(self._from_dir, name)))
    if missing:
      raise errors.UserError(
          f'{self._from_dir} lacks {", ".join(missing)} of Fashion-MNIST.')

  def _read_split(self, images_name: str, labels_name: str):
    """uint8 [number, H, W] and [number]."""
    images = read_idx(os.path.join(self._from_dir, images_name), rank=3)
    labels = read_idx(os.path.join(self._from_dir, labels_name), rank=1)
    height, width, _ = self.info.features['image'].shape
    if images.shape[1:] != (height, width):
      raise errors.UserError(
          f'{images_name} holds images of {images.shape[1]} x '
          f'{images.shape[2]} pixels, Fashion-MNIST has {height} x {width}.')
    if len(images) != len(labels) or not len(images):
      raise errors.UserError(
          f'{images_name} holds {len(images):,} images, {labels_name} '
          f'{len(labels):,} labels; expected the same number, above 0.')
    num_classes = self.info.features['label'].num_classes
    if labels.max() >= num_classes:
      raise errors.UserError(
          f'{labels_name} holds the label {labels.max()}, Fashion-MNIST has '
          f'0 to {num_classes - 1}.')
    return images, labels


def read_idx(path: str, rank: int) -> np.ndarray:
  """Reads a compressed IDX file of unsigned bytes.

  Format: http://yann.lecun.com/exdb/mnist, two zeros, the type, the rank, each
  size in four bytes, the content.

  Raises:
    UserError: no such file, cut off, too long, of another type or rank.
  """
  try:
    with gzip.open(path) as file:
      content = file.read()
  except (OSError, EOFError, zlib.error) as error:
    raise errors.UserError(
        f'{path} cannot be read, it is cut off or no .gz file: {error}.'
    ) from error
  if content[:4] != bytes([0, 0, _UNSIGNED_BYTE, rank]):
    raise errors.UserError(
        f'{path} is no IDX file of bytes with {rank} dimensions.')
  start = 4 + 4 * rank
  sizes = _sizes(content[4:start])
  expected = int(np.prod(sizes, dtype=object))
  if len(sizes) != rank or len(content) - start != expected:
    raise errors.UserError(
        f'{path} holds {max(len(content) - start, 0):,} bytes where its header '
        f'announces {" x ".join(map(str, sizes))}.')
  return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)


def _sizes(header: bytes) -> Tuple[int, ...]:
  return struct.unpack(f'>{len(header) // 4}I', header[:len(header) // 4 * 4])
