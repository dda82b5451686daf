"""What the Model Garden knows of our backbones: their configs and builders."""

import dataclasses
from typing import Optional

import tf_keras
from official.modeling import hyperparams
from official.vision.modeling.backbones import factory

from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.backbones import bottleneck_spec
from tf_tokenlearner.backbones import specs
from tf_tokenlearner.backbones import video_specs


@dataclasses.dataclass
class TokenLearner(hyperparams.Config, specs.TokenLearnerSpec):
  """specs.TokenLearnerSpec as a Garden config."""


@dataclasses.dataclass
class TokenLearnerViT(hyperparams.Config, specs.ViTSpec):
  """specs.ViTSpec as a Garden config."""
  token_learner: TokenLearner = dataclasses.field(default_factory=TokenLearner)


@dataclasses.dataclass
class TokenLearnerViViT(hyperparams.Config, video_specs.ViViTSpec):
  """video_specs.ViViTSpec as a Garden config."""
  token_learner: TokenLearner = dataclasses.field(default_factory=TokenLearner)


@dataclasses.dataclass
class TokenLearnerFactorizedViViT(
    hyperparams.Config, video_specs.FactorizedViViTSpec):
  """video_specs.FactorizedViViTSpec as a Garden config."""
  token_learner: TokenLearner = dataclasses.field(default_factory=TokenLearner)


@dataclasses.dataclass
class TokenLearnerBottleneck(
    hyperparams.Config, bottleneck_spec.BottleneckSpec):
  """bottleneck_spec.BottleneckSpec as a Garden config."""


@dataclasses.dataclass
class Backbone(hyperparams.OneOfConfig):
  """Which backbone for images, and each one's options.

  Attributes:
    type: name of one of the fields below.
    token_learner_vit: vision transformer with TokenLearner.
  """
  type: Optional[str] = 'token_learner_vit'
  token_learner_vit: TokenLearnerViT = dataclasses.field(
      default_factory=TokenLearnerViT)


@dataclasses.dataclass
class VideoBackbone(hyperparams.OneOfConfig):
  """Which backbone for clips, and each one's options.

  Attributes:
    type: name of one of the fields below.
    token_learner_vivit: all positions of a clip in one transformer.
    token_learner_vivit_factorized: a spatial transformer, then a temporal one.
    token_learner_bottleneck: convolutions, tokens in the last stage.
  """
  type: Optional[str] = 'token_learner_vivit'
  token_learner_vivit: TokenLearnerViViT = dataclasses.field(
      default_factory=TokenLearnerViViT)
  token_learner_vivit_factorized: TokenLearnerFactorizedViViT = (
      dataclasses.field(default_factory=TokenLearnerFactorizedViViT))
  token_learner_bottleneck: TokenLearnerBottleneck = dataclasses.field(
      default_factory=TokenLearnerBottleneck)


def _register(name: str, model_class: type) -> None:
  """Makes model_class(spec, input_size) known to the Garden's factory."""

  @factory.register_backbone_builder(name)
  def build(
      input_specs: tf_keras.layers.InputSpec,
      backbone_config: hyperparams.OneOfConfig,
      norm_activation_config: Optional[hyperparams.Config] = None,
      l2_regularizer: Optional[tf_keras.regularizers.Regularizer] = None,
  ) -> tf_keras.Model:
    """Builds a backbone for the Garden's factory.

    Args:
      input_specs: shape [None, height, width, channels], of clips [None,
        frames, height, width, channels].
      backbone_config: OneOfConfig whose chosen one is of this backbone.
      norm_activation_config: not of use here: a backbone's own options say how
        it normalises. The factory always passes one.
      l2_regularizer: refused; weight decay belongs to the optimizer.

    Raises:
      UserError: l2_regularizer is given, or the spec makes no sense.
    """
    del norm_activation_config
    if l2_regularizer is not None:
      raise errors.UserError(
          f'{name} takes no l2_weight_decay: use an optimizer with weight '
          'decay, such as adamw.')
    return model_class(backbone_config.get(), input_specs.shape[1:])


for _name, _model_class in backbones.BY_NAME.items():
  _register(_name, _model_class)
