"""The factorised ViViT: attention over space first, then over time."""

from typing import Dict, Optional, Sequence

import tensorflow as tf
import tf_keras

from tf_tokenlearner.backbones import encoder
from tf_tokenlearner.backbones import specs
from tf_tokenlearner.backbones import vision_transformer
from tf_tokenlearner import layers


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class FactorizedVideoVisionTransformer(
    vision_transformer.TransformerBackbone):
  """A spatial encoder for each tubelet index, then a temporal one for all.

  The spatial output of an index depends on no other index, so a video stream
  needs it for new tubelets only. Each of the T*S tokens of the window has a
  position embedding, which the temporal part adds. Source: Arnab et al. 2021
  (arXiv 2103.15691), section 3.3, model 2, as SpaceTimeViViT of the official
  Scenic code without its head, where there is no TokenLearner.
  specs.FactorizedViViTSpec documents the differences.

  Args:
    spec: FactorizedViViTSpec, or its dict.
    input_size: (frames, height, width, channels) of the clips.

  Call arguments:
    inputs: float tensor [B, frames, height, width, channels], pixels in
      [-1, 1].
    training: bool. Turns dropout and stochastic depth on.

  Returns:
    dict of float tensors: features [B, T*S, C], the temporal encoder's output,
    and pre_logits [B, C or representation_size], the input of a head.

  Raises:
    UserError (a ValueError): options of the spec contradict each other.

  Example:
    >>> spec = specs.FactorizedViViTSpec(
    ...     'Ti/16x2', token_learner_location=2, num_layers=2)
    >>> model = FactorizedVideoVisionTransformer(spec, (8, 32, 32, 3))
    >>> model.spatial(tf.zeros([1, 2, 32, 32, 3])).shape  # One new tubelet.
    TensorShape([1, 8, 192])
    >>> model(tf.zeros([1, 8, 32, 32, 3]))['features'].shape
    TensorShape([1, 32, 192])
  """
  spec_class = specs.FactorizedViViTSpec

  def make_layers(self, spec: specs.FactorizedViViTSpec) -> None:
    self.tubelet_embedding = layers.TubeletEmbedding(
        spec.hidden_size, spec.tubelet_size, name='tubelet_embedding')
    self.dropout = tf_keras.layers.Dropout(spec.dropout_rate)
    self.class_token = self.make_class_token('class_token')
    self.position_embedding = layers.PositionEmbedding(
        name='position_embedding')
    self.spatial_encoder = encoder.Encoder(
        spec, spec.grid_size(self.input_size), name='spatial_encoder')
    self.temporal_class_token = self.make_class_token('temporal_class_token')
    self.temporal_position_embedding = layers.PositionEmbedding(
        name='temporal_position_embedding')
    self.temporal_encoder = encoder.Encoder(
        spec.temporal_spec(), (1, spec.tokens_per_frame()),
        spec.num_frames(self.input_size), name='temporal_encoder')

  @property
  def encoders(self) -> Sequence[encoder.Encoder]:
    return [self.spatial_encoder, self.temporal_encoder]

  def call(self, inputs, training=None):
    tokens = self.spatial(inputs, training=training)
    return self.temporal(tokens, training=training)

  def spatial(self, clips: tf.Tensor, training: Optional[bool] = None):
    """Returns tokens [B, T*S, C] of clips with any number T of tubelets."""
    x = self.embed(clips, self.embed_training(training))  # [B * T, N, C]
    x = self.spatial_encoder(x, training=training)  # [B * T, N or S, C]
    return self._join(x, clips.shape[1] // self.spec.tubelet_size[0])

  def _join(self, x: tf.Tensor, num_frames: int) -> tf.Tensor:
    """Spatial output [B * T, N or S, C] -> the window's tokens [B, T*S, C]."""
    if not self.spec.token_learners():  # One pooled token for each index.
      x = self.pool_tokens(x)[:, tf.newaxis]  # [B * T, 1, C]
    return encoder.join_frames(x, num_frames)

  def lower(self, inputs: tf.Tensor) -> tf.Tensor:
    x = super().lower(inputs)  # [B * T, N, C]
    return encoder.join_frames(x, self.spec.num_frames(self.input_size))

  def upper(self, tokens: tf.Tensor,
            training: Optional[bool] = None) -> Dict[str, tf.Tensor]:
    num_frames = self.spec.num_frames(self.input_size)
    x = encoder.split_frames(tokens, num_frames)  # [B * T, N, C]
    x = self.spatial_encoder.upper(x, training=training)
    return self.temporal(self._join(x, num_frames), training=training)

  def embed(self, inputs: tf.Tensor, training: Optional[bool] = None):
    """Clips [B, frames, height, width, channels] -> [B * T, N, C]."""
    x = self.tubelet_embedding(inputs)  # [B, T, H, W, C]
    x = tf.reshape(x, [-1, x.shape[2] * x.shape[3], x.shape[4]])
    x = self.class_token(x)  # [B * T, N or 1 + N, C]
    x = self.position_embedding(x)
    return self.dropout(x, training=training)

  def temporal(self, tokens: tf.Tensor,
               training: Optional[bool] = None) -> Dict[str, tf.Tensor]:
    """Returns features and pre_logits of the window's tokens [B, T*S, C]."""
    x = self.temporal_class_token(tokens)
    x = self.temporal_position_embedding(x)
    x = self.dropout(x, training=training)
    x = self.temporal_encoder(x, training=training)
    return self.pool(x)

  def attention_maps(self, inputs: tf.Tensor) -> tf.Tensor:
    """Returns where the learned tokens look: [B, T, S, H, W].

    Raises:
      ValueError: the model has no TokenLearner.
    """
    maps = self.spatial_encoder.attention_maps(
        self.embed(inputs, training=False))  # [B * T, 1, S, H, W]
    num_frames = self.spec.num_frames(self.input_size)
    return tf.reshape(maps, [-1, num_frames, *maps.shape[2:]])
