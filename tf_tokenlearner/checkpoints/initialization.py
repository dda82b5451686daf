"""Starts a model from a checkpoint of any of the formats that are known.

What a path holds is told by what is there, never by its name.
"""

from typing import Callable, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from tf_tokenlearner import backbones
from tf_tokenlearner.checkpoints import flax_models
from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner.checkpoints import garden_vit
from tf_tokenlearner.checkpoints import npz_file
from tf_tokenlearner.checkpoints import run_model
from tf_tokenlearner.checkpoints import scenic
from tf_tokenlearner.checkpoints import tf_checkpoint
from tf_tokenlearner.checkpoints import token_learner_init
from tf_tokenlearner.checkpoints import transfer
from tf_tokenlearner.checkpoints import vit_npz
from tf_tokenlearner import errors
from tf_tokenlearner import run_folder

MODULES = {'all': 'keep', 'backbone': 'fresh'}  # What becomes of the head.


class Source(NamedTuple):
  """A checkpoint, read.

  Attributes:
    path: the file or folder that was taken.
    kind: what it is, in words.
    model: with its weights; None: to be restored variable by variable.
  """
  path: str
  kind: str
  model: Optional[backbones.Classifier]


def initialize(model: backbones.Classifier, path: str, modules: str = 'all',
               tubelets: str = 'central_frame',
               examples: Optional[Callable[[int], np.ndarray]] = None) -> str:
  """Loads a checkpoint into a fresh model and says what came of it.

  Args:
    model: built classifier, for images or clips.
    path: a checkpoint or run of this project; a .npz file in the layout of the
      public ViT weights; a msgpack file or Orbax folder of Scenic; a checkpoint
      of the Model Garden's ViT; or a folder of checkpoints.
    modules: 'all', or 'backbone' to leave the head fresh.
    tubelets: how patches become tubelets; see transfer.transfer.
    examples: gives so many examples as in training; with it, TokenLearners that
      the checkpoint does not have start as token_learner_start says, and else
      at random.

  Returns:
    The checkpoint that was taken.

  Raises:
    UserError: there is none, it is damaged, or it does not fit; the model is
      left as it was.
  """
  if modules not in MODULES:
    raise errors.unknown_name('task.init_checkpoint_modules', modules, MODULES)
  source = read(path, model)
  if source.model is None:
    return tf_checkpoint.initialize(model, source.path, modules)
  done = transfer.transfer(source.model, model, MODULES[modules], tubelets)
  if examples:
    done = done._replace(notes=(
        *done.notes, *token_learner_init.start_at_means(
            model, done.fresh,
            examples(token_learner_init.num_examples(model)))))
  transfer.say(source.path, source.kind, done)
  return source.path


def read(path: str, like: backbones.Classifier) -> Source:
  """Reads a checkpoint; what it does not say of its model is as in like.

  Raises:
    UserError: there is none, it is damaged, or of no format that is known.
  """
  is_folder = tf.io.gfile.isdir(path)
  if is_folder and not run_folder.latest_checkpoint(path):
    if not scenic.is_scenic(path):
      raise errors.UserError(
          f'{path} holds no checkpoint: expected a run of this project or of '
          'the Model Garden, or files or folders of Scenic named '
          'checkpoint_STEP.')
    return _read_scenic(path, like)
  if is_folder or not tf.io.gfile.exists(path):
    return _read_tensorflow(run_folder.find_checkpoint(path), like)
  if path.endswith('.index') or '.data-00' in path:
    raise errors.UserError(
        f'{path} is one of the files of a checkpoint; give its path without '
        'the ending, such as RUN/ckpt-1000.')
  transfer.require_known(type(like.backbone))
  if npz_file.is_npz(path):
    return Source(path, vit_npz.KIND,
                  vit_npz.read_model(path, like))
  return _read_scenic(path, like)


def _read_scenic(path: str, like: backbones.Classifier) -> Source:
  transfer.require_known(type(like.backbone))
  path = scenic.find(path)
  params = flax_names.flatten(scenic.read_scenic_checkpoint(path))
  return Source(path, 'checkpoint of Scenic', flax_models.build(
      params, flax_names.SCENIC, like, path))


def _read_tensorflow(path: str, like: backbones.Classifier) -> Source:
  variables = tf_checkpoint.variables(path)
  if garden_vit.is_garden_vit(variables):
    transfer.require_known(type(like.backbone))
    return Source(path, 'ViT of the Model Garden',
                  garden_vit.read_model(path, like))
  if not any(name.startswith('model/backbone/') for name in variables):
    raise errors.UserError(
        f'{path} is a checkpoint of neither this project nor the Model '
        'Garden\'s ViT.')
  kind = 'run of this project'
  run = run_model.describe(path)
  ours = type(like.backbone)
  if run is None or (
      run.backbone_class is ours and not transfer.is_known(ours)):
    return Source(path, kind, None)
  transfer.require_kinds(run.backbone_class, ours)
  return Source(path, kind, run_model.read_model(path, run))
