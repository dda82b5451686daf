"""Starts a model from the weights of another, part by part.

The two may differ in their head, in TokenLearners between the blocks, in the
size of images or clips; and a video model may start from an image model, as in
Arnab et al. 2021 (arXiv 2103.15691), section 3.4: positions repeated over time,
patch kernels put into the central frame of a tubelet or spread over all of its
frames.
"""

import itertools
import math
import re
import sys
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import tf_keras

from tf_tokenlearner import backbones
from tf_tokenlearner.backbones import encoder as encoder_lib
from tf_tokenlearner.checkpoints import flax_names
from tf_tokenlearner import errors


def resize(embedding: np.ndarray, old_grid: Tuple[int, ...],
           new_grid: Tuple[int, ...]) -> np.ndarray:
  """Interpolates linearly along each axis of a grid.

  The corners of the grids lie on each other, as in interpolate_positional_
  embeddings of the official ViViT code (unlike in tf.image.resize). That takes
  square grids only; here any grid of any number of axes.

  Args:
    embedding: [N, C], N the product of old_grid; no class token.
    old_grid: such as (H, W), or (T,).
    new_grid: of as many axes.

  Returns:
    float32 [product of new_grid, C]; equal to embedding if the grids are.
  """
  x = np.asarray(embedding, np.float32).reshape([*old_grid, -1])
  for axis, size in enumerate(new_grid):
    x = _resize_axis(x, axis, size)
  return x.reshape([-1, x.shape[-1]])


def repeat(embedding: np.ndarray, num_frames: int) -> np.ndarray:
  """[N, C] -> [T*N, C]: the same in each frame, as in Arnab et al. 2021."""
  return np.tile(embedding, [num_frames, 1])


def _resize_axis(x: np.ndarray, axis: int, size: int) -> np.ndarray:
  old = x.shape[axis]
  if size == old:
    return x
  at = np.linspace(0, old - 1, size) if size > 1 else np.zeros(1)
  below = np.minimum(at.astype(int), max(old - 2, 0))
  above = np.minimum(below + 1, old - 1)
  share = (at - below).astype(np.float32).reshape(
      [-1] + [1] * (x.ndim - axis - 1))
  return (np.take(x, below, axis) * (1 - share)
          + np.take(x, above, axis) * share)


TUBELETS = ('central_frame', 'average')
HEADS = ('keep', 'fresh', 'zero')
_FRESH_HEAD = "task.init_checkpoint_modules=backbone (in Python head='fresh')"
# Where a part of a video model stands in the image model.
_IN_IMAGE_MODEL = {'tubelet_embedding': 'patch_embedding',
                   'spatial_encoder': 'encoder'}
# Weights of the same shapes do other things in layers that differ in these.
_MUST_AGREE = (
    'num_heads', 'pooling', 'use_normalization', 'activation', 'epsilon',
    'norm_epsilon')
_TRANSFORMERS = (backbones.VisionTransformer, backbones.VideoVisionTransformer,
                 backbones.FactorizedVideoVisionTransformer)


class Transfer(NamedTuple):
  """What came of it.

  Attributes:
    loaded: (part of the model, how it came from the other).
    fresh: parts of the model that the other does not have.
    unused: parts of the other that the model does not have.
    notes: what else is to be known.
  """
  loaded: Tuple[Tuple[str, str], ...]
  fresh: Tuple[str, ...]
  unused: Tuple[str, ...]
  notes: Tuple[str, ...] = ()

  def __str__(self):
    """A line for each part, equal neighbours in one: 'encoder/block_0..11'."""
    lines = [f'  {name:<32}{how}' for name, how in _fold(self.loaded)]
    for title, names in (('fresh', self.fresh), ('not used', self.unused)):
      if names:
        folded = [name for name, _ in _fold([(name, '') for name in names])]
        lines.append(f'  {title}: {", ".join(folded)}')
    lines += [f'  note: {note}' for note in self.notes]
    return '\n'.join(lines)


def say(path: str, kind: str, done: Transfer) -> None:
  """Prints what came from a checkpoint of some kind."""
  # While training runs, stdout goes to a log.
  print(f'What came from {path} ({kind}):\n{done}', file=sys.stderr)


def is_known(backbone_class: type) -> bool:
  """Whether transfer knows the parts of such a backbone."""
  return backbone_class in _TRANSFORMERS


def require_known(backbone_class: type) -> None:
  """Raises UserError if such a backbone has other parts than a ViT."""
  if not is_known(backbone_class):
    raise errors.UserError(
        f'{backbone_class.__name__} cannot start from an image model, nor from '
        'another transformer: it has no patches. Use token_learner_vivit or '
        'token_learner_vivit_factorized, or leave task.init_checkpoint out.')


def require_kinds(source_class: type, backbone_class: type) -> None:
  """Raises UserError if weights of one cannot start the other."""
  require_known(backbone_class)
  if source_class not in (backbones.VisionTransformer, backbone_class):
    raise errors.UserError(
        f'Weights of {source_class.__name__} cannot start '
        f'{backbone_class.__name__}: expected a checkpoint of the same kind of '
        'model, or of an image model.')


