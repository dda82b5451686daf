"""Exports a run in every format, and asks each export as its users would.

  python tests/end_to_end.py --model_dir=runs/digits
  python tests/end_to_end.py --model_dir=runs/moving_digits_factorized

Does what the programs of export/ do, which verify what they write, and then
shows the same evaluation examples, as pixels or as files, to saved_model_cli,
LiteRT, tf_tokenlearner.predict and, in a process that cannot import this
package, hub.load and hub.KerasLayer. A model that can stream is exported so as
well, and predict --stream shown the examples. Prints a line for each client,
and ends with an error if any says something else than the checkpoint.
"""

import contextlib
import fractions
import io
import json
import os
import subprocess
import sys
import tempfile
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

if not __package__:  # Run as a script: the clone lies one folder up.
  sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# pylint: disable=g-import-not-at-top
from absl import flags
import numpy as np

from tf_tokenlearner import cli
from tf_tokenlearner import errors

_LINE = '{:<36} {:>10} {:>10} {:>9}  {}'
_LOSSLESS = dict(codec='ffv1', pixels='bgr0')
# Frames of video files become JPEG files, as in prepared data sets.
_ALLOWED_OF_JPEG = .02
_ALLOWED = 1e-4
_ALLOWED_OTHERS = .02  # Share of examples with another likeliest class.
_ALLOWED_LOSS = .005  # Of accuracy.


class Asked(NamedTuple):
  """Examples that all clients classify, with the answers of the checkpoint.

  Attributes:
    pixels: uint8 RGB, one array per example.
    files: the examples as PNG files or lossless videos.
    streams: videos of the frames that the network uses, for models that can
      stream; else empty.
    views: inputs of the network, float32 [N, *input_size].
    labels: labels, [N].
    probabilities: probabilities of the checkpoint, [N, classes].
    features: pre_logits of the checkpoint, [N, C].
    label_names: names of the classes.
    fps: frames per second of the videos; None for images.
    activate: logits -> probabilities.
  """
  pixels: np.ndarray
  files: List[str]
  streams: List[str]
  views: np.ndarray
  labels: np.ndarray
  probabilities: np.ndarray
  features: np.ndarray
  label_names: Tuple[str, ...]
  fps: Optional[fractions.Fraction]
  activate: Callable[[np.ndarray], np.ndarray]

  @property
  def name(self) -> str:
    return 'images' if self.views.ndim == 4 else 'clips'


class Answer(NamedTuple):
  """Output of a client.

  Attributes:
    client: name of the client.
    received: output of the client, [N, classes or C].
    expected: output of the checkpoint.
    allowed: largest accepted difference.
  """
  client: str
  received: np.ndarray
  expected: np.ndarray
  allowed: float


def define_flags(values: flags.FlagValues) -> None:
  owner = dict(flag_values=values, module_name='__main__')
  flags.DEFINE_string('model_dir', None, 'Folder of the run.', **owner)
  flags.DEFINE_string(
      'checkpoint', '', 'Checkpoint; by default the best or the latest one.',
      **owner)
  flags.DEFINE_string(
      'work_dir', '', 'Folder for the exports; by default they are removed.',
      **owner)
  flags.DEFINE_integer(
      'examples', 40, 'Maximum number of evaluation examples.',
      lower_bound=1, **owner)
  flags.DEFINE_bool(
      'verify', True, 'Whether the exporters verify as well.', **owner)
  flags.DEFINE_list(
      'quantize', 'none,float16,dynamic,int8,int16x8', 'TFLite files.', **owner)
  flags.DEFINE_list(
      'hub_forms', 'classifier,feature_vector', 'TF-Hub modules.', **owner)


def run(values: flags.FlagValues) -> bool:
  """Prints a line per client; returns whether all agree."""
  with tempfile.TemporaryDirectory() as scratch:
    work_dir = os.path.abspath(values.work_dir or os.path.join(scratch, 'out'))
    model_dir = os.path.abspath(values.model_dir)
    asked = _draw(model_dir, values.checkpoint, values.examples, scratch)
    print(f'{len(asked.files)} evaluation {asked.name} of {model_dir}')
    print(_LINE.format('client', 'difference', 'top-1 same', 'accuracy', ''))
    return all([_report(answer, asked) for answer in _answers(
        asked, model_dir, work_dir, values)])


