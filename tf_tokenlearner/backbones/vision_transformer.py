"""Vision transformers with TokenLearner, for images and for clips.

The forward pass: `embed`, then the encoder (encoder.py), then `pool`. It may be
split behind the blocks that are frozen: `upper(lower(pixels))` is the same.
Shapes: B batch, T frames, N positions per frame, S learned tokens per frame,
P class tokens and registers, C channels, H W map. Poolers that concatenate make
several C wide vectors one; spec.pooled_size() is their width, D below.
"""

import abc
import dataclasses
import math
from typing import Any, Callable, Dict, List, Optional, Sequence

import tensorflow as tf
import tf_keras

from tf_tokenlearner.backbones import encoder
from tf_tokenlearner.backbones import specs
from tf_tokenlearner import layers

# Layers before the first block, by the names of their attributes.
_EMBEDDING = ('patch_embedding', 'tubelet_embedding', 'class_token',
              'position_embedding', 'registers', 'pre_norm')
# Options of a completed spec that do not change what frozen blocks compute.
_UPPER_OPTIONS = frozenset((
    'variant', 'num_layers', 'token_learner_location', 'num_tokens',
    'tokenizer', 'pooling_window', 'token_learner', 'use_token_fuser', 'fuser',
    'dropout_rate', 'attention_dropout_rate', 'stochastic_depth_rate', 'pooler',
    'pooled_norm_epsilon', 'final_norm', 'representation_size',
    'temporal_num_layers', 'temporal_mlp_dim', 'temporal_num_heads'))


class TransformerBackbone(tf_keras.Model):
  """Base class for ViT backbones. Subclasses implement make_layers and embed.

  Args:
    spec: a spec_class, or its dict.
    input_size: shape of an image or clip, without the batch.

  Raises:
    ValueError: a spec of another class.
    UserError: options that contradict each other.
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
          f'got a {type(spec).__name__}.')
    self.input_size = tuple(input_size)
    self.spec = spec.completed(self.input_size)
    self.pool_tokens = _make_pooler(self.spec)  # [B, P + N, C] -> [B, D]
    self.is_embedding_frozen = False
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
    """Makes self.encoder and the layers that embed uses."""

  def call(self, inputs, training=None):
    x = self.embed(inputs, self.embed_training(training))  # P + T*N
    x = self.encoder(x, training=training)  # P + T*S, or P + T*N
    return self.pool(x)

  def lower(self, inputs: tf.Tensor) -> tf.Tensor:
    """Returns the tokens [B, M, C] that leave the frozen blocks.

    Args:
      inputs: pixels, as of the call.
    """
    x = self.embed(inputs, training=False)
    return self.first_encoder.lower(x)  # M = P + T*N

  def upper(self, tokens: tf.Tensor,
            training: Optional[bool] = None) -> Dict[str, tf.Tensor]:
    """Returns the outputs of the call for the tokens that `lower` returned.

    Args:
      tokens: float tensor [B, M, C].
      training: bool. Turns dropout and stochastic depth on.
    """
    return self.pool(self.encoder.upper(tokens, training=training))

  @property
  def encoders(self) -> Sequence[encoder.Encoder]:
    """The encoders; the first one sees the embedded pixels."""
    return [self.encoder]

  @property
  def first_encoder(self) -> encoder.Encoder:
    """The encoder that sees the embedded pixels."""
    return self.encoders[0]

  @property
  def embedding_layers(self) -> Sequence[tf_keras.layers.Layer]:
    """The layers before the first block that may have variables."""
    return [getattr(self, name) for name in _EMBEDDING if hasattr(self, name)]

  def freeze_below(self, block: int) -> None:
    """Freezes the embedding and the blocks before one; 0 freezes nothing.

    Frozen layers have no gradients, no updates and no dropout.

    Raises:
      UserError: a TokenLearner stands before that block.
    """
    if not block:
      return
    self.first_encoder.freeze_below(block)
    self.is_embedding_frozen = True
    for layer in self.embedding_layers:
      layer.trainable = False

  def lower_variables(self) -> List[tf.Variable]:
    """Returns the variables that `lower` reads, in a fixed order."""
    return [variable for layer in (
        *self.embedding_layers, *self.first_encoder.frozen_stages)
            for variable in layer.variables]

  def lower_options(self) -> Dict[str, Any]:
    """Returns all else that the result of `lower` depends on."""
    spec = dataclasses.asdict(self.spec)
    return {'backbone': type(self).__name__, 'input_size': self.input_size,
            'blocks': len(self.first_encoder.frozen_stages),
            **{name: value for name, value in spec.items()
               if name not in _UPPER_OPTIONS}}

  def embed_training(self, training: Optional[bool]) -> Optional[bool]:
    """Returns the training flag of the embedding, False if it is frozen."""
    return False if self.is_embedding_frozen else training

  @abc.abstractmethod
  def embed(self, inputs: tf.Tensor, training: Optional[bool] = None):
    """Returns the encoder's input [B, P + T*N, C] for pixels."""

  def pool(self, features: tf.Tensor) -> Dict[str, tf.Tensor]:
    """Returns features [B, P + N, C] and pre_logits [B, D]."""
    x = self.pooled_norm(self.pool_tokens(features))  # [B, D]
    return {'features': features, 'pre_logits': self.pre_logits(x)}

  def attention_maps(self, inputs: tf.Tensor) -> tf.Tensor:
    """Returns where the learned tokens look: [B, T, S, H, W], T=1 for images.

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


def _make_pooler(
    spec: specs.TransformerSpec) -> Callable[[tf.Tensor], tf.Tensor]:
  """Returns a function or layer [B, P + N, C] -> [B, D] for spec.pooler.

  The first P tokens are the class tokens, then the registers. Several class
  tokens are concatenated, as are class token and mean of token_and_mean.
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