def transfer(source: backbones.Classifier, model: backbones.Classifier,
             head: str = 'keep', tubelets: str = 'central_frame') -> Transfer:
  """Assigns the weights of one classifier to another.

  Blocks are matched by their number, whatever stands between them: a plain ViT
  gives its blocks to one with TokenLearner, whose TokenLearner is fresh.

  Args:
    source: classifier around a transformer for images or clips, restored.
    model: classifier around one of the same kind, or one for clips if source is
      for images; nothing is assigned if anything does not fit.
    head: 'keep' takes it over, which needs the same classes; 'fresh' leaves the
      model's own; 'zero' makes it zero.
    tubelets: 'central_frame', the kernel stands at frame t // 2 of t and the
      others are zero; 'average', a t-th of it stands at each.

  Raises:
    UserError: the models do not fit; the message lists what differs.
  """
  if tubelets not in TUBELETS:
    raise errors.unknown_name('task.init_tubelets', tubelets, TUBELETS)
  if head not in HEADS:
    raise errors.unknown_name('head', head, HEADS)
  kinds = type(source.backbone), type(model.backbone)
  require_kinds(*kinds)
  theirs, ours = dict(_parts(source)), dict(_parts(model))
  _require_head(theirs, ours, head)
  loaded, fresh, assignments, misfits, used = [], [], [], [], set()
  for name, part in ours.items():
    their_name = _name_in_source(name, kinds[0] is kinds[1])
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
        'The checkpoint does not fit the model. What differs:'
        + flax_names.as_list(misfits) + (
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


def _name_in_source(name: str, is_same_kind: bool) -> str:
  if is_same_kind:
    return name
  first, *rest = name.split('/')
  return '/'.join([_IN_IMAGE_MODEL.get(first, first), *rest])


def _require_head(theirs: Dict, ours: Dict, head: str):
  """A head of the right shape may still have been trained on other features."""
  has, wants = 'pre_logits' in theirs, 'pre_logits' in ours
  if head == 'keep' and has != wants:
    raise errors.UserError(
        'The head of the checkpoint stands behind '
        + ('pre_logits, which the model does not have: set representation_size='
           f'{theirs["pre_logits"].units}' if has else
           'no pre_logits, which the model has: leave representation_size out')
        + f', or leave the head fresh: {_FRESH_HEAD}.')


def _disagreements(name: str, theirs: tf_keras.layers.Layer,
                   ours: tf_keras.layers.Layer) -> List[str]:
  """What weights of the right shapes would hide."""
  kinds = type(theirs).__name__, type(ours).__name__
  if (len(theirs.weights) != len(ours.weights)
      or (kinds[0] != kinds[1] and name != 'tubelet_embedding')):
    return [f'{name}: {kinds[0]} with {len(theirs.weights)} weights in the '
            f'checkpoint, {kinds[1]} with {len(ours.weights)} in the model']
  values = [(attribute, getattr(theirs, attribute, None),
             getattr(ours, attribute, None)) for attribute in _MUST_AGREE]
  return [f'{name}: {attribute}={a} in the checkpoint, {b} in the model'
          for attribute, a, b in values if a != b]


def _other_tokens(source: tf_keras.Model, model: tf_keras.Model) -> List[str]:
  """Positions of learned tokens, which have no order to be resized along."""
  a, b = (backbone.spec.tokens_per_frame() for backbone in (source, model))
  return [] if a == b else [
      f'temporal_position_embedding: {a} tokens of each frame in the '
      f'checkpoint, {b} in the model']


def _notes(source: tf_keras.Model, model: tf_keras.Model,
           head: str) -> Iterator[str]:
  poolers = source.spec.pooler, model.spec.pooler
  if head == 'keep' and poolers[0] != poolers[1]:
    yield (f'the head was trained behind pooler={poolers[0]}, the model has '
           f'pooler={poolers[1]}')


def _parts(
    model: backbones.Classifier) -> Iterator[Tuple[str, tf_keras.layers.Layer]]:
  """Every layer with weights, by a name that does not depend on its place."""
  for layer in model.backbone.layers:
    if isinstance(layer, backbones.Encoder):
      yield from ((name, part) for name, part in _encoder_parts(layer)
                  if part.weights)  # Means over a grid have none.
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
  """How one part is fitted (None: it is not), and the values of its weights."""
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
  """[h, w, channels, C] -> [t, h, w, channels, C]."""
  if tubelets == 'average':
    return np.stack([kernel / frames] * frames)
  inflated = np.zeros([frames, *kernel.shape], kernel.dtype)
  inflated[frames // 2] = kernel
  return inflated


def _grid(backbone: tf_keras.Model,
          layer: tf_keras.layers.Layer) -> Tuple[int, ...]:
  """(H, W), or (T, H, W) if every frame has positions of its own."""
  grid = backbone.spec.grid_size(backbone.input_size)
  rows = layer.embedding.shape[1] - backbone.spec.num_class_tokens
  frames = rows // math.prod(grid)
  return (frames, *grid) if frames > 1 else tuple(grid)


def _temporal_grid(backbone: tf_keras.Model) -> Tuple[int, int]:
  return (backbone.spec.num_frames(backbone.input_size),
          backbone.spec.tokens_per_frame())


def _fit_positions(value: np.ndarray, ours: tf_keras.layers.Layer,
                   old: Tuple[int, ...], new: Tuple[int, ...]):
  """Resizes the grid if need be, then repeats it over time if need be."""
  rows, = value  # [N, C], before them the row of a class token.
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
  if len(own_rows) > math.prod(new):  # Of a fresh class token, its own stays.
    rows = np.concatenate([class_row if len(class_row) else own_rows[:1], rows])
  return how, [rows[np.newaxis]]


def _times(grid: Tuple[int, ...]) -> str:
  return ' x '.join(map(str, grid))


def _fold(rows):
  """Joins neighbours that differ in a number only: block_0, block_1 -> 0..1."""
  kind = lambda row: (re.sub(r'\d+$', '', row[0]), *row[1:])
  for _, group in itertools.groupby(rows, kind):
    group = list(group)
    last = re.search(r'\d+$', group[-1][0])
    joined = len(group) > 1 and last
    yield (group[0][0] + (f'..{last.group()}' if joined else ''), group[0][1])
