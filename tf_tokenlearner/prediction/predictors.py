"""What answers: an export, be it a SavedModel or a TFLite file."""

import abc
import os
from typing import (
    Any, Callable, Dict, List, Mapping, Sequence, Tuple, Union)

import numpy as np
import tensorflow as tf

from tf_tokenlearner import run_folder
from tf_tokenlearner.data import views as views_lib
from tf_tokenlearner import errors
from tf_tokenlearner import files
from tf_tokenlearner.prediction import examples as examples_lib
from tf_tokenlearner import quiet
from tf_tokenlearner.serving import manifest
from tf_tokenlearner.serving import tflite_inputs

_HOW = ('Give the folder that export/export_saved_model.py, export_tflite.py '
        'or export_streaming.py wrote')

# Of an example: probabilities, float32 [classes], or why there are none.
Probabilities = Union[np.ndarray, examples_lib.UnreadableError]


class Export:
  """A folder of ours, of which nothing is loaded yet.

  Args:
    path: the folder, or the TFLite file in it.

  Attributes:
    folder: the folder.
    file: the TFLite file; means nothing for a SavedModel.
    kind: of export, such as 'saved_model' or 'streaming_tflite'.
    batch_size: the only one that the model takes; 0 for any.
    is_compiled: whether XLA compiles it anew for each size of a batch.
    preprocessing: what becomes of its inputs.

  Raises:
    UserError: it is none, or one of a kind that cannot be asked.
  """

  def __init__(self, path: str):
    if not tf.io.gfile.exists(path):
      raise errors.UserError(f'There is no {path}. {_HOW}.')
    is_file = not tf.io.gfile.isdir(path)
    self._path = path
    self.folder = (os.path.dirname(path) or '.') if is_file else path
    self.file = (
        path if is_file else os.path.join(path, manifest.TFLITE_FILE))
    facts = manifest.read_origin(self.folder)
    self.kind = facts.get('kind')
    if self.kind is None and run_folder.exists(self.folder):
      raise errors.UserError(
          f'{self.folder} is a run and no export: export it first. {_HOW}.')
    if self.kind is None:
      raise errors.UserError(
          f'{self.folder} has no origin.json, so what its model expects '
          f'is not known. {_HOW}, or the TFLite file inside.')
    if not isinstance(self.kind, str):
      raise self._of_another_version()
    if self.kind not in _LOADERS or is_file and 'tflite' not in self.kind:
      raise errors.UserError(
          f'{path} is{" part of" * is_file} an export of the kind {self.kind}. '
          f'{_HOW}.')
    if 'preprocessing' not in facts:
      raise errors.UserError(
          f'{self.folder}/origin.json does not say how images are prepared, as '
          'it was written by an older version: export again.')
    try:
      self.preprocessing = views_lib.from_json(facts['preprocessing'])
      self.batch_size = int(facts.get('batch_size', 0))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
      raise self._of_another_version() from error
    self.is_compiled = bool(facts.get('jit_compile'))

  @property
  def is_streaming(self) -> bool:
    """Whether it is shown a video bit by bit."""
    return self.kind.startswith('streaming_')

  def load(self) -> Any:
    """A Streamer if is_streaming, else a Predictor.

    Raises:
      UserError: files are missing or corrupt.
    """
    try:
      return _LOADERS[self.kind](self)
    except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
      if isinstance(error, errors.UserError):
        raise
      raise errors.UserError(
          f'{self._path} cannot be loaded: '
          + str(error).partition('\n')[0]) from error

  def _of_another_version(self):
    return errors.UserError(
        f'{self.folder}/origin.json was written by another version: export '
        'again.')


class Predictor(abc.ABC):
  """Says how probable each class is.

  Args:
    export: what it is made of.

  Attributes:
    label_names: of the classes.
  """
  label_names: Tuple[str, ...]

  def __init__(self, export: Export):
    self.preprocessing = export.preprocessing
    self._batch_size = export.batch_size
    self._is_compiled = export.is_compiled

  def probabilities(self, examples: Sequence[examples_lib.Example],
                    batch_size: int) -> List[Probabilities]:
    """Says it of examples of one shape.

    Args:
      examples: what a reader gave.
      batch_size: of what is asked at once, now and later. A model that is
        compiled for each size sees no other, filled up; large images count as
        in reading.
    """
    return self._in_batches(self._probabilities, examples, batch_size)

  @abc.abstractmethod
  def attention_maps(self, examples: Sequence[examples_lib.Example],
                     batch_size: int) -> List[np.ndarray]:
    """Of each, [S, H, W], or [T, S, H, W] of a clip.

    Args:
      examples: as in probabilities.
      batch_size: as there.

    Raises:
      UserError: as require_attention_maps.
    """

  @abc.abstractmethod
  def require_attention_maps(self) -> None:
    """Raises UserError if there are none."""

  @abc.abstractmethod
  def _probabilities(self, examples):
    """As probabilities, of a batch that the model takes."""

  def _in_batches(self, function, examples, batch_size):
    size = self._batch_size or len(examples)
    if self._is_compiled and not self._batch_size:
      size = examples_lib.full_size(batch_size, examples[0])
    answers = []
    for start in range(0, len(examples), size):
      batch = list(examples[start:start + size])
      filled = batch + batch[-1:] * (size - len(batch))
      answers.extend(function(filled)[:len(batch)])
    return answers


