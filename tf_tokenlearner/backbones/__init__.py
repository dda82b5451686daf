"""Backbones: embed, encode, pool; and the classifier around them."""

from tf_tokenlearner.backbones.bottleneck_spec import BottleneckSpec
from tf_tokenlearner.backbones.bottleneck_transformer import BottleneckTransformer
from tf_tokenlearner.backbones.classifier import Classifier
from tf_tokenlearner.backbones.encoder import Encoder
from tf_tokenlearner.backbones.factorized_vivit import FactorizedVideoVisionTransformer
from tf_tokenlearner.backbones.specs import FactorizedViViTSpec
from tf_tokenlearner.backbones.specs import TokenLearnerSpec
from tf_tokenlearner.backbones.specs import ViTSpec
from tf_tokenlearner.backbones.specs import ViViTSpec
from tf_tokenlearner.backbones.vision_transformer import VideoVisionTransformer
from tf_tokenlearner.backbones.vision_transformer import VisionTransformer

# As configs and saved runs name them.
BY_NAME = {
    'token_learner_vit': VisionTransformer,
    'token_learner_vivit': VideoVisionTransformer,
    'token_learner_vivit_factorized': FactorizedVideoVisionTransformer,
    'token_learner_bottleneck': BottleneckTransformer,
}
