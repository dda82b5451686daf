"""The data.prepare command, and Fashion-MNIST from its files."""

import gzip
import json
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

from tests.data import video_making
from tf_tokenlearner.data.builders import fashion_mnist
from tf_tokenlearner.data import prepare
from tf_tokenlearner import errors

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
  """Runs main with these flags."""
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
      "Labels    one per image, in 'label'"]
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


def test_prepared_files_equal_those_of_tfds(tmp_path, monkeypatch):
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
     'train-labels-idx1-ubyte.gz is absent, cut off or not a .gz'),
    (lambda files: replace(files, LABELS['train'], b'no archive'),
     'train-labels-idx1-ubyte.gz is absent, cut off or not a .gz'),
    (lambda files: replace(files, LABELS['train'], gzip.compress(
        idx(np.zeros(30)))[:14] + bytes(30)), 'is absent, cut off or not'),
    (lambda files: replace(files, IMAGES['train'], gzip.compress(
        idx(np.zeros([30, 28, 28]))[:-1])),
     'holds 23,519 bytes, but its header announces 30 x 28 x 28'),
    (lambda files: replace(files, IMAGES['train'], gzip.compress(
        idx(np.zeros([30, 28, 28])) + b'x')),
     'holds 23,521 bytes, but its header announces 30 x 28 x 28'),
    (lambda files: replace(files, IMAGES['train'], gzip.compress(
        idx(np.zeros([30, 28, 28]))[:7])), 'holds 0 bytes, but its header'),
    (lambda files: replace(files, IMAGES['train'], gzip.compress(
        idx(np.zeros(30)))),
     'train-images-idx3-ubyte.gz is not an IDX file of bytes with 3 dimen'),
    (lambda files: replace(files, IMAGES['train'], gzip.compress(b'')),
     'is not an IDX file of bytes'),
    (lambda files: replace(files, IMAGES['train'], gzip.compress(
        idx(np.zeros([30, 8, 9])))),
     'Expected images of 28 x 28 pixels, .* has 8 x 9'),
    (lambda files: replace(files, LABELS['test'], gzip.compress(
        idx(np.zeros(12)))),
     'Expected as many images as labels, .* got 11 images in t10k-images-idx3-'
     'ubyte.gz and 12 labels in t10k-labels-idx1-ubyte.gz'),
    (lambda files: [replace(files, IMAGES['test'], gzip.compress(
        idx(np.zeros([0, 28, 28])))), replace(
            files, LABELS['test'], gzip.compress(idx([])))],
     'at least one, got 0 images in .* and 0 labels'),
    (lambda files: replace(files, LABELS['test'], gzip.compress(
        idx(np.arange(11)))),
     'Expected labels in 0..9, .* has 10'),
]


@pytest.mark.parametrize('damage,message', MISTAKES)
def test_damaged_fashion_mnist_files(tmp_path, damage, message):
  files = write_files(tmp_path / 'files')
  damage(files)
  with pytest.raises(errors.UserError, match=message) as error:
    run(dataset='fashion_mnist', data_dir=str(tmp_path / 'data'),
        from_dir=str(files))
  assert '\n' not in str(error.value)
  assert not [path for path in (tmp_path / 'data').rglob('*')
              if path.is_file()]


def test_other_files_are_ignored(tmp_path):
  files = write_files(tmp_path / 'files')
  (files / 'README').touch()
  builder = fashion_mnist.FashionMnistFiles(
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


def test_description_of_raw_images_and_many_labels(tmp_path, capsys):
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
      "Labels    any number per image, in 'tags'"]


def write_clips(folder, each=3):
  for i in range(2 * each):
    path = folder / ('jump', 'run')[i % 2] / f'{i}.avi'
    path.parent.mkdir(parents=True, exist_ok=True)
    video_making.write(path, video_making.numbered(5), 10, 'mpeg4')


