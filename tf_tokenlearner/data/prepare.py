"""Prepares a data set of images or videos ahead of training.

  python -m tf_tokenlearner.data.prepare --dataset=cifar10
  python -m tf_tokenlearner.data.prepare --dataset=/data/flowers
  python -m tf_tokenlearner.data.prepare --dataset=/data/clips --fps=12
  python -m tf_tokenlearner.data.prepare --dataset=kinetics400 \\
      --from_dir=/data/k400
  python -m tf_tokenlearner.data.prepare --dataset=fashion_mnist \\
      --from_dir=/usr/share/datasets/fashion-mnist

The second command packs a folder of class folders of images, the third one of
videos. The fourth packs the clips that the CSV files in the folder name;
charades/6fps, charades/12fps, kinetics600 and avid work in the same way. Videos
are decoded once, and an interrupted preparation resumes when it is started
again. The last command needs no network: Debian's package dataset-fashion-mnist
contains the files.
"""

import os
import re
from typing import Any, Dict, Sequence

from absl import flags
from absl import logging

from tf_tokenlearner import cli
from tf_tokenlearner import errors

_DATASET = flags.DEFINE_string(
    'dataset', None, 'TFDS data set (name, name/config or name:version), a '
    'folder of class folders, or a CSV file with columns file and label.')
_DATA_DIR = flags.DEFINE_string(
    'data_dir', '', 'Folder of the data sets. Default: $TFDS_DATA_DIR, or '
    '~/tensorflow_datasets.')
flags.DEFINE_string(
    'from_dir', None, 'Folder with the files of kinetics400, kinetics600, '
    'charades or avid; of the four .gz files of fashion_mnist; or that paths '
    'in a CSV file start from.')
flags.DEFINE_enum(
    'kind', None, ['image', 'video'], 'Type of the files in a folder. Default: '
    'detected.')
flags.DEFINE_float(
    'fps', None, 'Frames per second at which videos are stored. Default: 25; '
    'for charades 12.')
flags.DEFINE_integer(
    'short_side', None, 'Shorter side of the stored frames of videos, in '
    'pixels; smaller frames keep their size. Default: 256.')
flags.DEFINE_float(
    'validation_fraction', None, 'Share of a folder without splits that is '
    'held out as split validation. Default: 0.2.')
flags.DEFINE_float(
    'max_unreadable_fraction', None, 'Largest share of the files that may be '
    'unreadable; they are named and left out. Default: 0.01.')
flags.DEFINE_float(
    'max_missing_fraction', None, 'Largest share of the videos named in the '
    'label files of kinetics400, kinetics600, charades or avid that may be '
    'missing. Default: 0.01.')

_OPTIONS = ('from_dir', 'kind', 'fps', 'short_side', 'validation_fraction',
            'max_unreadable_fraction', 'max_missing_fraction')
_LABELLED_VIDEOS = ('avid', 'charades', 'kinetics400', 'kinetics600')


def main(arguments: Sequence[str]) -> None:
  """Prepares the data set that the flags name, and prints its facts."""
  cli.refuse_arguments(arguments)
  cli.require('dataset')
  # TFDS warns about its own internal calls.
  logging.set_verbosity(logging.ERROR)
  options = {name: flags.FLAGS[name].value for name in _OPTIONS
             if flags.FLAGS[name].value is not None}
  print(describe(_open_source(_DATASET.value, _DATA_DIR.value, options)))


def describe(source) -> str:
  """Returns lines on the folder and the content of a source.

  Args:
    source: an ImageSource or a VideoSource.
  """
  info = source.builder.info
  names = ', '.join(source.label_names[:10])
  more = ', ...' if source.num_classes > 10 else ''
  is_video = hasattr(source, 'video_key')
  return '\n'.join([
      f'Data set  {info.full_name}',
      f'Lies in   {source.builder.data_dir}',
      'Splits    ' + ', '.join(f'{name} {split.num_examples:,}'
                               for name, split in info.splits.items()),
      f'Classes   {source.num_classes:,}: {names}{more}',
      *(_describe_videos(source) if is_video else _describe_images(source)),
      f'Labels    {"any number" if source.multi_label else "one"} per '
      f'{"video" if is_video else "image"}, in {source.label_key!r}',
  ])


def _describe_images(source) -> Sequence[str]:
  return [f'Images    {_shape(source, source.image_key)}, '
          f'{"encoded" if source.is_encoded else "raw"}, in '
          f'{source.image_key!r}']


def _describe_videos(source) -> Sequence[str]:
  # pylint: disable=g-import-not-at-top
  import tensorflow as tf
  import tensorflow_datasets as tfds
  split = next(iter(source.builder.info.splits))
  example = next(iter(source.as_dataset(
      split, read_config=tfds.ReadConfig(), shuffle_files=False)))
  frames = example['video']
  size = (tf.io.decode_image(frames[0]) if source.is_encoded else frames[0]
          ).shape
  rate = f' at {float(example["fps"]):g} per second' if 'fps' in example else ''
  return [
      f'Videos    {_shape(source, source.video_key)}, '
      f'{"encoded" if source.is_encoded else "raw"}, in {source.video_key!r}, '
      f'{source.builder.info.dataset_size}',
      f'First     {len(frames):,} frames of {size[0]} x {size[1]} pixels{rate}',
  ]


