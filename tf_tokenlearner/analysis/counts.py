"""Parameters and multiply-accumulates of every layer: plain arithmetic.

One multiply-accumulate (MAC) counts as one, for one example, in every matrix
multiplication and convolution: patches or tubelets, attention (queries, keys
and values, scores, weighted sums, output), MLPs, the TokenLearner's
convolutions or MLP and its pooling (means over a grid are such a matrix
multiplication, too), the TokenFuser's mixing and spreading or what stands in
its place, the head. A convolution counts its whole window at the border too.
Not counted: normalisation, softmax, GELU, sigmoid, biases, residuals, pooling
over tokens.
The papers' tables of transformers name the same unit GFLOPS; they lie within
1 % of these sums for images and 1.5 % for clips, for the most part 0.3 to 0.9 %
above.
"""

import dataclasses
import math
import typing
from typing import List, NamedTuple, Sequence, Tuple

if typing.TYPE_CHECKING:  # The package around specs imports TensorFlow.
  from tf_tokenlearner.backbones import specs


@dataclasses.dataclass(frozen=True)
class Count:
  """Parameters, and MACs for one example."""
  parameters: int = 0
  macs: int = 0

  def __add__(self, other: 'Count') -> 'Count':
    return Count(self.parameters + other.parameters, self.macs + other.macs)

  def run(self, times: int) -> 'Count':
    """The same weights used several times, for instance once per frame."""
    return Count(self.parameters, self.macs * times)


class Row(NamedTuple):
  """One layer: its name, the shape it gives less the batch, what it costs."""
  name: str
  output: str
  parameters: int
  macs: int


@dataclasses.dataclass(frozen=True)
class Cost:
  """The layers in order of the forward path, and their sums."""
  rows: Tuple[Row, ...]

  @property
  def parameters(self) -> int:
    return sum(row.parameters for row in self.rows)

  @property
  def macs(self) -> int:
    return sum(row.macs for row in self.rows)


def row(name: str, output: Sequence[int], count: Count) -> Row:
  """A Row; output is the shape less the batch."""
  return Row(name, str(list(output)), count.parameters, count.macs)


def encoder_rows(
    spec: 'specs.TransformerSpec', num_positions: int, num_frames: int = 1,
    num_class_tokens: int = 0) -> List[Row]:
  """One row per stage of the encoder, and one for its last LayerNorm.

  Args:
    spec: TransformerSpec, resolved.
    num_positions: positions per frame (N).
    num_frames: T; tokens are learned and fused in each, attention sees all.
    num_class_tokens: tokens beside the T*N positions.
  """
  width, mlp_dim = spec.hidden_size, spec.mlp_dim
  locations = dict(spec.token_learners())
  first = min(locations, default=spec.num_layers)
  n = num_positions  # What a block sees of each frame.
  output = lambda: [num_class_tokens + num_frames * n, width]
  learner = lambda s: tokenizer(spec, n, s).run(num_frames)
  rows = []
  for i in range(spec.num_layers + 1):  # A TokenLearner may be behind them all.
    if spec.use_token_fuser and first <= i < spec.num_layers:
      s = locations[first]
      rows.append(row(f'fuse_{i}', output(), (
          learner(s) + transformer_block(num_frames * s, width, mlp_dim)
          + fuser(spec, n, s).run(num_frames))))
      continue
    if i in locations:
      count, n = learner(locations[i]), locations[i]
      rows.append(row(f'learn_{i}', output(), count))
    if i < spec.num_layers:
      rows.append(row(f'block_{i}', output(),
                      transformer_block(output()[0], width, mlp_dim)))
  return rows + [row('norm', output(), layer_norm(width))]


def transformer_block(n: int, width: int, mlp_dim: int) -> Count:
  """A TransformerEncoderBlock on [N, C]."""
  attention = (
      dense(n, width, 3 * width)
      + Count(macs=2 * n * n * width)  # Scores, and sums weighted by them.
      + dense(n, width, width))
  return (layer_norm(width) + attention
          + layer_norm(width) + mlp(n, width, mlp_dim, width))


def tokenizer(
    spec: 'specs.TransformerSpec', n: int, num_tokens: int) -> Count:
  """What a resolved spec makes tokens with, [N, C] -> [S, C]."""
  if spec.tokenizer == 'grid_pooling':
    return Count(macs=num_tokens * n * spec.hidden_size)
  return token_learner(spec.token_learner, n, num_tokens, spec.hidden_size)


def fuser(spec: 'specs.TransformerSpec', n: int, num_tokens: int) -> Count:
  """What a resolved spec gives positions back with, [S, C] -> [N, C]."""
  width = spec.hidden_size
  return {
      'token_fuser': lambda: token_fuser(
          spec.token_learner.bottleneck_dim, n, num_tokens, width),
      'unpooling': lambda: Count(macs=n * num_tokens * width),
      'reprojection': lambda: token_reprojection(n, num_tokens, width),
  }[spec.fuser]()


def token_learner(spec: 'specs.TokenLearnerSpec', n: int, num_tokens: int,
                  width: int) -> Count:
  """A TokenLearner of either version, [N, C] -> [S, C]."""
  if spec.version == 'v1.0':
    window = 2 * (spec.kernel_size,)
    scores = convolution(n, window, width, num_tokens, use_bias=False)
    for _ in range(spec.num_convolutions - 1):
      scores += convolution(n, window, num_tokens, num_tokens, use_bias=False)
  else:
    scores = mlp(n, width, spec.bottleneck_dim, num_tokens)
  return layer_norm(width) + scores + Count(macs=num_tokens * n * width)


def token_fuser(
    bottleneck_dim: int, n: int, num_tokens: int, width: int) -> Count:
  """A TokenFuser, [S, C] and [N, C] -> [N, C]."""
  mix = layer_norm(width) + dense(
      width, num_tokens, num_tokens) + layer_norm(width)
  masks = layer_norm(width) + mlp(n, width, bottleneck_dim, num_tokens)
  return mix + masks + Count(macs=n * num_tokens * width)


def token_reprojection(n: int, num_tokens: int, width: int) -> Count:
  """A TokenReprojection, [S, C] and [N, C] -> [N, C]."""
  return (layer_norm(width) + dense(n, width, width)  # Queries.
          + layer_norm(width) + dense(num_tokens, width, 2 * width)
          + Count(macs=2 * n * num_tokens * width)
          + dense(n, width, width))


def mlp(n: int, inputs: int, hidden: int, outputs: int) -> Count:
  """Two dense layers on N rows."""
  return dense(n, inputs, hidden) + dense(n, hidden, outputs)


def dense(n: int, inputs: int, outputs: int) -> Count:
  """A dense layer with bias on N rows."""
  return Count((inputs + 1) * outputs, n * inputs * outputs)


def convolution(n: int, window: Sequence[int], inputs: int, outputs: int,
                use_bias: bool = True) -> Count:
  """A convolution of any rank; n counts the positions that come out."""
  weights = math.prod(window) * inputs * outputs
  return Count(weights + use_bias * outputs, n * weights)


def layer_norm(width: int) -> Count:
  """Scale and shift; its arithmetic is not counted."""
  return Count(2 * width)
