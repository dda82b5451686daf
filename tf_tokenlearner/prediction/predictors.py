"""Loads exports, SavedModels and TFLite files, and runs them on examples."""

import abc
import os
from typing import (
    Any, Callable, Dict, List, Mapping, Sequence, Tuple, Union)

import numpy as np
import tensorflow as tf

from tf_tokenlearner.data import views
from tf_tokenlearner import errors
from tf_tokenlearner import files
from tf_tokenlearner.prediction import examples as examples_lib
from tf_tokenlearner import quiet
from tf_tokenlearner import run_folder
from tf_tokenlearner.serving import manifest
from tf_tokenlearner.serving import tflite_inputs

_HOW = ('Give the folder that export/export_saved_model.py, export_tflite.py '
        'or export_streaming.py wrote')

# Probabilities of an example, float32 [classes], or why there are none.
Probabilities = Union[np.ndarray, examples_lib.UnreadableError]


class Export:
  """An export's folder and manifest; `load` loads the model.

  Args:
    path: the folder, or the TFLite file in it.

  Attributes:
    folder: the folder.
    file: the TFLite file; not used for a SavedModel.
    export_format: such as 'saved_model' or 'streaming_tflite'.
    batch_size: the batch size that the model is limited to; 0 for any.
    is_compiled: whether XLA compiles the model for each batch size.
    view: the model's view.

  Raises:
    UserError: path is no export, or one of a format that predict cannot load.
  """

  def __init__(self, path: str):
    try:
      path.encode()
    except UnicodeEncodeError as error:  # TensorFlow cannot open it.
      raise errors.UserError(
          f'Expected a UTF-8 path of an export, got {path!r}. Rename the '
          'folder.') from error
    if not tf.io.gfile.exists(path):
      raise errors.UserError(f'There is no {path}. {_HOW}.')
    is_file = not tf.io.gfile.isdir(path)
    self._path = path
    self.folder = (os.path.dirname(path) or '.') if is_file else path
    self.file = (
        path if is_file else os.path.join(path, manifest.TFLITE_FILE))
    facts = manifest.read_origin(self.folder)
    self.export_format = facts.get('kind')
    if self.export_format is None and run_folder.exists(self.folder):
      raise errors.UserError(
          f'{self.folder} is a run, not an export. Export it first. {_HOW}.')
    if self.export_format is None:
      raise errors.UserError(
          f'{self.folder} has no origin.json, which describes the input of an '
          f'export. {_HOW}, or the TFLite file inside.')
    if not isinstance(self.export_format, str):
      raise self._of_another_version()
    if self.export_format not in _LOADERS or (
        is_file and 'tflite' not in self.export_format):
      raise errors.UserError(
          f'{path} is{" part of" * is_file} an export of the format '
          f'{self.export_format}. {_HOW}.')
    if 'preprocessing' not in facts:
      raise errors.UserError(
          f'{self.folder}/origin.json does not describe the preprocessing, as '
          'an older version wrote it. Export again.')
    try:
      self.view = views.from_json(facts['preprocessing'])
      self.batch_size = int(facts.get('batch_size', 0))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
      raise self._of_another_version() from error
    self.is_compiled = bool(facts.get('jit_compile'))

  @property
  def is_streaming(self) -> bool:
    """Whether the model takes videos step by step."""
    return self.export_format.startswith('streaming_')

  def load(self) -> Union['Predictor', 'Streamer']:
    """Returns a Streamer if is_streaming, else a Predictor.

    Raises:
      UserError: files are missing or corrupt.
    """
    try:
      return _LOADERS[self.export_format](self)
    except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
      if isinstance(error, errors.UserError):
        raise
      raise errors.UserError(
          f'{self._path} cannot be loaded: '
          + str(error).partition('\n')[0]) from error

  def _of_another_version(self):
    return errors.UserError(
        f'{self.folder}/origin.json was written by another version. Export '
        'again.')