def _shape(source, key: str) -> str:
  return ' x '.join('?' if size is None else str(size)
                    for size in source.builder.info.features[key].shape)


def _open_source(dataset: str, data_dir: str, options: Dict[str, Any]):
  # Imports TensorFlow late, so that --help and misspelt flags answer at once.
  # pylint: disable=g-import-not-at-top
  from tf_tokenlearner.data import csv_listing
  from tf_tokenlearner.data import labelled_source
  if csv_listing.is_csv(dataset):
    return _open_folder(dataset, data_dir, options)
  if labelled_source.is_folder(dataset):
    folder = os.path.expanduser(dataset)
    if os.path.isdir(folder) and not os.path.exists(
        os.path.join(folder, 'dataset_info.json')):
      return _open_folder(folder, data_dir, options)
  elif re.split('[/:]', dataset)[0] in _LABELLED_VIDEOS:
    return _open_labelled_videos(dataset, data_dir, options)
  elif dataset == 'fashion_mnist' and 'from_dir' in options:
    _refuse_all_but(options, ['from_dir'], dataset)
    _make_fashion_mnist(options['from_dir'], data_dir)
    options = {}
  _refuse_all_but(options, [], dataset)
  return _open_by_name(dataset, data_dir)


def _open_folder(path: str, data_dir: str, options: Dict[str, Any]):
  """Packs a folder of class folders, or the files of a CSV file."""
  # pylint: disable=g-import-not-at-top
  from tf_tokenlearner.data import csv_listing
  from tf_tokenlearner.data import folder_listing
  from tf_tokenlearner.data import tfds_source
  listing = folder_listing
  if csv_listing.is_csv(path):
    listing = csv_listing
    options['files_dir'] = options.pop('from_dir', '')
  noun = options.pop('kind', None)
  nouns = [noun] if noun else [
      found.noun for found in listing.find_types(path)]
  if len(nouns) > 1:
    raise errors.UserError(
        f'{path} holds files of both types, or GIFs that may be either. Set '
        '--kind=image or --kind=video.')
  allowed = ['files_dir', 'validation_fraction', 'max_unreadable_fraction']
  if nouns == ['video']:
    _refuse_all_but(options, [*allowed, 'fps', 'short_side'], path)
    return tfds_source.open_video_folder(path, data_dir, **options)
  _refuse_all_but(options, allowed, f'{path}, '
                  f'{"a folder" if listing is folder_listing else "files"} of '
                  'images')
  return tfds_source.open_image_folder(path, data_dir, **options)


def _open_labelled_videos(dataset: str, data_dir: str,
                          options: Dict[str, Any]):
  """Packs the videos that label files name, unless they are packed already."""
  # pylint: disable=g-import-not-at-top
  from tf_tokenlearner.data import labelled_source
  from tf_tokenlearner.data import prepare_dataset
  from tf_tokenlearner.data import tfds_source
  from tf_tokenlearner.data.builders import labelled_videos
  _refuse_all_but(options, [
      'from_dir', 'fps', 'short_side', 'max_unreadable_fraction',
      'max_missing_fraction'], dataset)
  name, config, version = re.fullmatch(
      '([^/:]+)/?([^:]*)(.*)', dataset).groups()
  sizes = {key: options.pop(key) for key in ('fps', 'short_side')
           if key in options}
  if config and sizes:
    raise errors.UserError(
        f'--{next(iter(sizes))} and {dataset} both give the size. Drop one.')
  if not config:
    usual = labelled_source.find_builder(dataset, data_dir, announce=print)
    config = labelled_videos.config_name(**{
        'fps': usual.fps, 'short_side': usual.short_side, **sizes})
  dataset = f'{name}/{config}{version}'
  # The option makes TFDS use our class, where it would only read the files.
  builder = labelled_source.find_builder(
      dataset, data_dir, announce=print, **options)
  was_prepared = prepare_dataset.is_prepared(builder)
  prepare_dataset.ensure_prepared(builder)
  if was_prepared and 'from_dir' in options:
    builder.refuse_other_files()
  builder.refuse_unreadable()
  return tfds_source.open_video_source(dataset, data_dir)


def _open_by_name(dataset: str, data_dir: str):
  # pylint: disable=g-import-not-at-top
  from tf_tokenlearner.data import labelled_source
  from tf_tokenlearner.data import tfds_source
  info = labelled_source.find_builder(dataset, data_dir).info
  has_video = any(
      isinstance(feature.shape, tuple) and len(feature.shape) == 4
      for feature in labelled_source.features_of(info).values())
  return (tfds_source.open_video_source if has_video
          else tfds_source.open_image_source)(dataset, data_dir)


def _make_fashion_mnist(from_dir: str, data_dir: str) -> None:
  # pylint: disable=g-import-not-at-top
  from tf_tokenlearner.data.builders import fashion_mnist
  from tf_tokenlearner.data import prepare_dataset
  prepare_dataset.ensure_prepared(fashion_mnist.FashionMnistFiles(
      from_dir=from_dir,
      data_dir=os.path.expanduser(data_dir) if data_dir else None))


def _refuse_all_but(options: Dict[str, Any], allowed: Sequence[str],
                    dataset: str) -> None:
  for name in options:
    if name not in allowed:
      raise errors.UserError(
          f'--{name} does not apply to --dataset={dataset}; see --help.')


if __name__ == '__main__':
  cli.run(main)
