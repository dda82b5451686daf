"""Starts a video model from the weights of an image model.

Source: Arnab et al. 2021 (arXiv 2103.15691), section 3.4: positions repeated
over time, patch kernels put into the central frame of a tubelet or spread over
all of its frames; the rest as it is.
"""

import itertools
import re
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow as tf
import tf_keras

from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.backbones import stages
from tf_tokenlearner.checkpoints import position_embeddings

TUBELETS = ('central_frame', 'average')
# Where a part of a video model stands in the image model.
_RENAMED = {'tubelet_embedding': 'patch_embedding',
            'spatial_encoder': 'encoder'}


class Transfer(NamedTuple):
  """What came of it.

  Attributes:
    loaded: (part of the video model, how it came from the image model).
    fresh: parts of the video model that the image model does not have.
    unused: parts of the image model that the video model does not have.
  """
  loaded: Tuple[Tuple[str, str], ...]
  fresh: Tuple[str, ...]
  unused: Tuple[str, ...]

  def __str__(self):
    """A line for each part, equal neighbours in one: 'encoder/block_0..11'."""
    lines = [f'  {name:<32}{how}' for name, how in _fold(self.loaded)]
    for title, names in (('fresh', self.fresh), ('not used', self.unused)):
      if names:
        folded = [name for name, _ in _fold([(name, '') for name in names])]
        lines.append(f'  {title}: {", ".join(folded)}')
    return '\n'.join(lines)


def transfer(image_model: backbones.Classifier,
             video_model: backbones.Classifier, modules: str = 'all',
             tubelets: str = 'central_frame') -> Transfer:
  """Assigns the weights of an image model to a video model.

  Blocks are matched by their number, whatever stands between them: a plain ViT
  gives its blocks to a ViViT with TokenLearner, whose TokenLearner is fresh.

  Args:
    image_model: classifier around a VisionTransformer, restored.
    video_model: classifier around a VideoVisionTransformer or its factorised
      form; nothing is assigned if anything does not fit.
    modules: 'all', or 'backbone' to leave the head fresh.
    tubelets: 'central_frame', the kernel stands at frame t // 2 of t and the
      others are zero; 'average', a t-th of it stands at each.

  Raises:
    UserError: the models do not fit; the message lists what differs.
  """
  if tubelets not in TUBELETS:
    raise errors.unknown_name('task.init_tubelets', tubelets, TUBELETS)
  theirs, ours = dict(_parts(image_model)), dict(_parts(video_model))
  if 'tubelet_embedding' not in ours:
    raise errors.UserError(
        f'{type(video_model.backbone).__name__} cannot start from an image '
        'model: it has no patches. Use token_learner_vivit or '
        'token_learner_vivit_factorized, or leave task.init_checkpoint out.')
  loaded, fresh, assignments, misfits, used = [], [], [], [], set()
  for name, part in ours.items():
    their_name = _their_name(name)
    if their_name not in theirs or (name == 'head' and modules != 'all'):
      fresh.append(name)
      continue
    used.add(their_name)
    how, pairs = _fit(name, theirs[their_name], part, image_model.backbone,
                      video_model.backbone, tubelets)
    loaded.append((name, how if how else
                   'the same' if name == their_name else f'from {their_name}'))
    for value, variable in pairs:
      if value.shape != tuple(variable.shape):
        misfits.append(f'  {name}: {list(value.shape)} in the image model, '
                       f'{variable.shape.as_list()} in the video model')
      assignments.append((variable, value))
  if misfits:
    raise errors.UserError(
        'The image model does not fit the video model. What differs:\n'
        + '\n'.join(misfits[:20]) + (
            '\nOnly the head differs: task.init_checkpoint_modules=backbone '
            'takes the rest.'
            if all(line.startswith('  head:') for line in misfits) else ''))
  for variable, value in assignments:
    variable.assign(value)
  return Transfer(tuple(loaded), tuple(fresh),
                  tuple(name for name in theirs if name not in used))


