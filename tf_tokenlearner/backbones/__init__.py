"""Backbones (embed, encode, pool) and the classifier around them."""

from tf_tokenlearner import lazy

__getattr__, __dir__ = lazy.attach(__name__, {
    'bottleneck_spec': ('BottleneckSpec',),
    'bottleneck_transformer': ('BottleneckTransformer',),
    'classifier': ('BY_NAME', 'Classifier'),
    'encoder': ('Encoder',),
    'factorized_vivit': ('FactorizedVideoVisionTransformer',),
    'specs': ('FactorizedViViTSpec', 'TokenLearnerSpec', 'ViTSpec',
              'ViViTSpec'),
    'vision_transformer': ('VideoVisionTransformer', 'VisionTransformer'),
})