def call(command: List[str]) -> None:
  """Raises UserError if a command fails."""
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  if done.returncode:
    raise errors.UserError(
        f'{" ".join(command)} ended with {done.returncode}:\n{done.stderr}')


def _draw(model_dir: str, checkpoint: str, count: int, scratch: str) -> Asked:
  """Returns evaluation examples and the answers of the checkpoint."""
  import tensorflow as tf
  from tests.data import video_making
  from tf_tokenlearner import backbones
  from tf_tokenlearner.serving import servable as servable_lib
  from tf_tokenlearner.serving import verification

  servable = servable_lib.load(*servable_lib.find(model_dir, checkpoint))
  examples = verification.draw(servable, count, with_stored=True)
  pixels = np.stack([_rgb(example) for example in examples.stored])
  views = servable.inputs.to_pixels(tf.constant(pixels)).numpy()
  fps = None if servable.inputs.name == 'images' else fractions.Fraction(
      servable.inputs.view.fps or 25).limit_denominator(1001)
  files, streams = [], []
  can_stream = isinstance(
      servable.model.backbone, backbones.FactorizedVideoVisionTransformer)
  for i, example in enumerate(pixels):
    path = os.path.join(scratch, f'{i:04}')
    if example.ndim == 3:
      files.append(f'{path}.png')
      tf.io.write_file(files[-1], tf.io.encode_png(example))
    else:
      files.append(video_making.write(f'{path}.mkv', example, fps, **_LOSSLESS))
    if can_stream:
      seen = example[servable.inputs.view.window(len(example))]
      streams.append(
          video_making.write(f'{path}_seen.mkv', seen, fps, **_LOSSLESS))
  features = verification.in_batches(
      lambda x: servable.features(x)['pre_logits'],
      servable.input_size, views)
  return Asked(
      pixels, files, streams, views, examples.labels,
      verification.in_batches(
          lambda x: servable.scores(x)['probabilities'],
          servable.input_size, views), features,
      servable.label_names, fps,
      lambda logits: servable.probabilities(logits).numpy())


def _rgb(stored) -> np.ndarray:
  """Returns an image file or pixels as uint8 [..., 3]."""
  import tensorflow as tf
  if isinstance(stored, bytes):
    return tf.io.decode_image(stored, 3, expand_animations=False).numpy()
  if stored.dtype == object:  # One file per frame.
    return np.stack([_rgb(frame) for frame in stored])
  return np.broadcast_to(stored, [*stored.shape[:-1], 3])


def _answers(asked: Asked, model_dir: str, work_dir: str,
             values: flags.FlagValues) -> Iterator[Answer]:
  """Exports in each format and yields the answers of its clients."""
  from tf_tokenlearner.serving import hub_module
  from tf_tokenlearner.serving import saved_model
  from tf_tokenlearner.serving import streaming
  from tf_tokenlearner.serving import tflite_file

  def write(module, name, **options):
    folder = os.path.join(work_dir, name)
    with contextlib.redirect_stdout(sys.stderr):
      module.export(model_dir, folder, values.checkpoint, verify=values.verify,
                    verify_examples=values.examples, **options)
    return folder

  of_files = _ALLOWED_OF_JPEG if asked.fps else _ALLOWED
  folder = write(saved_model, 'saved_model')
  yield _as_checkpoint(
      'saved_model_cli', _ask_saved_model_cli(folder, asked), asked)
  yield _as_checkpoint(
      'predict, SavedModel', _predict(folder, asked), asked, of_files)

  for quantize in values.quantize:
    folder = write(tflite_file, f'tflite_{quantize}', quantize=quantize)
    allowed = max(_ALLOWED, tflite_file.QUANTIZATIONS[quantize].difference)
    yield _as_checkpoint(
        f'LiteRT {quantize}', _ask_litert(folder, asked), asked, allowed)
    yield _as_checkpoint(
        f'predict, TFLite {quantize}', _predict(folder, asked), asked,
        max(allowed, of_files))

  for form in values.hub_forms:
    folder = write(hub_module, f'hub_{form}', output_type=form)
    received = _ask_hub(folder, asked)
    for client, name in (('load', 'hub.load'), ('layer', 'hub.KerasLayer')):
      if form == 'classifier':
        yield _as_checkpoint(
            f'{name} {form}', asked.activate(received[client]), asked)
      else:
        yield Answer(f'{name} {form}', received[client], asked.features,
                     _ALLOWED)
    if not (received['changed'].all()
            and received['loss_after'] < received['loss_before']):
      raise errors.UserError(f'{folder} cannot be fine-tuned.')

  if asked.streams:
    for form in streaming.EXPORT_FORMATS:
      folder = write(
          streaming, f'stream_{form}', export_format=form)
      yield _as_checkpoint(
          f'predict --stream, {form}', _predict(folder, asked, stream=True),
          asked, of_files)


