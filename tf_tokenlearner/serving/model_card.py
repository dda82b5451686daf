"""Model cards of TensorFlow Hub modules, in Markdown.

Everything comes from the run's config, its scores and the module itself.
"""

import os
import textwrap
from typing import Any, Dict, List, Mapping, Sequence, Union

import numpy as np
import tensorflow as tf

import tf_tokenlearner
from tf_tokenlearner.analysis import cost
from tf_tokenlearner import run_folder
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.configs import image_classification
from tf_tokenlearner.configs import video_classification
from tf_tokenlearner.data import labelled_source
from tf_tokenlearner import errors
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.tasks import mirroring

_DataConfig = Union[
    image_classification.DataConfig, video_classification.DataConfig]
_WIDTH = 80
_NAMES = 20  # Class names on the card; labels.txt has all.
_PAPER = 'https://arxiv.org/abs/2106.11297'
_USE = """```python
import tensorflow as tf
import tensorflow_hub as hub
import tf_keras  # hub.KerasLayer is a layer of tf_keras.

module = hub.load({name!r})  # The folder of this card.
{inputs} = tf.zeros({shape})
{outputs} = module({inputs})  # [2, {width}]
```

Fine-tuned{purpose}:

```python
model = tf_keras.Sequential([
    hub.KerasLayer({name!r}, trainable=True),{head}
])
model.compile(
    tf_keras.optimizers.Adam(1e-4),
    tf_keras.losses.{loss}(from_logits=True))
model.fit({inputs}, {labels})
```"""
_CITATION = """```
@inproceedings{ryoo2021tokenlearner,
  title={TokenLearner: Adaptive Space-Time Tokenization for Videos},
  author={Ryoo, Michael S. and Piergiovanni, AJ and Arnab, Anurag and
          Dehghani, Mostafa and Angelova, Anelia},
  booktitle={Advances in Neural Information Processing Systems},
  year={2021}
}
```"""


def render(run: run_folder.Run, servable: servable_lib.Servable,
           module: tf.train.Checkpoint, output_type: str,
           accuracy: Sequence[str], name: str) -> str:
  """Returns the card.

  Args:
    run: the run that trained the weights.
    servable: of the checkpoint.
    module: with variables and trainable_variables.
    output_type: 'classifier' or 'feature_vector'.
    accuracy: sentences, as `accuracy` returns them.
    name: of the module's folder, for the code examples.
  """
  noun = {'images': 'image', 'clips': 'video'}[servable.inputs.name]
  title = {'classifier': f'{noun} classifier',
           'feature_vector': f'{noun} feature vectors'}[output_type]
  sections = [
      f'# {run.experiment}: {title}',
      _fill(f'A network with [TokenLearner]({_PAPER}) as a reusable TF2 '
            'SavedModel for TensorFlow Hub: '
            f'{output(servable, output_type)}. Written '
            f'by tf_tokenlearner {tf_tokenlearner.__version__} under '
            f'TensorFlow {tf.__version__}; to use it takes TensorFlow, '
            'tf_keras and TensorFlow Hub (which imports pkg_resources: '
            'pip install "setuptools<81").'),
      _items(_in_short(servable, module, output_type)),
      '## Use', _use(servable, output_type, name),
      '## Accuracy', _items(accuracy),
      '## Training', _items(_recipe(run, servable)),
      '## Classes', _classes(servable.label_names, output_type),
      '## Licence', _fill(
          'Code, including this card: Apache License 2.0. Use of the weights '
          'also depends on the licence of the data they were '
          f'trained on ({_data_set(servable.task.train_data)}'
          + (' and those of the checkpoint they started from'
             if servable.task.init_checkpoint else '')
          + ').'),
      '## Citation', _CITATION]
  return '\n\n'.join(sections) + '\n'


def output(servable: servable_lib.Servable, output_type: str) -> str:
  """Describes the output and the input size in a few words."""
  size = ' x '.join(map(str, servable.input_size[:-1]))
  if output_type == 'classifier':
    what = f'logits of {len(servable.label_names)} classes'
  else:
    what = f'feature vectors of {_num_features(servable)} numbers'
  return f'{what}, for {servable.inputs.name} of {size}'


def accuracy(run: run_folder.Run, checkpoint: str,
             report: str) -> List[str]:
  """Returns sentences on what was measured of a checkpoint.

  Args:
    run: of the checkpoint.
    checkpoint: its path.
    report: of the export's verification; '' if there was none.
  """
  data = experiments.of_run(run).task.validation_data
  name = _data_name(data)
  sentences = []
  if report:
    sentences.append(
        f'This module on {name}, loaded by TensorFlow Hub in a new process: '
        f'{report}.')
  scores = run.scores_of(checkpoint)
  if scores:
    step = int(scores.pop('best_ckpt_global_step'))
    views = (getattr(data, 'num_test_clips', 1)
             * getattr(data, 'num_test_crops', 1))
    told = ', '.join(f'{key} {value:.4f}' for key, value in scores.items())
    sentences.append(
        f'The run\'s own evaluation on {name} at step {step:,}'
        + (f', the mean of {views} views a video' if views > 1 else '')
        + f': {told}. It chose this checkpoint among those of the run, so '
        'expect slightly lower scores on new data.')
  return sentences or ['Not measured.']


