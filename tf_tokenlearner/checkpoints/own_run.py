"""The model of a training run of this project, read from its folder."""

import os
from typing import Any, Dict, NamedTuple, Optional

import tensorflow as tf
import yaml

from tf_tokenlearner import backbones
from tf_tokenlearner.checkpoints import tf_checkpoint
from tf_tokenlearner import errors

_PARAMS = 'params.yaml'  # As configs.experiments saves it.


class Description(NamedTuple):
  """What a run says of its model."""
  backbone_class: type
  spec: Dict[str, Any]
  input_size: tuple
  num_classes: int

  def build(self) -> backbones.Classifier:
    """The model, its weights still random."""
    try:
      spec = self.backbone_class.spec_class.from_dict(self.spec)
    except TypeError as error:
      raise errors.UserError(
          f'The run was made by another version of this project: {error}.'
      ) from error
    return backbones.Classifier(
        self.backbone_class(spec, self.input_size), self.num_classes)


class _Loader(yaml.SafeLoader):
  """Data only; the Garden writes tuples with a tag of Python's."""


_Loader.add_constructor('tag:yaml.org,2002:python/tuple',
                        lambda loader, node: loader.construct_sequence(node))


def describe(checkpoint: str) -> Optional[Description]:
  """The model of the run that a checkpoint lies in; None if it lies in none.

  Args:
    checkpoint: its path, or the folder.

  Raises:
    UserError: the run's config cannot be read.
  """
  folder = (checkpoint if tf.io.gfile.isdir(checkpoint)
            else os.path.dirname(checkpoint))
  # The best checkpoint has a folder of its own inside.
  for candidate in (folder, os.path.dirname(os.path.normpath(folder))):
    path = os.path.join(candidate, _PARAMS)
    if tf.io.gfile.exists(path):
      return _read(path)
  return None


def _read(path: str) -> Description:
  try:
    with tf.io.gfile.GFile(path) as file:
      model = yaml.load(file, Loader=_Loader)['task']['model']
    kind = model['backbone']['type']
    return Description(
        backbones.BY_NAME[kind], model['backbone'][kind],
        tuple(model['input_size']), model['num_classes'])
  except (yaml.YAMLError, LookupError, TypeError) as error:
    raise errors.UserError(
        f'{path} does not describe a model of this project '
        f'({" ".join(str(error).split())}).') from error


def read_model(checkpoint: str,
               description: Description) -> backbones.Classifier:
  """The model of a run with the weights of one of its checkpoints.

  Raises:
    UserError: the checkpoint does not fit the run's own config.
  """
  model = description.build()
  tf_checkpoint.require_fit(checkpoint, model)
  tf_checkpoint.read(checkpoint, model)
  return model
