"""Parameters and multiply-accumulates of a classifier, counted in its graph.

The layers of a model are traced one by one, equal ones once, and the operations
in their graphs are counted, so a model takes the memory of one block. One
multiply-accumulate (MAC) counts as one, for one example, in every matrix
multiplication, convolution and outer product. A convolution counts its whole
window at the border too. Not counted: normalization, softmax, GELU, sigmoid,
biases, residuals, pooling over tokens. Parameters are the trained ones, without
moving statistics.

The papers' tables of transformers call the same unit GFLOPS. They are within
1 % of these sums for images and 1.5 % for clips, mostly 0.3 to 0.9 % above. The
tables of the bottleneck video model count a MAC as two; see paper_table.py.
"""

import dataclasses
import math
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple, Union

import tensorflow as tf
import tf_keras

from tf_tokenlearner.backbones import bottleneck_spec
from tf_tokenlearner.backbones import bottleneck_transformer
from tf_tokenlearner.backbones import classifier
from tf_tokenlearner.backbones import factorized_vivit
from tf_tokenlearner.backbones import specs
from tf_tokenlearner import errors

Spec = Union[specs.TransformerSpec, bottleneck_spec.BottleneckSpec]
_Shape = Tuple[int, ...]  # Without the batch.


class Row(NamedTuple):
  """A layer: its name, output shape without the batch, and cost."""
  name: str
  output: str
  parameters: int
  macs: int


@dataclasses.dataclass(frozen=True)
class Cost:
  """The layers in order of the forward pass, and their sums."""
  rows: Tuple[Row, ...]

  @property
  def parameters(self) -> int:
    return sum(row.parameters for row in self.rows)

  @property
  def macs(self) -> int:
    return sum(row.macs for row in self.rows)


def classifier_cost(
    spec: Spec, input_size: Sequence[int], num_classes: int) -> Cost:
  """Returns the cost of a Classifier with the backbone of this spec.

  Args:
    spec: spec of any backbone.
    input_size: shape of an image or clip.
    num_classes: width of the head; 0 leaves the head out.

  Raises:
    UserError: the spec is invalid, or num_classes is below 0.
  """
  if num_classes < 0:
    raise errors.UserError(
        f'num_classes must be at least 0, got {num_classes}; 0 leaves the '
        'head out.')
  input_size = tuple(input_size)
  spec = spec.completed(input_size)
  backbone = _unbuilt(spec, input_size)
  walk = _Walk()
  x = {
      factorized_vivit.FactorizedVideoVisionTransformer: _walk_factorized,
      bottleneck_transformer.BottleneckTransformer: _walk_bottleneck,
  }.get(type(backbone).__base__, _walk_transformer)(backbone, walk)
  x = walk('pre_logits', backbone.pre_logits, x[-1:])
  if num_classes:
    walk('head', tf_keras.layers.Dense(num_classes, name='head'), x)
  return Cost(tuple(walk.rows))


def module_cost(
    spec: bottleneck_spec.BottleneckSpec, input_size: Sequence[int]) -> Cost:
  """Returns the cost of the module alone, on maps of the last stage."""
  spec = spec.completed(tuple(input_size))
  width = spec.inner_width(-1)
  shape = (*spec.map_size(input_size), width)
  walk = _Walk()
  for name in bottleneck_spec.MODULES[spec.module]:
    walk(name, bottleneck_transformer.make_part(name, spec, width), shape)
  return Cost(tuple(walk.rows))


def _unbuilt(spec: Spec, input_size: _Shape) -> tf_keras.Model:
  """Returns the backbone of a completed spec with layers not yet built."""
  backbone_class = next(
      c for c in classifier.BY_NAME.values()
      if getattr(c, 'spec_class', bottleneck_spec.BottleneckSpec) is type(spec))
  no_call = lambda self, inputs: None  # A backbone builds by a call.
  return type('Unbuilt', (backbone_class,), {'__call__': no_call})(
      spec, input_size)


class _Walk:
  """Applies layers in turn and records a row for each.

  Attributes:
    rows: rows of the layers so far.
    prefix: prefix of every name.
    times: number of times that an example passes through a layer; the number
      of frames for layers that process one frame at a time.
  """
  _counted: Dict[Any, Tuple[_Shape, int, int]] = {}  # Equal layers count once.

  def __init__(self):
    self.rows: List[Row] = []
    self.prefix = ''
    self.times = 1

  def __call__(self, name: str, layer: tf_keras.layers.Layer,
               shape: _Shape) -> _Shape:
    """Returns the layer's output shape for an input shape."""
    if isinstance(layer, tf_keras.layers.Activation):  # The identity.
      return shape
    key = _structure(layer), shape
    if key not in self._counted:
      self._counted[key] = _count(layer, shape)
    output, parameters, macs = self._counted[key]
    axes = output if self.times == 1 else (self.times, *output)
    self.rows.append(Row(self.prefix + name, str(list(axes)), parameters,
                         self.times * macs))
    return output


