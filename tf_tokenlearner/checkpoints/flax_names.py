"""Puts the arrays of an official JAX checkpoint into a model of ours."""

import sys
from typing import (
    Any, Callable, Dict, Iterable, Iterator, List, Mapping, NamedTuple,
    Tuple)

import numpy as np
import tensorflow as tf

from tf_tokenlearner import backbones
from tf_tokenlearner.backbones import encoder as encoder_lib
from tf_tokenlearner import errors
from tf_tokenlearner import layers


class Entry(NamedTuple):
  """One variable and how to make its value from arrays of the checkpoint."""
  variable: tf.Variable
  sources: Tuple[str, ...]
  convert: Callable[..., np.ndarray] = lambda array: array


class Spelling(NamedTuple):
  """The names in which the two public layouts differ."""
  attention: str
  second_norm: str
  mlp: str
  head: str


SCENIC = Spelling('MultiHeadDotProductAttention_0', 'LayerNorm_1',
                  'MlpBlock_0', 'output_projection')
VISION_TRANSFORMER = Spelling('MultiHeadDotProductAttention_1', 'LayerNorm_2',
                              'MlpBlock_3', 'head')


def classifier_entries(
    model: backbones.Classifier, spelling: Spelling) -> Iterator[Entry]:
  """Every variable of a classifier, in order of the forward path.

  Raises:
    UserError: the official code has no model like this one.
  """
  backbone = model.backbone
  if type(backbone) not in _BACKBONE_ENTRIES:
    known = ', '.join(kind.__name__ for kind in _BACKBONE_ENTRIES)
    raise errors.UserError(
        f'There are no official checkpoints of {type(backbone).__name__}; they '
        f'fit {known}.')
  yield from _BACKBONE_ENTRIES[type(backbone)](backbone, spelling)
  if isinstance(backbone.pre_logits, layers.MatmulDense):
    yield from _kernel_bias(backbone.pre_logits, 'pre_logits')
  if model.num_classes is not None:
    yield from _kernel_bias(model.head, spelling.head)


def image_entries(
    vit: backbones.VisionTransformer, spelling: Spelling) -> Iterator[Entry]:
  """A vision transformer less its pre_logits."""
  yield from _kernel_bias(vit.patch_embedding.projection, 'embedding')
  yield from _class_token(vit.class_token, 'cls')
  yield from _positions(vit.position_embedding, 'Transformer')
  yield from _prefix_and_pooling(vit)
  yield from encoder_entries(vit.encoder, 'Transformer', spelling)


def video_entries(
    vivit: backbones.VideoVisionTransformer,
    spelling: Spelling) -> Iterator[Entry]:
  """ViViT, with or without TokenLearner, less its pre_logits."""
  yield from _tubelets(vivit.tubelet_embedding)
  yield from _class_token(vivit.class_token, 'cls')
  yield from _positions(vivit.position_embedding, 'Transformer')
  yield from _prefix_and_pooling(vivit)
  yield from encoder_entries(vivit.encoder, 'Transformer', spelling)


def factorized_entries(
    vivit: backbones.FactorizedVideoVisionTransformer,
    spelling: Spelling) -> Iterator[Entry]:
  """ViViT's factorised encoder less its pre_logits."""
  space, time = 'SpatialTransformer', 'TemporalTransformer'
  yield from _tubelets(vivit.tubelet_embedding)
  yield from _class_token(vivit.class_token, f'cls_{space}')
  yield from _positions(vivit.position_embedding, space)
  yield from encoder_entries(vivit.spatial_encoder, space, spelling)
  yield from _class_token(vivit.temporal_class_token, f'cls_{time}')
  yield from _positions(vivit.temporal_position_embedding, time)
  yield from encoder_entries(vivit.temporal_encoder, time, spelling)


_BACKBONE_ENTRIES = {
    backbones.VisionTransformer: image_entries,
    backbones.VideoVisionTransformer: video_entries,
    backbones.FactorizedVideoVisionTransformer: factorized_entries,
}


def encoder_entries(
    encoder: backbones.Encoder, prefix: str,
    spelling: Spelling) -> Iterator[Entry]:
  """Blocks, learners and fusers, numbered each in its own sequence."""
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
      yield from block_entries(
          block, f'{prefix}/encoderblock_{blocks}/', spelling)
      blocks += 1
  if isinstance(encoder.norm, layers.LayerNorm):
    yield from _norm(encoder.norm, f'{prefix}/encoder_norm')


def _require_official(stage: encoder_lib.TokenLearnerStage):
  """Raises UserError for what is in the place of a TokenLearner or Fuser."""
  fuser = getattr(stage, 'token_fuser', None)
  for layer, kinds in (
      (stage.token_learner, (layers.TokenLearner, layers.TokenLearnerV11)),
      (fuser, (layers.TokenFuser, type(None)))):
    if not isinstance(layer, kinds):
      raise errors.UserError(
          f'There are no official checkpoints with {type(layer).__name__}; '
          'they have tokenizer=token_learner and fuser=token_fuser.')


