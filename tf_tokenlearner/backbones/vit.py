"""Vision transformer with TokenLearner, for images."""

from typing import Optional

import tensorflow as tf
import tf_keras

from tf_tokenlearner import layers
from tf_tokenlearner.backbones import encoder
from tf_tokenlearner.backbones import specs
from tf_tokenlearner.backbones import transformer_backbone


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class VisionTransformer(transformer_backbone.TransformerBackbone):
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
    self.dropout = tf_keras.layers.Dropout(spec.dropout_rate)
    self.encoder = encoder.Encoder(
        spec, spec.grid_size(self.input_size), name='encoder')

  def embed(self, inputs: tf.Tensor, training: Optional[bool] = None):
    """[B, height, width, channels] -> what the encoder sees, [B, N, C]."""
    x = self.patch_embedding(inputs)  # [B, H, W, C]
    x = tf.reshape(x, [-1, x.shape[1] * x.shape[2], x.shape[3]])  # [B, N, C]
    x = self.class_token(x)  # [B, N or 1 + N, C]
    x = self.position_embedding(x)
    return self.dropout(x, training=training)
