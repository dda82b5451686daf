"""Weights by their names in the official JAX code, and our variables.

Every reader of public checkpoints returns this representation: a flat dict
of arrays under the names and in the shapes of the official TokenLearner code in
Scenic, such as 'Transformer/encoderblock_0/LayerNorm_0/scale'. A reader of
another layout renames its arrays and reshapes them; see vit_npz and garden_vit.
"""

import re
from typing import (
    Any, Callable, Dict, Iterable, Iterator, Mapping, NamedTuple, Sequence,
    Tuple)

import numpy as np
import tensorflow as tf

from tf_tokenlearner import backbones
from tf_tokenlearner.backbones import encoder as encoder_lib
from tf_tokenlearner import errors
from tf_tokenlearner import layers

ATTENTION = 'MultiHeadDotProductAttention_0'
SECOND_NORM = 'LayerNorm_1'
MLP = 'MlpBlock_0'
HEAD = 'output_projection'


class Weights(NamedTuple):
  """Weights of a model, as a reader returns them.

  Attributes:
    path: the file or folder that was read.
    source: what it is, for messages, such as 'public ViT weights'.
    arrays: {official name: array}.
    prefers_square: if the positions fit both a square grid and that of the
      model to start, they are a square.
  """
  path: str
  source: str
  arrays: Mapping[str, np.ndarray]
  prefers_square: bool = False


class Entry(NamedTuple):
  """A variable and how to make its value from official arrays."""
  variable: tf.Variable
  sources: Tuple[str, ...]
  convert: Callable[..., np.ndarray] = lambda array: array


def rename(names: Iterable[str],
           rules: Sequence[Tuple[str, str]]) -> Dict[str, str]:
  """Returns {name: official name}.

  Args:
    names: names of arrays in a checkpoint.
    rules: (regular expression, replacement), applied in order to every name.

  Raises:
    UserError: two names become the same.
  """
  renamed, taken = {}, {}
  for name in names:
    official = name
    for pattern, replacement in rules:
      official = re.sub(pattern, replacement, official)
    if official in taken:
      raise errors.UserError(
          f'Both {taken[official]} and {name} are {official}.')
    taken[official] = name
    renamed[name] = official
  return renamed


def classifier_entries(
    model: backbones.Classifier) -> Iterator[Entry]:
  """Yields every variable of a classifier, in order of the forward path.

  Raises:
    UserError: the official code has no model like this one.
  """
  backbone = model.backbone
  if type(backbone) not in _BACKBONE_ENTRIES:
    known = ', '.join(known.__name__ for known in _BACKBONE_ENTRIES)
    raise errors.UserError(
        f'There are no official checkpoints of {type(backbone).__name__}; they '
        f'fit {known}.')
  yield from _BACKBONE_ENTRIES[type(backbone)](backbone)
  if isinstance(backbone.pre_logits, layers.MatmulDense):
    yield from _kernel_bias(backbone.pre_logits, 'pre_logits')
  if model.num_classes is not None:
    yield from _kernel_bias(model.head, HEAD)


def image_entries(
    vit: backbones.VisionTransformer) -> Iterator[Entry]:
  """Yields the variables of a ViT without pre_logits."""
  yield from _kernel_bias(vit.patch_embedding.projection, 'embedding')
  yield from _class_token(vit.class_token, 'cls')
  yield from _positions(vit.position_embedding, 'Transformer')
  yield from _prefix_and_pooling(vit)
  yield from encoder_entries(vit.encoder, 'Transformer')


def video_entries(
    vivit: backbones.VideoVisionTransformer) -> Iterator[Entry]:
  """Yields the variables of a ViViT without pre_logits."""
  yield from _tubelets(vivit.tubelet_embedding)
  yield from _class_token(vivit.class_token, 'cls')
  yield from _positions(vivit.position_embedding, 'Transformer')
  yield from _prefix_and_pooling(vivit)
  yield from encoder_entries(vivit.encoder, 'Transformer')


def factorized_entries(
    vivit: backbones.FactorizedVideoVisionTransformer) -> Iterator[Entry]:
  """Yields the variables of a ViViT with factorised encoder, as above."""
  space, time = 'SpatialTransformer', 'TemporalTransformer'
  yield from _tubelets(vivit.tubelet_embedding)
  yield from _class_token(vivit.class_token, f'cls_{space}')
  yield from _positions(vivit.position_embedding, space)
  yield from encoder_entries(vivit.spatial_encoder, space)
  yield from _class_token(vivit.temporal_class_token, f'cls_{time}')
  yield from _positions(vivit.temporal_position_embedding, time)
  yield from encoder_entries(vivit.temporal_encoder, time)


