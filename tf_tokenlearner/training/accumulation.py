"""Training steps whose batch passes through the network in parts."""

from typing import Any, Dict, Sequence

import tensorflow as tf
import tf_keras


def train_step(task, inputs: Any, model: tf_keras.Model, optimizer: Any,
               metrics: Sequence[tf_keras.metrics.Metric],
               num_parts: int) -> Dict[str, tf.Tensor]:
  """Does what task.train_step does, with the memory of a part of the batch.

  The gradients of the parts are added, and one step of the optimizer follows,
  so loss scaling, averages of weights and schedules see the whole batch.

  Args:
    task: gives the loss.
    inputs: (pixels or cached features, labels) of this replica; num_parts
      divides B.
    model: called as model(examples, training=True); returns a tensor [B, ...].
    optimizer: any optimizer, perhaps with loss scaling.
    metrics: updated with the whole batch.
    num_parts: number of parts, > 1.

  Returns:
    {task.loss: mean loss of the batch}.
  """
  is_scaled = isinstance(optimizer, tf_keras.mixed_precision.LossScaleOptimizer)
  variables = model.trainable_variables
  share = 1 / (num_parts * tf.distribute.get_strategy().num_replicas_in_sync)
  parts = tf.nest.map_structure(
      lambda x: tf.reshape(
          x, [num_parts, x.shape[0] // num_parts, *x.shape[1:]]), inputs)

  def learn(i):
    """Returns loss, outputs and gradients of part i."""
    part = tf.nest.map_structure(lambda x: x[i], parts)
    (examples, targets), network = task.training_inputs(part, model)
    with tf.GradientTape() as tape:
      outputs = network(examples, training=True)
      loss = task.build_losses(
          labels=targets, model_outputs=outputs, aux_losses=model.losses)
      scaled = loss * share
      if is_scaled:
        scaled = optimizer.get_scaled_loss(scaled)
    return loss, outputs, tape.gradient(scaled, variables)

  # The first part tells which variables have gradients.
  loss, outputs, gradients = learn(0)
  reached = [i for i, g in enumerate(gradients) if g is not None]
  sums = [tf.convert_to_tensor(gradients[i]) for i in reached]
  all_outputs = tf.TensorArray(
      outputs.dtype, num_parts, element_shape=outputs.shape).write(0, outputs)

  def add(i, loss_sum, all_outputs, *sums):
    loss, outputs, gradients = learn(i)
    return (i + 1, loss_sum + loss, all_outputs.write(i, outputs), *(
        total + gradients[k] for total, k in zip(sums, reached)))

  with tf.control_dependencies(sums):  # One part after the other.
    second = tf.identity(1)
  _, loss_sum, all_outputs, *sums = tf.while_loop(
      lambda i, *_: i < num_parts, add, (second, loss, all_outputs, *sums),
      parallel_iterations=1)
  for i, total in zip(reached, sums):
    gradients[i] = total
  if is_scaled:
    gradients = optimizer.get_unscaled_gradients(gradients)
  optimizer.apply_gradients(list(zip(gradients, variables)))
  outputs = all_outputs.concat()
  task.process_metrics(metrics, inputs[1], outputs)
  return {task.loss: loss_sum / num_parts}
