"""Video vision transformer with TokenLearner: all of a clip in one encoder."""

import abc
import dataclasses
import math
from typing import Dict, List, Optional, Sequence

import tensorflow as tf
import tf_keras

from tf_tokenlearner.backbones import encoder
from tf_tokenlearner.backbones import specs
from tf_tokenlearner import layers


def _make_pooler(spec: specs.TransformerSpec):
  """Returns a function or layer from features [B, P + N, C] to [B, C or 2 C].

  The first P tokens are the class tokens, then the registers.
  """
  num_class_tokens, first = spec.num_class_tokens, spec.num_prefix_tokens()
  if spec.pooler == 'attention':
    return layers.AttentionPooling(
        spec.num_heads, spec.mlp_dim, spec.activation, spec.norm_epsilon,
        name='attention_pooling')

  def class_tokens(x):
    width = num_class_tokens * x.shape[2]
    return tf.reshape(x[:, :num_class_tokens], [-1, width])

  def over_positions(reduce):
    return lambda x: reduce(x[:, first:] if first else x, axis=1)

  mean = over_positions(tf.reduce_mean)
  return {
      'gap': mean,
      'gmp': over_positions(tf.reduce_max),
      'gsp': over_positions(tf.reduce_sum),
      'token': class_tokens,
      'token_and_mean': lambda x: tf.concat([class_tokens(x), mean(x)], axis=1),
  }[spec.pooler]


class TransformerBackbone(tf_keras.Model):
  """A model made by a spec; a subclass says what it embeds.

  Args:
    spec: of the kind spec_class, or the dict of one.
    input_size: shape of an image or clip.

  Raises:
    ValueError: a spec of another kind. UserError: one that makes no sense.

  Attributes:
    encoder: made by make_layers, as all that embed needs.
  """
  spec_class = specs.TransformerSpec

  def __init__(self, spec: specs.TransformerSpec, input_size: Sequence[int],
               name: Optional[str] = None):
    super().__init__(name=name)
    if isinstance(spec, dict):
      spec = self.spec_class.from_dict(spec)
    if not isinstance(spec, self.spec_class):
      raise ValueError(
          f'{type(self).__name__}: spec must be a {self.spec_class.__name__}, '
          f'received a {type(spec).__name__}.')
    self.input_size = tuple(input_size)
    self.spec = spec.completed(self.input_size)
    self.reduce_tokens = _make_pooler(self.spec)  # [B, N, C] -> [B, C]
    self.make_layers(self.spec)
    self.pooled_norm = (
        layers.LayerNorm(self.spec.pooled_norm_epsilon, name='pooled_norm')
        if self.spec.final_norm == 'after_pooling' else _identity())
    self.pre_logits = (
        layers.MatmulDense(
            self.spec.representation_size, activation='tanh',
            kernel_initializer='lecun_normal', name='pre_logits')
        if self.spec.representation_size else _identity())
    self(tf_keras.Input(self.input_size))  # Builds; savers need the shape.

  @abc.abstractmethod
  def make_layers(self, spec: specs.TransformerSpec) -> None:
    """Makes what embed and the encoder need; spec is resolved."""

  @abc.abstractmethod
  def embed(self, inputs: tf.Tensor, training: Optional[bool] = None):
    """From pixels to what the encoder sees, [B, T*N, C]."""

  def call(self, inputs, training=None):
    x = self.embed(inputs, training=training)  # [B, T*N, C]
    x = self.encoder(x, training=training)  # [B, T*N or T*S, C]
    return self.pool(x)

  def pool(self, features: tf.Tensor) -> Dict[str, tf.Tensor]:
    """[B, N, C] -> features as they are, and pre_logits."""
    x = self.pooled_norm(self.reduce_tokens(features))  # [B, C]
    return {'features': features, 'pre_logits': self.pre_logits(x)}

  def attention_maps(self, inputs: tf.Tensor) -> tf.Tensor:
    """Where the learned tokens look: [B, T, S, H, W], T=1 for images.

    Raises:
      ValueError: the model has no TokenLearner.
    """
    return self.encoder.attention_maps(self.embed(inputs, training=False))

  def make_class_token(self, name: str) -> tf_keras.layers.Layer:
    """Returns a layer that puts the spec's class tokens before the others."""
    if self.spec.num_class_tokens:
      return layers.ClassToken(self.spec.num_class_tokens, name=name)
    return _identity()

  def make_registers(self) -> tf_keras.layers.Layer:
    """Returns a layer that inserts registers behind the class tokens."""
    if self.spec.num_registers:
      return layers.ClassToken(
          self.spec.num_registers, self.spec.num_class_tokens,
          name='registers')
    return _identity()

  def make_pre_norm(self) -> tf_keras.layers.Layer:
    """Returns the LayerNorm before the blocks, if the spec has one."""
    if self.spec.pre_norm:
      return layers.LayerNorm(self.spec.norm_epsilon, name='pre_norm')
    return _identity()

  def get_config(self) -> Dict:
    return {'spec': dataclasses.asdict(self.spec),
            'input_size': self.input_size, 'name': self.name}


