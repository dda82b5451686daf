"""Weights of classes in the training loss, for classes of unequal size.

The weights are relative: they are scaled so that their mean over the training
examples is 1, and the learning rate keeps its meaning. With the softmax loss an
example weighs as its class does. With the sigmoid loss every class is a yes/no
decision, and its weight says how much an example with the class weighs compared
with one without it; the mean is 1 for each class.
"""

import json
from typing import Callable, Dict, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.configs import classification as config
from tf_tokenlearner.data import class_sampling
from tf_tokenlearner.data import labelled_source

_KEY = 'task.class_weights'
_CHOICES = ('none', 'balanced')


class ClassWeights(NamedTuple):
  """Weights by class; K classes.

  Attributes:
    positive: float32 [K], weight of a class that an example has.
    negative: float32 [K], weight of a class that it does not have; 0 for the
      softmax loss.
    names: of the classes.
    smoothing: label smoothing that the labels contain already, which is taken
      out: smoothing must not give an example the weight of a rare class.
  """
  positive: np.ndarray
  negative: np.ndarray
  names: Tuple[str, ...]
  smoothing: float = 0.

  def of(self, labels: tf.Tensor) -> tf.Tensor:
    """Returns the weight of each class of each example, float32 [B, K].

    Args:
      labels: float32 [B, K] of zeros and ones, or of the shares that mixup
        gives, whose weights add up.
    """
    shares = (labels - self.smoothing / len(self.positive)) / (
        1. - self.smoothing)
    return shares * self.positive + (1. - shares) * self.negative

  def describe(self) -> str:
    """Returns a line with the smallest and the largest weight."""
    is_softmax = not self.negative.any()
    values = self.positive / (1. if is_softmax else self.negative)
    least, most = int(values.argmin()), int(values.argmax())
    return (f'Class weights: from {values[least]:.3g} ({self.names[least]}) to '
            f'{values[most]:.3g} ({self.names[most]})' + (
                '.' if is_softmax else ', of examples with a class relative to '
                'those without it.'))


def check(task: config.ClassificationTask,
          source: Optional[labelled_source.LabelledSource],
          names: Sequence[str]) -> None:
  """Refuses class weights and sampling that do not fit the data.

  Args:
    task: config of the task.
    source: of the training data; None for TFRecord files.
    names: classes of the model.

  Raises:
    UserError: both are set, a class is unknown, or the data lack labels that
      can be counted.
  """
  weights, sampling = parse(task.class_weights), task.train_data.sampling
  if sampling != 'natural' and weights != 'none':
    raise errors.UserError(
        f'{_KEY} and task.train_data.sampling={sampling} would make up for '
        'rare classes twice. Set one of them.')
  if source is None and (sampling != 'natural' or weights != 'none'):
    raise errors.UserError(
        f'{_KEY} and task.train_data.sampling count the labels of a folder, a '
        'CSV file or a TFDS data set: expected one of them, got TFRecord '
        f'files. Set {_KEY}=none and sampling=natural.')
  if sampling == 'balanced' and source.multi_label:
    raise errors.UserError(
        'task.train_data.sampling=balanced: expected one label an example, got '
        f'data with several. Set {_KEY}=balanced instead.')
  if isinstance(weights, dict):
    for name in weights:
      if name not in names:
        raise errors.unknown_name(f'class in {_KEY}', name, names)


def parse(text: str) -> Union[str, Dict[str, float]]:
  """Returns 'none', 'balanced' or {class name: weight}.

  Args:
    text: value of task.class_weights; a dict is JSON, as configs.overrides
      writes it.

  Raises:
    UserError: it is none of these, or a weight is not above 0.
  """
  if text in _CHOICES:
    return text
  try:
    values = json.loads(text or '{}')
  except ValueError:
    values = None
  if not isinstance(values, dict):
    raise errors.UserError(
        f'{_KEY}: expected none, balanced, or weights such as {{cat: 2, dog: '
        f'0.5}}, got {text!r}.')
  for name, weight in values.items():
    if (not isinstance(weight, (int, float)) or isinstance(weight, bool)
        or not 0 < weight < float('inf')):
      raise errors.UserError(
          f'{_KEY}: expected a weight above 0 for {name}, got {weight!r}.')
  return values or 'none'


def of_data(
    task: config.ClassificationTask,
    open_source: Callable[[], labelled_source.LabelledSource]
) -> Optional[ClassWeights]:
  """Returns the weights of a task; None if all classes weigh the same.

  Args:
    task: config of the task.
    open_source: opens the training data, whose labels are counted.
  """
  chosen = parse(task.class_weights)
  if chosen == 'none':
    return None
  source = open_source()
  counts, num_examples = class_sampling.count_labels(
      source, task.train_data.tfds_split)
  mix = task.train_data.mixup_and_cutmix
  return make(
      chosen, source.label_names, counts, num_examples, task.losses.loss
  )._replace(smoothing=mix.label_smoothing if mix else 0.)


def make(chosen: Union[str, Dict[str, float]], names: Sequence[str],
         counts: np.ndarray, num_examples: int, loss: str) -> ClassWeights:
  """Returns the weights of K classes.

  With 'balanced' every class adds the same to the softmax loss, n / (K *
  count), as in scikit-learn; for the sigmoid loss, an example with a class
  weighs as many times one without it as there are more of the latter. A class
  without examples, or with all of them, weighs 1.

  Args:
    chosen: 'balanced', or {class name: weight}; the other classes weigh 1.
    names: of the classes.
    counts: int [K], training examples by class.
    num_examples: number of training examples.
    loss: 'softmax' or 'sigmoid'.
  """
  counts = np.asarray(counts, np.float64)
  others = num_examples - counts
  if chosen == 'balanced':
    is_known = (counts > 0) & ((loss == 'softmax') | (others > 0))
    weights = np.divide(
        counts.sum() / max(1, is_known.sum()) if loss == 'softmax' else others,
        counts, out=np.ones_like(counts), where=is_known)
  else:
    weights = np.array([chosen.get(name, 1.) for name in names])
  if loss == 'softmax':
    mean = (counts * weights).sum() / max(1., counts.sum())
    positive, negative = weights / mean, np.zeros_like(weights)
  else:
    mean = (counts * weights + others) / num_examples
    positive, negative = weights / mean, 1. / mean
  return ClassWeights(positive.astype(np.float32), negative.astype(np.float32),
                      tuple(names))
