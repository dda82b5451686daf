"""What the vision transformers share: embed, encode, pool."""

import abc
import dataclasses
from typing import Dict, Optional, Sequence

import tensorflow as tf
import tf_keras

from tf_tokenlearner import layers
from tf_tokenlearner.backbones import specs

_POOLERS = {
    'gap': lambda x: tf.reduce_mean(x, axis=1),
    'gmp': lambda x: tf.reduce_max(x, axis=1),
    'gsp': lambda x: tf.reduce_sum(x, axis=1),
    'token': lambda x: x[:, 0],
}
assert set(_POOLERS) == set(specs.POOLERS)


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
    self.spec = spec.resolved(self.input_size)
    self.reduce_tokens = _POOLERS[self.spec.pooler]  # [B, N, C] -> [B, C]
    self.make_layers(self.spec)
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
    return {'features': features,
            'pre_logits': self.pre_logits(self.reduce_tokens(features))}

  def attention_maps(self, inputs: tf.Tensor) -> tf.Tensor:
    """Where the learned tokens look: [B, T, S, H, W], T=1 for images.

    Raises:
      ValueError: the model has no TokenLearner.
    """
    return self.encoder.attention_maps(self.embed(inputs, training=False))

  def make_class_token(self, name: str) -> tf_keras.layers.Layer:
    """Puts a class token before the others if the pooler wants one."""
    if self.spec.pooler == 'token':
      return layers.ClassToken(name=name)
    return _identity()

  def get_config(self) -> Dict:
    return {'spec': dataclasses.asdict(self.spec),
            'input_size': self.input_size, 'name': self.name}


def _identity():
  return tf_keras.layers.Activation('linear')