def _as_checkpoint(client: str, probabilities: np.ndarray, asked: Asked,
                   allowed: float = _ALLOWED) -> Answer:
  return Answer(client, probabilities, asked.probabilities, allowed)


def _ask_saved_model_cli(folder, asked):
  with tempfile.TemporaryDirectory() as scratch:
    pixels = os.path.join(scratch, 'pixels.npy')
    np.save(pixels, asked.pixels)
    call([os.path.join(os.path.dirname(sys.executable), 'saved_model_cli'),
          'run', '--dir', folder, '--tag_set', 'serve', '--signature_def',
          'serving_default', '--inputs', f'{asked.name}={pixels}', '--outdir',
          scratch])
    return np.load(os.path.join(scratch, 'probabilities.npy'))


def _ask_litert(folder, asked):
  from ai_edge_litert import interpreter
  from tf_tokenlearner.serving import manifest
  from tf_tokenlearner.serving import tflite_inputs
  runner = interpreter.Interpreter(os.path.join(
      folder, manifest.TFLITE_FILE)).get_signature_runner()
  shape = runner.get_input_details()[asked.name]['shape'][1:]
  return np.concatenate([
      runner(**{asked.name: view[np.newaxis]})['probabilities']
      for view in tflite_inputs.from_pixels(asked.views, shape)])


def _ask_hub(folder, asked) -> Dict[str, np.ndarray]:
  from tests import hub_process
  return hub_process.consume(folder, np.broadcast_to(
      (asked.views + 1) / 2, [*asked.views.shape[:-1], 3]))


def _predict(model, asked, stream=False):
  """Returns probabilities by class; for streams, those of the last step."""
  from tf_tokenlearner.prediction import run as prediction_run
  files = asked.streams if stream else asked.files
  fps = float(asked.fps) if asked.fps else None
  with contextlib.redirect_stdout(io.StringIO()) as out:
    prediction_run.predict(model, files, prediction_run.Options(
        'json', top=len(asked.label_names), fps=fps, stream=stream))
  answers = map(json.loads, out.getvalue().splitlines())
  last = {answer['file']: answer['classes'] for answer in answers}
  found = [{c['name']: c['probability'] for c in last[file]}
           for file in files]
  return np.array([[f[name] for name in asked.label_names] for f in found])


def _report(answer: Answer, asked: Asked) -> bool:
  """Prints a line; returns whether the client agrees."""
  is_fine = answer.received.shape == answer.expected.shape
  cells = ['', '', '']
  if is_fine:
    difference = np.abs(answer.received - answer.expected).max()
    is_fine = bool(difference <= answer.allowed)
    cells[0] = f'{difference:.0e}'
    if answer.expected is asked.probabilities:
      same = np.mean(
          answer.received.argmax(-1) == answer.expected.argmax(-1))
      accuracy = _accuracy(answer.received, asked)
      cells[1:] = f'{same:.4f}', f'{accuracy:.4f}'
      one = 1.01 / len(answer.received)  # May always be lost.
      is_fine &= bool(
          same >= 1 - max(_ALLOWED_OTHERS, one)
          and accuracy >= _accuracy(answer.expected, asked) - max(
              _ALLOWED_LOSS, one))
  print(_LINE.format(answer.client, *cells, 'ok' if is_fine else 'DIFFERS'),
        flush=True)
  return is_fine


def _accuracy(probabilities: np.ndarray, asked: Asked) -> float:
  import tensorflow as tf
  from tf_tokenlearner.tasks import metrics
  return float(np.mean(metrics.hits(
      tf.constant(asked.labels), tf.constant(probabilities), 1)))


def main(arguments) -> None:
  cli.refuse_arguments(arguments)
  cli.require('model_dir')
  if not run(flags.FLAGS):
    raise errors.UserError('Not all say what the checkpoint says.')


if __name__ == '__main__':
  define_flags(flags.FLAGS)
  cli.run(main)