_BACKBONE_ENTRIES = {
    backbones.VisionTransformer: image_entries,
    backbones.VideoVisionTransformer: video_entries,
    backbones.FactorizedVideoVisionTransformer: factorized_entries,
}


def encoder_entries(
    encoder: backbones.Encoder, prefix: str) -> Iterator[Entry]:
  """Yields the variables of an encoder; each class of layers is counted apart.
  """
  blocks = learners = 0
  for stage in encoder.stages:
    if isinstance(stage, encoder_lib.TokenLearnerStage):
      _require_official(stage)
      yield from token_learner_entries(
          stage.token_learner, prefix, index=learners)
      if isinstance(stage, encoder_lib.TokenFuserStage):
        yield from token_fuser_entries(
            stage.token_fuser, f'{prefix}/TokenFuser_{learners}/')
      learners += 1
    block = getattr(stage, 'block', stage)
    if isinstance(block, layers.TransformerEncoderBlock):
      yield from block_entries(block, f'{prefix}/encoderblock_{blocks}/')
      blocks += 1
  if isinstance(encoder.norm, layers.LayerNorm):
    yield from _norm(encoder.norm, f'{prefix}/encoder_norm')


def _require_official(stage: encoder_lib.TokenLearnerStage):
  """Raises UserError for layers that the official code does not have."""
  fuser = getattr(stage, 'token_fuser', None)
  for layer, official in (
      (stage.token_learner, (layers.TokenLearner, layers.TokenLearnerV11)),
      (fuser, (layers.TokenFuser, type(None)))):
    if not isinstance(layer, official):
      raise errors.UserError(
          f'There are no official checkpoints with {type(layer).__name__}; '
          'they have tokenizer=token_learner and fuser=token_fuser.')


def block_entries(
    block: layers.TransformerEncoderBlock, prefix: str) -> Iterator[Entry]:
  """Yields the variables of a block; query, key and value become one kernel."""
  attention = f'{prefix}{ATTENTION}'
  qkv = lambda part: tuple(
      f'{attention}/{name}/{part}' for name in ('query', 'key', 'value'))
  width, heads = block.attention.qkv.kernel.shape[0], block.num_heads

  def require(array, *shape):
    # After folding, the number of heads would no longer show.
    if array.shape != shape:
      raise ValueError
    return array

  d = width // heads
  yield from _norm(block.attention_norm, f'{prefix}LayerNorm_0')
  yield Entry(
      block.attention.qkv.kernel, qkv('kernel'),
      lambda *arrays: np.concatenate(
          [require(x, width, heads, d).reshape(width, -1) for x in arrays],
          axis=1))
  yield Entry(
      block.attention.qkv.bias, qkv('bias'),
      lambda *arrays: np.concatenate(
          [require(x, heads, d).reshape(-1) for x in arrays]))
  yield Entry(
      block.attention.output_dense.kernel, (f'{attention}/out/kernel',),
      lambda x: require(x, heads, d, width).reshape(-1, width))
  yield Entry(block.attention.output_dense.bias, (f'{attention}/out/bias',))
  yield from _norm(block.mlp_norm, f'{prefix}{SECOND_NORM}')
  yield from _mlp(block.mlp, f'{prefix}{MLP}')


def token_learner_entries(
    layer: tf.Module, prefix: str = '', index: int = -1) -> Iterator[Entry]:
  """Yields the variables of a TokenLearner; index -1 is a separate module."""
  is_v10 = isinstance(layer, layers.TokenLearner)
  module = 'TokenLearnerModule' if is_v10 else 'TokenLearnerModuleV11'
  path = '' if index < 0 else f'{prefix}/{module}_{index}/'
  yield from _norm(layer.norm, f'{path}LayerNorm_0')
  if is_v10:
    for i, conv in enumerate(layer.convs):
      yield Entry(conv.kernel, (f'{path}Conv_{i}/kernel',))
  else:
    yield from _mlp(layer.mlp, f'{path}token_masking')


def token_fuser_entries(
    layer: layers.TokenFuser, prefix: str = '') -> Iterator[Entry]:
  """Yields the variables of a TokenFuser."""
  if layer.use_normalization:
    yield from _norm(layer.norm_before, f'{prefix}fuser_mix_norm1')
    yield from _norm(layer.norm_after, f'{prefix}fuser_mix_norm2')
  yield from _kernel_bias(layer.mix, f'{prefix}Dense_0')
  yield from _norm(layer.original_norm, f'{prefix}LayerNorm_0')
  yield from _mlp(layer.mlp, f'{prefix}token_masking')


def _tubelets(layer: layers.TubeletEmbedding) -> Iterator[Entry]:
  """Yields kernel and bias; kernels of sampled frames lack the time axis."""
  yield Entry(layer.kernel, ('embedding/kernel',),
              lambda x: x[np.newaxis] if x.ndim == 4 else x)
  yield Entry(layer.bias, ('embedding/bias',))


