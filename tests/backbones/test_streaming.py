"""StreamingClassifier: one tubelet at a time, the numbers of whole clips."""

import numpy as np
import pytest
import tensorflow as tf

from tests import layer_checks
from tests.backbones import tiny
from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.backbones import streaming

FRAMES, *SIZE = tiny.CLIP
VIDEO = np.random.default_rng(3).uniform(
    -1, 1, [2, 4 * FRAMES, *SIZE]).astype('float32')


def classifier(backbone):
  model = backbones.Classifier(backbone, num_classes=5)
  layer_checks.draw_weights(model)
  return model


@pytest.mark.parametrize('form', [
    dict(), dict(pooler='token'),
    dict(token_learner_location=3),
    dict(token_learner_location=[1, 3], num_tokens=[5, 2]),
    dict(token_learner_location=3, token_learner=tiny.V10),
])
def test_equals_the_whole_model_over_every_window(form):
  model = classifier(tiny.factorized(**form))
  stream = streaming.StreamingClassifier(model)
  size = stream.tubelet_shape[0]
  step = tf.function(stream.step)
  state = stream.init_state(batch_size=2)
  seen = []
  for start in range(0, VIDEO.shape[1], size):  # Four windows.
    new = VIDEO[:, start:start + size]
    logits, state = step(new, state)
    seen = seen + [new] if seen else [new] * (FRAMES // size)
    window = np.concatenate(seen[-(FRAMES // size):], axis=1)
    np.testing.assert_allclose(logits, model(window), rtol=0, atol=1e-5)
  assert (state.num_steps.numpy() == VIDEO.shape[1] // size).all()
  assert np.ptp(logits.numpy()) > 1e-2


def test_videos_of_a_batch_do_not_touch():
  stream = streaming.StreamingClassifier(
      classifier(tiny.factorized(token_learner_location=3)))
  size = stream.tubelet_shape[0]
  both, alone = stream.init_state(2), stream.init_state(1)
  for start in range(0, FRAMES, size):
    logits_both, both = stream.step(VIDEO[:, start:start + size], both)
    logits_alone, alone = stream.step(VIDEO[:1, start:start + size], alone)
    np.testing.assert_allclose(
        logits_both[:1], logits_alone, **layer_checks.CLOSE)


def test_a_new_video_takes_the_place_of_another():
  stream = streaming.StreamingClassifier(
      classifier(tiny.factorized(token_learner_location=3)))
  size = stream.tubelet_shape[0]
  state, fresh = stream.init_state(2), stream.init_state(1)
  _, state = stream.step(VIDEO[:, :size], state)
  state = state._replace(num_steps=state.num_steps * [1, 0])
  logits, _ = stream.step(VIDEO[:, size:2 * size], state)
  expected, _ = stream.step(VIDEO[1:, size:2 * size], fresh)
  np.testing.assert_allclose(logits[1:], expected, **layer_checks.CLOSE)


def test_shapes():
  stream = streaming.StreamingClassifier(classifier(
      tiny.factorized(token_learner_location=3, num_tokens=2)))
  assert stream.tubelet_shape == (FRAMES // 3, *SIZE)
  assert stream.state_shape == (3 * 2, 8)
  state = stream.init_state(4)
  assert state.tokens.shape == [4, 6, 8] and state.num_steps.shape == [4]


def test_backbone_that_is_not_factorised():
  model = backbones.Classifier(tiny.vivit(), num_classes=5)
  with pytest.raises(
      errors.UserError, match='backbone.type=token_learner_vivit_'
      'factorized. This one has a VideoVisionTransformer, which changes'):
    streaming.StreamingClassifier(model)
