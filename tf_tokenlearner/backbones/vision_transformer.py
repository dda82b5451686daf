"""Vision transformers with TokenLearner, for images and for clips.

The forward pass: `embed`, then the encoder (encoder.py), then `pool`.
Shapes: B batch, T frames, N positions per frame, S learned tokens per frame,
C channels, H W map.
"""

import abc
import dataclasses
import math
from typing import Dict, Optional, Sequence

import tensorflow as tf
import tf_keras

from tf_tokenlearner.backbones import encoder
from tf_tokenlearner.backbones import specs
from tf_tokenlearner import layers

# [B, N, C] -> [B, C], for each of specs.POOLERS.
_POOLERS = {
    'gap': lambda x: tf.reduce_mean(x, axis=1),
    'gmp': lambda x: tf.reduce_max(x, axis=1),
    'gsp': lambda x: tf.reduce_sum(x, axis=1),
    'token': lambda x: x[:, 0],
}


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
          f'received a {type(spec).__name__}.')
    self.input_size = tuple(input_size)
    self.spec = spec.completed(self.input_size)
    self.pool_tokens = _POOLERS[self.spec.pooler]  # [B, N, C] -> [B, C]
    self.make_layers(self.spec)
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
    x = self.embed(inputs, training=training)  # [B, T*N, C]
    x = self.encoder(x, training=training)  # [B, T*S, C], or T*N with a Fuser
    return self.pool(x)

  @abc.abstractmethod
  def embed(self, inputs: tf.Tensor, training: Optional[bool] = None):
    """Returns what the encoder sees, [B, T*N, C], for pixels."""

  def pool(self, features: tf.Tensor) -> Dict[str, tf.Tensor]:
    """Returns features [B, N, C] and pre_logits [B, C]."""
    return {'features': features,
            'pre_logits': self.pre_logits(self.pool_tokens(features))}

  def attention_maps(self, inputs: tf.Tensor) -> tf.Tensor:
    """Returns where the learned tokens look: [B, T, S, H, W], T=1 for images.

    Raises:
      ValueError: the model has no TokenLearner.
    """
    return self.encoder.attention_maps(self.embed(inputs, training=False))

  def make_class_token(self, name: str) -> tf_keras.layers.Layer:
    """Returns a ClassToken if the pooler needs one, else the identity."""
    if self.spec.pooler == 'token':
      return layers.ClassToken(name=name)
    return _identity()

  def get_config(self) -> Dict:
    return {'spec': dataclasses.asdict(self.spec),
            'input_size': self.input_size, 'name': self.name}


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
    dict of float tensors: features [B, N or S, C], the encoder's output, and
    pre_logits [B, C or representation_size], the input of a head.

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
    self.dropout = tf_keras.layers.Dropout(spec.dropout_rate)
    self.encoder = encoder.Encoder(
        spec, spec.grid_size(self.input_size), name='encoder')

  def embed(self, inputs: tf.Tensor, training: Optional[bool] = None):
    """Images [B, height, width, channels] -> [B, N, C]."""
    x = self.patch_embedding(inputs)  # [B, H, W, C]
    x = tf.reshape(x, [-1, x.shape[1] * x.shape[2], x.shape[3]])  # [B, N, C]
    x = self.class_token(x)  # [B, N or 1 + N, C]
    x = self.position_embedding(x)
    return self.dropout(x, training=training)


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
    dict of float tensors: features [B, T*N or T*S, C], the encoder's output,
    and pre_logits [B, C or representation_size], the input of a head.

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
    self.dropout = tf_keras.layers.Dropout(spec.dropout_rate)
    self.encoder = encoder.Encoder(
        spec, spec.grid_size(self.input_size), num_frames, name='encoder')

  def embed(self, inputs: tf.Tensor, training: Optional[bool] = None):
    """Clips [B, frames, height, width, channels] -> [B, T*N, C]."""
    x = self.sample_frames(inputs)
    x = self.tubelet_embedding(x)  # [B, T, H, W, C]
    x = tf.reshape(x, [-1, math.prod(x.shape[1:4]), x.shape[4]])  # [B, T*N, C]
    x = self.class_token(x)  # [B, T*N or 1 + T*N, C]
    x = self.position_embedding(x)
    return self.dropout(x, training=training)

  def sample_frames(self, clips: tf.Tensor) -> tf.Tensor:
    """Returns the frames that tubelet_embedding=temporal_sampling picks."""
    frames = self.spec.sampled_frames(self.input_size)
    if frames is None:
      return clips
    length = self.input_size[0]
    if clips.shape[1] != length:  # tf.gather would accept longer clips.
      raise ValueError(
          f'VideoVisionTransformer: frames {frames} of clips of {length} are '
          f'sampled, received shape {clips.shape}.')
    return tf.gather(clips, frames, axis=1)
