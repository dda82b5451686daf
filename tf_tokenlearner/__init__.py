"""TokenLearner image and video classifiers for TensorFlow 2.

Nothing is imported until it is asked for: `tf_tokenlearner.layers` needs
TensorFlow and tf_keras alone.
"""

__version__ = '0.1.0'