def _in_short(servable, module, output_type) -> List[str]:
  """Returns the facts of the module."""
  raw, (*size, channels) = servable.inputs, servable.input_size
  letters = {'images': 'B, ', 'clips': 'B, T, '}[raw.name]
  shape = ', '.join(map(str, size))
  outputs = {
      'classifier': f'float32 [B, {len(servable.label_names)}], logits; '
                    f'probabilities are their {_activation(servable)}',
      'feature_vector': f'float32 [B, {_num_features(servable)}], what the '
                        'classifier\'s head saw, without dropout'}[output_type]
  count = lambda variables: sum(v.shape.num_elements() for v in variables)
  trainable = count(module.trainable_variables)
  statistics = count(module.variables) - trainable
  model = servable.task.model
  macs = cost.classifier_cost(
      model.backbone.get(), model.input_size,
      model.num_classes if output_type == 'classifier' else 0).macs
  return [
      f'Input: float32 [{letters}height, width, 3] = [B, {shape}, 3], RGB in '
      '[0, 1]; the module itself scales it to [-1, 1]'
      + (' and converts it to grey.' if channels == 1
         else '.'),
      f'Preparation: {raw.preparation}, and divided by 255.',
      f'Output: {outputs}.',
      f'Parameters: {trainable:,}, all trainable'
      + (f', and {statistics:,} moving statistics.' if statistics else '.'),
      f'Multiply-accumulates: {_giga(macs)} G '
      f'{"an image" if raw.name == "images" else "a clip"}.',
      'training=True: dropout and stochastic depth act as in the run'
      + (', batch normalization uses the statistics of the batch and '
         'updates its own.' if statistics else '.'),
      'regularization_losses: '
      + (f'{len(module.regularization_losses)}.'
         if module.regularization_losses else
         'none; weight decay, if any, was the optimizer\'s.'),
  ]


def _use(servable, output_type, name) -> str:
  """Returns code that runs as it is in the folder above the module's."""
  num_classes = len(servable.label_names)
  is_classifier = output_type == 'classifier'
  labels = [0, num_classes - 1 if is_classifier else 1]
  one_hot = is_classifier and _activation(servable) == 'sigmoid'
  return _USE.format(
      name=name, inputs=servable.inputs.name,
      shape=[2, *servable.input_size[:-1], 3],
      outputs='logits' if is_classifier else 'features',
      width=num_classes if is_classifier else _num_features(servable),
      purpose='' if is_classifier else ' for two classes of your own',
      head='' if is_classifier else '\n    tf_keras.layers.Dense(2),',
      loss=('BinaryCrossentropy' if one_hot
            else 'SparseCategoricalCrossentropy'),
      labels=(f'tf.one_hot({labels}, {num_classes})' if one_hot
              else f'tf.constant({labels})'))


def _recipe(run, servable) -> List[str]:
  """Returns the training recipe."""
  params = experiments.of_run(run)
  task = params.task
  trainer, data = params.trainer, task.train_data
  optimization = trainer.optimizer_config
  optimizer = optimization.optimizer
  averages = optimization.ema and 'an exponential moving average of the weights'
  lines = [
      f'Data: {_data_name(data)}.',
      f'Model: {_choice(task.model.backbone)}'
      + _options(task.model, ('dropout_rate', 'head_bias')) + '.',
      f'Loss: {task.losses.loss}' + _options(
          task.losses, ('label_smoothing',)) + '.',
      'Optimizer: ' + ', working on '.join(
          f'{name}{_options(getattr(optimizer, name))}'
          for name in (optimizer.type, *optimizer.wrapped()))
      + (f'; {averages} is evaluated and exported.' if averages else '.'),
      f'Learning rate: {_choice(optimization.learning_rate)}'
      + (f'; warm-up {_choice(optimization.warmup)}.'
         if optimization.warmup.type else '.'),
      f'Length: {trainer.train_steps:,} steps of {data.global_batch_size:,} '
      f'{servable.inputs.name}.',
      f'Augmentation: {_augmentation(data, servable.label_names)}.',
      'Start: ' + (
          f'{_checkpoint_name(task.init_checkpoint)} '
          f'({task.init_checkpoint_modules})' if task.init_checkpoint
          else 'random weights') + '.']
  if run.start:
    lines.append('Pretrained weights: {weights}, licence: {licence}.'.format(
        **run.start))
  if params.runtime.mixed_precision_dtype not in (None, 'float32'):
    lines.append(
        f'Precision: trained in {params.runtime.mixed_precision_dtype}; the '
        'module computes in float32.')
  return lines