def block_entries(
    block: layers.TransformerEncoderBlock, prefix: str,
    spelling: Spelling) -> Iterator[Entry]:
  """One transformer block; q, k and v become one kernel."""
  attention = f'{prefix}{spelling.attention}'
  qkv = lambda kind: tuple(
      f'{attention}/{name}/{kind}' for name in ('query', 'key', 'value'))
  width, heads = block.attention.qkv.kernel.shape[0], block.num_heads

  def require(array, *shape):
    # Folded, heads of any number have the same size: check before folding.
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
  yield from _norm(block.mlp_norm, f'{prefix}{spelling.second_norm}')
  yield from _mlp(block.mlp, f'{prefix}{spelling.mlp}')


def token_learner_entries(
    layer: tf.Module, prefix: str = '', index: int = -1) -> Iterator[Entry]:
  """A TokenLearner of either version; index -1 is a module by itself."""
  is_v10 = isinstance(layer, layers.TokenLearner)
  kind = 'TokenLearnerModule' if is_v10 else 'TokenLearnerModuleV11'
  path = '' if index < 0 else f'{prefix}/{kind}_{index}/'
  yield from _norm(layer.norm, f'{path}LayerNorm_0')
  if is_v10:
    for i, conv in enumerate(layer.convs):
      yield Entry(conv.kernel, (f'{path}Conv_{i}/kernel',))
  else:
    yield from _mlp(layer.mlp, f'{path}token_masking')


def token_fuser_entries(
    layer: layers.TokenFuser, prefix: str = '') -> Iterator[Entry]:
  """A TokenFuser."""
  if layer.use_normalization:
    yield from _norm(layer.norm_before, f'{prefix}fuser_mix_norm1')
    yield from _norm(layer.norm_after, f'{prefix}fuser_mix_norm2')
  yield from _kernel_bias(layer.mix, f'{prefix}Dense_0')
  yield from _norm(layer.original_norm, f'{prefix}LayerNorm_0')
  yield from _mlp(layer.mlp, f'{prefix}token_masking')


def _tubelets(layer: layers.TubeletEmbedding) -> Iterator[Entry]:
  """Patches of sampled frames have no axis of time there."""
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
  pooling = vit.reduce_tokens
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


def load_scenic(
    model: backbones.Classifier, params: Mapping[str, Any]) -> None:
  """Loads the parameters of an official TokenLearner or ViViT model.

  All of them, into all of the model, and says how many; for a model that
  differs in its head, size or TokenLearner, see initialize.

  Args:
    model: the classifier of the same architecture, for images or clips.
    params: nested dict of arrays, as Flax gives it.

  Raises:
    UserError: arrays missing, left over or of another shape; all are listed,
      and the model is left as it was. Or there is no official model like this.
  """
  arrays = flatten(params)
  assign(classifier_entries(model, SCENIC), arrays)
  print(f'Loaded {len(arrays)} arrays into {len(model.variables)} variables: '
        'nothing stays fresh, nothing is left over.', file=sys.stderr)


def assign(entries: Iterable[Entry],
           arrays: Mapping[str, np.ndarray],
           complaint: str = 'The checkpoint does not fit the model') -> None:
  """Gives every entry its arrays: all of them, and no other, or none.

  Args:
    entries: what goes where.
    arrays: flat, keys joined by '/'.
    complaint: what the error begins with.

  Raises:
    UserError: arrays missing, left over, of another shape or of other things
      than numbers; all are listed.
  """
  values, problems, used = [], [], set()
  for variable, sources, convert in entries:
    used.update(sources)
    absent = [source for source in sources if source not in arrays]
    if absent:
      problems += [f'missing: {source}' for source in absent]
      continue
    others = [source for source in sources
              if not _holds_numbers(arrays[source])]
    if others:
      problems += [f'no numbers: {source} holds {arrays[source].dtype}'
                   for source in others]
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
    raise errors.UserError(f'{complaint}:{as_list(problems)}')
  for variable, value in values:
    variable.assign(value)


def as_list(problems: List[str], limit: int = 20) -> str:
  """One problem on the same line, several as lines of their own."""
  if len(problems) == 1:
    return f' {problems[0]}'
  if len(problems) > limit:
    problems = [*problems[:limit], f'... and {len(problems) - limit} more']
  return ''.join(f'\n  {problem}' for problem in problems)


def _holds_numbers(array: np.ndarray) -> bool:
  """Whether the values are real numbers; TensorFlow would cast others."""
  return (array.dtype.kind in 'fiub'
          or array.dtype == tf.bfloat16.as_numpy_dtype)


def _transposed(variable: tf.Variable, received: List[Tuple[int, ...]]) -> str:
  is_so = len(received) == 1 and received[0] == tuple(variable.shape)[::-1]
  return ', but its transpose does' if is_so else ''


def flatten(tree: Mapping[str, Any], prefix: str = '') -> Dict[str, np.ndarray]:
  """{'a': {'b': x}} -> {'a/b': x}.

  Raises:
    UserError: x is a list of lists of several lengths.
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
