"""Exports that benchmarks/deployment.py measures."""

import os
import tempfile
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Tuple

from absl import flags
import numpy as np
from sklearn import datasets as sample_data
import tensorflow as tf

from benchmarks import contenders
from benchmarks import lite
from tf_tokenlearner import backbones
from tf_tokenlearner.configs import image_classification
from tf_tokenlearner.data import pixel_ops
from tf_tokenlearner.serving import input_signatures
from tf_tokenlearner.serving import saved_model
from tf_tokenlearner.serving import servable as servable_lib
from tf_tokenlearner.serving import tflite_file
from tf_tokenlearner.serving import tflite_inputs
from tf_tokenlearner.serving import verification
from tf_tokenlearner.tasks import metrics


class ExportedModel(NamedTuple):
  """A model in one export format.

  Attributes:
    num_bytes: size of the file, or of all files in the folder.
    answer: classifies one image.
  """
  num_bytes: int
  answer: Callable[[], Any]


class Scores(NamedTuple):
  """Accuracies on the evaluation data of a run.

  Attributes:
    data_set: name of the data set.
    num_examples: number of scored examples.
    checkpoint: accuracy of the checkpoint.
    by_quantization: accuracy of the TFLite file, by its quantization.
  """
  data_set: str
  num_examples: int
  checkpoint: float
  by_quantization: Dict[str, float]


def make(
    values: flags.FlagValues, saved_models: Mapping[str, bool]
) -> Dict[Tuple[str, str, bool], ExportedModel]:
  """Exports every variant, with and without TokenLearner, in every format.

  Args:
    values: flags of benchmarks/deployment.py.
    saved_models: {format that is a SavedModel: whether XLA compiles it}.

  Returns:
    {(variant, format, whether it has a TokenLearner): the export}.
  """
  exported = {}
  for variant in values.variants:
    for has_token_learner in (False, True):
      servable = _servable(values, variant, has_token_learner)
      for name in values.forms:
        exported[variant, name, has_token_learner] = (
            saved_model_of(servable, saved_models[name]) if name in saved_models
            else tflite_of(servable, name, values.calibration_images))
  return exported


def accuracies(model_dir: str, quantizations: List[str],
               num_examples: int) -> Scores:
  """Returns the accuracies of a trained run and of its TFLite files.

  Args:
    model_dir: folder of an image run.
    quantizations: quantization of each file.
    num_examples: maximum number of evaluation examples.
  """
  servable = servable_lib.load(*servable_lib.find(model_dir))
  examples = verification.draw(servable, num_examples)
  inputs = tflite_inputs.from_pixels(
      examples.pixels, tflite_inputs.input_shape(servable.inputs.view))

  def score(probabilities):
    return float(np.mean(metrics.hits(
        tf.constant(examples.labels), tf.constant(probabilities), 1)))

  by_quantization = {}
  for name in quantizations:
    runner = lite.runner(tflite_file.make(servable, name))
    by_quantization[name] = score(np.concatenate([
        runner(images=image[np.newaxis])['probabilities'] for image in inputs]))
  data = servable.task.train_data
  return Scores(data.tfds_name or os.path.basename(data.input_path),
                len(inputs), score(examples.probabilities),
                by_quantization)


def _servable(values: flags.FlagValues, variant: str,
              has_token_learner: bool) -> servable_lib.Servable:
  spec = backbones.ViTSpec(
      variant, num_tokens=values.num_tokens,
      token_learner_location=values.location if has_token_learner else None)
  return servable_of(contenders.ours(spec, values.image_size))


def servable_of(model: backbones.Classifier) -> servable_lib.Servable:
  """Returns an image classifier as an export needs it, without a data set."""
  task = image_classification.ImageClassificationTask()
  task.model.input_size = list(model.backbone.input_size)
  task.validation_data.center_crop_fraction = 1.
  return servable_lib.Servable(
      task, tuple(map(str, range(model.num_classes))), model,
      input_signatures.of_task(task))


def saved_model_of(servable: servable_lib.Servable,
                   jit_compile: bool) -> ExportedModel:
  """Returns a SavedModel, which also crops and scales its image."""
  signatures, _ = saved_model.make_signatures(
      servable, batch_size=1, jit_compile=jit_compile)
  module = tf.Module()
  module.model_variables = servable.model.variables
  with tempfile.TemporaryDirectory() as folder:
    tf.saved_model.save(module, folder, signatures={
        'serving_default': signatures['serving_default']})
    num_bytes = sum(
        os.path.getsize(os.path.join(place, name))
        for place, _, names in os.walk(folder) for name in names)
    loaded = tf.saved_model.load(folder)
  images = tf.constant(_photographs(servable.input_size, 1), tf.uint8)
  function = loaded.signatures['serving_default']

  def answer():
    return function(images=images)['probabilities'].numpy()

  answer.model = loaded  # A function alone does not keep its variables.
  return ExportedModel(num_bytes, answer)


def tflite_of(servable: servable_lib.Servable, quantize: str,
              calibration_images: int = 1) -> ExportedModel:
  """Returns a TFLite file, run by LiteRT."""
  module = tf.Module()
  module.model_variables = servable.model.variables
  function = tf.function(
      lambda images: servable.scores(pixel_ops.scale(images)), input_signature=[
          tf.TensorSpec([1, *servable.input_size], name='images')])
  photographs = _photographs(servable.input_size, calibration_images)
  data = tflite_file.convert(
      module, {'serving_default': function}, quantize,
      lambda: ([image[np.newaxis]] for image in photographs))
  runner = lite.runner(data)
  return ExportedModel(
      len(data), lambda: runner(images=photographs[:1]))


def _photographs(input_size: Tuple[int, ...], count: int) -> np.ndarray:
  """Returns crops of two photographs, float32 [count, H, W, 3], 0 to 255."""
  height, width, _ = input_size
  rng = np.random.default_rng(0)
  crops = []
  for i in range(count):
    photo = sample_data.load_sample_images().images[i % 2]
    side = rng.integers(min(photo.shape[:2]) // 2, min(photo.shape[:2]))
    top = rng.integers(photo.shape[0] - side)
    left = rng.integers(photo.shape[1] - side)
    crops.append(tf.image.resize(
        photo[top:top + side, left:left + side], (height, width)))
  return np.stack(crops).astype(np.float32)
