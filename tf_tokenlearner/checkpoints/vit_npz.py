"""Reads the public ViT and AugReg weights.

They are .npz files with flat names, as google-research/vision_transformer
writes them. Positions are resized with aligned corners, as there
(scipy.ndimage.zoom of order 1).
"""

from typing import Optional, Tuple

import tensorflow as tf

from tf_tokenlearner import backbones
from tf_tokenlearner.checkpoints import flax_models
from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner.checkpoints import npz_file
from tf_tokenlearner.checkpoints import transfer
from tf_tokenlearner import errors

_SOURCE = 'public ViT weights'
_RENAMED = (
    ('/MultiHeadDotProductAttention_1/', f'/{flax_names.ATTENTION}/'),
    ('/LayerNorm_2/', f'/{flax_names.SECOND_NORM}/'),
    ('/MlpBlock_3/', f'/{flax_names.MLP}/'),
    ('^head/', f'{flax_names.HEAD}/'),
)


def matches(path: str) -> bool:
  """Returns whether a path is a .npz file, by its content."""
  return (tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path)
          and npz_file.is_npz(path))


def read(path: str) -> flax_names.Weights:
  """Reads a .npz file.

  Raises:
    UserError: no such file, a damaged one, or an array has two names.
  """
  arrays = npz_file.read(path)
  try:
    names = flax_names.rename(arrays, _RENAMED)
  except errors.UserError as error:
    raise errors.UserError(f'{path} cannot be loaded: {error}') from error
  return flax_names.Weights(
      path, _SOURCE, {names[name]: array for name, array in arrays.items()},
      prefers_square=True)


def load_vision_transformer_npz(
    model: backbones.Classifier, path: str, head: str = 'keep',
    grid_size: Optional[Tuple[int, int]] = None,
    tubelets: str = 'central_frame') -> transfer.Transfer:
  """Loads public ViT weights into a model for images or clips.

  The model may have TokenLearners, which stay fresh; another image size, for
  which positions are resized; no class token, whose position is dropped; and,
  with another head, no pre_logits.

  Args:
    model: a classifier around a transformer of the same width and depth.
    path: the .npz file, local or remote.
    head: 'keep' loads it, which needs the same classes; 'fresh' keeps the
      model's own; 'zero' sets it to zero.
    grid_size: (H, W), the positions in the file; None: a square.
    tubelets: as in transfer.transfer, for models of clips.

  Returns:
    What was loaded, what stays fresh and what was not used, as is printed.

  Raises:
    UserError: no such file, a damaged one, or one that does not fit; the model
      stays as it was.
  """
  weights = read(path)
  done = transfer.transfer(
      flax_models.build(weights, model, grid_size), model, head, tubelets)
  transfer.say(path, weights.source, done)
  return done
