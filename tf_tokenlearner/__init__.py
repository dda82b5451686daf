"""TokenLearner image and video classifiers for TensorFlow 2.

    import tf_tokenlearner
    tf_tokenlearner.layers.TokenLearnerV11(num_tokens=8)

Names load at first use: `import tf_tokenlearner` imports no TensorFlow.
"""

from tf_tokenlearner import lazy

__version__ = '0.1.0'

__getattr__, __dir__ = lazy.attach(__name__, {
    'layers': (),
    'backbones': (),
    'checkpoints': (),
    'checkpoints.pretrained': ('from_pretrained',),
})