def _class_token(layer: tf.Module, name: str) -> Iterator[Entry]:
  if isinstance(layer, layers.ClassToken):
    yield Entry(layer.embedding, (name,))


def _prefix_and_pooling(
    vit: backbones.VisionTransformer) -> Iterator[Entry]:
  """Yields the parts that only pretrained models of other libraries have."""
  yield from _class_token(vit.registers, 'registers')
  for layer, path in ((vit.pre_norm, 'pre_norm'),
                      (vit.pooled_norm, 'pooled_norm')):
    if isinstance(layer, layers.LayerNorm):
      yield from _norm(layer, path)
  pooling = vit.pool_tokens
  if isinstance(pooling, layers.AttentionPooling):
    yield Entry(pooling.query, ('attention_pooling/query',))
    for name in ('query', 'key', 'value', 'output'):
      yield from _kernel_bias(
          getattr(pooling, f'{name}_dense'), f'attention_pooling/{name}_dense')
    yield from _norm(pooling.norm, 'attention_pooling/norm')
    yield from _mlp(pooling.mlp, 'attention_pooling/mlp')


def _positions(
    layer: layers.PositionEmbedding, prefix: str) -> Iterator[Entry]:
  yield Entry(layer.embedding, (f'{prefix}/posembed_input/pos_embedding',))


def _norm(layer: layers.LayerNorm, path: str) -> Iterator[Entry]:
  yield Entry(layer.gamma, (f'{path}/scale',))
  yield Entry(layer.beta, (f'{path}/bias',))


def _kernel_bias(layer: tf.Module, path: str) -> Iterator[Entry]:
  yield Entry(layer.kernel, (f'{path}/kernel',))
  yield Entry(layer.bias, (f'{path}/bias',))


def _mlp(layer: layers.MlpBlock, path: str) -> Iterator[Entry]:
  yield from _kernel_bias(layer.hidden, f'{path}/Dense_0')
  yield from _kernel_bias(layer.output_dense, f'{path}/Dense_1')


def assign(entries: Iterable[Entry],
           arrays: Mapping[str, np.ndarray],
           complaint: str = 'The checkpoint does not fit the model') -> None:
  """Assigns arrays to variables: all arrays to all variables, or none.

  Args:
    entries: variables and the names of their arrays.
    arrays: {official name: array}.
    complaint: beginning of the error message.

  Raises:
    UserError: arrays are missing, left over, of another shape or not numbers;
      the message lists all of them.
  """
  values, problems, used = [], [], set()
  for variable, sources, convert in entries:
    used.update(sources)
    absent = [source for source in sources if source not in arrays]
    if absent:
      problems += [f'missing: {source}' for source in absent]
      continue
    not_numbers = [source for source in sources
                   if not _holds_numbers(arrays[source])]
    if not_numbers:
      problems += [f'no numbers: {source} holds {arrays[source].dtype}'
                   for source in not_numbers]
      continue
    received = [arrays[source].shape for source in sources]
    try:
      value = convert(*(arrays[source] for source in sources))
    except ValueError:
      value = None
    if value is None or value.shape != tuple(variable.shape):
      problems.append(f'other shape: {", ".join(sources)} {received} does not '
                      f'fit {variable.name} {tuple(variable.shape)}'
                      + _transposed(variable, received))
      continue
    values.append((variable, value))
  problems += [f'left over: {name}' for name in sorted(set(arrays) - used)]
  if problems:
    raise errors.UserError(f'{complaint}:{errors.problem_list(problems)}')
  for variable, value in values:
    variable.assign(value)


def _holds_numbers(array: np.ndarray) -> bool:
  """Returns whether values are real numbers; TensorFlow would cast others."""
  return (array.dtype.kind in 'fiub'
          or array.dtype == tf.bfloat16.as_numpy_dtype)


def _transposed(
    variable: tf.Variable, received: Sequence[Tuple[int, ...]]) -> str:
  """Returns a hint if the transpose would fit, or ''."""
  fits = len(received) == 1 and received[0] == tuple(variable.shape)[::-1]
  return ', but its transpose does' if fits else ''


def flatten(tree: Mapping[str, Any], prefix: str = '') -> Dict[str, np.ndarray]:
  """Flattens a nested dict: {'a': {'b': x}} becomes {'a/b': x}.

  Raises:
    UserError: x is a nested list of unequal lengths.
  """
  flat = {}
  for name, value in tree.items():
    if isinstance(value, Mapping):
      flat.update(flatten(value, f'{prefix}{name}/'))
      continue
    try:
      flat[f'{prefix}{name}'] = np.asarray(value)
    except ValueError as error:
      raise errors.UserError(f'{prefix}{name} is no array.') from error
  return flat
