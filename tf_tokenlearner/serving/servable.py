"""A trained run as something to export: model, class names, inputs."""

import dataclasses
from typing import Dict, Tuple

import tensorflow as tf

from tf_tokenlearner import backbones
from tf_tokenlearner import run_folder
from tf_tokenlearner.configs import classification as config
from tf_tokenlearner.configs import experiments
from tf_tokenlearner.serving import input_signatures
from tf_tokenlearner.training import runner

# Compute precision -> Keras policy; weights are float32 in both.
PRECISIONS = {'float32': 'float32', 'bfloat16': 'mixed_bfloat16'}


@dataclasses.dataclass(frozen=True)
class Servable:
  """A model with everything that exports of it share.

  Attributes:
    task: config of the run.
    label_names: class names; '0', '1', ... if the data have none.
    model: with the weights that evaluation uses.
    inputs: raw inputs of its exports, and how they become pixels.
  """
  task: config.ClassificationTask
  label_names: Tuple[str, ...]
  model: backbones.Classifier
  inputs: input_signatures.ModelInputs

  @property
  def input_size(self) -> Tuple[int, ...]:
    """Shape of the network's input, without the batch."""
    return tuple(self.task.model.input_size)

  def logits(self, pixels: tf.Tensor) -> tf.Tensor:
    """Computes logits, float32 [B, classes], of pixels in [-1, 1]."""
    return tf.cast(self.model(pixels, training=False), tf.float32)

  def scores(self, pixels: tf.Tensor) -> Dict[str, tf.Tensor]:
    """Computes probabilities and logits, float32 [B, classes] each."""
    return self.scores_of(self.logits(pixels))

  def scores_of(self, logits: tf.Tensor) -> Dict[str, tf.Tensor]:
    """Returns the result of `scores` for given logits [B, classes]."""
    logits = tf.cast(logits, tf.float32)
    return {'probabilities': self.probabilities(logits), 'logits': logits}

  def probabilities(self, logits: tf.Tensor) -> tf.Tensor:
    """Applies a softmax, or a sigmoid to models trained with that loss."""
    activate = (tf.nn.sigmoid if self.task.losses.loss == 'sigmoid'
                else tf.nn.softmax)
    return activate(logits)

  def features(self, pixels: tf.Tensor) -> Dict[str, tf.Tensor]:
    """Computes pre_logits, the input of the head, float32 [B, C]."""
    outputs = self.model.backbone(pixels, training=False)
    return {'pre_logits': tf.cast(outputs['pre_logits'], tf.float32)}

  def attention_maps(self, pixels: tf.Tensor) -> Dict[str, tf.Tensor]:
    """Computes the attention maps of the first TokenLearner.

    Returns:
      attention_maps, float32 [B, S, H, W] of images, [B, T, S, H, W] of clips.

    Raises:
      ValueError: the model has no TokenLearner; the message says why.
    """
    maps = tf.cast(self.model.backbone.attention_maps(pixels), tf.float32)
    is_image = len(self.input_size) == 3
    return {'attention_maps': maps[:, 0] if is_image else maps}


def find(model_dir: str, checkpoint: str = '') -> Tuple[run_folder.Run, str]:
  """Finds a run and the path of a checkpoint of it.

  Args:
    model_dir: folder of a run.
    checkpoint: path; '' for the run's best or else its latest.

  Raises:
    UserError: no such run or checkpoint.
  """
  run = run_folder.load(model_dir)
  return run, run.find_checkpoint(checkpoint)


def load(run: run_folder.Run, path: str,
         precision: str = 'float32') -> Servable:
  """Loads a checkpoint of a run for export.

  From then on this process multiplies float32 as float32 on GPUs, too: answers
  of exports are compared with it to the fifth digit.

  Args:
    run: the run.
    path: of a checkpoint.
    precision: key of PRECISIONS.

  Raises:
    UserError: the checkpoint does not fit the run's model.
  """
  tf.config.experimental.enable_tensor_float_32_execution(False)
  params = experiments.of_run(run)
  task = params.task
  names = run.names_of(task.model.num_classes)
  model = runner.load_model(params, path, PRECISIONS[precision])
  return Servable(task, names, model, input_signatures.of_task(task))