def _identity():
  return tf_keras.layers.Activation('linear')


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class VisionTransformer(TransformerBackbone):
  """Embed, encode, pool.

  Source: Dosovitskiy et al. 2021 (arXiv 2010.11929) with Ryoo et al. 2021
  (arXiv 2106.11297); TokenLearnerViT of the official Scenic code less its
  head. Differs from it in what specs.ViTSpec says.

  Args:
    spec: ViTSpec, or the dict of one.
    input_size: (height, width, channels) of the images.

  Call arguments:
    inputs: float tensor [B, height, width, channels], pixels in [-1, 1].
    training: bool. Turns dropout and stochastic depth on.

  Returns:
    dict of float tensors: features [B, N or S, C], what the encoder gives, and
    pre_logits [B, C or representation_size], what a head needs.

  Raises:
    UserError (a ValueError): a spec that makes no sense.

  Example:
    >>> spec = specs.ViTSpec('Ti/16', token_learner_location=6, num_layers=8)
    >>> vit = VisionTransformer(spec, input_size=(64, 64, 3))
    >>> {k: tuple(v.shape) for k, v in vit(tf.zeros([1, 64, 64, 3])).items()}
    {'features': (1, 8, 192), 'pre_logits': (1, 192)}
  """
  spec_class = specs.ViTSpec

  def make_layers(self, spec: specs.ViTSpec) -> None:
    self.patch_embedding = layers.PatchEmbedding(
        spec.hidden_size, spec.patch_size, name='patch_embedding')
    self.class_token = self.make_class_token('class_token')
    self.position_embedding = layers.PositionEmbedding(
        name='position_embedding')
    self.registers = self.make_registers()
    self.dropout = tf_keras.layers.Dropout(spec.dropout_rate)
    self.pre_norm = self.make_pre_norm()
    self.encoder = encoder.Encoder(
        spec, spec.grid_size(self.input_size), name='encoder')

  def embed(self, inputs: tf.Tensor, training: Optional[bool] = None):
    """[B, height, width, channels] -> what the encoder sees, [B, N, C]."""
    x = self.patch_embedding(inputs)  # [B, H, W, C]
    x = tf.reshape(x, [-1, x.shape[1] * x.shape[2], x.shape[3]])  # [B, N, C]
    x = self.class_token(x)  # [B, N or 1 + N, C]
    x = self.position_embedding(x)
    x = self.registers(x)  # [B, P + N, C]
    return self.pre_norm(self.dropout(x, training=training))


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class VideoVisionTransformer(TransformerBackbone):
  """Embed tubelets, encode, pool; tokens are learned in each tubelet index.

  Source: Arnab et al. 2021 (arXiv 2103.15691), model 1, with Ryoo et al. 2021
  (arXiv 2106.11297), section 4; ViViT and, with a video tokenizer,
  TokenLearnerViT of the official Scenic code less their heads. Differs from
  them in what specs.ViViTSpec says.

  Args:
    spec: ViViTSpec, or the dict of one.
    input_size: (frames, height, width, channels) of the clips.

  Call arguments:
    inputs: float tensor [B, frames, height, width, channels], pixels in
      [-1, 1].
    training: bool. Turns dropout and stochastic depth on.

  Returns:
    dict of float tensors: features [B, T*N or T*S, C], what the encoder gives,
    and pre_logits [B, C or representation_size], what a head needs.

  Raises:
    UserError (a ValueError): a spec that makes no sense.
    ValueError: clips of another size than input_size.

  Example:
    >>> spec = specs.ViViTSpec(
    ...     'Ti/16x2', token_learner_location=2, num_layers=3)
    >>> vivit = VideoVisionTransformer(spec, input_size=(8, 32, 32, 3))
    >>> clips = tf.zeros([1, 8, 32, 32, 3])
    >>> {k: tuple(v.shape) for k, v in vivit(clips).items()}
    {'features': (1, 32, 192), 'pre_logits': (1, 192)}
  """
  spec_class = specs.ViViTSpec

  def make_layers(self, spec: specs.ViViTSpec) -> None:
    num_frames = spec.num_frames(self.input_size)
    frames = spec.sampled_frames(self.input_size)
    self.sample_frames = (
        (lambda clips: clips) if frames is None
        else lambda clips: _sample(clips, frames, self.input_size[0]))
    self.tubelet_embedding = layers.TubeletEmbedding(
        spec.hidden_size, spec.tubelet_size, name='tubelet_embedding')
    self.class_token = self.make_class_token('class_token')
    self.position_embedding = layers.PositionEmbedding(
        num_frames if spec.position_embedding == 'repeated' else 1,
        name='position_embedding')
    self.registers = self.make_registers()
    self.dropout = tf_keras.layers.Dropout(spec.dropout_rate)
    self.pre_norm = self.make_pre_norm()
    self.encoder = encoder.Encoder(
        spec, spec.grid_size(self.input_size), num_frames, name='encoder')

  def embed(self, inputs: tf.Tensor, training: Optional[bool] = None):
    """Clips [B, frames, height, width, channels] -> [B, T*N, C]."""
    x = self.tubelet_embedding(self.sample_frames(inputs))  # [B, T, H, W, C]
    x = tf.reshape(x, [-1, math.prod(x.shape[1:4]), x.shape[4]])  # [B, T*N, C]
    x = self.class_token(x)  # [B, T*N or 1 + T*N, C]
    x = self.position_embedding(x)
    x = self.registers(x)  # [B, P + N, C]
    return self.pre_norm(self.dropout(x, training=training))


def _sample(clips: tf.Tensor, frames: List[int], length: int) -> tf.Tensor:
  if clips.shape[1] != length:  # Others would be taken silently.
    raise ValueError(
        f'VideoVisionTransformer: frames {frames} of clips of {length} are '
        f'sampled, received shape {clips.shape}.')
  return tf.gather(clips, frames, axis=1)
