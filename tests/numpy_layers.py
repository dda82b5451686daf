"""Reference layers in float64 NumPy, written from the formulas.

Every function takes inputs [B, N, C] and one of our layers, for its weights.
"""

import math

import numpy as np


def weights(layer):
  """Returns the layer's own weights by the last part of their names."""
  return {weight.name.split('/')[-1].removesuffix(':0'):
          weight.numpy().astype('float64') for weight in layer.weights}


def softmax(x):
  """Returns the softmax over the last axis."""
  powers = np.exp(x - x.max(axis=-1, keepdims=True))
  return powers / powers.sum(axis=-1, keepdims=True)


def sigmoid(x):
  return 1 / (1 + np.exp(-np.asarray(x, 'float64')))


def gelu(x):
  return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + .044715 * x**3)))


def layer_norm(x, layer):
  own = weights(layer)
  spread = np.sqrt(x.var(axis=-1, keepdims=True) + layer.epsilon)
  return (x - x.mean(axis=-1, keepdims=True)) / spread * own['gamma'] + own[
      'beta']


def dense(x, layer):
  own = weights(layer)
  return x @ own['kernel'] + own['bias']


def mlp(x, layer):
  return dense(gelu(dense(x, layer.hidden)), layer.output_dense)


def attention(x, layer):
  """Computes one head after the other."""
  q, k, v = np.split(dense(x, layer.qkv), 3, axis=-1)
  size = x.shape[-1] // layer.num_heads
  heads = []
  for i in range(layer.num_heads):
    part = slice(i * size, (i + 1) * size)
    scores = q[..., part] @ k[..., part].swapaxes(1, 2) / math.sqrt(size)
    heads.append(softmax(scores) @ v[..., part])
  return dense(np.concatenate(heads, axis=-1), layer.output_dense)


def block(x, layer):
  x = x + attention(layer_norm(x, layer.attention_norm), layer.attention)
  return x + mlp(layer_norm(x, layer.mlp_norm), layer.mlp)


def convolution(x, layer):
  """Convolves maps [B, H, W, C] with odd kernels, zero padding and no bias."""
  kernel = weights(layer)['kernel']
  rows, columns = kernel.shape[:2]
  padded = np.pad(
      x, [(0, 0), [rows // 2] * 2, [columns // 2] * 2, (0, 0)])
  height, width = x.shape[1:3]
  return sum(padded[:, i:i + height, j:j + width] @ kernel[i, j]
             for i in range(rows) for j in range(columns))


def token_learner(x, layer):
  """Returns tokens of version 1.0 with sum pooling from [B, H, W, C]."""
  return np.einsum('bhws,bhwc->bsc', token_learner_masks(x, layer), x)


def token_learner_masks(x, layer):
  """Returns the masks of version 1.0, [B, H, W, S]."""
  masks = layer_norm(x, layer.norm)
  for i, conv in enumerate(layer.convs):
    masks = convolution(masks if i == 0 else gelu(masks), conv)
  return sigmoid(masks)


def token_learner_v11(x, layer):
  scores = mlp(layer_norm(x, layer.norm), layer.mlp)
  return softmax(scores.swapaxes(1, 2)) @ x


def token_fuser(x, original, layer):
  mixed = layer_norm(x, layer.norm_before).swapaxes(1, 2)
  tokens = layer_norm(dense(mixed, layer.mix).swapaxes(1, 2), layer.norm_after)
  masks = sigmoid(mlp(layer_norm(original, layer.original_norm), layer.mlp))
  return masks @ tokens


def token_reprojection(x, original, layer):
  """Computes one head after the other."""
  q = dense(layer_norm(original, layer.original_norm), layer.query)
  k, v = np.split(
      dense(layer_norm(x, layer.token_norm), layer.key_value), 2, axis=-1)
  size = x.shape[-1] // layer.num_heads
  heads = []
  for i in range(layer.num_heads):
    part = slice(i * size, (i + 1) * size)
    scores = q[..., part] @ k[..., part].swapaxes(1, 2) / math.sqrt(size)
    heads.append(softmax(scores) @ v[..., part])
  return dense(np.concatenate(heads, axis=-1), layer.output_dense)


def vector_transformer(x, layer):
  """Computes one channel after the other."""
  q, k, v = np.split(
      dense(layer_norm(x, layer.norm), layer.qkv), 3, axis=-1)
  channels = [
      softmax(q[..., [i]] * k[:, np.newaxis, :, i]) @ v[..., [i]]
      for i in range(x.shape[-1])]
  return x + np.concatenate(channels, axis=-1)


def space_time_token_fuser(x, original, layer):
  """Fuses tokens [B, T*S, C] with maps [B, T, H, W, C]."""
  mixed = dense(x.swapaxes(1, 2), layer.mix).swapaxes(1, 2)
  frames = mixed.reshape([len(x), original.shape[1], -1, x.shape[-1]])
  masks = sigmoid(dense(original, layer.masks))
  return np.einsum('bthws,btsc->bthwc', masks, frames)
