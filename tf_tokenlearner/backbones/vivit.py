"""Video vision transformer with TokenLearner: all of a clip in one encoder."""

import math
from typing import List, Optional

import tensorflow as tf
import tf_keras

from tf_tokenlearner import layers
from tf_tokenlearner.backbones import encoder
from tf_tokenlearner.backbones import transformer_backbone
from tf_tokenlearner.backbones import video_specs


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class VideoVisionTransformer(transformer_backbone.TransformerBackbone):
  """Embed tubelets, encode, pool; tokens are learned in each tubelet index.

  Source: Arnab et al. 2021 (arXiv 2103.15691), model 1, with Ryoo et al. 2021
  (arXiv 2106.11297), section 4; ViViT and, with a video tokenizer,
  TokenLearnerViT of the official Scenic code less their heads. Differs from
  them in what video_specs.ViViTSpec says.

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
    >>> spec = video_specs.ViViTSpec(
    ...     'Ti/16x2', token_learner_location=2, num_layers=3)
    >>> vivit = VideoVisionTransformer(spec, input_size=(8, 32, 32, 3))
    >>> clips = tf.zeros([1, 8, 32, 32, 3])
    >>> {k: tuple(v.shape) for k, v in vivit(clips).items()}
    {'features': (1, 32, 192), 'pre_logits': (1, 192)}
  """
  spec_class = video_specs.ViViTSpec

  def make_layers(self, spec: video_specs.ViViTSpec) -> None:
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
    self.dropout = tf_keras.layers.Dropout(spec.dropout_rate)
    self.encoder = encoder.Encoder(
        spec, spec.grid_size(self.input_size), num_frames, name='encoder')

  def embed(self, inputs: tf.Tensor, training: Optional[bool] = None):
    """Clips [B, frames, height, width, channels] -> [B, T*N, C]."""
    x = self.tubelet_embedding(self.sample_frames(inputs))  # [B, T, H, W, C]
    x = tf.reshape(x, [-1, math.prod(x.shape[1:4]), x.shape[4]])  # [B, T*N, C]
    x = self.class_token(x)  # [B, T*N or 1 + T*N, C]
    x = self.position_embedding(x)
    return self.dropout(x, training=training)


def _sample(clips: tf.Tensor, frames: List[int], length: int) -> tf.Tensor:
  if clips.shape[1] != length:  # Others would be taken silently.
    raise ValueError(
        f'VideoVisionTransformer: frames {frames} of clips of {length} are '
        f'sampled, received shape {clips.shape}.')
  return tf.gather(clips, frames, axis=1)
