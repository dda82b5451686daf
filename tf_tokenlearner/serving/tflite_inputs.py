"""Conversion of the input of TFLite files to the network's pixels.

A generic client resizes the whole RGB image to the size of the input. The input
of an image model is therefore larger than the network's by the margin that the
evaluation view cuts off, and the file itself cuts out the centre. For square
images this equals the evaluation view, and for all images with resize=stretch.
Other images are squeezed unless the client first cuts out the largest centred
box of the network's aspect ratio or, with resize=letterbox, pads with grey.
Resizing stays with the client, so files need no operation for it.
"""

import importlib.util
import os
from typing import Any, Sequence, Tuple

import numpy as np
import tensorflow as tf

from tf_tokenlearner import errors
from tf_tokenlearner import quiet
from tf_tokenlearner.data import pixel_ops
from tf_tokenlearner.data import views

COLORS = 3
# TensorFlow's weights of red, green and blue in grey; white becomes 0.9999.
_GREY = (0.2989, 0.5870, 0.1140)


def input_shape(view: views.View) -> Tuple[int, ...]:
  """Returns the shape of a file's input, without the batch.

  The shape is (H, W, 3) for images and (T, H, W, 3) for clips. The client
  resizes and crops the frames of clips.
  """
  *size, _ = view.input_size
  if isinstance(view, views.ImageView):
    size = [round(side / view.center_crop_fraction) for side in size]
  return (*size, COLORS)


def to_pixels(inputs: tf.Tensor, input_size: Sequence[int]) -> tf.Tensor:
  """Converts a file's input, RGB from 0 to 255, to the network's pixels.

  Args:
    inputs: float32 [B, *input_shape].
    input_size: shape of the network's input; no side is larger than the input.

  Returns:
    float32 [B, *input_size] in [-1, 1].
  """
  *_, height, width, channels = input_size
  top, left = ((have - want) // 2 for have, want in zip(
      inputs.shape[-3:-1], (height, width)))
  if inputs.shape[-3:-1] != [height, width]:
    inputs = inputs[..., top:top + height, left:left + width, :]
  return pixel_ops.scale(to_channels(inputs, channels))


def to_channels(colors: tf.Tensor, channels: int) -> tf.Tensor:
  """Converts RGB floats to grey ones, as evaluation does without rounding."""
  if channels == COLORS:
    return colors
  # No matrix product, which a converter would quantize; and white stays white.
  return sum(weight / sum(_GREY) * colors[..., i:i + 1]
             for i, weight in enumerate(_GREY))


def from_pixels(pixels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
  """Converts the network's pixels to a file's input that gives them.

  Args:
    pixels: float32 [B, *input_size] in [-1, 1].
    shape: of the file's input without the batch; exports of version 0.1.0 take
      the network's size and channels.

  Returns:
    float32 [B, *shape] from 0 to 255; the margin repeats the border.
  """
  inputs = np.float32(pixel_ops.unscale(pixels))
  inputs = np.repeat(inputs, shape[-1] // inputs.shape[-1], axis=-1)
  margins = [(0, 0)] * inputs.ndim
  for axis in (-3, -2):
    missing = shape[axis] - inputs.shape[axis]
    margins[axis] = (missing // 2, missing - missing // 2)
  return np.pad(inputs, margins, mode='edge')


def require_runtime() -> None:
  """Raises UserError if LiteRT is not installed."""
  if not importlib.util.find_spec('ai_edge_litert'):
    raise errors.UserError(
        'LiteRT, which runs TFLite files, is not installed. Run pip install '
        '\'tf_tokenlearner[tflite]\', or give --noverify to export without a '
        'test.')


def load_interpreter(path: str) -> Any:
  """Loads a TFLite file and allocates its tensors.

  Raises:
    UserError: LiteRT is not installed.
    ValueError, RuntimeError: the file is missing or corrupt.
  """
  require_runtime()
  from ai_edge_litert import interpreter  # pylint: disable=g-import-not-at-top
  with quiet.native_output():  # The delegate announces itself.
    loaded = interpreter.Interpreter(
        model_path=path, num_threads=os.cpu_count())
    loaded.allocate_tensors()
  return loaded
