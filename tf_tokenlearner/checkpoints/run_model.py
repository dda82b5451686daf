"""Builds the model of a training run from the run's config."""

from typing import Any, Dict, NamedTuple, Optional

from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner import run_folder
from tf_tokenlearner.checkpoints import tf_checkpoint


class Description(NamedTuple):
  """The model part of a run's config.

  Attributes:
    backbone_class: one of backbones.BY_NAME.
    spec: options of the backbone.
    input_size: [height, width, channels] or [frames, height, width, channels].
    num_classes: outputs of the head.
  """
  backbone_class: type
  spec: Dict[str, Any]
  input_size: tuple
  num_classes: int

  def build(self) -> backbones.Classifier:
    """Builds the model with random weights."""
    try:
      spec = self.backbone_class.spec_class.from_dict(self.spec)
    except TypeError as error:
      raise errors.UserError(
          f'The run was made by another version of this project: {error}.'
      ) from error
    return backbones.Classifier(
        self.backbone_class(spec, self.input_size), self.num_classes)


def find_checkpoint(path: str) -> str:
  """Returns the checkpoint at a path: a run's best, another folder's latest.

  Raises:
    UserError: there is none.
  """
  if run_folder.exists(path):
    return run_folder.load(path).find_checkpoint()
  return run_folder.find_checkpoint(path)


def describe(checkpoint: str) -> Optional[Description]:
  """Returns the model of the run that a checkpoint belongs to, or None.

  Args:
    checkpoint: path of a checkpoint, or of a folder of checkpoints.

  Raises:
    UserError: the run's config cannot be read.
  """
  params = run_folder.params_beside(checkpoint)
  if params is None:
    return None
  try:
    model = params['task']['model']
    name = model['backbone']['type']
    return Description(
        backbones.BY_NAME[name], model['backbone'][name],
        tuple(model['input_size']), model['num_classes'])
  except (LookupError, TypeError) as error:
    raise errors.UserError(
        f'The params.yaml of {checkpoint} does not describe a model of this '
        f'project ({" ".join(str(error).split())}).') from error


def read_model(checkpoint: str,
               description: Description) -> backbones.Classifier:
  """Builds the model of a run and restores a checkpoint of the run.

  Raises:
    UserError: the checkpoint does not fit the run's config.
  """
  model = description.build()
  tf_checkpoint.require_fit(checkpoint, model)
  tf_checkpoint.read(checkpoint, model)
  return model
