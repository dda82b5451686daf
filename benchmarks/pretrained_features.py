"""Frozen features of benchmarks/pretrained.py, computed once and kept on disk.

Every training of the benchmark leaves the blocks below its location as they
are, so their output is the same for all of them. Shapes: B pictures, N patches,
C channels. The first token is the class token.
"""

import os
from typing import Dict, Iterable, Iterator, List, Sequence

import numpy as np
import tensorflow as tf

from benchmarks import pretrained_merging
from tf_tokenlearner import backbones
from tf_tokenlearner.data import views

_BATCH = 16


class Features:
  """Features of all pictures, memory-mapped.

  Args:
    folder: cache folder; created if missing.
    model: plain classifier with the pretrained weights.
    pictures: folder with one folder per class.
    classes: names of the classes, in the order of the labels.

  Attributes:
    files: paths of the pictures within the folder.
    labels: int [B].
    model: the classifier.
  """

  def __init__(self, folder: str, model: backbones.Classifier, pictures: str,
               classes: Sequence[str]):
    self._folder = folder
    self._pictures = pictures
    self.model = model
    listed = [(os.path.join(name, file), i) for i, name in enumerate(classes)
              for file in sorted(os.listdir(os.path.join(pictures, name)))]
    self.files: List[str] = [path for path, _ in listed]
    self.labels = np.array([label for _, label in listed])

  def prepare(self, location: int) -> None:
    """Computes the features before a block, if they are missing.

    Starts from those before an earlier block where these exist.

    Args:
      location: number of the block, counted from 0; the number of blocks stands
        for the features behind the last one.
    """
    blocks = self.model.backbone.encoder.stages
    is_last = location == len(blocks)
    if self._exists('last' if is_last else f'tokens_{location}'):
      return
    start = max((i for i in range(1, location)
                 if self._exists(f'tokens_{i}')), default=0)

    @tf.function
    def run(x):
      if not start:
        x = self.model.backbone.embed(x)
      for block in blocks[start:location - 1]:
        x = block(x)
      attention = class_attention(blocks[location - 1], x)
      x = blocks[location - 1](x)
      if not is_last:
        return {f'attention_{location}': attention, f'tokens_{location}': x}
      x = self.model.backbone.encoder.norm(x)
      return {'last': tf.concat(
          [x[:, 0], tf.reduce_mean(x[:, 1:], axis=1)], axis=1)}

    self._write(run, self._stored(f'tokens_{start}') if start
                else self._pixels())

  def prepare_merged(self, location: int, count: int) -> None:
    """Computes the tokens at a location where each block merges `count`."""
    if self._exists(f'merged_{location}_{count}'):
      return
    blocks = self.model.backbone.encoder.stages[:location]

    @tf.function
    def run(pixels):
      x = self.model.backbone.embed(pixels)
      sizes = tf.ones_like(x[..., 0])
      for block in blocks:
        x, sizes = pretrained_merging.run_block(block, x, sizes, count)
      # The sizes are one more channel: they are small whole numbers.
      return {f'merged_{location}_{count}': tf.concat(
          [x, sizes[..., None]], axis=2)}

    self._write(run, self._pixels())

  def read(self, name: str) -> np.ndarray:
    """Returns features [B, ...] by the name of their file, memory-mapped.

    Args:
      name: 'tokens_6' [B, 1 + N, C] before block 6; 'attention_6' [B, N] of the
        class token in block 5; 'last' [B, 2 C], the class token and the mean of
        the patches after the last LayerNorm; or 'merged_6_20'.
    """
    return np.load(self._path(name), mmap_mode='r')

  def _path(self, name: str) -> str:
    return os.path.join(self._folder, f'{name}.npy')

  def _exists(self, name: str) -> bool:
    return os.path.exists(self._path(name))

  def _write(self, run, batches: Iterable[tf.Tensor]) -> None:
    """Stores what a function returns for the batches of all pictures."""
    os.makedirs(self._folder, exist_ok=True)
    stores: Dict[str, np.memmap] = {}
    done = 0
    for batch in batches:
      for name, value in run(batch).items():
        value = value.numpy()
        if name not in stores:
          stores[name] = np.lib.format.open_memmap(
              f'{self._path(name)}.partial', 'w+', _dtype(name),
              (len(self.files), *value.shape[1:]))
        stores[name][done:done + len(value)] = value
      done += len(batch)
    for name, store in stores.items():
      store.flush()
      os.replace(f'{self._path(name)}.partial', self._path(name))

  def _stored(self, name: str) -> Iterator[tf.Tensor]:
    """Yields batches of stored features as float32."""
    features = self.read(name)
    for i in range(0, len(features), _BATCH):
      yield tf.cast(features[i:i + _BATCH], tf.float32)

  def _pixels(self) -> tf.data.Dataset:
    """Returns batches of pixels [b, H, W, 3], as evaluation sees them."""
    view = views.ImageView(self.model.backbone.input_size, 1.)
    paths = [os.path.join(self._pictures, file) for file in self.files]
    return tf.data.Dataset.from_tensor_slices(paths).map(
        lambda path: view.read(tf.io.read_file(path))).batch(_BATCH).prefetch(1)


def _dtype(name: str):
  """Returns the type of a file; single vectors need no compression."""
  return np.float32 if name == 'last' else np.float16


def class_attention(block, x: tf.Tensor) -> tf.Tensor:
  """Returns the attention of the class token to patches, [B, N].

  It is the mean over the heads, as in Liang et al. 2022 (EViT, arXiv
  2202.07800), equation 3.
  """
  n, c = x.shape[1:]
  heads = block.attention.num_heads
  qkv = tf.reshape(block.attention.qkv(block.attention_norm(x)),
                   [-1, n, 3, heads, c // heads])
  scores = tf.einsum('bhd,bnhd->bhn', qkv[:, 0, 0], qkv[:, :, 1])
  weights = tf.nn.softmax(scores * (c // heads)**-0.5)
  return tf.reduce_mean(weights, axis=1)[:, 1:]


def top_tokens(tokens: np.ndarray, attention: np.ndarray,
               count: int) -> np.ndarray:
  """Returns the class token and the patches that it attends to most.

  Args:
    tokens: [B, 1 + N, C].
    attention: [B, N].
    count: number of patches.

  Returns:
    [B, 1 + count, C].
  """
  best = 1 + np.argsort(-attention, axis=1, kind='stable')[:, :count]
  return np.concatenate([
      tokens[:, :1], np.take_along_axis(tokens, best[..., None], axis=1)], 1)