def test_video_folder(tmp_path, capsys):
  write_clips(tmp_path / 'clips')
  data_dir = str(tmp_path / 'data')
  run(dataset=str(tmp_path / 'clips'), data_dir=data_dir, fps=5., short_side=24,
      validation_fraction=.4)
  lines = capsys.readouterr().out.splitlines()
  size, = [line.split(', ')[-1] for line in lines if line[:6] == 'Videos']
  assert size.endswith(' KiB')
  assert lines[-5:] == [
      'Splits    train 4, validation 2', 'Classes   2: jump, run',
      f"Videos    ? x ? x ? x 3, encoded, in 'video', {size}",
      'First     3 frames of 24 x 32 pixels at 5 per second',
      "Labels    one per video, in 'label'"]
  # What it made can be named in its turn.
  run(dataset=lines[-6].split()[-1])
  assert capsys.readouterr().out.splitlines() == lines[-7:]


def test_kind_of_folder(tmp_path, capsys):
  clips, data_dir = tmp_path / 'clips', str(tmp_path / 'data')
  write_clips(clips)
  png = tf.io.encode_png(np.zeros([2, 3, 3], np.uint8)).numpy()
  for name in ('jump', 'run'):
    for i in range(2):
      (clips / name / f'{i}.png').write_bytes(png)
  with pytest.raises(errors.UserError, match=(
      'clips holds files of both types, or GIFs that may be either. Set '
      '--kind=image or --kind=video')):
    run(dataset=str(clips), data_dir=data_dir)
  run(dataset=str(clips), data_dir=data_dir, kind='image')
  assert 'Images    ? x ? x 3' in capsys.readouterr().out
  run(dataset=str(clips), data_dir=data_dir, kind='video')
  assert 'Videos    ? x ?' in capsys.readouterr().out
  (tmp_path / 'empty').mkdir()
  with pytest.raises(errors.UserError, match='empty has no class folders'):
    run(dataset=str(tmp_path / 'empty'), data_dir=data_dir)


def write_avid(folder):
  write_clips(folder)
  labels = [{'0.mp4': 'jumping', '1.mp4': 'running'}, {'2.mp4': 'jumping'}]
  for name, labels_of_split in zip(('train', 'val'), labels):
    (folder / f'avid_{name}.json').write_text(json.dumps(labels_of_split))


def test_labelled_videos(tmp_path, capsys):
  write_avid(tmp_path / 'files')
  place = {'data_dir': str(tmp_path / 'data')}
  run(dataset='avid', from_dir=str(tmp_path / 'files'), fps=10., short_side=24,
      **place)
  lines = capsys.readouterr().out.splitlines()
  assert lines[-7:-3] == [
      'Data set  avid/10fps_24px/1.0.0',
      f'Lies in   {tmp_path}/data/avid/10fps_24px/1.0.0',
      'Splits    train 2, validation 1', 'Classes   2: jumping, running']
  assert lines[-2] == 'First     5 frames of 24 x 32 pixels at 10 per second'
  # Now it can be had by its name.
  for name in ('avid/10fps_24px', 'avid/10fps_24px:1.0.0',
               lines[-6].split()[-1]):
    run(dataset=name, **place)
    assert capsys.readouterr().out.splitlines() == lines[-7:]
  run(dataset='avid:1.0.0', fps=10., short_side=24, **place)
  assert capsys.readouterr().out.splitlines() == lines[-7:]
  with pytest.raises(errors.UserError,
                     match='--fps and avid/10fps both give the size. Drop'):
    run(dataset='avid/10fps', fps=5., **place)
  # That it was made of other files is not passed over.
  (tmp_path / 'files' / 'run' / '1.avi').touch()
  with pytest.raises(errors.UserError, match='was prepared from other files'):
    run(dataset='avid/10fps_24px', from_dir=str(tmp_path / 'files'), **place)


