"""Fashion-MNIST from its four IDX files, without a network."""

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
  """Builder of fashion_mnist from local files.

  The result equals that of TFDS bit for bit, and TFDS reads it. Unlike TFDS,
  the builder accepts any number of examples, checks the files, and accepts
  files that were compressed again, as in Debian's dataset-fashion-mnist.

  Args:
    from_dir: folder of the four files.
    data_dir: as in TFDS.

  Raises:
    UserError: while preparing, a file is missing, cut off or invalid.
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
    """Returns images, uint8 [N, H, W], and labels, uint8 [N]."""
    images = read_idx(os.path.join(self._from_dir, images_name), rank=3)
    labels = read_idx(os.path.join(self._from_dir, labels_name), rank=1)
    height, width, _ = self.info.features['image'].shape
    if images.shape[1:] != (height, width):
      raise errors.UserError(
          f'Expected images of {height} x {width} pixels, {images_name} has '
          f'{images.shape[1]} x {images.shape[2]}.')
    if len(images) != len(labels) or not len(images):
      raise errors.UserError(
          'Expected as many images as labels, and at least one, got '
          f'{len(images):,} images in {images_name} and {len(labels):,} labels '
          f'in {labels_name}.')
    num_classes = self.info.features['label'].num_classes
    if labels.max() >= num_classes:
      raise errors.UserError(
          f'Expected labels in 0..{num_classes - 1}, {labels_name} has '
          f'{labels.max()}.')
    return images, labels


def read_idx(path: str, rank: int) -> np.ndarray:
  """Reads a compressed IDX file of unsigned bytes.

  Layout (http://yann.lecun.com/exdb/mnist): two zeros, the type, the rank, each
  size in four bytes, the content.

  Args:
    path: of the file.
    rank: expected number of dimensions.

  Returns:
    uint8 array of that rank.

  Raises:
    UserError: the file is absent, cut off, too long, or has another type or
      rank.
  """
  try:
    with gzip.open(path) as file:
      content = file.read()
  except (OSError, EOFError, zlib.error) as error:
    raise errors.UserError(
        f'{path} is absent, cut off or not a .gz file: {error}.') from error
  if content[:4] != bytes([0, 0, _UNSIGNED_BYTE, rank]):
    raise errors.UserError(
        f'{path} is not an IDX file of bytes with {rank} dimensions.')
  start = 4 + 4 * rank
  sizes = _sizes(content[4:start])
  expected = int(np.prod(sizes, dtype=object))
  if len(sizes) != rank or len(content) - start != expected:
    raise errors.UserError(
        f'{path} holds {max(len(content) - start, 0):,} bytes, but its header '
        f'announces {" x ".join(map(str, sizes))}.')
  return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)


def _sizes(header: bytes) -> Tuple[int, ...]:
  return struct.unpack(f'>{len(header) // 4}I', header[:len(header) // 4 * 4])