def _parts(
    model: backbones.Classifier) -> Iterator[Tuple[str, tf_keras.layers.Layer]]:
  """Every layer with weights, by a name that does not depend on its place."""
  for layer in model.backbone.layers:
    if isinstance(layer, backbones.Encoder):
      yield from _encoder_parts(layer)
    elif layer.weights:
      yield layer.name, layer
  yield 'head', model.head


def _encoder_parts(encoder: backbones.Encoder):
  for stage in encoder.stages:
    if isinstance(stage, stages.FuseStage):  # Its block has a number, too.
      yield f'{encoder.name}/{stage.block.name}', stage.block
      yield f'{encoder.name}/{stage.name}/token_learner', stage.token_learner
      yield f'{encoder.name}/{stage.name}/token_fuser', stage.token_fuser
    else:
      yield f'{encoder.name}/{stage.name}', stage
  yield f'{encoder.name}/norm', encoder.norm


def _their_name(name: str) -> str:
  first, *rest = name.split('/')
  return '/'.join([_RENAMED.get(first, first), *rest])


def _fit(name: str, theirs: tf_keras.layers.Layer, ours: tf_keras.layers.Layer,
         image: backbones.VisionTransformer, video: tf_keras.Model,
         tubelets: str
         ) -> Tuple[Optional[str], List[Tuple[np.ndarray, tf.Variable]]]:
  """How one part is fitted (None: it is not), and (value, variable) pairs."""
  values = theirs.get_weights()
  how = None
  if name == 'tubelet_embedding':
    frames = ours.kernel.shape[0]
    how = 'from patch_embedding'
    if frames > 1:
      how += (f', at frame {frames // 2} of 0..{frames - 1}'
              if tubelets == 'central_frame' else f', 1/{frames} in each frame')
    values = [_inflate(value, frames, tubelets) if value.ndim == 4 else value
              for value in values]
  elif name == 'position_embedding':
    how, values = _fit_positions(values, ours, image, video)
  if len(values) != len(ours.weights):
    raise errors.UserError(
        f'The image model does not fit the video model: {name} has '
        f'{len(values)} weights there and {len(ours.weights)} here.')
  return how, list(zip(values, ours.weights))


def _inflate(kernel: np.ndarray, frames: int, tubelets: str) -> np.ndarray:
  """[h, w, channels, C] -> [t, h, w, channels, C]."""
  if tubelets == 'average':
    return np.stack([kernel / frames] * frames)
  inflated = np.zeros([frames, *kernel.shape], kernel.dtype)
  inflated[frames // 2] = kernel
  return inflated


def _fit_positions(values: List[np.ndarray], ours: tf_keras.layers.Layer,
                   image: backbones.VisionTransformer, video: tf_keras.Model):
  """Resizes the grid if need be, then repeats it over time if need be."""
  old = image.spec.grid_size(image.input_size)
  new = video.spec.grid_size(video.input_size)
  rows, = values[0]  # [N, C], before them the row of a class token.
  own_rows = ours.embedding.numpy()[0]
  class_row, rows = rows[:-old[0] * old[1]], rows[-old[0] * old[1]:]
  num_class_rows = len(own_rows) % (new[0] * new[1])
  how = f'{old[0]} x {old[1]} positions'
  if old != new:
    rows = position_embeddings.resize(rows, old, new)
    how += f' resized to {new[0]} x {new[1]}'
  num_frames = len(own_rows) // (new[0] * new[1])
  if num_frames > 1:
    rows = position_embeddings.repeat(rows, num_frames)
    how += f', repeated {num_frames} times'
  if num_class_rows:  # Of a class token that is fresh, its own stays.
    rows = np.concatenate([class_row if len(class_row) else own_rows[:1], rows])
  return how, [rows[np.newaxis]]


def _fold(rows):
  """Joins neighbours that differ in a number only: block_0, block_1 -> 0..1."""
  kind = lambda row: (re.sub(r'\d+$', '', row[0]), *row[1:])
  for _, group in itertools.groupby(rows, kind):
    group = list(group)
    last = re.search(r'\d+$', group[-1][0])
    joined = len(group) > 1 and last
    yield (group[0][0] + (f'..{last.group()}' if joined else ''), group[0][1])
