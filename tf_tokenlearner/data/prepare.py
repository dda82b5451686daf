"""Prepares an image data set ahead of training.

  python -m tf_tokenlearner.data.prepare --dataset=cifar10
  python -m tf_tokenlearner.data.prepare --dataset=/data/flowers
  python -m tf_tokenlearner.data.prepare --dataset=fashion_mnist \\
      --from_dir=/usr/share/datasets/fashion-mnist

The second packs a folder of class folders. The third needs no network: the
files are those of Debian's package dataset-fashion-mnist.
"""

import os
from typing import Sequence

from absl import flags

from tf_tokenlearner import cli
from tf_tokenlearner import errors

_DATASET = flags.DEFINE_string(
    'dataset', None, 'TFDS data set (name, name/config or name:version), or a '
    'folder of class folders.')
_DATA_DIR = flags.DEFINE_string(
    'data_dir', '', 'Where data sets lie. Default: $TFDS_DATA_DIR, or '
    '~/tensorflow_datasets.')
_FROM_DIR = flags.DEFINE_string(
    'from_dir', '', 'Folder of the four .gz files of Fashion-MNIST, for '
    '--dataset=fashion_mnist without a network.')


def main(arguments: Sequence[str]) -> None:
  """Prepares what the flags name, and says what it is."""
  cli.refuse_arguments(arguments)
  cli.require('dataset')
  source = _open_source(_DATASET.value, _DATA_DIR.value, _FROM_DIR.value)
  print(describe(source))


def describe(source) -> str:
  """Where an ImageSource lies and what it holds, in lines."""
  info = source.builder.info
  feature = info.features[source.image_key]
  shape = ' x '.join('?' if size is None else str(size)
                     for size in feature.shape)
  names = ', '.join(source.label_names[:10])
  more = ', ...' if source.num_classes > 10 else ''
  return '\n'.join([
      f'Data set  {info.full_name}',
      f'Lies in   {source.builder.data_dir}',
      'Splits    ' + ', '.join(f'{name} {split.num_examples:,}'
                               for name, split in info.splits.items()),
      f'Classes   {source.num_classes:,}: {names}{more}',
      f'Images    {shape}, {"encoded" if source.is_encoded else "raw"}, in '
      f'{source.image_key!r}',
      f'Labels    {"any number" if source.multi_label else "one"} an image, '
      f'in {source.label_key!r}',
  ])


def _open_source(dataset: str, data_dir: str, from_dir: str):
  if from_dir and dataset != 'fashion_mnist':
    raise errors.UserError(
        f'--from_dir is for --dataset=fashion_mnist, received {dataset}.')
  # Here, so that --help and misspelt flags are answered at once.
  # pylint: disable=g-import-not-at-top
  from tf_tokenlearner.data import builder_lookup
  from tf_tokenlearner.data import fashion_mnist_files
  from tf_tokenlearner.data import first_use
  from tf_tokenlearner.data import tfds_source
  if from_dir:
    first_use.ensure_prepared(fashion_mnist_files.FashionMnistFiles(
        from_dir=from_dir,
        data_dir=os.path.expanduser(data_dir) if data_dir else None))
  elif _is_image_folder(dataset, builder_lookup.is_folder(dataset)):
    return tfds_source.open_image_folder(dataset, data_dir)
  return tfds_source.open_image_source(dataset, data_dir)


def _is_image_folder(dataset: str, is_path: bool) -> bool:
  folder = os.path.expanduser(dataset)
  return (is_path and os.path.isdir(folder)
          and not os.path.exists(os.path.join(folder, 'dataset_info.json')))


if __name__ == '__main__':
  cli.run(main)
