"""Functions of a streaming model that benchmarks/streaming.py times."""

from typing import Callable, Dict, Tuple

import numpy as np
import tensorflow as tf

from benchmarks import lite
from tf_tokenlearner import backbones
from tf_tokenlearner.backbones import streaming
from tf_tokenlearner.serving import tflite_file

Function = Callable[..., Dict[str, np.ndarray]]


def make(stream: streaming.StreamingClassifier, model: backbones.Classifier,
         mode: str) -> Tuple[Function, Function]:
  """Returns the streaming step and the model on a whole clip.

  Args:
    stream: streaming classifier of the model.
    model: classifier of clips.
    mode: 'graph', 'xla', or 'tflite' for a float32 file.

  Returns:
    step(frames, tokens, num_steps) -> logits, tokens, num_steps and
    whole(clip) -> logits, all NumPy arrays; both wait for their results.
  """
  def step(frames, tokens, num_steps):
    logits, state = stream.step(frames, streaming.State(tokens, num_steps))
    return {'logits': logits, **state._asdict()}

  def whole(clip):
    return {'logits': model(clip, training=False)}

  specs = {
      step: [_spec('frames', stream.tubelet_shape),
             _spec('tokens', stream.state_shape),
             tf.TensorSpec([1], tf.int32, 'num_steps')],
      whole: [_spec('clip', model.backbone.input_size)]}
  functions = {
      function.__name__: tf.function(
          function, input_signature=signature, autograph=False,
          jit_compile=mode == 'xla')
      for function, signature in specs.items()}
  if mode == 'tflite':
    module = tf.Module()
    module.model_variables = model.variables
    data = tflite_file.convert(module, functions)
    return lite.runner(data, 'step'), lite.runner(data, 'whole')
  return tuple(map(_to_numpy, functions.values()))


def _spec(name: str, shape: Tuple[int, ...]) -> tf.TensorSpec:
  return tf.TensorSpec([1, *shape], tf.float32, name)


def _to_numpy(function: Callable[..., Dict[str, tf.Tensor]]) -> Function:
  def call(**inputs):
    answer = function(**{name: tf.constant(x) for name, x in inputs.items()})
    return {name: tensor.numpy() for name, tensor in answer.items()}
  return call