class Predictor(abc.ABC):
  """Base class of models that classify whole examples.

  Args:
    export: the export that the model is loaded from.

  Attributes:
    view: the model's view.
    label_names: names of the classes.
  """
  label_names: Tuple[str, ...]

  def __init__(self, export: Export):
    self.view = export.view
    self._batch_size = export.batch_size
    self._is_compiled = export.is_compiled

  def probabilities(self, examples: Sequence[examples_lib.Example],
                    batch_size: int) -> List[Probabilities]:
    """Returns the probabilities of examples of one shape.

    Args:
      examples: what a reader returned.
      batch_size: batch size of this and later calls. A model that is compiled
        for each batch size gets padded batches of this one, as full_size
        limits it.
    """
    return self._in_batches(self._probabilities, examples, batch_size)

  @abc.abstractmethod
  def attention_maps(self, examples: Sequence[examples_lib.Example],
                     batch_size: int) -> List[np.ndarray]:
    """Returns the maps of each example, [S, H, W], of a clip [T, S, H, W].

    Args:
      examples: as in probabilities.
      batch_size: as in probabilities.

    Raises:
      UserError: as require_attention_maps.
    """

  @abc.abstractmethod
  def require_attention_maps(self) -> None:
    """Raises UserError if the export has no attention maps."""

  @abc.abstractmethod
  def _probabilities(self, examples):
    """Returns the probabilities of a batch whose size the model accepts."""

  def _in_batches(self, function, examples, batch_size):
    size = self._batch_size or len(examples)
    if self._is_compiled and not self._batch_size:
      size = examples_lib.full_size(batch_size, examples[0])
    results = []
    for start in range(0, len(examples), size):
      batch = list(examples[start:start + size])
      padded = batch + batch[-1:] * (size - len(batch))
      results.extend(function(padded)[:len(batch)])
    return results


class _SavedModelPredictor(Predictor):
  """A SavedModel, which contains its preprocessing."""

  def __init__(self, export):
    super().__init__(export)
    self._module = _load_module(export)  # Holds the variables.
    self._signatures = self._module.signatures
    self.label_names = _label_names(self._signatures)

  def _probabilities(self, examples):
    if isinstance(self.view, views.ImageView):
      outputs = self._signatures['serving_default'](images=tf.stack(examples))
      return outputs['probabilities'].numpy()
    return self._probabilities_of_files(examples)

  def _probabilities_of_files(self, clips):
    """Passes encoded frames, of which the model decodes only those it uses."""
    try:
      outputs = self._signatures['image_bytes'](image_bytes=tf.constant(clips))
    except tf.errors.InvalidArgumentError as error:
      # An export of version 0.1.0 raises if no example of a batch is readable.
      if any(clip is not clips[0] for clip in clips):
        return [self._probabilities_of_files([clip] * len(clips))[0]
                for clip in clips]
      return [_refused(' '.join(error.message.split()))] * len(clips)
    return [
        _refused(reason.decode()) if reason else values
        for values, reason in zip(
            outputs['probabilities'].numpy(), outputs['errors'].numpy())]

  def require_attention_maps(self):
    if 'attention_maps' not in self._signatures:
      raise errors.UserError(
          'This export has no attention maps, as its model has no '
          'TokenLearner. Leave --attention out.')

  def attention_maps(self, examples, batch_size):
    self.require_attention_maps()
    if isinstance(self.view, views.ImageView):
      return self._in_batches(self._attention_maps, examples, batch_size)
    # Decoded clips are large and differ in size.
    maps = []
    for example in examples:
      maps += self._in_batches(self._attention_maps, [example], 1)
    return maps

  def _attention_maps(self, examples):
    name = 'images' if isinstance(self.view, views.ImageView) else 'clips'
    pixels = tf.stack([examples_lib.pixels(example) for example in examples])
    return self._signatures['attention_maps'](**{name: pixels})[
        'attention_maps'].numpy()


