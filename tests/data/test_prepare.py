"""Preparing ahead of training, and Fashion-MNIST out of its files."""

import gzip
import struct
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import flags
from absl.testing import flagsaver
from tensorflow_datasets.image_classification import mnist

from tf_tokenlearner import errors
from tf_tokenlearner.data import fashion_mnist_files
from tf_tokenlearner.data import prepare

IMAGES = {'train': 'train-images-idx3-ubyte.gz',
          'test': 't10k-images-idx3-ubyte.gz'}
LABELS = {'train': 'train-labels-idx1-ubyte.gz',
          'test': 't10k-labels-idx1-ubyte.gz'}
NUMBERS = {'train': 30, 'test': 11}


def idx(array):
  array = np.asarray(array, np.uint8)
  return (bytes([0, 0, 8, array.ndim])
          + struct.pack(f'>{array.ndim}I', *array.shape) + array.tobytes())


def make_arrays():
  """{split: (images, labels)}, noise."""
  random = np.random.default_rng(0)
  return {split: (random.integers(0, 256, (number, 28, 28), np.uint8),
                  random.integers(0, 10, number).astype(np.uint8))
          for split, number in NUMBERS.items()}


def write_files(folder):
  folder.mkdir()
  for split, (images, labels) in make_arrays().items():
    (folder / IMAGES[split]).write_bytes(gzip.compress(idx(images)))
    (folder / LABELS[split]).write_bytes(gzip.compress(idx(labels)))
  return folder


def run(**values):
  """What main does with these flags."""
  flags.FLAGS.mark_as_parsed()
  with flagsaver.flagsaver(**values):
    prepare.main(['prepare'])


def test_fashion_mnist_from_files(tmp_path, capsys):
  files, data_dir = write_files(tmp_path / 'files'), str(tmp_path / 'data')
  run(dataset='fashion_mnist', data_dir=data_dir, from_dir=str(files))
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].endswith(', once; nothing is downloaded.')
  assert lines[1].endswith('s: train 30, test 11.')
  assert lines[2:] == [
      'Data set  fashion_mnist/3.0.1',
      f'Lies in   {data_dir}/fashion_mnist/3.0.1',
      'Splits    train 30, test 11',
      'Classes   10: T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, '
      'Shirt, Sneaker, Bag, Ankle boot',
      "Images    28 x 28 x 1, encoded, in 'image'",
      "Labels    one an image, in 'label'"]
  # TFDS reads it under the usual name.
  for split, (images, labels) in make_arrays().items():
    dataset = tfds.load('fashion_mnist', split=split, data_dir=data_dir,
                        download=False)
    read = {x['image'].tobytes(): x['label']
            for x in dataset.as_numpy_iterator()}
    assert read == {image.tobytes(): label
                    for image, label in zip(images, labels)}
  # A second time, neither the files nor a network are needed.
  run(dataset='fashion_mnist', data_dir=data_dir)
  assert capsys.readouterr().out.splitlines() == lines[2:]


def test_files_are_those_that_tfds_makes(tmp_path, monkeypatch):
  """Bit for bit, so in the same order."""
  files = write_files(tmp_path / 'files')
  run(dataset='fashion_mnist', data_dir=str(tmp_path / 'ours'),
      from_dir=str(files))
  monkeypatch.setattr(mnist, '_TRAIN_EXAMPLES', NUMBERS['train'])
  monkeypatch.setattr(mnist, '_TEST_EXAMPLES', NUMBERS['test'])
  monkeypatch.setattr(mnist.FashionMNIST, 'URL', f'file://{files}/')
  tfds.builder('fashion_mnist', data_dir=tmp_path / 'theirs'
               ).download_and_prepare()
  for split in NUMBERS:
    name = f'fashion_mnist-{split}.tfrecord-00000-of-00001'
    ours, theirs = (
        (tmp_path / whose / 'fashion_mnist' / '3.0.1' / name).read_bytes()
        for whose in ('ours', 'theirs'))
    assert ours == theirs


def replace(files, name, content):
  (files / name).write_bytes(content)


MISTAKES = [
    (lambda files: (files / IMAGES['test']).unlink(),
     'lacks t10k-images-idx3-ubyte.gz of Fashion-MNIST'),
    (lambda files: [(files / name).unlink() for name in IMAGES.values()],
     'lacks t10k-images-idx3-ubyte.gz, train-images-idx3-ubyte.gz of'),
    (lambda files: replace(files, LABELS['train'], gzip.compress(
        idx(np.zeros(30)))[:-12]),
     'train-labels-idx1-ubyte.gz cannot be read, it is cut off or no .gz'),
    (lambda files: replace(files, LABELS['train'], b'no archive'),
     'train-labels-idx1-ubyte.gz cannot be read, it is cut off or no .gz'),
    (lambda files: replace(files, LABELS['train'], gzip.compress(
        idx(np.zeros(30)))[:14] + bytes(30)), 'cannot be read, it is cut off'),
    (lambda files: replace(files, IMAGES['train'], gzip.compress(
        idx(np.zeros([30, 28, 28]))[:-1])),
     'holds 23,519 bytes where its header announces 30 x 28 x 28'),
    (lambda files: replace(files, IMAGES['train'], gzip.compress(
        idx(np.zeros([30, 28, 28])) + b'x')),
     'holds 23,521 bytes where its header announces 30 x 28 x 28'),
    (lambda files: replace(files, IMAGES['train'], gzip.compress(
        idx(np.zeros([30, 28, 28]))[:7])), 'holds 0 bytes where its header'),
    (lambda files: replace(files, IMAGES['train'], gzip.compress(
        idx(np.zeros(30)))),
     'train-images-idx3-ubyte.gz is no IDX file of bytes with 3 dimensions'),
    (lambda files: replace(files, IMAGES['train'], gzip.compress(b'')),
     'is no IDX file of bytes'),
    (lambda files: replace(files, IMAGES['train'], gzip.compress(
        idx(np.zeros([30, 8, 9])))),
     'holds images of 8 x 9 pixels, Fashion-MNIST has 28 x 28'),
    (lambda files: replace(files, LABELS['test'], gzip.compress(
        idx(np.zeros(12)))),
     't10k-images-idx3-ubyte.gz holds 11 images, t10k-labels-idx1-ubyte.gz 12 '
     'labels; expected the same number'),
    (lambda files: [replace(files, IMAGES['test'], gzip.compress(
        idx(np.zeros([0, 28, 28])))), replace(
            files, LABELS['test'], gzip.compress(idx([])))],
     'holds 0 images, .* 0 labels; expected the same number, above 0'),
    (lambda files: replace(files, LABELS['test'], gzip.compress(
        idx(np.arange(11)))),
     'holds the label 10, Fashion-MNIST has 0 to 9'),
]


