"""Transfers the weights of one model to another, layer by layer.

The models may differ in their head, in TokenLearners between the blocks and in
the size of images or clips. A video model may start from an image model, as in
Arnab et al. 2021 (arXiv 2103.15691), section 3.4: positions are repeated over
time, patch kernels are placed at the central frame of a tubelet or averaged
over all of its frames.
"""

import itertools
import math
import re
import sys
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
from scipy import ndimage
import tf_keras

from tf_tokenlearner import backbones
from tf_tokenlearner.backbones import encoder as encoder_lib
from tf_tokenlearner import errors


def resize(embedding: np.ndarray, old_grid: Tuple[int, ...],
           new_grid: Tuple[int, ...]) -> np.ndarray:
  """Interpolates position embeddings linearly along each axis of their grid.

  The corners of the grids are aligned, as in interpolate_positional_embeddings
  of the official ViViT code, and unlike in tf.image.resize. The official code
  takes square grids only; here the grid may have any size and number of axes.

  Args:
    embedding: [N, C], N the product of old_grid; without class token.
    old_grid: such as (H, W), or (T,).
    new_grid: of as many axes.

  Returns:
    float32 [product of new_grid, C]; equal to embedding if the grids are.
  """
  x = np.asarray(embedding, np.float32).reshape([*old_grid, -1])
  factors = [new / old for new, old in zip(new_grid, old_grid)]
  x = ndimage.zoom(x, (*factors, 1), order=1)
  return x.reshape([-1, x.shape[-1]])


def repeat(embedding: np.ndarray, num_frames: int) -> np.ndarray:
  """Repeats [N, C] for each frame to [T*N, C], as in Arnab et al. 2021."""
  return np.tile(embedding, [num_frames, 1])


TUBELETS = ('central_frame', 'average')
HEADS = ('keep', 'fresh', 'zero')
_FRESH_HEAD = "task.init_checkpoint_modules=backbone (in Python head='fresh')"
# Names of layers of a video model in the image model.
_IN_IMAGE_MODEL = {'tubelet_embedding': 'patch_embedding',
                   'spatial_encoder': 'encoder'}
# Layers with weights of equal shapes compute other things if these differ.
_MUST_AGREE = (
    'num_heads', 'pooling', 'use_normalization', 'activation', 'epsilon',
    'norm_epsilon')
_TRANSFORMERS = (backbones.VisionTransformer, backbones.VideoVisionTransformer,
                 backbones.FactorizedVideoVisionTransformer)


class Transfer(NamedTuple):
  """Result of a transfer.

  Attributes:
    loaded: (layer of the model, how it was transferred).
    fresh: layers of the model that the source lacks.
    unused: layers of the source that the model lacks.
    notes: further lines for the user.
  """
  loaded: Tuple[Tuple[str, str], ...]
  fresh: Tuple[str, ...]
  unused: Tuple[str, ...]
  notes: Tuple[str, ...] = ()

  def __str__(self):
    """Returns a line per layer; joins equal ones, as 'encoder/block_0..11'."""
    lines = [f'  {name:<32}{how}' for name, how in _fold(self.loaded)]
    for title, names in (('fresh', self.fresh), ('not used', self.unused)):
      if names:
        folded = [name for name, _ in _fold([(name, '') for name in names])]
        lines.append(f'  {title}: {", ".join(folded)}')
    lines += [f'  note: {note}' for note in self.notes]
    return '\n'.join(lines)


def say(path: str, source: str, done: Transfer) -> None:
  """Prints what was loaded from a checkpoint."""
  # In training, stdout goes to a log.
  print(f'Loaded from {path} ({source}):\n{done}', file=sys.stderr)


def is_known(backbone_class: type) -> bool:
  """Returns whether transfer supports a class of backbones."""
  return backbone_class in _TRANSFORMERS


def require_known(backbone_class: type) -> None:
  """Raises UserError if transfer does not support a class of backbones."""
  if not is_known(backbone_class):
    raise errors.UserError(
        f'{backbone_class.__name__} cannot start from an image model, nor from '
        'another transformer: it has no patches. Use token_learner_vivit or '
        'token_learner_vivit_factorized, or leave task.init_checkpoint out.')


def require_compatible(source_class: type, backbone_class: type) -> None:
  """Raises UserError if one class of backbones cannot start another."""
  require_known(backbone_class)
  if source_class not in (backbones.VisionTransformer, backbone_class):
    raise errors.UserError(
        f'Weights of {source_class.__name__} cannot start '
        f'{backbone_class.__name__}: expected a checkpoint of the same class '
        'of models, or of an image model.')


