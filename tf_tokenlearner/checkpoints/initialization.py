"""Starts a model from a checkpoint of any supported format.

The format is detected from the content, not from the name.
"""

import os
from typing import Callable, Dict, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow as tf

from tf_tokenlearner import backbones
from tf_tokenlearner.checkpoints import flax_models
from tf_tokenlearner.checkpoints import garden_vit
from tf_tokenlearner.checkpoints import hub_files
from tf_tokenlearner.checkpoints import pretrained
from tf_tokenlearner.checkpoints import run_model
from tf_tokenlearner.checkpoints import scenic
from tf_tokenlearner.checkpoints import tf_checkpoint
from tf_tokenlearner.checkpoints import token_learner_init
from tf_tokenlearner.checkpoints import transfer
from tf_tokenlearner.checkpoints import vit_npz
from tf_tokenlearner import errors
from tf_tokenlearner import run_folder

MODULES = {'all': 'keep', 'backbone': 'fresh'}  # Values: the fate of the head.

# Readers of public checkpoints, in the order in which they are asked. To add a
# format, write a module with `matches(path) -> bool` and
# `read(path) -> flax_names.Weights`, and list it here. The last reader takes
# every file that no other recognises.
_READERS = (vit_npz, garden_vit, scenic)


class Source(NamedTuple):
  """A checkpoint that was read.

  Attributes:
    path: the checkpoint, a file or folder.
    source: what it is, for messages.
    model: with its weights; None: to be restored variable by variable.
    notes: further lines for the user.
  """
  path: str
  source: str
  model: Optional[backbones.Classifier]
  notes: Tuple[str, ...] = ()


def initialize(model: backbones.Classifier, path: str, modules: str = 'all',
               tubelets: str = 'central_frame',
               examples: Optional[Callable[[int], np.ndarray]] = None) -> str:
  """Loads a checkpoint into a fresh model and prints what was loaded.

  Args:
    model: built classifier, for images or clips.
    path: a checkpoint or run of this project; pretrained weights as
      hf://OWNER/NAME[@REVISION], or a folder or file of safetensors; a .npz
      file of public ViT weights; a msgpack file or Orbax folder of Scenic; a
      checkpoint of the Model Garden's ViT; or a folder of checkpoints. See
      `find`.
    modules: 'all', or 'backbone' to leave the head fresh.
    tubelets: how patches become tubelets; see transfer.transfer.
    examples: returns as many training examples as it is asked for. If given,
      TokenLearners that the checkpoint lacks start as described in
      token_learner_init, otherwise at random.

  Returns:
    Path of the checkpoint.

  Raises:
    UserError: there is no checkpoint, it is damaged, or it does not fit; the
      model stays as it was.
  """
  if modules not in MODULES:
    raise errors.unknown_name('task.init_checkpoint_modules', modules, MODULES)
  source = read(path, model, modules)
  if source.model is None:
    tf_checkpoint.load(model, source.path, modules)
    return source.path
  done = transfer.transfer(source.model, model, MODULES[modules], tubelets)
  done = done._replace(notes=(*source.notes, *done.notes))
  if examples:
    done = done._replace(notes=(
        *done.notes, *token_learner_init.start_at_means(
            model, done.fresh,
            examples(token_learner_init.num_examples(model)))))
  transfer.say(source.path, source.source, done)
  return source.path


