"""Vision transformer with TokenLearner, for images."""

import dataclasses
from typing import Dict, Optional, Sequence

import tensorflow as tf
import tf_keras

from tf_tokenlearner import layers
from tf_tokenlearner.backbones import encoder
from tf_tokenlearner.backbones import specs

_POOLERS = {
    'gap': lambda x: tf.reduce_mean(x, axis=1),
    'gmp': lambda x: tf.reduce_max(x, axis=1),
    'gsp': lambda x: tf.reduce_sum(x, axis=1),
    'token': lambda x: x[:, 0],
}
assert set(_POOLERS) == set(specs.POOLERS)


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class VisionTransformer(tf_keras.Model):
  """Embed, encode, pool.

  Source: Dosovitskiy et al. 2021 (arXiv 2010.11929) with Ryoo et al. 2021
  (arXiv 2106.11297); TokenLearnerViT of the official Scenic code less its
  head. Differs from it in what specs.ViTSpec says.

  Args:
    spec: ViTSpec, or the dict of one.
    input_size: (height, width, channels) of the images.

  Call arguments:
    images: float tensor [B, height, width, channels], pixels in [-1, 1].
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

  def __init__(self, spec: specs.ViTSpec, input_size: Sequence[int],
               name: Optional[str] = None):
    super().__init__(name=name)
    if isinstance(spec, dict):
      spec = specs.ViTSpec.from_dict(spec)
    self.spec = spec = spec.resolved(tuple(input_size))
    self.input_size = tuple(input_size)
    self.patch_embedding = layers.PatchEmbedding(
        spec.hidden_size, spec.patch_size, name='patch_embedding')
    self.class_token = (
        layers.ClassToken(name='class_token') if spec.pooler == 'token'
        else tf_keras.layers.Activation('linear'))
    self.position_embedding = layers.PositionEmbedding(
        name='position_embedding')
    self.dropout = tf_keras.layers.Dropout(spec.dropout_rate)
    self.encoder = encoder.Encoder(
        spec, spec.grid_size(self.input_size), name='encoder')
    self._pool = _POOLERS[spec.pooler]
    self.pre_logits = (
        layers.MatmulDense(spec.representation_size, activation='tanh',
                           kernel_initializer='lecun_normal', name='pre_logits')
        if spec.representation_size
        else tf_keras.layers.Activation('linear'))
    self(tf_keras.Input(self.input_size))  # Builds; savers need the shape.

  def embed(self, images: tf.Tensor, training: Optional[bool] = None):
    """[B, height, width, channels] -> what the encoder sees, [B, N, C]."""
    x = self.patch_embedding(images)  # [B, H, W, C]
    x = tf.reshape(x, [-1, x.shape[1] * x.shape[2], x.shape[3]])  # [B, N, C]
    x = self.class_token(x)  # [B, N or 1 + N, C]
    x = self.position_embedding(x)
    return self.dropout(x, training=training)

  def call(self, images, training=None):
    x = self.embed(images, training=training)
    x = self.encoder(x, training=training)  # [B, N or S, C]
    pre_logits = self.pre_logits(self._pool(x))
    return {'features': x, 'pre_logits': pre_logits}

  def attention_maps(self, images: tf.Tensor) -> tf.Tensor:
    """Where the learned tokens look: [B, T=1, S, H, W].

    Raises:
      ValueError: the model has no TokenLearner.
    """
    return self.encoder.attention_maps(self.embed(images, training=False))

  def get_config(self) -> Dict:
    return {'spec': dataclasses.asdict(self.spec),
            'input_size': self.input_size, 'name': self.name}
