"""Inserts TokenLearners into trained plain transformers.

A new TokenLearner starts near mean pooling: each token is about the mean of one
part of the feature map.
"""

import dataclasses
import math
from typing import Any, Collection, Iterator, Tuple, Union

import numpy as np
import tensorflow as tf
import tf_keras

from tf_tokenlearner import backbones
from tf_tokenlearner.backbones import encoder as encoder_lib
from tf_tokenlearner.checkpoints import run_model
from tf_tokenlearner.checkpoints import transfer
from tf_tokenlearner import errors
from tf_tokenlearner import layers


STARTS = ('random', 'mean')
_POSITIONS = 16384  # Enough to fit on, over all examples.
_PIECE = 8  # Examples per pass through the network.
_STEPS, _RATE, _DECAY = 300, 0.1, 0.1


def num_examples(model: backbones.Classifier) -> int:
  """Returns the number of examples that start_at_means needs, at most 64."""
  positions = model.backbone.position_embedding.embedding.shape[1]
  return min(max(_POSITIONS // positions, 1), 64)


def start_at_means(model: backbones.Classifier, names: Collection[str],
                   examples: np.ndarray) -> Tuple[str, ...]:
  """Starts new TokenLearners near mean pooling over parts of the map.

  Args:
    model: classifier around a transformer whose other weights are trained.
    names: of the TokenLearners, as in transfer.Transfer.fresh.
    examples: [B, height, width, channels] or [B, frames, ...], as in training.

  Returns:
    A note for the user about each TokenLearner.

  Raises:
    UserError: a TokenLearner has version v1.0, whose masks do not sum to 1.
  """
  notes = []
  for name, layer, x, grid in _new_learners(model, names, examples):
    if not isinstance(layer, layers.TokenLearnerV11):
      raise errors.UserError(
          'task.init_token_learner=mean needs token_learner.version=v1.1: its '
          'weights are shares that sum to 1. Use that, or '
          'task.init_token_learner=random.')
    targets = pooling_weights(grid, layer.num_tokens)
    normalised = layer.norm(x).numpy()
    set_scores(layer, normalised, fit_scores(normalised, targets))
    _, weights = layer(x, training=False, return_attention=True)
    inside = (weights.numpy() * (targets > 0)).sum(-1).mean()
    notes.append(f'{name} starts as means of {layer.num_tokens} parts of the '
                 f'map, {inside:.0%} of the weight inside')
  return tuple(notes)


def _new_learners(
    model: backbones.Classifier, names: Collection[str], examples: np.ndarray
) -> Iterator[Tuple[str, tf_keras.layers.Layer, tf.Tensor, Tuple[int, int]]]:
  """Yields (name, TokenLearner, its inputs [B*T, N, C], (H, W)), in order.

  The inputs of the next one are computed with the weights that the caller has
  assigned to this one.
  """
  backbone = model.backbone
  encoder = getattr(backbone, 'encoder', None) or backbone.spatial_encoder
  grid = backbone.spec.grid_size(backbone.input_size)
  examples = examples[:num_examples(model)]
  pieces = [backbone.embed(tf.convert_to_tensor(examples[i:i + _PIECE]))
            for i in range(0, len(examples), _PIECE)]
  for stage in encoder.stages:
    if isinstance(stage, encoder_lib.TokenLearnerStage):
      part = f'{encoder.name}/{stage.name}'
      for name in {part, f'{part}/token_learner'} & set(names):
        x = tf.concat(pieces, axis=0)  # [B, T*N, C]
        n = x.shape[1] // stage.num_frames
        yield (name, stage.token_learner,
               tf.reshape(x, [-1, n, x.shape[2]]), grid)
      # After a TokenLearnerStage the next one sees tokens.
      if not isinstance(stage, encoder_lib.TokenFuserStage):
        grid = _cut(grid, stage.token_learner.num_tokens)
    pieces = [stage(piece, training=False) for piece in pieces]


def pooling_weights(grid: Tuple[int, int], num_tokens: int) -> np.ndarray:
  """Returns weights [S, N] of mean pooling over S parts of equal area.

  The map is cut into rows and columns of parts, as square as S allows. A
  position that a cut divides belongs to both sides in proportion, so the mean
  of the parts is the mean of the map.
  """
  rows, columns = (_shares(size, parts)
                   for size, parts in zip(grid, _cut(grid, num_tokens)))
  return np.einsum('rh,cw->rchw', rows, columns).reshape(
      [num_tokens, math.prod(grid)]).astype(np.float32)


def _cut(grid: Tuple[int, int], num_tokens: int) -> Tuple[int, int]:
  """Returns (rows, columns) of num_tokens parts that are nearest to squares."""
  h, w = grid
  cuts = [(rows, num_tokens // rows) for rows in range(1, num_tokens + 1)
          if num_tokens % rows == 0]
  return min(cuts, key=lambda cut: abs(math.log(h * cut[1] / (w * cut[0]))))


def _shares(size: int, parts: int) -> np.ndarray:
  """Returns shares [parts, size] of equal parts of a line in its cells."""
  start = np.arange(parts)[:, np.newaxis] * size / parts
  cell = np.arange(size)
  overlap = (np.minimum(start + size / parts, cell + 1)
             - np.maximum(start, cell))
  return np.maximum(overlap, 0) * parts / size


def fit_scores(x: np.ndarray, targets: np.ndarray) -> np.ndarray:
  """Returns the matrix [C, S] for which softmax(x @ matrix) fits the targets.

  The softmax is over positions. Adam minimises the cross-entropy with weight
  decay, a convex and deterministic problem.

  Args:
    x: normalised features [B, N, C].
    targets: [S, N]; each row sums to 1.
  """
  b, n, c = x.shape
  x = x.reshape([-1, c])
  matrix = np.zeros([c, len(targets)], np.float32)
  mean, square = np.zeros_like(matrix), np.zeros_like(matrix)
  for step in range(1, _STEPS + 1):
    scores = (x @ matrix).reshape([b, n, -1])
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    error = (weights - targets.T).reshape([b * n, -1])
    gradient = x.T @ error / b + 2 * _DECAY * matrix
    mean += 0.1 * (gradient - mean)
    square += 0.001 * (gradient**2 - square)
    matrix -= _RATE * (mean / (1 - 0.9**step)) / (
        np.sqrt(square / (1 - 0.999**step)) + 1e-8)
  return matrix


def set_scores(layer: layers.TokenLearnerV11, x: np.ndarray,
               matrix: np.ndarray) -> None:
  """Sets the MLP of a TokenLearner to compute the scores x @ matrix.

  As gelu(z) - gelu(-z) = z, two hidden units compute one linear unit. The other
  hidden units keep their random input weights and get zero output weights.

  Args:
    layer: built, with its initial LayerNorm.
    x: outputs [B, N, C] of the LayerNorm for examples; sets the scale.
    matrix: [C, S]; reduced to the rank that the hidden units can hold, by its
      strongest singular vectors.
  """
  hidden, out = layer.mlp.hidden, layer.mlp.output_dense
  left, strengths, right = np.linalg.svd(matrix, full_matrices=False)
  rank = min(len(strengths), hidden.units // 2)
  scale = np.maximum((x @ left[:, :rank]).std(axis=(0, 1)), 1e-6)
  into = left[:, :rank] / scale  # Standard deviation of units: about 1.
  out_of = (scale * strengths[:rank])[:, np.newaxis] * right[:rank]
  kernel = hidden.kernel.numpy()
  kernel[:, :2 * rank] = np.concatenate([into, -into], axis=1)
  hidden.kernel.assign(kernel)
  hidden.bias.assign(np.zeros(hidden.units))
  kernel = np.zeros(out.kernel.shape, np.float32)
  kernel[:2 * rank] = np.concatenate([out_of, -out_of])
  out.kernel.assign(kernel)
  out.bias.assign(np.zeros(out.units))


def insert_token_learner(
    plain: Union[backbones.Classifier, str], location: int, num_tokens: int,
    examples: np.ndarray, **options: Any) -> backbones.Classifier:
  """Returns a plain classifier with a TokenLearner inserted, for fine-tuning.

  All other weights are kept. Each token starts near the mean of one part of the
  map, see start_at_means.

  Args:
    plain: classifier around a transformer without TokenLearner; or the folder
      of a run of this project, or a checkpoint in it. A class token is dropped:
      the head sees the mean of the tokens instead.
    location: first block that sees tokens, counted from 0.
    num_tokens: S.
    examples: [B, height, width, channels] or [B, frames, ...], as in training;
      64 are enough.
    **options: of the new model's spec, such as token_learner.

  Returns:
    A new classifier; plain stays as it was.

  Raises:
    UserError: plain has a TokenLearner or is not a transformer, the spec is
      invalid, there are fewer positions than tokens, or examples have another
      size.
  """
  if location is None:
    raise errors.UserError(
        'insert_token_learner: location must be the number of a block, '
        'got None.')
  if isinstance(plain, str):
    plain = _read(plain)
  backbone = plain.backbone
  transfer.require_known(type(backbone))
  if backbone.spec.token_learners():
    raise errors.UserError(
        'insert_token_learner: the model has a TokenLearner at '
        f'{backbone.spec.token_learner_location} already; expected a plain '
        'one.')
  if (not len(examples)
      or tuple(examples.shape[1:]) != tuple(backbone.input_size)):
    raise errors.UserError(
        'insert_token_learner: examples must be [B, '
        f'{", ".join(map(str, backbone.input_size))}] with B of at least 1, '
        f'got {list(examples.shape)}.')
  height, width = backbone.spec.grid_size(backbone.input_size)
  if num_tokens > height * width:
    raise errors.UserError(
        f'insert_token_learner: num_tokens is {num_tokens}, but a frame has '
        f'{height} x {width} positions to learn them from.')
  if backbone.spec.pooler == 'token':
    options = dict(pooler='gap', num_class_tokens=0, **options)
  spec = dataclasses.replace(
      backbone.spec, token_learner_location=location, num_tokens=num_tokens,
      **options)
  model = backbones.Classifier(
      type(backbone)(spec, backbone.input_size), plain.num_classes,
      plain.dropout_rate, plain.head_bias)
  done = transfer.transfer(plain, model)
  notes = start_at_means(model, done.fresh, examples)
  transfer.say('the plain model', type(backbone).__name__,
               done._replace(notes=(*done.notes, *notes)))
  return model


def _read(path: str) -> backbones.Classifier:
  path = run_model.find_checkpoint(path)
  run = run_model.describe(path)
  if run is None:
    raise errors.UserError(
        f'{path} does not belong to a training run of this project. Load the '
        'checkpoint into a plain classifier first, and give that.')
  return run_model.read_model(path, run)