def test_fractions_reach_the_builder(tmp_path, capsys):
  write_avid(tmp_path / 'files')
  (tmp_path / 'files' / 'jump' / '0.avi').unlink()
  (tmp_path / 'files' / 'jump' / '2.avi').write_bytes(b'')
  options = dict(dataset='avid/10fps', from_dir=str(tmp_path / 'files'),
                 data_dir=str(tmp_path / 'data'))
  with pytest.raises(errors.UserError, match='max_missing_fraction=0.2 allows'):
    run(max_missing_fraction=.2, **options)
  with pytest.raises(errors.UserError,
                     match='max_unreadable_fraction=0.3 allows'):
    run(max_missing_fraction=.5, max_unreadable_fraction=.3, **options)
  run(max_missing_fraction=.5, max_unreadable_fraction=.5, **options)
  assert 'Splits    train 1\n' in capsys.readouterr().out


def test_videos_of_any_data_set(tmp_path, capsys):
  class PrepareVideos(tfds.core.GeneratorBasedBuilder):
    """Pixels."""
    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
      return tfds.core.DatasetInfo(
          builder=self, features=tfds.features.FeaturesDict({
              'pixels': tfds.features.Tensor(
                  shape=(None, 2, 3, 3), dtype=np.uint8),
              'label': tfds.features.ClassLabel(num_classes=2)}))

    def _split_generators(self, dl_manager):
      return {'train': self._generate_examples()}

    def _generate_examples(self):
      yield 0, {'pixels': np.zeros([4, 2, 3, 3], np.uint8), 'label': 0}

  run(dataset=PrepareVideos.name, data_dir=str(tmp_path))
  assert capsys.readouterr().out.splitlines()[-3:] == [
      "Videos    ? x 2 x 3 x 3, raw, in 'pixels', 106 bytes",
      'First     4 frames of 2 x 3 pixels',
      "Labels    one per video, in 'label'"]


@pytest.mark.parametrize('options,message', [
    (dict(dataset='cifar10', fps=5.),
     '--fps does not apply to --dataset=cifar10'),
    (dict(dataset='photos', fps=5.),
     '--fps does not apply to --dataset=.*photos, a folder of images'),
    (dict(dataset='photos', max_missing_fraction=0.), '--max_missing_fraction'),
    (dict(dataset='clips', from_dir='x'),
     '--from_dir does not apply to .*clips'),
    (dict(dataset='avid', kind='video'),
     '--kind does not apply to --dataset=avid'),
    (dict(dataset='fashion_mnist', from_dir='x', short_side=9), '--short_side'),
    (dict(dataset='/nowhere', kind='image'), '--kind does not apply to'),
])
def test_flags_without_effect_are_refused(tmp_path, options, message):
  for path in ('photos/a/1.png', 'clips/a/1.mp4'):
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).touch()
  if options['dataset'] in ('photos', 'clips'):
    options = {**options, 'dataset': str(tmp_path / options['dataset'])}
  with pytest.raises(errors.UserError, match=message):
    run(data_dir=str(tmp_path / 'data'), **options)


def test_mistakes_end_in_one_line_and_exit_code_two(tmp_path):
  done = subprocess.run(
      [sys.executable, '-m', 'tf_tokenlearner.data.prepare',
       '--dataset=cifar10', f'--from_dir={tmp_path}'],
      capture_output=True, text=True, check=False)
  assert done.returncode == 2 and not done.stdout
  assert done.stderr == (
      'prepare.py: --from_dir does not apply to --dataset=cifar10; see '
      '--help.\n')


def test_dataset_must_be_given():
  with pytest.raises(errors.UserError, match='--dataset must be given'):
    run()
  with pytest.raises(errors.UserError, match='Not understood: cifar10'):
    prepare.main(['prepare', 'cifar10'])


def test_help_names_every_flag():
  done = subprocess.run(
      [sys.executable, '-m', 'tf_tokenlearner.data.prepare', '--help'],
      capture_output=True, text=True, check=True)
  for name in ('--dataset', '--data_dir', '--from_dir', '--kind', '--fps',
               '--short_side', '--validation_fraction',
               '--max_unreadable_fraction', '--max_missing_fraction'):
    assert f'\n  {name}\n' in done.stdout