def _identity():
  return tf_keras.layers.Activation('linear')


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class VisionTransformer(TransformerBackbone):
  """A vision transformer for images: embed patches, encode, pool.

  Source: Dosovitskiy et al. 2021 (arXiv 2010.11929) with Ryoo et al. 2021
  (arXiv 2106.11297); TokenLearnerViT of the official Scenic code
  without its head. specs.ViTSpec documents the differences.

  Args:
    spec: ViTSpec, or its dict.
    input_size: (height, width, channels) of the images.

  Call arguments:
    inputs: float tensor [B, height, width, channels], pixels in [-1, 1].
    training: bool. Turns dropout and stochastic depth on.

  Returns:
    dict of float tensors: features [B, P + N or P + S, C], the encoder's
    output, and pre_logits [B, D or representation_size], the input of a head.

  Raises:
    UserError (a ValueError): options of the spec contradict each other.

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
    """Images [B, height, width, channels] -> [B, P + N, C]."""
    x = self.patch_embedding(inputs)  # [B, H, W, C]
    x = tf.reshape(x, [-1, x.shape[1] * x.shape[2], x.shape[3]])  # [B, N, C]
    x = self.class_token(x)  # [B, class tokens + N, C]
    x = self.position_embedding(x)
    x = self.registers(x)  # [B, P + N, C]
    return self.pre_norm(self.dropout(x, training=training))


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class VideoVisionTransformer(TransformerBackbone):
  """A vision transformer for clips: embed tubelets, encode, pool.

  Tokens are learned in each tubelet index, and attention sees all of them.

  Source: Arnab et al. 2021 (arXiv 2103.15691), model 1, with Ryoo et al. 2021
  (arXiv 2106.11297), section 4; ViViT and, with a video tokenizer,
  TokenLearnerViT of the official Scenic code without their heads.
  specs.ViViTSpec documents the differences.

  Args:
    spec: ViViTSpec, or its dict.
    input_size: (frames, height, width, channels) of the clips.

  Call arguments:
    inputs: float tensor [B, frames, height, width, channels], pixels in
      [-1, 1].
    training: bool. Turns dropout and stochastic depth on.

  Returns:
    dict of float tensors: features [B, P + T*N or P + T*S, C], the encoder's
    output, and pre_logits [B, D or representation_size], the input of a head.

  Raises:
    UserError (a ValueError): options of the spec contradict each other.
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
    """Clips [B, frames, height, width, channels] -> [B, P + T*N, C]."""
    x = self.sample_frames(inputs)
    x = self.tubelet_embedding(x)  # [B, T, H, W, C]
    x = tf.reshape(x, [-1, math.prod(x.shape[1:4]), x.shape[4]])  # [B, T*N, C]
    x = self.class_token(x)  # [B, class tokens + T*N, C]
    x = self.position_embedding(x)
    x = self.registers(x)  # [B, P + T*N, C]
    return self.pre_norm(self.dropout(x, training=training))

  def sample_frames(self, clips: tf.Tensor) -> tf.Tensor:
    """Returns the frames that tubelet_embedding=temporal_sampling picks."""
    frames = self.spec.sampled_frames(self.input_size)
    if frames is None:
      return clips
    length = self.input_size[0]
    if clips.shape[1] != length:  # tf.gather would accept longer clips.
      raise ValueError(
          f'VideoVisionTransformer: frames {frames} of clips of {length} are '
          f'sampled, got shape {clips.shape}.')
    return tf.gather(clips, frames, axis=1)