def transfer(source: backbones.Classifier, model: backbones.Classifier,
             head: str = 'keep', tubelets: str = 'central_frame') -> Transfer:
  """Assigns the weights of one classifier to another.

  Blocks are matched by number, whatever lies between them: a model with
  TokenLearner takes the blocks of a plain ViT and keeps a fresh TokenLearner.

  Args:
    source: restored classifier around a transformer for images or clips.
    model: classifier around a transformer of the same class, or around one for
      clips if source is for images.
    head: 'keep' loads it, which needs the same classes; 'fresh' keeps the
      model's own; 'zero' sets it to zero.
    tubelets: 'central_frame' places the patch kernel at frame t // 2 of t, with
      zeros elsewhere; 'average' places a t-th of it at each frame.

  Raises:
    UserError: the models do not fit; the message lists the differences, and
      nothing is assigned.
  """
  if tubelets not in TUBELETS:
    raise errors.unknown_name('task.init_tubelets', tubelets, TUBELETS)
  if head not in HEADS:
    raise errors.unknown_name('head', head, HEADS)
  classes = type(source.backbone), type(model.backbone)
  require_compatible(*classes)
  theirs, ours = dict(_parts(source)), dict(_parts(model))
  _require_head(theirs, ours, head)
  loaded, fresh, assignments, misfits, used = [], [], [], [], set()
  for name, part in ours.items():
    their_name = _name_in_source(name, classes[0] is classes[1])
    if their_name not in theirs or (name == 'head' and head != 'keep'):
      fresh.append(name)
      continue
    used.add(their_name)
    misfits += _disagreements(name, theirs[their_name], part)
    if name == 'temporal_position_embedding':
      misfits += _other_tokens(source.backbone, model.backbone)
    how, values = _fit(name, theirs[their_name], part, source.backbone,
                       model.backbone, tubelets)
    loaded.append((name, how if how else
                   'the same' if name == their_name else f'from {their_name}'))
    for value, variable in zip(values, part.weights):
      if value.shape != tuple(variable.shape):
        misfits.append(f'{name}: {list(value.shape)} in the checkpoint, '
                       f'{variable.shape.as_list()} in the model')
      assignments.append((variable, value))
  if misfits:
    raise errors.UserError(
        'The checkpoint does not fit the model. Differences:'
        + errors.problem_list(misfits) + (
            f'\nOnly the head differs: {_FRESH_HEAD} takes the rest.'
            if all(line.startswith('head:') for line in misfits) else ''))
  if head == 'zero':
    fresh.remove('head')
    loaded.append(('head', 'zero'))
    assignments += [(variable, np.zeros(variable.shape, np.float32))
                    for variable in ours['head'].weights]
  for variable, value in assignments:
    variable.assign(value)
  return Transfer(tuple(loaded), tuple(fresh),
                  tuple(name for name in theirs if name not in used),
                  tuple(_notes(source.backbone, model.backbone, head)))


def _name_in_source(name: str, is_same_class: bool) -> str:
  if is_same_class:
    return name
  first, *rest = name.split('/')
  return '/'.join([_IN_IMAGE_MODEL.get(first, first), *rest])


def _require_head(theirs: Dict, ours: Dict, head: str):
  """Raises UserError if a kept head was trained on other features."""
  has, wants = 'pre_logits' in theirs, 'pre_logits' in ours
  if head == 'keep' and has != wants:
    raise errors.UserError(
        'The head of the checkpoint follows '
        + ('pre_logits, which the model does not have: set representation_size='
           f'{theirs["pre_logits"].units}' if has else
           'no pre_logits, which the model has: leave representation_size out')
        + f', or leave the head fresh: {_FRESH_HEAD}.')


def _disagreements(name: str, theirs: tf_keras.layers.Layer,
                   ours: tf_keras.layers.Layer) -> List[str]:
  """Returns differences that weights of equal shapes would hide."""
  classes = type(theirs).__name__, type(ours).__name__
  if (len(theirs.weights) != len(ours.weights)
      or (classes[0] != classes[1] and name != 'tubelet_embedding')):
    return [f'{name}: {classes[0]} with {len(theirs.weights)} weights in the '
            f'checkpoint, {classes[1]} with {len(ours.weights)} in the model']
  values = [(attribute, getattr(theirs, attribute, None),
             getattr(ours, attribute, None)) for attribute in _MUST_AGREE]
  return [f'{name}: {attribute}={a} in the checkpoint, {b} in the model'
          for attribute, a, b in values if a != b]


def _other_tokens(source: tf_keras.Model, model: tf_keras.Model) -> List[str]:
  """Returns a difference in tokens per frame; they have no order to resize."""
  a, b = (backbone.spec.tokens_per_frame() for backbone in (source, model))
  return [] if a == b else [
      f'temporal_position_embedding: {a} tokens of each frame in the '
      f'checkpoint, {b} in the model']


def _notes(source: tf_keras.Model, model: tf_keras.Model,
           head: str) -> Iterator[str]:
  poolers = source.spec.pooler, model.spec.pooler
  if head == 'keep' and poolers[0] != poolers[1]:
    yield (f'the head was trained with pooler={poolers[0]}, the model has '
           f'pooler={poolers[1]}')


