"""What the Model Garden knows of our backbones: their configs and builders."""

import dataclasses
from typing import Optional

import tf_keras
from official.modeling import hyperparams
from official.vision.modeling.backbones import factory

from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.backbones import specs


@dataclasses.dataclass
class TokenLearner(hyperparams.Config, specs.TokenLearnerSpec):
  """specs.TokenLearnerSpec as a Garden config."""


@dataclasses.dataclass
class TokenLearnerViT(hyperparams.Config, specs.ViTSpec):
  """specs.ViTSpec as a Garden config."""
  token_learner: TokenLearner = dataclasses.field(default_factory=TokenLearner)


@dataclasses.dataclass
class Backbone(hyperparams.OneOfConfig):
  """Which backbone, and each one's options.

  Attributes:
    type: name of one of the fields below.
    token_learner_vit: vision transformer with TokenLearner, for images.
  """
  type: Optional[str] = 'token_learner_vit'
  token_learner_vit: TokenLearnerViT = dataclasses.field(
      default_factory=TokenLearnerViT)


@factory.register_backbone_builder('token_learner_vit')
def build_token_learner_vit(
    input_specs: tf_keras.layers.InputSpec,
    backbone_config: hyperparams.OneOfConfig,
    norm_activation_config: Optional[hyperparams.Config] = None,
    l2_regularizer: Optional[tf_keras.regularizers.Regularizer] = None,
) -> backbones.VisionTransformer:
  """Builds VisionTransformer for the Garden's backbone factory.

  Args:
    input_specs: shape [None, height, width, channels].
    backbone_config: OneOfConfig whose chosen one is a TokenLearnerViT.
    norm_activation_config: not of use here: a transformer has LayerNorm and
      GELU. The factory always passes one.
    l2_regularizer: refused; weight decay belongs to the optimizer.

  Raises:
    UserError: l2_regularizer is given, or the spec makes no sense.
  """
  del norm_activation_config
  if l2_regularizer is not None:
    raise errors.UserError(
        'token_learner_vit takes no l2_weight_decay: use an optimizer with '
        'weight decay, such as adamw.')
  return backbones.VisionTransformer(
      backbone_config.get(), input_specs.shape[1:])
