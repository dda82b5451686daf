"""Builders are found by name and folder; others are refused."""

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_tokenlearner.data import labelled_source
from tf_tokenlearner import errors


class LookupNumbers(tfds.core.GeneratorBasedBuilder):
  """One number; has a config and takes an option."""

  VERSION = tfds.core.Version('1.2.0')
  BUILDER_CONFIGS = [
      tfds.core.BuilderConfig(name='small'),
      tfds.core.BuilderConfig(name='large')]

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self, features=tfds.features.FeaturesDict(
            {'number': tfds.features.Scalar(tf.int64)}))

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples()}

  def _generate_examples(self):
    yield 0, {'number': 0}


class LookupPackage(LookupNumbers):
  """Needs a package to be opened at all."""

  def __init__(self, **unused_kwargs):
    raise ModuleNotFoundError("No module named 'pydicom'")


@pytest.mark.parametrize('name,full_name', [
    ('lookup_numbers', 'lookup_numbers/small/1.2.0'),
    ('LookupNumbers', 'lookup_numbers/small/1.2.0'),
    ('lookup_numbers/large', 'lookup_numbers/large/1.2.0'),
    ('lookup_numbers/large:1.*.*', 'lookup_numbers/large/1.2.0'),
    ('digits', 'digits/1.0.0'),
    ('fashion_mnist:3.*.*', 'fashion_mnist/3.0.1'),
])
def test_find_builder_by_name(tmp_path, name, full_name):
  builder = labelled_source.find_builder(name, str(tmp_path))
  assert builder.info.full_name == full_name
  assert builder.data_dir == f'{tmp_path}/{full_name}'
  assert not list(tmp_path.iterdir())


def test_tilde_is_expanded(monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path))
  builder = labelled_source.find_builder('digits', '~/sets')
  assert builder.data_dir == f'{tmp_path}/sets/digits/1.0.0'


def test_default_data_dir_is_that_of_tfds():
  assert labelled_source.find_builder('digits').data_dir == (
      tfds.builder('digits').data_dir)


def test_find_builder_by_folder(tmp_path, monkeypatch):
  tfds.builder('lookup_numbers', data_dir=tmp_path).download_and_prepare()
  folder = tmp_path / 'lookup_numbers' / 'small' / '1.2.0'
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.chdir(tmp_path)
  for name in (str(folder), '~/lookup_numbers/small/1.2.0',
               './lookup_numbers/small/1.2.0', 'lookup_numbers/small/1.2.0'):
    builder = labelled_source.find_builder(name)
    assert builder.info.splits['train'].num_examples == 1
  # A name stays a name if such a folder exists.
  assert not labelled_source.is_folder('lookup_numbers/small')
  (folder / 'dataset_info.json').write_text('{}')
  with pytest.raises(errors.UserError, match=(
      '1.2.0 cannot be read as a TFDS data set: ')):
    labelled_source.find_builder(str(folder))


@pytest.mark.parametrize('name,message', [
    ('cifar11', "Unknown TFDS data set 'cifar11'. Nearest of the .* known: "
                'cifar10_1, cifar10, '),
    ('digit', "Unknown TFDS data set 'digit'. Nearest .*: digits, "),
    ('group:name', "Unknown TFDS data set 'group:name'"),
    ('lookup_numbers/huge', "Unknown config of lookup_numbers 'huge'. Known: "
                            'large, small'),
    ('digits/huge', "Unknown config of digits 'huge'; none is known"),
    ('digits:7.0.0', 'digits has no version 7.0.0. Drop :7.0.0 to use the '
                     'newest version'),
    ('digits/colour=red',
     "TFDS refuses the name 'digits/colour=red': .*colour"),
    ('two words', 'Expected the name of a TFDS data set, such as cifar10, '
                  "name/config or name:1.2.3, or an absolute path, got 'two w"),
    ('', "Expected the name of a TFDS data set, .* got ''"),
    ('image_folder', 'image_folder cannot be opened by name. Set '
                     'task.train_data.input_path to the folder'),
    ('lookup_package', 'lookup_package needs a package that is not installed: '
                       ".*No module named 'pydicom'"),
])
def test_unknown_names(tmp_path, name, message):
  with pytest.raises(errors.UserError, match=message) as error:
    labelled_source.find_builder(name, str(tmp_path))
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', ['plain', 'lr=[1e-3] *?'])
def test_unknown_folders(tmp_path, name):
  tmp_path = tmp_path / name
  tmp_path.mkdir()
  with pytest.raises(errors.UserError, match='There is no folder .*/none'):
    labelled_source.find_builder(str(tmp_path / 'none'))
  with pytest.raises(errors.UserError, match=(
      'holds no prepared TFDS data set: there is no dataset_info.json. Set '
      'task.train_data.input_path for a folder of class folders')):
    labelled_source.find_builder(str(tmp_path))
  tfds.builder('lookup_numbers', data_dir=tmp_path).download_and_prepare()
  with pytest.raises(errors.UserError,
                     match='Data sets inside: .*/lookup_numbers/small/1.2.0'):
    labelled_source.find_builder(str(tmp_path / 'lookup_numbers'))