def _parts(
    model: backbones.Classifier) -> Iterator[Tuple[str, tf_keras.layers.Layer]]:
  """Yields each layer with weights by a name independent of its position."""
  for layer in model.backbone.layers:
    if isinstance(layer, backbones.Encoder):
      yield from ((name, part) for name, part in _encoder_parts(layer)
                  if part.weights)  # Grid pooling has none.
    elif layer.weights:
      yield layer.name, layer
  if model.head.weights:
    yield 'head', model.head


def _encoder_parts(encoder: backbones.Encoder):
  for stage in encoder.stages:
    if isinstance(stage, encoder_lib.TokenFuserStage):  # Has a numbered block.
      yield f'{encoder.name}/{stage.block.name}', stage.block
      yield f'{encoder.name}/{stage.name}/token_learner', stage.token_learner
      yield f'{encoder.name}/{stage.name}/token_fuser', stage.token_fuser
    elif isinstance(stage, encoder_lib.TokenLearnerStage):
      yield f'{encoder.name}/{stage.name}', stage.token_learner
    else:
      yield f'{encoder.name}/{stage.name}', stage
  yield f'{encoder.name}/norm', encoder.norm


def _fit(name: str, theirs: tf_keras.layers.Layer, ours: tf_keras.layers.Layer,
         source: tf_keras.Model, model: tf_keras.Model,
         tubelets: str) -> Tuple[Optional[str], List[np.ndarray]]:
  """Returns how a layer was adapted (None: unchanged), and its weights."""
  values = theirs.get_weights()
  if name == 'tubelet_embedding' and isinstance(
      source, backbones.VisionTransformer):
    frames = ours.kernel.shape[0]
    how = 'from patch_embedding'
    if frames > 1:
      how += (f', at frame {frames // 2} of 0..{frames - 1}'
              if tubelets == 'central_frame' else f', 1/{frames} in each frame')
    return how, [_inflate(value, frames, tubelets) if value.ndim == 4 else value
                 for value in values]
  if name == 'position_embedding':
    return _fit_positions(values[0], ours, _grid(source, theirs),
                          _grid(model, ours))
  if name == 'temporal_position_embedding':
    return _fit_positions(values[0], ours, _temporal_grid(source),
                          _temporal_grid(model))
  return None, values


def _inflate(kernel: np.ndarray, frames: int, tubelets: str) -> np.ndarray:
  """Inflates a patch kernel [h, w, channels, C] to [t, h, w, channels, C]."""
  if tubelets == 'average':
    return np.stack([kernel / frames] * frames)
  inflated = np.zeros([frames, *kernel.shape], kernel.dtype)
  inflated[frames // 2] = kernel
  return inflated


def _grid(backbone: tf_keras.Model,
          layer: tf_keras.layers.Layer) -> Tuple[int, ...]:
  """Returns (H, W), or (T, H, W) if frames have separate positions."""
  grid = backbone.spec.grid_size(backbone.input_size)
  rows = layer.embedding.shape[1] - backbone.spec.num_class_tokens
  frames = rows // math.prod(grid)
  return (frames, *grid) if frames > 1 else tuple(grid)


def _temporal_grid(backbone: tf_keras.Model) -> Tuple[int, int]:
  return (backbone.spec.num_frames(backbone.input_size),
          backbone.spec.tokens_per_frame())


def _fit_positions(value: np.ndarray, ours: tf_keras.layers.Layer,
                   old: Tuple[int, ...], new: Tuple[int, ...]):
  """Resizes positions if needed, then repeats them over time if needed."""
  rows, = value  # [N, C], or [1 + N, C] with a class token.
  own_rows = ours.embedding.numpy()[0]
  class_row, rows = np.split(rows, [-math.prod(old)])
  how = f'{_times(old)} positions'
  repeats = new[0] if len(new) > len(old) else 1
  target = new[1:] if repeats > 1 else new
  if old != target and len(old) == len(target):
    rows = resize(rows, old, target)
    how += f' resized to {_times(target)}'
  if repeats > 1:
    rows = repeat(rows, repeats)
    how += f', repeated {repeats} times'
  if len(own_rows) > math.prod(new):  # A fresh class token keeps its own.
    rows = np.concatenate([class_row if len(class_row) else own_rows[:1], rows])
  return how, [rows[np.newaxis]]


def _times(grid: Tuple[int, ...]) -> str:
  return ' x '.join(map(str, grid))


def _fold(rows):
  """Joins neighbours that differ in a number only, to 'block_0..1'."""
  without_number = lambda row: (re.sub(r'\d+$', '', row[0]), *row[1:])
  for _, group in itertools.groupby(rows, without_number):
    group = list(group)
    last = re.search(r'\d+$', group[-1][0])
    joined = len(group) > 1 and last
    yield (group[0][0] + (f'..{last.group()}' if joined else ''), group[0][1])