class _SavedModelPredictor(Predictor):
  """Prepares inputs itself."""

  def __init__(self, export):
    super().__init__(export)
    self._module = _load_module(export)  # Or its variables would go.
    self._signatures = self._module.signatures
    self.label_names = _label_names(self._signatures)

  def _probabilities(self, examples):
    if isinstance(self.preprocessing, views_lib.ImageView):
      answer = self._signatures['serving_default'](images=tf.stack(examples))
      return answer['probabilities'].numpy()
    return self._probabilities_of_files(examples)

  def _probabilities_of_files(self, clips):
    """Of their frames, it decodes no more than it looks at."""
    try:
      answer = self._signatures['image_bytes'](image_bytes=tf.constant(clips))
    except tf.errors.InvalidArgumentError:
      # Exports of version 0.1.0 fail if they can read none of a batch.
      return [_refused('its frames cannot be decoded')] * len(clips)
    return [
        _refused(reason.decode()) if reason else values
        for values, reason in zip(
            answer['probabilities'].numpy(), answer['errors'].numpy())]

  def require_attention_maps(self):
    if 'attention_maps' not in self._signatures:
      raise errors.UserError(
          'This export has no attention maps, as its model has no '
          'TokenLearner; leave --attention out.')

  def attention_maps(self, examples, batch_size):
    self.require_attention_maps()
    if isinstance(self.preprocessing, views_lib.ImageView):
      return self._in_batches(self._attention_maps, examples, batch_size)
    # Decoded, clips are large and of many sizes.
    maps = []
    for example in examples:
      maps += self._in_batches(self._attention_maps, [example], 1)
    return maps

  def _attention_maps(self, examples):
    name = 'images' if isinstance(
        self.preprocessing, views_lib.ImageView) else 'clips'
    pixels = tf.stack([examples_lib.pixels(example) for example in examples])
    return self._signatures['attention_maps'](**{name: pixels})[
        'attention_maps'].numpy()


class _TFLitePredictor(Predictor):
  """Is given pixels of the network's own size."""

  def __init__(self, export):
    super().__init__(export)
    interpreter = tflite_inputs.load_interpreter(export.file)
    (name, signature), = interpreter.get_signature_list().items()
    self._runner = interpreter.get_signature_runner(name)
    self._input, = signature['inputs']
    self._shape = self._runner.get_input_details()[self._input]['shape'][1:]
    self.label_names = manifest.read_labels(export.folder)

  def _probabilities(self, examples):
    views = tf.stack([examples_lib.view(example, self.preprocessing)
                      for example in examples])
    inputs = tflite_inputs.from_pixels(views.numpy(), self._shape)
    return self._runner(**{self._input: inputs})['probabilities']

  def require_attention_maps(self):
    raise errors.UserError(
        'A TFLite file gives no attention maps; --attention takes a '
        'SavedModel.')

  def attention_maps(self, examples, batch_size):
    self.require_attention_maps()


class Streamer:
  """Is shown one video bit by bit.

  Attributes:
    label_names: of the classes.
    num_frames: of a step.
    preprocessing: of its model.
  """

  def __init__(self, export: Export, label_names: Sequence[str],
               num_frames: int, init_state: Callable[[], Dict[str, Any]],
               step: Callable[..., Mapping[str, Any]]):
    self.preprocessing = export.preprocessing
    self.label_names, self.num_frames = tuple(label_names), num_frames
    self._init_state, self._step = init_state, step
    self.begin()

  def begin(self) -> None:
    """Forgets the video so far."""
    self._state = self._init_state()

  def step(self, frames: np.ndarray) -> np.ndarray:
    """Next frames, uint8 [num_frames, H, W, 3] -> probabilities [classes]."""
    answer = self._step(frames[np.newaxis], self._state)
    self._state = {key: answer[key] for key in self._state}
    return np.asarray(answer['probabilities'])[0]


def _streamer_of_saved_model(export: Export) -> Streamer:
  module = _load_module(export)
  signatures = module.signatures
  step = signatures['step']
  frames = step.structured_input_signature[1]['frames']
  return Streamer(
      export, _label_names(signatures), frames.shape[1],
      lambda: module.signatures['init_state'](batch_size=tf.constant(1)),
      lambda frames, state: step(frames=tf.constant(frames), **state))


def _streamer_of_tflite(export: Export) -> Streamer:
  interpreter = tflite_inputs.load_interpreter(export.file)
  step = interpreter.get_signature_runner('step')
  shape = step.get_input_details()['frames']['shape']
  return Streamer(
      export, manifest.read_labels(export.folder), int(shape[1]),
      interpreter.get_signature_runner('init_state'),
      lambda frames, state: step(
          frames=tflite_inputs.from_pixels(
              export.preprocessing.to_view(tf.constant(frames)).numpy(),
              shape[1:]), **state))


_LOADERS: Dict[str, Callable[[Export], Any]] = {
    'saved_model': _SavedModelPredictor,
    'tflite': _TFLitePredictor,
    'streaming_saved_model': _streamer_of_saved_model,
    'streaming_tflite': _streamer_of_tflite,
}


def _load_module(export: Export) -> Any:
  with quiet.errors_only(), files.without_wildcards(export.folder) as folder:
    return tf.saved_model.load(folder)


def _refused(reason: str) -> examples_lib.UnreadableError:
  return examples_lib.UnreadableError(f'refused by the export: {reason}')


def _label_names(signatures) -> Tuple[str, ...]:
  names: List[bytes] = signatures['label_names']()['label_names'].numpy()
  return tuple(name.decode() for name in names)