def _checkpoint_name(path: str) -> str:
  """Returns an address as it is, and of a path the last part."""
  if path.startswith('hf://'):
    return path
  return os.path.basename(os.path.normpath(path))


def _augmentation(data: _DataConfig, label_names: Sequence[str]) -> str:
  """Describes the augmentation; images and clips have different keys."""
  get = lambda key: getattr(data, key, None)
  is_image = hasattr(data, 'aug_crop')
  words = []
  if get('aug_crop'):
    low, high = data.crop_area_range
    words.append(f'random crops of {low:g} to {high:g} of the area')
  if not is_image:
    words.append('random crops' + (
        ' at {:g} to {:g} times the size'.format(*data.scale_jitter)
        if data.scale_jitter else ''))
  if get('aug_shift'):
    words.append(f'shifts of up to {data.aug_shift} pixels')
  if data.aug_rand_hflip or (
      data.aug_rand_hflip is None
      and mirroring.may_mirror(data, label_names)):
    words.append('mirroring')
  if get('aug_rand_vflip'):
    words.append('upside-down flips')
  if get('aug_rotation'):
    words.append(f'rotations of up to {data.aug_rotation:g} degrees')
  if data.aug_type and data.aug_type.type:
    words.append(_choice(data.aug_type))
  for key in ('color_jitter', 'color_jitter_probability',
              'color_drop_probability'):
    if get(key):
      words.append(f'{key} {get(key):g}')
  if get('random_erasing'):
    words.append('random_erasing' + _options(data.random_erasing))
  if data.mixup_and_cutmix:
    words.append('mixup_and_cutmix' + _options(data.mixup_and_cutmix))
  return ', '.join(words) or 'none'


def _data_name(data: _DataConfig) -> str:
  """Returns data set and split."""
  return _data_set(data) + (
      f', split {data.tfds_split}' if data.tfds_split else '')


def _data_set(data: _DataConfig) -> str:
  """Returns name and version; of a user's own files only the last folder."""
  if not data.tfds_name:
    path = os.path.normpath(str(data.input_path))
    return f'own files, {os.path.basename(path)}'
  try:
    return labelled_source.find_builder(
        data.tfds_name, data.tfds_data_dir).info.full_name
  except errors.UserError:  # The data have moved.
    return os.path.basename(os.path.normpath(data.tfds_name))


def _classes(names: Sequence[str], output_type: str) -> str:
  told = ', '.join(f'`{name}`' for name in names[:_NAMES])
  more = len(names) - _NAMES
  what = {'classifier': 'In the order of the logits',
          'feature_vector': 'The classes that the features were trained on'}
  return _fill(
      f'{what[output_type]}, {len(names)}: {told}'
      + (f' and {more:,} more' if more > 0 else '')
      + '. labels.txt beside this card lists all, one per line.')


def _choice(config) -> str:
  """Describes the chosen config of several and its changed options."""
  return config.type + _options(getattr(config, config.type))


def _options(config, keys: Sequence[str] = ()) -> str:
  """Returns ' (key value, ...)' of changed options, '' if there are none.

  Args:
    config: of the Model Garden.
    keys: options to compare; () for all.
  """
  words = _words(_differences(config.as_dict(), type(config)().as_dict()), keys)
  return f' ({words})' if words else ''


def _differences(
    values: Mapping[str, Any], default: Mapping[str, Any]) -> Dict[str, Any]:
  """Returns the nested values that differ from the default."""
  found = {}
  for key, value in values.items():
    usual = default.get(key)
    if isinstance(value, dict) and isinstance(usual, dict):
      value, usual = _differences(value, usual), {}
    if value != usual:
      found[key] = value
  return found


def _words(values: Mapping[str, Any], keys: Sequence[str] = ()) -> str:
  def word(value):
    if isinstance(value, dict):
      return f'({_words(value)})'
    return f'{value:g}' if isinstance(value, float) else str(value)
  return ', '.join(f'{key} {word(value)}' for key, value in values.items()
                   if key in keys or not keys)


def _activation(servable: servable_lib.Servable) -> str:
  return servable.task.losses.loss


def _num_features(servable: servable_lib.Servable) -> int:
  return servable.model.head.kernel.shape[0]


def _giga(number: int) -> str:
  """Formats billions with four digits."""
  return np.format_float_positional(
      number / 1e9, precision=4, fractional=False, trim='-')


def _items(sentences: Sequence[str]) -> str:
  return '\n'.join(_fill(sentence, '- ') for sentence in sentences)


def _fill(text: str, first: str = '') -> str:
  return textwrap.fill(
      ' '.join(text.split()), _WIDTH, initial_indent=first,
      subsequent_indent=' ' * len(first), break_long_words=False,
      break_on_hyphens=False)