def _walk_transformer(backbone, walk: _Walk) -> _Shape:
  """Walks through a ViT or a ViViT."""
  if isinstance(backbone.spec, specs.ViTSpec):
    x = walk('patch_embedding', backbone.patch_embedding, backbone.input_size)
  else:
    num_frames = backbone.spec.num_frames(backbone.input_size)
    clip = (num_frames * backbone.spec.tubelet_size[0],
            *backbone.input_size[1:])  # After the sampling of frames.
    x = walk('tubelet_embedding', backbone.tubelet_embedding, clip)
  x = (math.prod(x[:-1]), x[-1])  # [T*N, C]
  x = walk('class_token', backbone.class_token, x)
  x = walk('position_embedding', backbone.position_embedding, x)
  x = walk('registers', backbone.registers, x)  # [P + T*N, C]
  x = walk('pre_norm', backbone.pre_norm, x)
  x = _walk_encoder(backbone.encoder, x, walk)
  if backbone.spec.pooler == 'attention':
    x = walk('attention_pooling', backbone.pool_tokens, x)
  return walk('pooled_norm', backbone.pooled_norm,
              (backbone.spec.pooled_size(),))


def _walk_factorized(backbone, walk: _Walk) -> _Shape:
  x = walk('tubelet_embedding', backbone.tubelet_embedding, backbone.input_size)
  num_frames = x[0]
  x = (x[1] * x[2], x[3])  # [N, C] in each of T tubelet indices.
  walk.prefix, walk.times = 'space_', num_frames
  x = walk('class_token', backbone.class_token, x)
  x = walk('position_embedding', backbone.position_embedding, x)
  x = _walk_encoder(backbone.spatial_encoder, x, walk)
  walk.prefix, walk.times = 'time_', 1
  x = (num_frames * backbone.spec.tokens_per_frame(), x[1])  # [T*S, C]
  x = walk('class_token', backbone.temporal_class_token, x)
  x = walk('position_embedding', backbone.temporal_position_embedding, x)
  x = _walk_encoder(backbone.temporal_encoder, x, walk)
  walk.prefix = ''
  return x


def _walk_encoder(encoder, x: _Shape, walk: _Walk) -> _Shape:
  for stage in encoder.stages:
    x = walk(stage.name, stage, x)
  return walk('norm', encoder.norm, x)


def _walk_bottleneck(backbone, walk: _Walk) -> _Shape:
  x = walk('stem', backbone.stem, backbone.input_size)
  for block in backbone.blocks:
    x = walk(block.name, block, x)
  return walk('head_convolution', backbone.head_convolution, x)


def _structure(layer: tf_keras.layers.Layer) -> Any:
  """Returns a value that is equal for layers of equal cost."""
  try:
    config = layer.get_config()
  except NotImplementedError:  # Layers that only our backbones make.
    config = {key: value for key, value in vars(layer).items()
              if isinstance(value, (int, str, tuple))}
  return (type(layer), *sorted(
      (key, repr(value)) for key, value in config.items()
      if not key.startswith('_') and key != 'name'
      and not key.endswith('_rate')), *map(_structure, layer.submodules))


def _count(layer: tf_keras.layers.Layer,
           shape: _Shape) -> Tuple[_Shape, int, int]:
  """Returns output shape, parameters and MACs of a layer on one example."""
  traced = tf.function(lambda x: layer(x), autograph=False)
  graph = traced.get_concrete_function(
      tf.TensorSpec([1, *shape], tf.float32)).graph
  output, = graph.outputs
  macs = sum(map(_macs, graph.get_operations()))
  parameters = sum(v.shape.num_elements() for v in layer.trainable_weights)
  return tuple(output.shape[1:]), parameters, macs


def _macs(op: tf.Operation) -> int:
  """Returns the MACs of an operation with static shapes."""
  if op.type not in ('MatMul', 'BatchMatMulV2', 'Conv2D', 'Mul'):
    if op.type.endswith(('MatMul', 'MatMulV3', 'Einsum')) or 'Conv' in op.type:
      raise NotImplementedError(f'{op.type} in {op.name} is not counted.')
    return 0
  elements = op.outputs[0].shape.num_elements()
  left, right = (x.shape for x in op.inputs)
  if op.type == 'Conv2D':
    return elements * right[:-1].num_elements()
  if op.type == 'Mul':  # An outer product extends both of its inputs.
    is_outer = max(left.num_elements(), right.num_elements()) < elements
    return elements if is_outer else 0
  transposed = op.get_attr('transpose_a' if op.type == 'MatMul' else 'adj_x')
  return elements * left[-2 if transposed else -1]
