"""A batch in parts teaches what the whole batch does."""

import numpy as np
import pytest
from official.modeling import optimization as garden
import tensorflow as tf
import tf_keras

from tf_tokenlearner import backbones
from tf_tokenlearner.backbones import specs
from tf_tokenlearner.configs import image_classification
from tf_tokenlearner.tasks import classification_task
from tf_tokenlearner.training import accumulation

RANDOM = np.random.default_rng(0)
IMAGES = tf.constant(RANDOM.uniform(-1, 1, [8, 8, 8, 1]), tf.float32)
LABELS = tf.constant(RANDOM.integers(0, 3, [8]), tf.int32)


def make_model():
  tf_keras.utils.set_random_seed(0)
  spec = specs.ViTSpec(
      'Ti/4', num_layers=1, hidden_size=8, mlp_dim=8, num_heads=2,
      token_learner_location=0, num_tokens=2)
  model = backbones.Classifier(
      backbones.VisionTransformer(spec, (8, 8, 1)), num_classes=3)
  model.head.kernel.assign(RANDOM.uniform(-1, 1, model.head.kernel.shape))
  return model


def averaged_adamw():
  # With a small epsilon, rounding decides where a gradient should be 0.
  return garden.ExponentialMovingAverage(
      garden.legacy_adamw.AdamWeightDecay(
          .01, epsilon=.01, weight_decay_rate=.1))


def scaled_sgd():
  return tf_keras.mixed_precision.LossScaleOptimizer(
      tf_keras.optimizers.legacy.SGD(.1), dynamic=False, initial_scale=1024)


@pytest.mark.parametrize('make_optimizer', [averaged_adamw, scaled_sgd])
def test_equals_the_whole_batch(make_optimizer):
  task = classification_task.make(image_classification.ImageClassificationTask(
      model=image_classification.ImageClassifier(num_classes=3)))
  model, other = make_model(), make_model()
  other.set_weights(model.get_weights())
  results = []
  for network, parts in ((model, 1), (other, 4)):
    optimizer, metrics = make_optimizer(), task.build_metrics()
    if hasattr(optimizer, 'shadow_copy'):
      optimizer.shadow_copy(network)
    unused = network.add_weight(  # Has no gradient.
        'unused', [2], initializer='zeros')

    @tf.function
    def step():
      arguments = ((IMAGES, LABELS), network, optimizer, metrics)
      return (task.train_step(*arguments) if parts == 1 else
              accumulation.train_step(task, *arguments, parts))

    losses = [float(step()[task.loss]) for _ in range(2)]
    assert int(optimizer.iterations) == 2
    assert unused.trainable
    results.append((losses, [m.result().numpy() for m in metrics],
                    network.get_weights(),
                    [v.numpy() for v in optimizer.variables()]))
  whole, in_parts = map(tf.nest.flatten, results)
  for expected, found in zip(whole, in_parts, strict=True):
    np.testing.assert_allclose(found, expected, atol=1e-6)
  assert whole[0] - whole[1] > 1e-3  # It does learn.