def find(path: str) -> str:
  """Returns the path of the checkpoint that a path stands for.

  A run stands for its best checkpoint, as in evaluation and export; another
  folder for its latest. No weights are read, so this check comes first; those
  of hf:// are downloaded, unless they are in the cache of huggingface_hub.

  Args:
    path: a checkpoint, a folder with checkpoints, or hf://OWNER/NAME.

  Raises:
    UserError: there is no checkpoint.
  """
  if hub_files.is_address(path) or hub_files.is_pretrained(path):
    hub_files.read(path)
    return path
  if tf.io.gfile.isdir(path):
    if run_folder.exists(path) or run_folder.latest_checkpoint(path):
      return run_model.find_checkpoint(path)
    if not scenic.matches(path):
      raise errors.UserError(
          f'{path} holds no checkpoint: expected a run of this project or of '
          'the Model Garden, files of safetensors, or files or folders of '
          'Scenic named checkpoint_STEP.')
    return scenic.find(path)
  if not tf.io.gfile.exists(path):
    return run_model.find_checkpoint(path)
  if path.endswith('.index') or '.data-00' in path:
    raise errors.UserError(
        f'{path} is one of the files of a checkpoint; give its path without '
        'the ending, such as RUN/ckpt-1000.')
  return path


def origin(path: str) -> Dict[str, str]:
  """Returns where pretrained weights come from, for the folder of a run.

  Args:
    path: as in `find`; a run of this project records its start.

  Returns:
    'weights' and 'licence'; {} if no pretrained weights are known.
  """
  if hub_files.is_address(path) or hub_files.is_pretrained(path):
    return {'weights': path,
            'licence': hub_files.read(path).licence or 'not stated'}
  run = _run_of(path)
  return dict(run.start) if run else {}


def label_names(path: str) -> Tuple[str, ...]:
  """Returns the classes of a checkpoint; () if it does not name them.

  Args:
    path: as in `find`.

  Raises:
    UserError: there is no checkpoint.
  """
  path = find(path)
  if hub_files.is_address(path) or hub_files.is_pretrained(path):
    names = hub_files.read(path).config.get('id2label', {})
    return tuple(names[key] for key in sorted(names, key=int))
  run = _run_of(path)
  return run.label_names if run else ()


def _run_of(path: str) -> Optional[run_folder.Run]:
  """Returns the run that a run folder or a checkpoint belongs to, or None."""
  folder = os.path.dirname(path)
  for candidate in (path, folder, os.path.dirname(folder)):
    if run_folder.exists(candidate):
      return run_folder.load(candidate)
  return None


def read(path: str, like: backbones.Classifier,
         modules: str = 'all') -> Source:
  """Reads a checkpoint.

  Args:
    path: as in `find`.
    like: model to start; gives the options that a checkpoint does not tell.
    modules: as in `initialize`.

  Raises:
    UserError: there is no checkpoint, it is damaged, or of an unknown format.
  """
  path = find(path)
  if hub_files.is_address(path) or hub_files.is_pretrained(path):
    transfer.require_known(type(like.backbone))
    return _read_pretrained(path, like, modules)
  for reader in _READERS:
    if reader.matches(path):
      transfer.require_known(type(like.backbone))
      weights = reader.read(path)
      return Source(path, weights.source, flax_models.build(weights, like))
  return _read_own(path, like)


def _read_pretrained(path: str, like: backbones.Classifier,
                     modules: str) -> Source:
  """Reads a pretrained model of timm or transformers."""
  files = hub_files.read(path)
  # Only a config states the number of heads.
  model = pretrained.read(
      files, num_heads=0 if files.config else like.backbone.spec.num_heads,
      needs_head=MODULES[modules] == 'keep')
  return Source(path, 'pretrained weights', model, model.loading_report)


def _read_own(path: str, like: backbones.Classifier) -> Source:
  """Reads a checkpoint of this project."""
  if not any(name.startswith('model/backbone/')
             for name in tf_checkpoint.variables(path)):
    raise errors.UserError(
        f'{path} is a checkpoint of neither this project nor the Model '
        'Garden\'s ViT.')
  source = 'run of this project'
  run = run_model.describe(path)
  ours = type(like.backbone)
  if run is None or (
      run.backbone_class is ours and not transfer.is_known(ours)):
    return Source(path, source, None)
  transfer.require_compatible(run.backbone_class, ours)
  return Source(path, source, run_model.read_model(path, run))
