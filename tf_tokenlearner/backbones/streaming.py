"""Streaming: a factorised video model that reads one tubelet at a time."""

from typing import NamedTuple, Tuple

import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner.backbones import classifier
from tf_tokenlearner.backbones import factorized_vivit


class State(NamedTuple):
  """The state between two steps.

  Attributes:
    tokens: float tensor [B, T*S, C], of the last T tubelets, oldest first.
    num_steps: int32 tensor [B], tubelets seen so far. Set an entry to 0 to
      start a new video there.
  """
  tokens: tf.Tensor
  num_steps: tf.Tensor


class StreamingClassifier(tf.Module):
  """Classifies the last T tubelets after each new one, at the cost of one.

  The spatial part runs on the new tubelet alone; its S tokens replace the
  oldest S in the window that the temporal part reads. The logits equal those of
  the whole model on a clip of the last T tubelets. Until there are T, copies of
  the first one fill the window, as if the video had stood still.

  Args:
    model: Classifier around a FactorizedVideoVisionTransformer.

  Raises:
    UserError: another backbone, in which every position sees the whole clip.

  Example:
    >>> from tf_tokenlearner import backbones
    >>> spec = backbones.FactorizedViViTSpec(
    ...     'Ti/16x2', token_learner_location=2, num_layers=2)
    >>> stream = StreamingClassifier(backbones.Classifier(
    ...     backbones.FactorizedVideoVisionTransformer(spec, (8, 32, 32, 3)),
    ...     num_classes=5))
    >>> state = stream.init_state(batch_size=1)
    >>> logits, state = stream.step(tf.zeros([1, 2, 32, 32, 3]), state)
    >>> logits.shape
    TensorShape([1, 5])
  """

  def __init__(self, model: classifier.Classifier):
    super().__init__(name='streaming_classifier')
    backbone = model.backbone
    if not isinstance(
        backbone, factorized_vivit.FactorizedVideoVisionTransformer):
      raise errors.UserError(
          'Streaming needs a run of videos with '
          'backbone.type=token_learner_vivit_factorized. This one has a '
          f'{type(backbone).__name__}, which '
          + ('classifies images.' if len(backbone.input_size) == 3 else
             'changes the features of old frames when new ones arrive.'))
    self._model = model
    self._window = (backbone.spec.num_frames(backbone.input_size)
                    * backbone.spec.tokens_per_frame())  # T * S

  @property
  def tubelet_shape(self) -> Tuple[int, int, int, int]:
    """(frames, height, width, channels) of the input of a step."""
    backbone = self._model.backbone
    return (backbone.spec.tubelet_size[0], *backbone.input_size[1:])

  @property
  def state_shape(self) -> Tuple[int, int]:
    """(T*S, C) of the tokens in a state."""
    return self._window, self._model.backbone.spec.hidden_size

  def init_state(self, batch_size) -> State:
    """Returns the state before the first tubelet."""
    dtype = self._model.backbone.compute_dtype
    return State(tf.zeros([batch_size, *self.state_shape], dtype),
                 tf.zeros([batch_size], tf.int32))

  def step(self, tubelet: tf.Tensor, state: State) -> Tuple[tf.Tensor, State]:
    """Processes the next tubelet.

    Args:
      tubelet: float tensor [B, *tubelet_shape], pixels in [-1, 1].
      state: from init_state or the previous step.

    Returns:
      logits [B, num_classes] of the last T tubelets; the new state.
    """
    backbone = self._model.backbone
    new = backbone.spatial(tubelet, training=False)  # [B, S, C]
    first = tf.tile(new, [1, self._window // new.shape[1], 1])
    later = tf.concat([state.tokens[:, new.shape[1]:], new], axis=1)
    is_first = tf.equal(state.num_steps, 0)[:, tf.newaxis, tf.newaxis]
    tokens = tf.where(is_first, first, later)
    pre_logits = backbone.temporal(tokens, training=False)['pre_logits']
    return (self._model.head(pre_logits),
            State(tokens, state.num_steps + 1))
