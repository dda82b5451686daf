"""Checkpoints in the layout of the public ViT and AugReg weights.

That is a .npz file of flat names, as google-research/vision_transformer writes
it. Positions are resized with aligned corners, as there (scipy.ndimage.zoom of
order 1).
"""

from typing import Optional, Tuple

from tf_tokenlearner import backbones
from tf_tokenlearner.checkpoints import flax_models
from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner.checkpoints import npz_file
from tf_tokenlearner.checkpoints import transfer


KIND = 'public ViT weights'


def load_vision_transformer_npz(
    model: backbones.Classifier, path: str, head: str = 'keep',
    grid_size: Optional[Tuple[int, int]] = None,
    tubelets: str = 'central_frame') -> transfer.Transfer:
  """Loads public ViT weights into a model for images or clips.

  The model may have TokenLearners, which stay fresh; another image size, for
  which positions are resized; no class token, whose position is dropped; and,
  with another head, no pre_logits.

  Args:
    model: a classifier of as wide and deep a transformer.
    path: the .npz file, local or remote.
    head: 'keep' takes it over, which needs the same classes; 'fresh' leaves the
      model's own; 'zero' makes it zero.
    grid_size: (H, W), the positions in the file; None: a square.
    tubelets: as in transfer.transfer, for models of clips.

  Returns:
    What was loaded, what stays fresh and what was not used, as is printed.

  Raises:
    UserError: no such file, a damaged one, or one that does not fit; the model
      is left as it was.
  """
  source = read_model(path, model, grid_size)
  done = transfer.transfer(source, model, head, tubelets)
  transfer.say(path, KIND, done)
  return done


def read_model(
    path: str, like: backbones.Classifier,
    grid_size: Optional[Tuple[int, int]] = None) -> backbones.Classifier:
  """The plain classifier that a file holds; like and grid_size as above."""
  return flax_models.build(
      npz_file.read(path), flax_names.VISION_TRANSFORMER, like, path, grid_size)
