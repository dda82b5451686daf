"""Token merging (ToMe), a baseline of benchmarks/pretrained.py.

Source: Bolya et al. 2023 (arXiv 2210.09461), section 3, written from the paper.
In every block, between attention and MLP, `count` tokens are merged into their
most similar ones, so nothing is learned. Attention counts a merged token as
often as it has parts.
"""

from typing import Tuple

import tensorflow as tf

from tf_tokenlearner import layers


def run_block(block: layers.TransformerEncoderBlock, x: tf.Tensor,
              sizes: tf.Tensor, count: int) -> Tuple[tf.Tensor, tf.Tensor]:
  """Runs a trained block and merges tokens in it.

  Args:
    block: block without dropout.
    x: float [B, N, C]; the first token is the class token.
    sizes: float [B, N], the number of patches in each token.
    count: tokens to remove; fewer if half of them are fewer.

  Returns:
    float [B, N - count, C] and their sizes [B, N - count].
  """
  n, c = x.shape[1:]
  attention = block.attention
  heads = attention.num_heads
  qkv = tf.reshape(
      attention.qkv(block.attention_norm(x)), [-1, n, 3, heads, c // heads])
  q, k, v = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]), num=3)
  scores = tf.matmul(q * (c // heads)**-0.5, k, transpose_b=True)
  # Proportional attention, equation 1.
  weights = tf.nn.softmax(scores + tf.math.log(sizes)[:, None, None, :])
  y = tf.transpose(tf.matmul(weights, v), [0, 2, 1, 3])  # [B, N, heads, d]
  x = x + attention.output_dense(tf.reshape(y, [-1, n, c]))
  x, sizes = merge(x, sizes, tf.reduce_mean(k, axis=1), count)
  return x + block.mlp(block.mlp_norm(x)), sizes


def merge(x: tf.Tensor, sizes: tf.Tensor, keys: tf.Tensor,
          count: int) -> Tuple[tf.Tensor, tf.Tensor]:
  """Merges tokens by bipartite soft matching.

  Tokens at even positions propose to the most similar ones at odd positions;
  the `count` best pairs merge to their mean by size. The class token, which is
  the first one, stays.

  Args:
    x: float [B, N, C].
    sizes: float [B, N].
    keys: float [B, N, d], compared by their cosine.
    count: as in run_block.

  Returns:
    float [B, N - count, C] and their sizes [B, N - count].
  """
  count = tokens_after(x.shape[1], 0) - tokens_after(x.shape[1], count)
  keys = tf.math.l2_normalize(keys, axis=-1)
  similarity = tf.matmul(keys[:, ::2], keys[:, 1::2], transpose_b=True)
  similarity = tf.concat(  # The class token proposes to nobody.
      [tf.fill(tf.shape(similarity[:, :1]), -float('inf')),
       similarity[:, 1:]], axis=1)
  order = tf.argsort(
      tf.reduce_max(similarity, axis=2), direction='DESCENDING')
  given, kept = order[:, :count], tf.sort(order[:, count:])
  targets = tf.gather(tf.argmax(similarity, axis=2), given, batch_dims=1)
  route = tf.one_hot(targets, similarity.shape[2], axis=1)  # [B, odd, count]
  weighted = tf.concat([x * sizes[..., None], sizes[..., None]], axis=2)
  even, odd = weighted[:, ::2], weighted[:, 1::2]
  odd += tf.matmul(route, tf.gather(even, given, batch_dims=1))
  sums = tf.concat([tf.gather(even, kept, batch_dims=1), odd], axis=1)
  return sums[..., :-1] / sums[..., -1:], sums[..., -1]


def tokens_after(num_tokens: int, count: int) -> int:
  """Returns how many tokens a merge leaves; it removes at most half."""
  return num_tokens - min(count, (num_tokens - 1) // 2)


def macs(num_layers: int, num_tokens: int, width: int, mlp_dim: int,
         num_heads: int, count: int) -> int:
  """Returns the multiply-accumulates of all blocks, per image.

  Args:
    num_layers: blocks, each of which merges.
    num_tokens: tokens before the first block, with the class token.
    width: C.
    mlp_dim: hidden width of the MLP.
    num_heads: attention heads.
    count: tokens that each block removes.
  """
  total = 0
  for _ in range(num_layers):
    rest = tokens_after(num_tokens, count)
    total += 4 * num_tokens * width**2 + 2 * num_tokens**2 * width
    if count:  # Similarities, and sums of the merged tokens.
      even, odd = (num_tokens + 1) // 2, num_tokens // 2
      total += even * odd * width // num_heads
      total += odd * (num_tokens - rest) * width
    total += 2 * rest * width * mlp_dim
    num_tokens = rest
  return total
