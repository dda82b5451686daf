"""Distillation: a trained classifier teaches another by its logits.

Source: Hinton, Vinyals and Dean 2015 (arXiv 1503.02531).
"""

from typing import Any, NamedTuple, Optional, Sequence, Tuple

import tensorflow as tf

from tf_tokenlearner import backbones
from tf_tokenlearner import errors
from tf_tokenlearner.checkpoints import initialization
from tf_tokenlearner.checkpoints import run_model
from tf_tokenlearner.configs import classification as config
from tf_tokenlearner.tasks import metrics as metrics_lib

TEACHER_LOGITS = 'teacher_logits'  # Key in a batch of cached features.


class Targets(NamedTuple):
  """Labels of a batch, and the teacher's logits.

  Attributes:
    labels: [B] or [B, num_classes].
    teacher_logits: float32 [B, num_classes].
  """
  labels: tf.Tensor
  teacher_logits: tf.Tensor


def check(task: config.ClassificationTask, label_names: Sequence[str]) -> None:
  """Refuses a teacher of other classes, before any weights are read.

  Args:
    task: config of the task, completed.
    label_names: classes of the model; () if they have no names.

  Raises:
    UserError: options out of range, no such checkpoint, or other classes.
  """
  options = task.distillation
  if not options.teacher:
    return
  if not 0 < options.weight <= 1:
    raise errors.UserError(
        f'task.distillation.weight must lie in (0, 1], got {options.weight}.')
  if options.temperature <= 0:
    raise errors.UserError(
        'task.distillation.temperature must be above 0, got '
        f'{options.temperature}.')
  theirs = initialization.label_names(options.teacher)
  if theirs and label_names and theirs != tuple(label_names):
    raise errors.UserError(
        f'task.distillation.teacher: expected the {len(label_names)} classes of'
        f' this run ({_shorten(label_names)}), got {len(theirs)} '
        f'({_shorten(theirs)}). Use a teacher of the same classes in the same '
        'order.')


def load_teacher(path: str, student: backbones.Classifier
                 ) -> backbones.Classifier:
  """Returns the teacher of a student, for evaluation only.

  Args:
    path: as of initialization.find.
    student: the model that learns.

  Raises:
    UserError: there is no checkpoint, it has no head of the same classes, or
      takes inputs of another size.
  """
  source = initialization.read(path, student)
  teacher = source.model or _read_run(source.path)
  for what, ours, theirs in (
      ('classes', student.num_classes, teacher.num_classes),
      ('input size', tuple(student.backbone.input_size),
       tuple(teacher.backbone.input_size))):
    if ours != theirs:
      raise errors.UserError(
          f'task.distillation.teacher={path}: expected {what} {ours} as of the '
          f'model that it teaches, got {theirs or "no head"}.')
  teacher.trainable = False
  return teacher


def _read_run(path: str) -> backbones.Classifier:
  description = run_model.describe(path)
  if description is None:
    raise errors.UserError(
        f'task.distillation.teacher={path}: expected a checkpoint in its run '
        'folder, got one without params.yaml.')
  return run_model.read_model(path, description)


def with_teacher(examples: Any, labels: tf.Tensor,
                 teacher: Optional[backbones.Classifier]) -> Any:
  """Returns labels, or Targets if a teacher knows the examples.

  Args:
    examples: pixels, or cached features, which hold the teacher's logits.
    labels: of the examples.
    teacher: classifier of pixels, or None.
  """
  if isinstance(examples, dict):
    logits = examples.get(TEACHER_LOGITS)
    return labels if logits is None else Targets(labels, logits)
  if teacher is None:
    return labels
  return Targets(labels, tf.stop_gradient(teacher(examples, training=False)))


def split(targets: Any) -> Tuple[tf.Tensor, Optional[tf.Tensor]]:
  """Returns labels and the teacher's logits, None without a teacher."""
  return targets if isinstance(targets, Targets) else (targets, None)


def blend(loss: tf.Tensor, logits: tf.Tensor, teacher_logits: tf.Tensor,
          losses: str, options: config.Distillation) -> tf.Tensor:
  """Returns (1 - weight) * loss + weight * T^2 * KL(teacher, student).

  Args:
    loss: [], the loss on the labels.
    logits: float32 [B, num_classes].
    teacher_logits: float32 [B, num_classes].
    losses: 'softmax' for the divergence of distributions over classes;
      'sigmoid' for its sum over the decisions per class.
    options: weight and temperature T.
  """
  soft, soft_teacher = (
      x / options.temperature for x in (logits, teacher_logits))
  activate = tf.nn.softmax if losses == 'softmax' else tf.nn.sigmoid
  shares = activate(soft_teacher)
  # Cross-entropy minus entropy.
  divergence = metrics_lib.mean_loss(
      metrics_lib.example_losses(shares, soft, losses)
      - metrics_lib.example_losses(shares, soft_teacher, losses))
  return ((1 - options.weight) * loss
          + options.weight * options.temperature**2 * divergence)


def _shorten(names: Sequence[str]) -> str:
  return ', '.join(names[:5]) + (', ...' if len(names) > 5 else '')