class _TFLitePredictor(Predictor):
  """A TFLite file, which takes pixels of the network's input size."""

  def __init__(self, export):
    super().__init__(export)
    interpreter = tflite_inputs.load_interpreter(export.file)
    (name, signature), = interpreter.get_signature_list().items()
    self._runner = interpreter.get_signature_runner(name)
    self._input, = signature['inputs']
    self._shape = self._runner.get_input_details()[self._input]['shape'][1:]
    self.label_names = manifest.read_labels(export.folder)

  def _probabilities(self, examples):
    pixels = tf.stack([examples_lib.to_view(example, self.view)
                       for example in examples])
    inputs = tflite_inputs.from_pixels(pixels.numpy(), self._shape)
    return self._runner(**{self._input: inputs})['probabilities']

  def require_attention_maps(self):
    raise errors.UserError(
        'A TFLite file has no attention maps. Give a SavedModel with '
        '--attention.')

  def attention_maps(self, examples, batch_size):
    self.require_attention_maps()


class Streamer:
  """A model that takes a video step by step and keeps its state.

  Args:
    export: the export that the model is loaded from.
    label_names: names of the classes.
    num_frames: number of frames of a step.
    init_state: returns the state before the first step.
    step: (frames [1, num_frames, H, W, 3], state) -> outputs and new state.

  Attributes:
    label_names: names of the classes.
    num_frames: number of frames of a step.
    view: the model's view.
  """

  def __init__(self, export: Export, label_names: Sequence[str],
               num_frames: int, init_state: Callable[[], Dict[str, Any]],
               step: Callable[..., Mapping[str, Any]]):
    self.view = export.view
    self.label_names, self.num_frames = tuple(label_names), num_frames
    self._init_state, self._step = init_state, step
    self.begin()

  def begin(self) -> None:
    """Resets the state to that before a video."""
    self._state = self._init_state()

  def step(self, frames: np.ndarray) -> np.ndarray:
    """Takes the next frames and returns probabilities [classes].

    Args:
      frames: uint8 [num_frames, H, W, 3].
    """
    outputs = self._step(frames[np.newaxis], self._state)
    self._state = {key: outputs[key] for key in self._state}
    return np.asarray(outputs['probabilities'])[0]


def _load_saved_model_streamer(export: Export) -> Streamer:
  module = _load_module(export)
  signatures = module.signatures
  step = signatures['step']
  frames = step.structured_input_signature[1]['frames']
  return Streamer(
      export, _label_names(signatures), frames.shape[1],
      lambda: module.signatures['init_state'](batch_size=tf.constant(1)),
      lambda frames, state: step(frames=tf.constant(frames), **state))


def _load_tflite_streamer(export: Export) -> Streamer:
  interpreter = tflite_inputs.load_interpreter(export.file)
  step = interpreter.get_signature_runner('step')
  shape = step.get_input_details()['frames']['shape']
  return Streamer(
      export, manifest.read_labels(export.folder), int(shape[1]),
      interpreter.get_signature_runner('init_state'),
      lambda frames, state: step(
          frames=tflite_inputs.from_pixels(
              export.view.to_view(tf.constant(frames)).numpy(), shape[1:]),
          **state))


_LOADERS: Dict[str, Callable[[Export], Any]] = {
    'saved_model': _SavedModelPredictor,
    'tflite': _TFLitePredictor,
    'streaming_saved_model': _load_saved_model_streamer,
    'streaming_tflite': _load_tflite_streamer,
}


def _load_module(export: Export) -> Any:
  with quiet.errors_only(), files.without_wildcards(export.folder) as folder:
    return tf.saved_model.load(folder)


def _refused(reason: str) -> examples_lib.UnreadableError:
  return examples_lib.UnreadableError(f'refused by the export: {reason}')


def _label_names(signatures) -> Tuple[str, ...]:
  names: List[bytes] = signatures['label_names']()['label_names'].numpy()
  return tuple(name.decode() for name in names)
