"""What the bottleneck video model costs, block by block.

Of batch normalisation the scales and shifts are counted, as they are trained;
moving means and variances are not. Its arithmetic is not counted either.

The paper's tables for this model count a multiply-accumulate as two. Modules
on 64 frames of 8 x 8 at width 432, here (2 x MAC) and in tables 11 and 12 of
arXiv 2106.11297v2:

                                           GFLOPs       parameters (M)
  module                               here   paper      here   paper
  conv2d_conv1d                        18.3    18.3      2.24    2.24
  joint_mhsa                           21.2    22.0      0.30    0.30
  conv2d_joint_mhsa                    35.0    35.8      1.98    1.98
  token_learner                         1.4     3.4      0.83    0.81
  conv2d_token_learner                 15.1    17.2      2.51    2.49
  spatial_token_learner                 4.1     6.2      1.13    1.11
  conv2d_mlp_mixer                     13.8    13.8      2.06    2.06
  conv2d_temporal_transformer          16.5    16.5      1.98    1.98
  spatial_temporal_transformer          5.5     5.5      0.60    0.59
  conv2d_spatial_temporal_transformer  19.2    19.2      2.28    2.27

The paper seems to count softmax as well: with 5 operations for a weight and 1
for its scaling, 8 heads bring joint_mhsa to 22.0. TokenLearner comes to 1.9
that way; what makes up its 3.4, the paper does not say, and no plain reading
with its number of parameters was found that does. Its whole models cost 532
(plain), 493 (spatial_temporal_transformer) and 487 GFLOPs (token_learner),
those here 525, 487 and 474 at 64 x 256 x 256 with the module in three blocks.
"""

import math
import typing
from typing import List, Sequence, Tuple

from tf_tokenlearner.analysis import counts

if typing.TYPE_CHECKING:  # The package around specs imports TensorFlow.
  from tf_tokenlearner.backbones import bottleneck_spec

_Size = Tuple[int, int, int]  # T, H, W.


def bottleneck_rows(spec: 'bottleneck_spec.BottleneckSpec',
                    input_size: Sequence[int]) -> List[counts.Row]:
  """One row for the stem, for each block and for each layer of the head.

  Args:
    spec: BottleneckSpec.
    input_size: (frames, height, width, channels) of the clips.

  Raises:
    UserError: a spec that makes no sense.
  """
  spec = spec.completed(tuple(input_size))
  width = spec.stage_widths[0]
  size = _shrunk((input_size[0], *input_size[1:3]), spec.stride(0))
  n = math.prod(size)
  rows = [counts.row('stem', [*size, width], counts.convolution(
      n, (3, 3), input_size[-1], width, use_bias=False)
      + _convolution(n, (5,), width, width))]
  for stage, num_blocks in enumerate(spec.num_blocks):
    for i in range(num_blocks):
      outputs = spec.stage_widths[stage]
      count, size = _block(
          spec, spec.parts(stage, i), size, width, spec.inner_width(stage),
          outputs, spec.stride(i))
      width = outputs
      rows.append(counts.row(
          f'stage{stage + 1}_{i}', [*size, width], count))
  head_width = spec.inner_width(-1)
  rows.append(counts.row('head_convolution', [*size, head_width], _convolution(
      math.prod(size), (1,), width, head_width)))
  if spec.representation_size:
    rows.append(counts.row(
        'pre_logits', [spec.representation_size],
        counts.dense(1, head_width, spec.representation_size)))
  return rows


def module(spec: 'bottleneck_spec.BottleneckSpec', parts: Sequence[str],
           size: _Size, width: int) -> counts.Count:
  """What these parts cost together on maps of this size, [T, H, W], and width.

  Args:
    spec: BottleneckSpec, resolved.
    parts: of bottleneck_spec.MODULES.
    size: (T, H, W), of what comes out.
    width: channels in and out.
  """
  return sum((_part(spec, part, size, width) for part in parts), counts.Count())


def _block(spec, parts, size, inputs, inner, outputs, stride):
  """What a BottleneckBlock costs, and the size of what it gives."""
  count = _convolution(math.prod(size), (1,), inputs, inner)  # Before a stride.
  size = _shrunk(size, stride)
  count += module(spec, parts, size, inner)
  count += _convolution(math.prod(size), (1,), inner, outputs)
  if stride > 1:
    count += _convolution(math.prod(size), (1,), inputs, outputs)
  return count, size


def _part(spec, part, size, width):
  t, h, w = size
  n = h * w
  if part == 'token_learner':
    return _token_module(spec, size, width)
  return {
      'conv2d': lambda: _convolution(t * n, (3, 3), width, width),
      'conv1d': lambda: _convolution(t * n, (3,), width, width),
      'joint_mhsa': lambda: _attention(spec, 1, t * n, width),
      'spatial_transformer': lambda: _attention(spec, t, n, width),
      'temporal_transformer': lambda: _attention(spec, n, t, width),
      'mlp_mixer': lambda: _frame_mixer(t, width),
  }[part]()


def _attention(spec, sequences, n, width):
  """A MapAttention, on that many sequences of N positions."""
  widths = spec.attention_dim + width  # Of keys and values.
  return (counts.layer_norm(width)
          + counts.dense(n, width, spec.attention_dim + widths)
          + counts.Count(macs=n * n * widths)).run(sequences)


def _frame_mixer(t, width):
  return (counts.layer_norm(width) + counts.mlp(width, t, t, t)
          + counts.layer_norm(width) + counts.mlp(t, width, width, width))


def _token_module(spec, size, width):
  t, h, w = size
  n, s = h * w, spec.num_tokens
  return (_tokenizer(spec, n, width).run(t)
          + _vector_transformer(t * s, width)
          + counts.dense(width, t * s, t * s)  # The fuser's mixing.
          + counts.dense(n, width, s).run(t)  # Its weights for the positions.
          + counts.Count(macs=t * n * s * width))


def _tokenizer(spec, n, width):
  """[N, C] -> [S, C], in one frame."""
  s = spec.num_tokens
  pooling = counts.Count(macs=s * n * width)
  if spec.tokenizer == 'token_learner':
    window = 2 * (spec.token_learner_kernel_size,)
    return counts.layer_norm(width) + counts.convolution(
        n, window, width, s, use_bias=False) + pooling
  return {
      'fixed_split': lambda: pooling,
      'dense': lambda: counts.dense(width, n, s),
      'frame_pooling': lambda: counts.mlp(1, width, width, s * width),
  }[spec.tokenizer]()


def _vector_transformer(n, width):
  return (counts.layer_norm(width) + counts.dense(n, width, 3 * width)
          + counts.Count(macs=2 * n * n * width))


def _convolution(n, window, inputs, outputs):
  """With the scale and shift of the normalisation that follows."""
  return counts.convolution(
      n, window, inputs, outputs, use_bias=False) + counts.Count(2 * outputs)


def _shrunk(size: _Size, stride: int) -> _Size:
  t, h, w = size
  return t, math.ceil(h / stride), math.ceil(w / stride)