@pytest.mark.parametrize('damage,message', MISTAKES)
def test_files_that_do_not_fit(tmp_path, damage, message):
  files = write_files(tmp_path / 'files')
  damage(files)
  with pytest.raises(errors.UserError, match=message) as error:
    run(dataset='fashion_mnist', data_dir=str(tmp_path / 'data'),
        from_dir=str(files))
  assert '\n' not in str(error.value)
  assert not [path for path in (tmp_path / 'data').rglob('*')
              if path.is_file()]


def test_other_files_in_the_folder_do_no_harm(tmp_path):
  files = write_files(tmp_path / 'files')
  (files / 'README').touch()
  builder = fashion_mnist_files.FashionMnistFiles(
      from_dir=str(files), data_dir=str(tmp_path / 'data'))
  builder.download_and_prepare()
  assert builder.info.splits['train'].num_examples == 30


def test_no_such_folder(tmp_path):
  with pytest.raises(errors.UserError, match='There is no folder .*/none'):
    run(dataset='fashion_mnist', data_dir=str(tmp_path),
        from_dir=str(tmp_path / 'none'))


def test_image_folder(tmp_path, capsys):
  for i in range(24):
    folder = tmp_path / 'photos' / f'class{i % 12:02d}'
    folder.mkdir(parents=True, exist_ok=True)
    png = tf.io.encode_png(np.full([2, 3, 3], i, np.uint8)).numpy()
    (folder / f'{i}.png').write_bytes(png)
  run(dataset=str(tmp_path / 'photos'), data_dir=str(tmp_path / 'data'))
  lines = capsys.readouterr().out.splitlines()
  assert lines[-4:-1] == [
      'Splits    train 19, validation 5',
      'Classes   12: ' + ', '.join(f'class{i:02d}' for i in range(10))
      + ', ...', "Images    ? x ? x 3, encoded, in 'image'"]
  # What it made can be named in its turn.
  run(dataset=lines[-5].split()[-1])
  assert capsys.readouterr().out.splitlines() == lines[-6:]


def test_raw_images_and_many_labels_are_said(tmp_path, capsys):
  class PrepareRaw(tfds.core.GeneratorBasedBuilder):
    """Pixels, and any number of labels."""
    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
      return tfds.core.DatasetInfo(
          builder=self, features=tfds.features.FeaturesDict({
              'pixels': tfds.features.Tensor(shape=(2, 3, 3), dtype=np.uint8),
              'tags': tfds.features.Sequence(
                  tfds.features.ClassLabel(num_classes=2))}))

    def _split_generators(self, dl_manager):
      return {'train': self._generate_examples()}

    def _generate_examples(self):
      yield 0, {'pixels': np.zeros([2, 3, 3], np.uint8), 'tags': [0, 1]}

  run(dataset=PrepareRaw.name, data_dir=str(tmp_path))
  assert capsys.readouterr().out.splitlines()[-2:] == [
      "Images    2 x 3 x 3, raw, in 'pixels'",
      "Labels    any number an image, in 'tags'"]


def test_mistakes_end_in_one_line_and_exit_code_two(tmp_path):
  done = subprocess.run(
      [sys.executable, '-m', 'tf_tokenlearner.data.prepare',
       '--dataset=cifar10', f'--from_dir={tmp_path}'],
      capture_output=True, text=True, check=False)
  assert done.returncode == 2 and not done.stdout
  assert done.stderr == ('prepare.py: --from_dir is for '
                         '--dataset=fashion_mnist, received cifar10.\n')


def test_dataset_must_be_given():
  with pytest.raises(errors.UserError, match='--dataset must be given'):
    run()
  with pytest.raises(errors.UserError, match='Not understood: cifar10'):
    prepare.main(['prepare', 'cifar10'])


def test_help_names_every_flag():
  done = subprocess.run(
      [sys.executable, '-m', 'tf_tokenlearner.data.prepare', '--help'],
      capture_output=True, text=True, check=True)
  for name in ('--dataset', '--data_dir', '--from_dir'):
    assert f'\n  {name}\n' in done.stdout
