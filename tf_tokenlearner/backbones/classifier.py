"""The backbones by name, and the classifier: a backbone and its head."""

from typing import Any, Dict, Optional

import tensorflow as tf
import tf_keras

from tf_tokenlearner.backbones import bottleneck_transformer
from tf_tokenlearner.backbones import factorized_vivit
from tf_tokenlearner.backbones import vision_transformer

# Backbones by the names that configs and saved runs give them.
BY_NAME = {
    'token_learner_vit': vision_transformer.VisionTransformer,
    'token_learner_vivit': vision_transformer.VideoVisionTransformer,
    'token_learner_vivit_factorized':
        factorized_vivit.FactorizedVideoVisionTransformer,
    'token_learner_bottleneck': bottleneck_transformer.BottleneckTransformer,
}


@tf_keras.utils.register_keras_serializable(package='tf_tokenlearner')
class Classifier(tf_keras.Model):
  """A backbone, dropout and a linear head: images or clips to logits.

  The head starts at zero, as in the official code: the initial logits equal
  head_bias, for instance -10 for a sigmoid loss over many classes.

  Args:
    backbone: model whose call returns a dict with pre_logits [B, C].
    num_classes: int > 0; or None for no head: then the call returns pre_logits.
    dropout_rate: float in [0, 1), before the head.
    head_bias: float, initial bias of the head.

  Call arguments:
    inputs: float tensor, the backbone's input.
    training: bool. Turns dropout and stochastic depth on.

  Returns:
    float32 tensor [B, num_classes], logits.
  """

  def __init__(self, backbone: tf_keras.Model, num_classes: Optional[int],
               dropout_rate: float = 0., head_bias: float = 0.,
               name: Optional[str] = None):
    super().__init__(name=name)
    self.backbone = backbone
    self.num_classes = num_classes
    self.dropout_rate = dropout_rate
    self.head_bias = head_bias
    self.dropout = tf_keras.layers.Dropout(dropout_rate)
    self.head = (
        tf_keras.layers.Activation('linear', dtype='float32')
        if num_classes is None else tf_keras.layers.Dense(
            num_classes, kernel_initializer='zeros',
            bias_initializer=tf_keras.initializers.Constant(head_bias),
            dtype='float32', name='head'))  # A loss wants float32.
    self(tf_keras.Input(backbone.input_size))  # Builds; savers need the shape.

  def endpoints(self, inputs: tf.Tensor, training=None) -> Dict[str, tf.Tensor]:
    """Returns the backbone's outputs and logits [B, num_classes]."""
    return self._classify(self.backbone(inputs, training=training), training)

  def _classify(self, outputs: Dict[str, tf.Tensor], training=None):
    """Returns outputs of the backbone and their logits."""
    outputs = dict(outputs)
    x = self.dropout(outputs['pre_logits'], training=training)
    outputs['logits'] = self.head(x)
    return outputs

  def call(self, inputs, training=None):
    return self.endpoints(inputs, training=training)['logits']

  def upper(self, tokens: tf.Tensor, training=None) -> tf.Tensor:
    """Returns the logits [B, num_classes] of tokens of backbone.lower.

    Args:
      tokens: float tensor [B, M, C] of any precision.
      training: bool. Turns dropout and stochastic depth on.
    """
    tokens = tf.cast(tokens, self.compute_dtype)
    outputs = self.backbone.upper(tokens, training=training)
    return self._classify(outputs, training)['logits']

  def get_config(self) -> Dict[str, Any]:
    return {
        'backbone': tf_keras.saving.serialize_keras_object(self.backbone),
        'num_classes': self.num_classes,
        'dropout_rate': self.dropout_rate,
        'head_bias': self.head_bias,
        'name': self.name,
    }

  @classmethod
  def from_config(cls, config: Dict[str, Any]) -> 'Classifier':
    backbone = tf_keras.saving.deserialize_keras_object(config['backbone'])
    return cls(**{**config, 'backbone': backbone})
